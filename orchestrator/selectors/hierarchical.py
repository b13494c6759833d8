"""Optimism over segments that help each other, of arms that may change."""

from __future__ import annotations

import math
from typing import ClassVar, Final

import numpy as np

from orchestrator.core.errors import ConfigurationError
from orchestrator.core.estimates import FloatArray
from orchestrator.core.optimism import upper_bounds
from orchestrator.core.pooling import Pooled
from orchestrator.core.selector import Candidates
from orchestrator.core.views import Evidence, Memory
from orchestrator.selectors.burn_in import BurnIn

__all__ = ["HierarchicalSelector"]

_PATIENCE: Final = 10_000.0
"""Pulls of a segment after which its levels are twice as high as for arms that never change."""
_STEPS: Final = 32
"""Levels are multiples of this part of one, so that bounds need not be derived every time; of two
the lower, so that arms which are known alike get none of it."""


class HierarchicalSelector:
    """Choose the arm that may plausibly be the best for this kind of request.

    What is believed of an arm in the request's segment is its mean there, shrunk to its mean in
    all others (`orchestrator.core.pooling`). Optimism is for arms that were pulled less often
    than the average one: KL-UCB with the level ln(pulls / (arms * n)), so that arms of which all
    is equally known, as from a table of outcomes, are judged by their means. There is less of it
    where ratings differ less than right and wrong do. It grows with the square root of the pulls,
    since arms that are hardly pulled may have become better; what has become of those that are
    pulled is seen at once (`orchestrator.core.changes`).

    Args:
        kappa: Pulls that an arm's mean over all other segments counts for, above 0.
        exploration_factor: Multiplies the level; 1 is the index as it is tested, 0 is greedy.
        min_trials: Pulls that every arm gets before it is judged, over all segments.
        exploration_cap: Pulls of all arms together after which none is forced any more.
        floor: Probability spread evenly over the eligible arms.
        memory: How long it remembers; None: until an arm changes.

    Source:
        Kaufmann, Cappé & Garivier (2012), Bayes-UCB, and Garivier & Cappé (2011), KL-UCB, whose
        indices this one follows; Audibert & Bubeck (2009), MOSS, for the level; Besson et al.
        (2022), GLR-klUCB, for change detection with exploration that grows as sqrt(pulls).

    >>> from orchestrator.core.estimates import Estimates
    >>> from orchestrator.core.statistics import COLUMNS
    >>> sums = np.zeros((len(COLUMNS), 3))
    >>> sums[:3] = 90, 9, 9
    >>> sums[3:5] = 45, 4, 6
    >>> evidence = Evidence(Estimates.of(sums))
    >>> nothing, yes = np.zeros(3), np.ones(3, dtype=np.bool_)
    >>> arms = Candidates(yes, nothing, nothing, nothing, yes, yes, nothing)
    >>> HierarchicalSelector().scores(evidence, arms, np.random.default_rng(0)).round(2)
    array([0.5 , 0.73, 0.89])
    """

    name: ClassVar[str] = "hierarchical"
    segmented: ClassVar[bool] = True
    n_extra: int = 0

    def __init__(
        self,
        kappa: float = 8.0,
        exploration_factor: float = 1.0,
        min_trials: int = 5,
        *,
        exploration_cap: int = 1000,
        floor: float = 0.01,
        memory: Memory | None = None,
    ) -> None:
        if not 0 <= exploration_factor < math.inf:
            raise ConfigurationError(
                f"exploration_factor must be at least 0, not {exploration_factor!r}"
            )
        if not 0 <= floor <= 1:
            raise ConfigurationError(f"floor lies in [0, 1], not at {floor!r}")
        memory = memory or Memory(adaptive=True)
        self.memory = Memory(memory.window_s, memory.half_life_s, memory.adaptive, kappa)
        self.kappa = kappa
        self.exploration_factor = exploration_factor
        self.floor = floor
        self._burn_in = BurnIn(min_trials, exploration_cap)

    def scores(
        self, evidence: Evidence, candidates: Candidates, rng: np.random.Generator
    ) -> FloatArray:
        """Return upper bound - penalty, arms with too few trials above all others."""
        factor, pooled = self.exploration_factor, evidence.pooled
        if pooled is not None and isinstance(pooled.pulls, float):
            known = pooled.n_known or 1.0
            mean = pooled.pulls / known
            level = int(math.log(mean) * _STEPS) / _STEPS if mean > 1.0 else 0.0
            boost = factor * (1.0 + math.sqrt(known * math.exp(level) / _PATIENCE))
            bounds = pooled.upper_bounds(level, boost)
        else:
            pooled = Pooled(evidence.total, evidence.segment or evidence.total, self.kappa)
            known = np.maximum(pooled.n_known, 1.0)
            levels = np.log(np.maximum(pooled.pulls / known, 1.0))
            levels = np.floor(levels * _STEPS) / _STEPS
            boosts = factor * (1.0 + np.sqrt(known * np.exp(levels) / _PATIENCE))
            bounds = upper_bounds(pooled.mean, pooled.counted, levels, boosts * pooled.dispersion)
        return self._burn_in.first(bounds - candidates.penalty, evidence.total)
