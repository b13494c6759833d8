"""Optimism over segments that help each other, of arms that may change."""

from __future__ import annotations

import math
from typing import ClassVar, Final, TypeAlias

import numpy as np

from orchestrator.core.errors import ConfigurationError
from orchestrator.core.estimates import FloatArray
from orchestrator.core.pooling import Pooled
from orchestrator.core.selector import Candidates
from orchestrator.core.views import Evidence, Memory
from orchestrator.selectors.burn_in import BurnIn

__all__ = ["HierarchicalSelector", "upper_bound"]

_Scale: TypeAlias = float | FloatArray
# Arrays without axes: numpy compares with them in two thirds of the time of numbers.
_ZERO: Final = np.array(0.0)
_ONE: Final = np.array(1.0)
_PATIENCE: Final = 10_000.0
"""Pulls of a segment after which its levels are twice as high as for arms that never change."""


def upper_bound(pooled: Pooled, level: _Scale, boost: _Scale = 1.0) -> FloatArray:
    """Return how good each arm may plausibly be, shape ``(*lead, n_arms)``.

    With f = boost * max(0, level - ln n) / n, v the variance of a reward that is won with chance
    ``mean``, and b = (1/2 - mean) f, it is

        mean + b + sqrt(b^2 + 2 v f), at most 1,

    which stands in for the largest q with kl(mean, q) <= f, Bernoulli: the distance to the mean is
    within a fifth of that for f up to a tenth, and no root has to be searched for.

    Args:
        pooled: What is believed of each arm; n is its counted pulls.
        level: ln of the pulls at which an arm needs no optimism; shape ``(*lead, 1)`` or a number.
        boost: Multiplies the exploration; as level.

    >>> from orchestrator.core.estimates import Estimates
    >>> from orchestrator.core.statistics import COLUMNS
    >>> sums = np.zeros((len(COLUMNS), 3))
    >>> sums[:4] = [[90, 9, 9], [90, 9, 9], [90, 9, 9], [45, 4, 6]]
    >>> estimates = Estimates.of(sums)
    >>> upper_bound(Pooled(estimates, estimates, 8.0), math.log(36)).round(2)
    array([0.5 , 0.71, 0.88])
    """
    rate = np.asarray(pooled.log_inverse + level)
    np.maximum(rate, _ZERO, out=rate)
    rate *= boost
    rate *= pooled.inverse
    lean = pooled.lean * rate
    rate *= pooled.spread
    rate += lean * lean
    np.sqrt(rate, out=rate)
    rate += lean
    rate += pooled.mean
    np.minimum(rate, _ONE, out=rate)
    return rate


class HierarchicalSelector:
    """Choose the arm that may plausibly be the best for this kind of request.

    What is believed of an arm in the request's segment is its mean there, shrunk to its mean in
    all others (`orchestrator.core.pooling`). Optimism is for arms that were pulled less often
    than the average one: KL-UCB with the level ln(pulls / (arms * n)), so that arms of which all
    is equally known, as from a table of outcomes, are judged by their means. It grows with the
    square root of the pulls, since arms that are hardly pulled may have become better; what has
    become of those that are pulled is seen at once (`orchestrator.core.changes`).

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
        pooled = evidence.pooled
        if pooled is None:
            pooled = Pooled(evidence.total, evidence.segment or evidence.total, self.kappa)
        pulls, n_known = pooled.pulls, pooled.n_known
        level: _Scale
        boost: _Scale
        if isinstance(pulls, float):
            level = math.log(max(pulls / max(n_known, 1.0), 1.0))
            boost = 1.0 + math.sqrt(max(pulls, 0.0) / _PATIENCE)
        else:
            level = np.log(np.maximum(pulls / np.maximum(n_known, 1.0), 1.0))
            boost = 1.0 + np.sqrt(np.maximum(pulls, 0.0) / _PATIENCE)
        boost = boost * self.exploration_factor
        scores = upper_bound(pooled, level, boost)
        scores -= candidates.penalty
        return self._burn_in.first(scores, evidence.total)
