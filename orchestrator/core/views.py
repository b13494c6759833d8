"""What one memory holds: estimates over all segments, and per segment where somebody asks."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from orchestrator.core.errors import ConfigurationError
from orchestrator.core.estimates import Estimates, FloatArray, Prior
from orchestrator.core.pooling import Pooled
from orchestrator.core.regressions import Regressions, kind_of, n_features_of
from orchestrator.core.statistics import DAY, HOUR, MINUTE, MONTH, Column, RowId, Sums
from orchestrator.core.watch import Watch, revision

__all__ = ["ALL", "Evidence", "Memory", "View"]

_Deltas: TypeAlias = Sequence[tuple[int, float]]
_Step: TypeAlias = tuple[int, dict[tuple[str, int], dict[int, float]], dict[int, FloatArray]]
"""What a step of a window holds: its first minute, sums, and the selector's own columns."""


@dataclass(frozen=True, slots=True)
class Memory:
    """How long a selector remembers: everything, a window, ever more faintly, or until it changes.

    Attributes:
        window_s: What is older is forgotten at once; at least a minute. Up to an hour it moves
            by the minute, up to two days by the hour, up to ninety by the day, beyond that by
            thirty days. Regressions that are read from rows, after a restart or a merge, count
            while any of their hour is within the window.
        half_life_s: What is this old counts half. What is read from rows is as old as their first
            minute.
        adaptive: Whether an arm whose rewards have changed is believed only what came since; see
            `orchestrator.core.changes`.
        pooling: Pulls, above 0, that an arm's mean over all other segments counts for in each, or
            None for segments that stand alone; see `orchestrator.core.pooling`.
    """

    window_s: float | None = None
    half_life_s: float | None = None
    adaptive: bool = False
    pooling: float | None = None

    def __post_init__(self) -> None:
        if (self.window_s is not None) + (self.half_life_s is not None) + self.adaptive > 1:
            raise ConfigurationError("a memory has a window, a half-life, or adapts: one of them")
        if self.pooling is not None and not 0 < self.pooling < math.inf:
            raise ConfigurationError(f"pooling must be above 0, not {self.pooling!r}")
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
_MOST_TOUCHED = 10_000
"""After so many changes, everything that is derived from them is derived anew."""


class Evidence(NamedTuple):
    """What a selector reads for one decision.

    Attributes:
        total: Estimates over every segment.
        segment: Estimates of this request's segment, or None for selectors that ask for none;
            with what came last after a `refresh` where it is pooled.
        extra: Regressions on the request's features, for selectors that have columns of their own.
        pooled: The segment with the others' help, kept current where the memory pools; None
            where it is to be derived from the two above.
    """

    total: Estimates
    segment: Estimates | None = None
    extra: Regressions | None = None
    pooled: Pooled | None = None


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
        self._minute, self._first = 0, memory.first_minute(0)
        self._steps: deque[_Step] = deque()
        self._total = Estimates(len(self.keys), prior=prior)
        self._segments: dict[str, Estimates] = {}
        self._fades = memory.window_s is not None or memory.half_life_s is not None
        self._watch = Watch(len(self.keys)) if memory.adaptive else None
        self._ready: dict[str, Evidence] = {}
        self._touched: list[int] = []
        self._changed: set[Estimates] = set()
        self.extra: Regressions | None = None
        if n_extra:
            self.extra = Regressions((len(self.keys),), n_features_of(n_extra), prior=prior)
        self._whole = Evidence(self._total, None, self.extra)

    @property
    def total(self) -> Estimates:
        """Estimates over all segments."""
        if self._changed:
            self._refresh()
        return self._total

    @property
    def rates_quality(self) -> bool:
        """Whether arms are judged by quality, since one of them has one; else by success."""
        return self._total.rates_quality

    def clear(self) -> None:
        """Forget everything."""
        self._steps.clear()
        self._segments, self._ready = {}, {}
        self._total = Estimates(len(self.keys), prior=self.prior)
        if self._watch is not None:
            self._watch.forget()
        if self.extra is not None:
            self.extra = Regressions((len(self.keys),), self.extra.n_features, prior=self.prior)
        self._whole = Evidence(self._total, None, self.extra)

    def evidence(self, segment: str) -> Evidence:
        """Return what to decide on for a request of this segment."""
        if self.extra is not None:
            self.extra.refresh()
        if self._changed:
            self._refresh()
        if not self.segmented:
            return self._whole
        found = self._ready.get(segment)
        if found is None:
            found = self._ready[segment] = self._prepare(segment)
        if found.pooled is not None:
            found.pooled.follow(self._touched)
        return found

    def open(self, minute: int, segment: str, arm: int) -> None:
        """Count a pull that has begun."""
        if self._fades:
            self.add(minute, segment, self.keys[arm], _OPENED)
            return
        self._total.open(arm)
        if not self.segmented:
            return
        ready = self._ready.get(segment)
        if ready is None:
            self._of(segment).open(arm)
        else:
            assert ready.segment is not None
            ready.segment.open(arm)
            if ready.pooled is not None and ready.pooled.open(arm):
                return
        self._touch(arm)

    def add(
        self,
        minute: int,
        segment: str,
        key: str,
        deltas: _Deltas,
        features: FloatArray | None = None,
        columns: FloatArray | None = None,
    ) -> None:
        """Take what was added to a row of this minute; unknown models are not ours to judge.

        Args:
            minute: When the pull began.
            segment: The request's.
            key: The model's.
            deltas: What is added to which column.
            features: The request's, for selectors that learn from them; None: all 0.
            columns: What `columns_added` returns for these, where that is known already.

        Raises:
            InvalidRequestError: There are more or fewer features than the selector learns from.
        """
        arm = self._arms.get(key)
        if arm is None or minute < self._first:
            return
        self._add(minute, segment, arm, deltas)
        if self.extra is not None:
            fades = self.memory.half_life_s is not None
            weight = self._weight(minute) if fades else 1.0
            added = self.extra.learn(arm, deltas, features, weight, columns)
            if added is not None:
                self._remember_extra(minute, arm, added)

    def _add(self, minute: int, segment: str, arm: int, deltas: _Deltas) -> None:
        weight = 1.0
        if self._fades:
            if self.memory.window_s is not None:
                self._remember(minute, segment, arm, deltas)
            else:
                weight = self._weight(minute)
        rated_before = self._total.rates_quality
        own = self._of(segment) if self.segmented else self._total
        if self._watch is not None:
            self._watch.see(arm, deltas, own)
        self._take(own, arm, deltas, weight)
        if self._total.rates_quality and not rated_before:
            self.rate_quality()

    def _add_extra(self, row_id: RowId, arm: int, sums: FloatArray) -> None:
        """Take a row of regressions, in which minutes are one."""
        if self.extra is None or row_id.segment != kind_of(self.extra.n_features):
            return
        last = row_id.start + row_id.width - 1
        if last < self._first:
            return
        if self.memory.half_life_s is not None:
            sums = sums * self._weight(row_id.start)
        self.extra.add(arm, sums)
        self._remember_extra(last, arm, sums)

    def rate_quality(self) -> None:
        """Judge by quality from now on, in every segment alike."""
        for estimates in (self._total, *self._segments.values()):
            if not estimates.rates_quality:
                estimates.rate_quality()
                self._touched = []
                if self._watch is not None:
                    self._watch.forget()
        if self.extra is not None:
            self.extra.rate_quality()

    def advance(self, minute: int) -> None:
        """Let time pass: forget what leaves the window, fade what grows old."""
        if minute <= self._minute:
            return
        was, self._minute = self._minute, minute
        self._first = self.memory.first_minute(minute)
        self._adapt()
        if self.memory.half_life_s is not None and was:
            self._fade(0.5 ** ((minute - was) * 60 / self.memory.half_life_s))
        while self._steps and self._steps[0][0] < self._first:
            _, held, own = self._steps.popleft()
            for (segment, arm), sums in held.items():
                taken = [(column, -value) for column, value in sums.items()]
                self._take(self._of(segment) if self.segmented else self._total, arm, taken)
            if self.extra is not None:
                for arm, columns in own.items():
                    self.extra.add(arm, -columns)

    def rearrange(self, keys: Sequence[str], prior: Prior | None = None) -> View:
        """Return this view over another list of arms, which keep what is known of them."""
        found = View(self.memory, keys, segmented=self.segmented, prior=prior)
        sources = [self._arms.get(key) for key in found.keys]
        moved = {was: now for now, was in enumerate(sources) if was is not None}
        found._minute, found._first = self._minute, self._first
        found._total = self._total.rearranged(sources, prior)
        found._segments = {
            name: estimates.rearranged(sources, None if prior is None else prior.of(name))
            for name, estimates in self._segments.items()
        }
        found._steps = deque(
            (
                step,
                {(seg, moved[arm]): s for (seg, arm), s in held.items() if arm in moved},
                {moved[arm]: columns for arm, columns in own.items() if arm in moved},
            )
            for step, held, own in self._steps
        )
        if self._watch is not None:
            found._watch = self._watch.rearranged(sources)
        if self.extra is not None:
            found.extra = self.extra.rearranged(sources, prior)
        found._whole = Evidence(found._total, None, found.extra)
        return found

    def replay(self, rows: Iterable[tuple[RowId, Sums]]) -> None:
        """Take whole rows, as after a restart or a merge."""
        begun = None
        if self._watch is not None:  # which has to meet them as they happened
            rows = sorted(rows, key=lambda row: row[0].start)
        for row_id, sums in rows:
            arm = self._arms.get(row_id.model)
            if not isinstance(sums, list):
                if arm is not None:
                    self._add_extra(row_id, arm, sums)
                continue
            if row_id.start != begun:
                begun = row_id.start
                self._adapt()
            if arm is None or row_id.start < self._first:
                continue
            base = [(column, value) for column, value in enumerate(sums) if value]
            self._add(row_id.start, row_id.segment, arm, base)

    def _prepare(self, segment: str) -> Evidence:
        own, kappa = self._of(segment), self.memory.pooling
        pooled = None if kappa is None else Pooled(self._total, own, kappa)
        return Evidence(self._total, own, self.extra, pooled)

    def _of(self, segment: str) -> Estimates:
        estimates = self._segments.get(segment)
        if estimates is None:
            prior = None if self.prior is None else self.prior.of(segment)
            estimates = self._segments[segment] = Estimates(len(self.keys), prior=prior)
            if self._total.rates_quality:
                estimates.rate_quality()
        return estimates

    def _take(self, own: Estimates, arm: int, deltas: _Deltas, weight: float = 1.0) -> None:
        """Add to an arm of one segment, or of all."""
        own.add(arm, deltas, weight)
        self._changed.add(own)
        if self.segmented:
            self._total.add(arm, deltas, weight)
            self._touch(arm)

    def _refresh(self) -> None:
        """Let what was added be seen; where segments are pooled, in `Pooled`."""
        self._total.refresh()
        if self.memory.pooling is None:
            for own in self._changed:
                own.refresh()
        self._changed.clear()

    def _touch(self, arm: int) -> None:
        if self.memory.pooling is not None:
            if len(self._touched) > _MOST_TOUCHED:
                self._touched = []
            self._touched.append(arm)

    def _adapt(self) -> None:
        """Forget what arms were before they changed."""
        if self._watch is None:
            return
        rated = self._total.rates_quality
        for arm, share, shift in self._watch.close():
            for own in self._segments.values() if self.segmented else (self._total,):
                self._take(own, arm, revision(own.sums(arm), rated, share, shift))

    def _remember(self, minute: int, segment: str, arm: int, deltas: _Deltas) -> None:
        held = self._step(minute)[1].setdefault((segment, arm), {})
        for column, delta in deltas:
            held[column] = held.get(column, 0.0) + delta

    def _remember_extra(self, minute: int, arm: int, columns: FloatArray) -> None:
        if self.memory.window_s is not None:
            own = self._step(minute)[2]
            own[arm] = columns + own[arm] if arm in own else columns

    def _step(self, minute: int) -> _Step:
        step = minute // self.memory.step * self.memory.step
        position = len(self._steps)
        while position and self._steps[position - 1][0] > step:
            position -= 1
        if not position or self._steps[position - 1][0] != step:
            self._steps.insert(position, (step, {}, {}))
            position += 1
        return self._steps[position - 1]

    def _weight(self, minute: int) -> float:
        assert self.memory.half_life_s is not None
        # What comes from a clock ahead of ours is news, not more than news.
        age_s = max(self._minute - minute, 0) * 60
        return float(0.5 ** (age_s / self.memory.half_life_s))

    def _fade(self, factor: float) -> None:
        for estimates in (self._total, *self._segments.values()):
            estimates.scale(factor)
        self._touched = []
        if self.extra is not None:
            self.extra.scale(factor)
