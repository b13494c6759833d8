"""When the current model has become so poor that another one should take its place. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np

from orchestrator.core.errors import ConfigurationError
from orchestrator.core.estimates import FloatArray

__all__ = ["AutoSwitchPolicy", "scores"]

_SUCCESS, _SPEED, _LATENCY = 0.5, 0.3, 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoSwitchPolicy:
    """When to switch.

    Attributes:
        threshold: Nothing happens while the current model scores at least this, in [0, 1].
        hysteresis: Another one has to score by more than this better, so that two alike do not
            take turns.
        min_calls: A model with fewer calls is not judged.
        every_s: How often to look, in seconds.
    """

    threshold: float = 0.7
    hysteresis: float = 0.1
    min_calls: int = 10
    every_s: float = 30.0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("threshold", 0, 1),
            ("hysteresis", 0, 1),
            ("min_calls", 1, inf),
            ("every_s", 1e-3, inf),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not low <= value <= high:
                limits = f"in [{low:g}, {high:g}]" if high < inf else f"at least {low:g}"
                raise ConfigurationError(f"{name} must be {limits}, not {value!r}")

    def choose(self, current: int, scores: FloatArray) -> int | None:
        """Return which one to switch to, or None.

        Args:
            current: The arm that is current.
            scores: Of all that could be, shape ``(n_arms,)``; nan where an arm is not judged.
        """
        if not scores[current] < self.threshold or np.isnan(scores).all():
            return None
        best = int(np.nanargmax(scores))
        return best if scores[best] - scores[current] > self.hysteresis else None


def scores(success: FloatArray, tokens_per_s: FloatArray, seconds: FloatArray) -> FloatArray:
    """Return how well each model does: half success, the rest speed and latency beside the best.

    Args:
        success: Share of calls that succeeded, shape ``(n_arms,)``, as all; nan leaves an arm out.
        tokens_per_s: Output tokens per second; nan where unknown, which counts as slow.
        seconds: Mean seconds of a call, 0 where unknown, which counts as slow.

    Returns:
        Values in [0, 1].

    >>> scores(np.array([1.0, 0.5]), np.array([20.0, 40.0]), np.array([1.0, 2.0])).round(2)
    array([0.85, 0.65])
    """
    judged = ~np.isnan(success)
    speed = np.where(judged, np.nan_to_num(tokens_per_s), 0.0)
    fastest = speed.max(initial=0.0)
    known = judged & (seconds > 0)
    quickest = seconds[known].min(initial=inf)
    latency = np.where(known, quickest / np.where(known, seconds, 1.0), 0.0)
    relative = speed / fastest if fastest else speed
    return np.asarray(_SUCCESS * success + _SPEED * relative + _LATENCY * latency)
