"""Dense estimates of every arm, kept current outcome by outcome: what selectors read.

Sums stay in plain lists, one per arm that was ever pulled; what a decision needs is derived from
them before it, for the arms that changed, and lies ready in arrays. `Estimates.of` derives the
same from whole arrays of sums with any leading axes, so that a simulator runs many runs with the
code that serves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import nan, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from orchestrator.core.statistics import COLUMNS, Column

__all__ = ["Estimates", "FloatArray", "Prior"]

FloatArray = npt.NDArray[np.float64]

_UNKNOWN_VARIANCE = 0.25
"""The largest variance of a quality in [0, 1]."""
_Z95 = 1.6448536269514722
"""95th percentile of the standard normal."""
_FAINT = 1e-9
"""Counts a fading memory has let sink below this are forgotten; above lies no rounding error."""
_NOTHING = (0.0,) * len(COLUMNS)
# Looked up with every outcome: a module's name is found in half the time of a class's.
_CALLS, _OK = Column.CALLS, Column.OK
_N_QUALITY, _QUALITY, _QUALITY_SQ = Column.N_QUALITY, Column.QUALITY, Column.QUALITY_SQ
_OPENED, _CLOSED, _EXPIRED = Column.OPENED, Column.CLOSED, Column.EXPIRED


@dataclass(frozen=True, slots=True)
class Prior:
    """What is believed of each arm before its first pull; shapes ``(n_arms,)``.

    It is configuration, never stored: posterior = prior + sums. A weight of 0 is no belief.

    Attributes:
        weight: Pulls that the belief counts for.
        mean: The reward that is believed in, in [0, 1].
        segments: Of which segments something else is believed than of all together.
        elsewhere: What is believed in every other segment; None: the same as of all together.
    """

    weight: FloatArray
    mean: FloatArray
    segments: Mapping[str, Prior] = field(default_factory=dict)
    elsewhere: Prior | None = None

    def of(self, segment: str) -> Prior:
        """Return what is believed in one segment."""
        return self.segments.get(segment, self.elsewhere or self)

    @classmethod
    def none(cls, n_arms: int) -> Prior:
        """Return the prior that believes nothing."""
        return cls(np.zeros(n_arms), np.full(n_arms, 0.5))


class Estimates:
    """Estimates per arm; every array has shape ``(*lead, n_arms)``.

    What was added is in the arrays after `refresh`.

    Attributes:
        n: Finished pulls with a reward, the prior's weight included.
        mean: Mean reward in [0, 1]; the prior's where n is 0.
        variance: Variance of the reward; 0.25 where it is not known.
        root_inverse: 1 / sqrt(n + pending), and 1 where that is 0: what optimism shrinks with.
        trials: Pulls begun and not expired, with a reward or not.
        p_fail: Share of calls that failed.
        any_failed: Whether any share may be above 0.
        pulls: Sum over the arms of n + pending, shape ``(*lead, 1)``.
        begun: Sum over the arms of trials, shape ``(*lead, 1)``.
        version: Counts how often outcomes were taken in; pulls that begin change nothing of it.
        kept: What policies have derived from these and keep from decision to decision, by its
            class; empty again when everything was derived anew.
    """

    __slots__ = (
        "_begun",
        "_changed",
        "_counted",
        "_pulls",
        "_seconds",
        "_speed",
        "_stale",
        "_sums",
        "_tokens_out",
        "_tokens_out_p95",
        "_trials",
        "any_failed",
        "begun",
        "kept",
        "mean",
        "n",
        "p_fail",
        "prior",
        "pulls",
        "rates_quality",
        "root_inverse",
        "trials",
        "variance",
        "version",
    )

    _begun: float
    _pulls: float

    def __init__(self, n_arms: int, *, prior: Prior | None = None) -> None:
        self.prior = prior or Prior.none(n_arms)
        self.version = 0
        self.rates_quality = False
        self._sums: list[list[float] | None] = [None] * n_arms
        self._derive(np.zeros((len(COLUMNS), n_arms)))

    @classmethod
    def of(
        cls, sums: FloatArray, *, rates_quality: bool = True, prior: Prior | None = None
    ) -> Estimates:
        """Derive from sums of shape ``(len(COLUMNS), *lead, n_arms)``."""
        found = cls.__new__(cls)
        found.prior = prior or Prior.none(sums.shape[-1])
        found.version = 0
        found.rates_quality = rates_quality
        found._sums = []
        found._derive(sums)
        return found

    # What a decision seldom reads is derived when it is read, for the arms that changed.

    @property
    def seconds(self) -> FloatArray:
        """Mean seconds of a successful call, 0 where unknown."""
        self._freshen()
        return self._seconds

    @property
    def speed(self) -> FloatArray:
        """Output tokens per second, nan where unknown."""
        self._freshen()
        return self._speed

    @property
    def tokens_out(self) -> FloatArray:
        """Mean output tokens of a call, nan where unknown."""
        self._freshen()
        return self._tokens_out

    @property
    def tokens_out_p95(self) -> FloatArray:
        """95th percentile of output tokens, nan where unknown."""
        self._freshen()
        return self._tokens_out_p95

    def sums(self, arm: int) -> list[float]:
        """Return the arm's sums in the order of `COLUMNS`."""
        return list(self._sums[arm] or _NOTHING)

    def of_arm(self, arm: int) -> tuple[float, float, float]:
        """Return an arm's n, mean and n + pending as they are now, before a refresh too."""
        sums, weight = self._sums[arm] or _NOTHING, self.prior.weight.item(arm)
        count, won = (_N_QUALITY, _QUALITY) if self.rates_quality else (_CALLS, _OK)
        n, mean = sums[count] + weight, self.prior.mean.item(arm)
        if n > _FAINT:
            mean = (sums[won] + weight * mean) / n
        return n, mean, n + (sums[_OPENED] - sums[_CLOSED] - sums[_EXPIRED])

    def refresh(self) -> None:
        """Derive anew the estimates of the arms that have changed."""
        if self._changed:
            self.version += 1
            for arm in self._changed:
                self._derive_arm(arm, self._sums[arm] or _NOTHING)
            self._stale |= self._changed
            self._changed.clear()

    def add(self, arm: int, deltas: Iterable[tuple[int, float]], weight: float = 1.0) -> None:
        """Add to an arm's sums."""
        sums = self._sums[arm]
        if sums is None:
            sums = self._sums[arm] = list(_NOTHING)
        if weight == 1.0:
            for column, delta in deltas:
                sums[column] += delta
        else:
            for column, delta in deltas:
                sums[column] += delta * weight
        if not self.rates_quality and sums[_N_QUALITY] > 0:
            self.rate_quality()
        else:
            self._changed.add(arm)

    def open(self, arm: int, weight: float = 1.0) -> None:
        """Count a pull that has begun: as `add` and `refresh`, and only what that changes."""
        sums = self._sums[arm]
        if sums is None:
            sums = self._sums[arm] = list(_NOTHING)
        sums[_OPENED] += weight
        counted = self._counted[arm] = self._counted[arm] + weight
        self.root_inverse[arm] = 1.0 / sqrt(counted) if counted > _FAINT else 1.0
        self.trials[arm] = self._trials[arm] = self._trials[arm] + weight
        self.begun[0] = self._begun = self._begun + weight
        self.pulls[0] = self._pulls = self._pulls + weight

    def rate_quality(self) -> None:
        """Judge by quality from now on, since some arm of the pool has one."""
        self.rates_quality = True
        self._derive(self._all_sums())

    def scale(self, factor: float) -> None:
        """Multiply every sum, as a memory that fades does."""
        for sums in self._sums:
            if sums is not None:
                sums[:] = [value * factor for value in sums]
        self._derive(self._all_sums())

    def rearranged(self, sources: Sequence[int | None], prior: Prior | None = None) -> Estimates:
        """Return estimates for another list of arms; ``sources`` says where each was, or None."""
        found = Estimates(len(sources), prior=prior)
        found.rates_quality = self.rates_quality
        found._sums = [None if s is None else self._sums[s] for s in sources]
        found._derive(found._all_sums())
        return found

    def _all_sums(self) -> FloatArray:
        return np.array([sums or _NOTHING for sums in self._sums]).reshape(-1, len(COLUMNS)).T

    def _derive(self, sums: FloatArray) -> None:
        self.version += 1
        self.kept: dict[type, Any] = {}
        c = Column
        weight, prior_mean = self.prior.weight, self.prior.mean
        pending = sums[c.OPENED] - sums[c.CLOSED] - sums[c.EXPIRED]
        calls, ok = sums[c.CALLS], sums[c.OK]
        count, total, squares = (
            (sums[c.N_QUALITY], sums[c.QUALITY], sums[c.QUALITY_SQ])
            if self.rates_quality
            else (calls, ok, ok)
        )
        self.n = count + weight
        known = self.n > _FAINT
        n = np.where(known, self.n, 1.0)
        self.mean = np.where(known, (total + weight * prior_mean) / n, prior_mean)
        # A prior's quality is taken as won or lost, so its square is itself.
        spread = (squares + weight * prior_mean) / n - self.mean**2
        self.variance = np.where(known, np.maximum(spread, 0.0), _UNKNOWN_VARIANCE)
        counted = self.n + pending
        self.root_inverse = 1.0 / np.sqrt(np.where(counted > _FAINT, counted, 1.0))
        self.trials = calls + pending
        self.begun = np.asarray(self.trials.sum(axis=-1, keepdims=True))
        self.pulls = np.asarray(counted.sum(axis=-1, keepdims=True))
        # Again as Python's own, which are read in half the time; nobody adds to several runs.
        self._counted: list[float] = counted.tolist() if counted.ndim == 1 else []
        self._trials: list[float] = self.trials.tolist() if counted.ndim == 1 else []
        self._begun, self._pulls = sum(self._trials), sum(self._counted)
        self._changed: set[int] = set()
        self._stale: set[int] = set()
        called, answered = calls > _FAINT, ok > _FAINT
        self.p_fail = np.where(called, 1.0 - ok / np.where(called, calls, 1.0), 0.0)
        self.any_failed = bool(np.any(self.p_fail > 0))
        has = np.where(answered, ok, np.nan)
        self._tokens_out: FloatArray = sums[c.TOKENS_OUT] / has
        deviation = np.sqrt(np.maximum(sums[c.TOKENS_OUT_SQ] / has - self._tokens_out**2, 0.0))
        self._tokens_out_p95: FloatArray = self._tokens_out + _Z95 * deviation
        seconds, tokens = sums[c.SECONDS], sums[c.TOKENS_OUT]
        self._seconds = np.where(answered, seconds / np.where(answered, ok, 1.0), 0.0)
        timed = answered & (seconds > 0) & (tokens > 0)
        self._speed = np.where(timed, tokens / np.where(timed, seconds, 1.0), np.nan)

    def _derive_arm(self, arm: int, sums: Sequence[float]) -> None:
        """Do for one arm what `_derive` does for all; a property test holds them together."""
        weight, prior_mean = self.prior.weight.item(arm), self.prior.mean.item(arm)
        calls, ok = sums[_CALLS], sums[_OK]
        if self.rates_quality:
            count, total, squares = sums[_N_QUALITY], sums[_QUALITY], sums[_QUALITY_SQ]
        else:
            count, total, squares = calls, ok, ok
        self.n[arm] = n = count + weight
        if n > _FAINT:
            self.mean[arm] = mean = (total + weight * prior_mean) / n
            spread = (squares + weight * prior_mean) / n - mean * mean
            self.variance[arm] = spread if spread > 0.0 else 0.0
        else:
            self.mean[arm], self.variance[arm] = prior_mean, _UNKNOWN_VARIANCE
        self._derive_pulls(arm, sums, n)
        if calls > _FAINT:
            self.p_fail[arm] = 1.0 - ok / calls
            self.any_failed = self.any_failed or ok < calls
        else:
            self.p_fail[arm] = 0.0

    def _derive_pulls(self, arm: int, sums: Sequence[float], n: float) -> None:
        pending = sums[_OPENED] - sums[_CLOSED] - sums[_EXPIRED]
        counted, trials = n + pending, sums[_CALLS] + pending
        self.root_inverse[arm] = 1.0 / sqrt(counted) if counted > _FAINT else 1.0
        self._begun += trials - self._trials[arm]
        self._pulls += counted - self._counted[arm]
        self.begun[0], self.pulls[0] = self._begun, self._pulls
        self.trials[arm] = self._trials[arm] = trials
        self._counted[arm] = counted

    def _freshen(self) -> None:
        for arm in self._stale:
            self._derive_answers(arm, self._sums[arm] or _NOTHING)
        self._stale.clear()

    def _derive_answers(self, arm: int, sums: Sequence[float]) -> None:
        ok = sums[_OK]
        if ok <= _FAINT:
            self._seconds[arm] = 0.0
            self._tokens_out[arm] = self._tokens_out_p95[arm] = self._speed[arm] = nan
            return
        tokens, seconds = sums[Column.TOKENS_OUT], sums[Column.SECONDS]
        self._seconds[arm] = seconds / ok
        self._tokens_out[arm] = mean = tokens / ok
        spread = sums[Column.TOKENS_OUT_SQ] / ok - mean * mean
        self._tokens_out_p95[arm] = mean + _Z95 * sqrt(spread) if spread > 0 else mean
        self._speed[arm] = tokens / seconds if seconds > 0 and tokens > 0 else nan
