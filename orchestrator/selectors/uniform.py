"""Any model, each as likely as the others."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from orchestrator.core.estimates import FloatArray
from orchestrator.core.selector import Candidates
from orchestrator.core.views import ALL, Evidence, Memory

__all__ = ["RandomSelector"]


class RandomSelector:
    """Choose every eligible model with the same probability.

    Nothing scores better than anything else and all the probability is spread evenly, which makes
    each propensity one over the number of eligible models. Its log judges other policies best.

    >>> from orchestrator.selectors.choice import propensities
    >>> propensities(np.zeros(4), np.array([1, 0, 1, 0], dtype=np.bool_), RandomSelector.floor)
    array([0.5, 0. , 0.5, 0. ])
    """

    name: ClassVar[str] = "random"
    segmented: ClassVar[bool] = False
    memory: Memory = ALL
    n_extra: int = 0
    floor: float = 1.0

    def scores(
        self, evidence: Evidence, candidates: Candidates, rng: np.random.Generator
    ) -> FloatArray:
        """Return zeros."""
        return np.zeros(evidence.total.mean.shape)
