"""The best so far, and now and then any other."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from orchestrator.core.errors import ConfigurationError
from orchestrator.core.estimates import FloatArray
from orchestrator.core.selector import Candidates
from orchestrator.core.views import ALL, Evidence, Memory
from orchestrator.selectors.burn_in import BurnIn

__all__ = ["EpsilonGreedySelector"]


class EpsilonGreedySelector:
    """Choose the arm that was best so far, and with probability epsilon any eligible one.

    Args:
        epsilon: Probability in [0, 1] spread evenly over the eligible arms; it is the `floor`.
        min_trials: Pulls that every arm gets before it is judged, over all segments.
        exploration_cap: Pulls of all arms together after which none is forced any more.
        memory: How long it remembers; with a window or a half-life it follows arms that change.

    Source:
        Sutton & Barto (2018), "Reinforcement learning", section 2.2.

    >>> EpsilonGreedySelector(0.2).floor
    0.2
    >>> from orchestrator.core.estimates import Estimates
    >>> estimates = Estimates(2)
    >>> estimates.trials[:], estimates.mean[:] = 5, (0.7, 0.8)
    >>> nothing, yes = np.zeros(2), np.ones(2, dtype=np.bool_)
    >>> arms = Candidates(yes, nothing, np.array([0, 0.3]), nothing, yes, yes, nothing)
    >>> EpsilonGreedySelector().scores(Evidence(estimates), arms, np.random.default_rng())
    array([0.7, 0.5])
    """

    name: ClassVar[str] = "epsilon-greedy"
    segmented: ClassVar[bool] = False
    n_extra: int = 0

    def __init__(
        self,
        epsilon: float = 0.1,
        min_trials: int = 1,
        *,
        exploration_cap: int = 1000,
        memory: Memory = ALL,
    ) -> None:
        if not 0 <= epsilon <= 1:
            raise ConfigurationError(f"epsilon lies in [0, 1], not at {epsilon!r}")
        self.memory = memory
        self.floor = epsilon
        self._burn_in = BurnIn(min_trials, exploration_cap)

    def scores(
        self, evidence: Evidence, candidates: Candidates, rng: np.random.Generator
    ) -> FloatArray:
        """Return mean - penalty, arms with too few trials above all others."""
        estimates = evidence.total
        return self._burn_in.first(estimates.mean - candidates.penalty, estimates)
