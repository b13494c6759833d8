"""The first pulls: every arm is tried before it is judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from orchestrator.core.errors import ConfigurationError
from orchestrator.core.estimates import Estimates, FloatArray

__all__ = ["BurnIn"]

_FORCED: Final = 1e9
"""Above every score, so that arms with too few trials come first, the least tried before all."""


@dataclass(frozen=True, slots=True)
class BurnIn:
    """Puts arms with too few trials above all others.

    Args:
        min_trials: Pulls that every arm gets before it is judged, over all segments.
        exploration_cap: Pulls of all arms together after which none is forced any more, so that
            10,000 arms do not cost 50,000 forced calls.

    >>> estimates = Estimates(3)
    >>> estimates.trials[:] = 0, 7, 2
    >>> scores = np.array([0.5, 0.9, 0.6])
    >>> BurnIn(5, 1000).first(scores, estimates).argsort()[::-1]
    array([0, 2, 1])
    """

    min_trials: int
    exploration_cap: int

    def __post_init__(self) -> None:
        for name in ("min_trials", "exploration_cap"):
            value = getattr(self, name)
            if not value >= 0:
                raise ConfigurationError(f"{name} must be at least 0, not {value!r}")

    def first(self, scores: FloatArray, estimates: Estimates) -> FloatArray:
        """Return the scores, shape ``(*lead, n_arms)``, with arms to be tried first on top."""
        begun = estimates.begun
        # One run, as when serving: a number costs a tenth of an array of one.
        forcing = (begun.item() if begun.size == 1 else begun.min()) < self.exploration_cap
        if not (forcing and self.min_trials):
            return scores
        short = (estimates.trials < self.min_trials) & (begun < self.exploration_cap)
        return np.where(short, _FORCED - estimates.trials, scores)
