"""The model that performs best: succeeds, and answers fast."""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np

from orchestrator.core.errors import ConfigurationError
from orchestrator.core.estimates import FloatArray
from orchestrator.core.selector import Candidates
from orchestrator.core.views import ALL, Evidence, Memory

__all__ = ["PerformanceSelector"]


_MISSED: Final = 4.0
"""What a limit that is missed takes from a score: more than all else can give, which is 2."""
_FORCED: Final = 1e9
"""Above every score, so that arms with too few trials come first, the least tried before all."""


class PerformanceSelector:
    """Choose the eligible model that succeeds most and answers fastest, both in equal parts.

    Args:
        min_tokens_per_second: Slower models come after all that are fast enough.
        max_response_time: Seconds; models whose mean answer takes longer come after all others.
        prefer_streaming: Models that cannot stream come after those that can.
        min_trials: Pulls that every arm gets before it is judged.

    >>> from orchestrator.core.estimates import Estimates
    >>> estimates = Estimates(2)
    >>> estimates.trials[:], estimates.p_fail[:] = 10, (0.2, 0.0)
    >>> nothing, yes = np.zeros(2), np.ones(2, dtype=np.bool_)
    >>> arms = Candidates(yes, nothing, nothing, nothing, yes, yes, np.array([100.0, 25.0]))
    >>> PerformanceSelector().scores(Evidence(estimates), arms, np.random.default_rng())
    array([1.8 , 1.25])
    """

    name: ClassVar[str] = "performance"
    segmented: ClassVar[bool] = False
    memory: Memory = ALL
    n_extra: int = 0
    floor: float = 0.0

    def __init__(
        self,
        min_tokens_per_second: float | None = None,
        max_response_time: float | None = None,
        prefer_streaming: bool = False,
        *,
        min_trials: int = 1,
    ) -> None:
        for name, value in (
            ("min_tokens_per_second", min_tokens_per_second),
            ("max_response_time", max_response_time),
        ):
            if value is not None and not value >= 0:
                raise ConfigurationError(f"{name} must be at least 0, not {value!r}")
        if not min_trials >= 0:
            raise ConfigurationError(f"min_trials must be at least 0, not {min_trials!r}")
        self.min_tokens_per_second = min_tokens_per_second
        self.max_response_time = max_response_time
        self.prefer_streaming = prefer_streaming
        self.min_trials = min_trials

    def scores(
        self, evidence: Evidence, candidates: Candidates, rng: np.random.Generator
    ) -> FloatArray:
        """Return success rate plus the share of the fastest arm's speed, less what is missed."""
        estimates = evidence.total
        speed = np.where(candidates.eligible, np.nan_to_num(candidates.speed, nan=0.0), 0.0)
        top = np.maximum(speed.max(axis=-1, keepdims=True), 1e-9)
        scores = (1.0 - estimates.p_fail) + speed / top
        if self.min_tokens_per_second is not None:
            # An arm of unknown speed has missed nothing yet.
            scores = scores - _MISSED * (candidates.speed < self.min_tokens_per_second)
        if self.max_response_time is not None:
            scores = scores - _MISSED * (estimates.seconds > self.max_response_time)
        if self.prefer_streaming:
            scores = scores - _MISSED * ~candidates.streaming
        forced = _FORCED - estimates.trials
        return np.asarray(np.where(estimates.trials < self.min_trials, forced, scores))
