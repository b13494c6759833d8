"""The model of highest priority."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from orchestrator.core.estimates import FloatArray
from orchestrator.core.selector import Candidates
from orchestrator.core.views import ALL, Evidence, Memory

__all__ = ["PrioritySelector"]


class PrioritySelector:
    """Choose the eligible model of highest priority; ties go to the one registered first.

    >>> from orchestrator.core.estimates import Estimates
    >>> nothing, yes = np.zeros(2), np.ones(2, dtype=np.bool_)
    >>> arms = Candidates(yes, nothing, nothing, np.array([1.0, 7.0]), yes, yes, nothing)
    >>> PrioritySelector().scores(Evidence(Estimates(2)), arms, np.random.default_rng())
    array([1., 7.])
    """

    name: ClassVar[str] = "priority"
    segmented: ClassVar[bool] = False
    memory: Memory = ALL
    n_extra: int = 0
    floor: float = 0.0

    def scores(
        self, evidence: Evidence, candidates: Candidates, rng: np.random.Generator
    ) -> FloatArray:
        """Return the priority."""
        shape = evidence.total.mean.shape
        if candidates.priority.shape == shape:  # as when serving
            return candidates.priority
        return np.broadcast_to(candidates.priority, shape)
