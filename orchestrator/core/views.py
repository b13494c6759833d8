"""What one memory holds: estimates over all segments, and per segment where somebody asks."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np

from orchestrator.core.errors import ConfigurationError
from orchestrator.core.estimates import Estimates, FloatArray, Prior
from orchestrator.core.statistics import COLUMNS, DAY, HOUR, MINUTE, MONTH, Column, RowId

__all__ = ["ALL", "Evidence", "Memory", "View"]

_Deltas: TypeAlias = Sequence[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Memory:
    """How long a selector remembers: everything, a window, or ever more faintly.

    Attributes:
        window_s: What is older is forgotten at once; at least a minute. Up to an hour it moves
            by the minute, up to two days by the hour, up to ninety by the day, beyond that by
            thirty days.
        half_life_s: What is this old counts half.
    """

    window_s: float | None = None
    half_life_s: float | None = None

    def __post_init__(self) -> None:
        if self.window_s is not None and self.half_life_s is not None:
            raise ConfigurationError("a memory has a window or a half-life, not both")
        if self.window_s is not None and not self.window_s >= 60:
            raise ConfigurationError(f"window_s must be at least 60, not {self.window_s!r}")
        if self.half_life_s is not None and not self.half_life_s > 0:
            raise ConfigurationError(f"half_life_s must be above 0, not {self.half_life_s!r}")

    @property
    def step(self) -> int:
        """Minutes by which the window moves; never finer than the rows that old are kept."""
        minutes = (self.window_s or 0) / 60
        ages = ((HOUR, MINUTE), (2 * DAY, HOUR), (90 * DAY, DAY))
        return next((step for age, step in ages if minutes <= age), MONTH)

    def first_minute(self, now: int) -> int:
        """Return the first minute that is remembered."""
        if self.window_s is None:
            return -(1 << 62)
        return (now - math.ceil(self.window_s / 60) + 1) // self.step * self.step


ALL = Memory()
"""Remembers everything."""
_OPENED = ((Column.OPENED, 1.0),)
_WIDTH = len(COLUMNS)


class Evidence(NamedTuple):
    """What a selector reads for one decision.

    Attributes:
        total: Estimates over every segment.
        segment: Estimates of this request's segment, or None for selectors that ask for none.
        extra: Sums of the selector's own columns, shape ``(*lead, n_arms, n_columns)``, or None.
    """

    total: Estimates
    segment: Estimates | None = None
    extra: FloatArray | None = None


class View:
    """Estimates of the pool's arms under one memory.

    Args:
        memory: What it remembers.
        keys: The arms, in the order of the arrays.
        segmented: Whether to keep estimates per segment too.
        n_extra: The selector's own columns.
        prior: Belief before the first pull.
    """

    def __init__(
        self,
        memory: Memory,
        keys: Sequence[str],
        *,
        segmented: bool = False,
        n_extra: int = 0,
        prior: Prior | None = None,
    ) -> None:
        self.memory = memory
        self.keys = tuple(keys)
        self.segmented = segmented
        self.prior = prior
        self._arms = {key: arm for arm, key in enumerate(self.keys)}
        self._minute = 0
        self._steps: deque[tuple[int, dict[tuple[str, int], dict[int, float]]]] = deque()
        self.total = Estimates(len(self.keys), prior=prior)
        self._segments: dict[str, Estimates] = {}
        self.extra = np.zeros((len(self.keys), n_extra)) if n_extra else None
        self._whole = Evidence(self.total, None, self.extra)

    def clear(self) -> None:
        """Forget everything."""
        self._steps.clear()
        self._segments = {}
        self.total = Estimates(len(self.keys), prior=self.prior)
        if self.extra is not None:
            self.extra[:] = 0.0
        self._whole = Evidence(self.total, None, self.extra)

    def evidence(self, segment: str) -> Evidence:
        """Return what to decide on for a request of this segment."""
        if not self.segmented:
            return self._whole
        return Evidence(self.total, self._of(segment), self.extra)

    def open(self, minute: int, segment: str, arm: int) -> None:
        """Count a pull that has begun."""
        if self.memory is ALL:
            self.total.open(arm)
            if self.segmented:
                self._of(segment).open(arm)
        else:
            self.add(minute, segment, self.keys[arm], _OPENED)

    def add(self, minute: int, segment: str, key: str, deltas: _Deltas) -> None:
        """Take what was added to a row of this minute; unknown models are not ours to judge."""
        arm = self._arms.get(key)
        if arm is None:
            return
        weight = 1.0
        if self.memory.window_s is not None:
            if minute < self.memory.first_minute(self._minute):
                return
            self._remember(minute, segment, arm, deltas)
        elif self.memory.half_life_s is not None:
            weight = self._weight(minute)
        rated_before = self.total.rates_quality
        self.total.add(arm, deltas, weight)
        if self.segmented:
            self._of(segment).add(arm, deltas, weight)
        if self.total.rates_quality and not rated_before:
            self.rate_quality()

    def add_extra(self, minute: int, arm: int, sums: FloatArray) -> None:
        """Add to the selector's own columns of an arm."""
        if self.extra is not None:
            fades = self.memory.half_life_s is not None
            self.extra[arm] += sums * self._weight(minute) if fades else sums

    def rate_quality(self) -> None:
        """Judge by quality from now on, in every segment alike."""
        for estimates in (self.total, *self._segments.values()):
            if not estimates.rates_quality:
                estimates.rate_quality()

    def advance(self, minute: int) -> None:
        """Let time pass: forget what leaves the window, fade what grows old."""
        if minute <= self._minute:
            return
        was, self._minute = self._minute, minute
        if self.memory.half_life_s is not None and was:
            self._fade(0.5 ** ((minute - was) * 60 / self.memory.half_life_s))
        first = self.memory.first_minute(minute)
        while self._steps and self._steps[0][0] < first:
            for (segment, arm), sums in self._steps.popleft()[1].items():
                taken = [(column, -value) for column, value in sums.items()]
                self.total.add(arm, taken)
                if self.segmented:
                    self._of(segment).add(arm, taken)

    def rearrange(self, keys: Sequence[str], prior: Prior | None = None) -> View:
        """Return this view over another list of arms, which keep what is known of them."""
        found = View(self.memory, keys, segmented=self.segmented, prior=prior)
        sources = [self._arms.get(key) for key in found.keys]
        moved = {was: now for now, was in enumerate(sources) if was is not None}
        found._minute = self._minute
        found.total = self.total.rearranged(sources, prior)
        found._segments = {
            name: estimates.rearranged(sources, prior) for name, estimates in self._segments.items()
        }
        found._steps = deque(
            (step, {(seg, moved[arm]): s for (seg, arm), s in held.items() if arm in moved})
            for step, held in self._steps
        )
        if self.extra is not None:
            found.extra = np.zeros((len(found.keys), self.extra.shape[1]))
            for was, now in moved.items():
                found.extra[now] = self.extra[was]
        found._whole = Evidence(found.total, None, found.extra)
        return found

    def replay(self, rows: Iterable[tuple[RowId, list[float]]]) -> None:
        """Take whole rows, as after a restart or a merge."""
        for row_id, sums in rows:
            base = [(column, value) for column, value in enumerate(sums[:_WIDTH]) if value]
            self.add(row_id.start, row_id.segment, row_id.model, base)
            arm, own = self._arms.get(row_id.model), sums[_WIDTH:]
            if arm is not None and own:
                self.add_extra(row_id.start, arm, np.asarray(own))

    def _of(self, segment: str) -> Estimates:
        estimates = self._segments.get(segment)
        if estimates is None:
            estimates = self._segments[segment] = Estimates(len(self.keys), prior=self.prior)
            if self.total.rates_quality:
                estimates.rate_quality()
        return estimates

    def _remember(self, minute: int, segment: str, arm: int, deltas: _Deltas) -> None:
        step = minute // self.memory.step * self.memory.step
        position = len(self._steps)
        while position and self._steps[position - 1][0] > step:
            position -= 1
        if not position or self._steps[position - 1][0] != step:
            self._steps.insert(position, (step, {}))
            position += 1
        held = self._steps[position - 1][1].setdefault((segment, arm), {})
        for column, delta in deltas:
            held[column] = held.get(column, 0.0) + delta

    def _weight(self, minute: int) -> float:
        assert self.memory.half_life_s is not None
        # What comes from a clock ahead of ours is news, not more than news.
        age_s = max(self._minute - minute, 0) * 60
        return float(0.5 ** (age_s / self.memory.half_life_s))

    def _fade(self, factor: float) -> None:
        for estimates in (self.total, *self._segments.values()):
            estimates.scale(factor)
        if self.extra is not None:
            self.extra *= factor
