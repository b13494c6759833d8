"""What selectors that learn from a request's features have in common."""

from __future__ import annotations

import math
from typing import ClassVar, Final

import numpy as np

from orchestrator.core.errors import ConfigurationError
from orchestrator.core.estimates import FloatArray
from orchestrator.core.regressions import n_columns
from orchestrator.core.selector import Candidates
from orchestrator.core.views import ALL, Evidence, Memory

__all__ = ["LinearSelector"]

# Without axes: numpy compares with it in two thirds of the time of a number.
_ONE: Final = np.array(1.0)


class LinearSelector:
    """Expects of each arm a reward that is linear in the request's features, on its own terms.

    Each arm has a regression of its own with a ridge of 1 and an optimistic intercept: before its
    first pull an arm is expected to answer everything perfectly, and forgets that by one pull's
    weight. A request without features is one whose features are all 0.

    Args:
        n_features: Length of a request's features, of which each should be about as large as 1.
        exploration: How many standard errors count, times a reward's standard deviation.
        memory: How long it remembers. One that fades costs an inverse per arm and minute, 0.1 ms.
        floor: Probability spread evenly over the eligible arms.
    """

    segmented: ClassVar[bool] = False

    def __init__(
        self,
        n_features: int = 32,
        exploration: float = 1.0,
        *,
        memory: Memory = ALL,
        floor: float = 0.01,
    ) -> None:
        if not (exploration >= 0 and math.isfinite(exploration)):
            raise ConfigurationError(f"exploration must be at least 0, not {exploration!r}")
        if not n_features >= 1:
            raise ConfigurationError(f"n_features must be at least 1, not {n_features!r}")
        if not 0 <= floor <= 1:
            raise ConfigurationError(f"floor lies in [0, 1], not at {floor!r}")
        self.n_features = n_features
        self.exploration = exploration
        self.n_extra = n_columns(n_features)
        self.memory = memory
        self.floor = floor

    def _expected(
        self, evidence: Evidence, candidates: Candidates
    ) -> tuple[FloatArray, FloatArray]:
        """Return each arm's utility, and how far it may be off; shapes ``(*lead, n_arms)``."""
        if evidence.extra is None:
            raise ConfigurationError("regressions on features are not kept here")
        mean, squared = evidence.extra.predict(candidates.features)
        mean -= candidates.penalty
        # Pending pulls count as if each had had the mean features: n / (n + pending).
        squared *= np.maximum(evidence.total.n, _ONE)
        error = np.sqrt(squared, out=squared)
        error *= evidence.total.root_inverse
        if self.exploration != 1.0:
            error *= self.exploration
        return mean, error
