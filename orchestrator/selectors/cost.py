"""The cheapest eligible model."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from orchestrator.core.errors import ConfigurationError
from orchestrator.core.estimates import FloatArray
from orchestrator.core.selector import Candidates
from orchestrator.core.views import ALL, Evidence, Memory

__all__ = ["CostBasedSelector"]

_UNKNOWN = 1e30
"""USD; dearer than everything."""
_NUDGE = 1e-12
"""Share of a cost, and 0.1 of it in USD: below every real difference, above rounding."""


class CostBasedSelector:
    """Choose the cheapest eligible model; an unknown price is dearer than every known one.

    Args:
        max_cost_per_request: USD; dearer models are taken only where no other is eligible, which
            the cheapest first makes sure of. To refuse them instead, demand ``max_cost``.
        prefer_local_models: At the same price, take one that runs on a machine of ours.

    Source:
        No learning; ties that remain go to the higher priority, then to the one registered first.

    >>> from orchestrator.core.estimates import Estimates
    >>> nothing, yes = np.zeros(3), np.ones(3, dtype=np.bool_)
    >>> usd = np.array([0.02, 0.01, np.nan])
    >>> arms = Candidates(yes, usd, nothing, nothing, yes, yes, nothing)
    >>> found = CostBasedSelector().scores(Evidence(Estimates(3)), arms, np.random.default_rng())
    >>> int(found.argmax())
    1
    """

    name: ClassVar[str] = "cost"
    segmented: ClassVar[bool] = False
    memory: Memory = ALL
    n_extra: int = 0
    floor: float = 0.0

    def __init__(
        self, max_cost_per_request: float | None = None, prefer_local_models: bool = False
    ) -> None:
        if max_cost_per_request is not None and not max_cost_per_request >= 0:
            raise ConfigurationError(
                f"max_cost_per_request must be at least 0, not {max_cost_per_request!r}"
            )
        self.max_cost_per_request = max_cost_per_request
        self.prefer_local_models = prefer_local_models

    def scores(
        self, evidence: Evidence, candidates: Candidates, rng: np.random.Generator
    ) -> FloatArray:
        """Return minus the expected cost in USD."""
        cost = np.where(np.isnan(candidates.cost_usd), _UNKNOWN, candidates.cost_usd)
        ranks = candidates.priority - candidates.priority.min(axis=-1, keepdims=True)
        ties = 0.5 * ranks / np.maximum(ranks.max(axis=-1, keepdims=True), 1.0)
        if self.prefer_local_models:
            ties = ties + candidates.local
        return np.asarray(_NUDGE * np.maximum(cost, 0.1) * ties - cost)
