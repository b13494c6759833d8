"""Every model in turn."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from orchestrator.core.estimates import FloatArray
from orchestrator.core.selector import Candidates
from orchestrator.core.views import Evidence, Memory

__all__ = ["RoundRobinSelector"]


class RoundRobinSelector:
    """Choose the eligible model that was called least of late; ties go to the one registered first.

    Whose turn it is follows from the pulls that were begun, so that there is no pointer to keep:
    nothing is local to a process, and models that may serve different requests get their share
    of what they may serve.

    Args:
        memory: How long a pull counts. By default half of it is forgotten each minute: a model
            that comes new or back catches up on the last minutes, not on all its absence.

    >>> from orchestrator.core.estimates import Estimates
    >>> estimates = Estimates(3)
    >>> estimates.trials[:] = 8, 7, 7
    >>> nothing, yes = np.zeros(3), np.ones(3, dtype=np.bool_)
    >>> arms = Candidates(yes, nothing, nothing, nothing, yes, yes, nothing)
    >>> RoundRobinSelector().scores(Evidence(estimates), arms, np.random.default_rng())
    array([-8., -7., -7.])
    """

    name: ClassVar[str] = "round-robin"
    segmented: ClassVar[bool] = False
    n_extra: int = 0
    floor: float = 0.0

    def __init__(self, *, memory: Memory | None = None) -> None:
        self.memory = Memory(half_life_s=60.0) if memory is None else memory

    def scores(
        self, evidence: Evidence, candidates: Candidates, rng: np.random.Generator
    ) -> FloatArray:
        """Return minus the pulls begun."""
        return np.asarray(-evidence.total.trials)
