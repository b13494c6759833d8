"""What is worth how much: quality against money, time and failures."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.core.errors import ConfigurationError
from orchestrator.core.estimates import Estimates, FloatArray

__all__ = ["Objective", "default_cost_weight"]

_DEAREST_COSTS = 0.2
"""Points of quality that a mean call of the dearest arm costs by default."""


@dataclass(frozen=True, slots=True)
class Objective:
    """utility = index of quality - cost - latency - failures - loading, each times its weight.

    Formed at decision time from raw sums, so that prices and weights change without relearning.

    Attributes:
        cost_weight: Points of quality per USD; None lets the pool's prices decide, see
            `default_cost_weight`.
        latency_weight: Points of quality per second.
        failure_weight: Points of quality that a certain failure costs.
        load_weight: Points of quality per second that a model which is not in memory takes to be
            loaded, those included that whoever has to make room will take to come back.
    """

    cost_weight: float | None = None
    latency_weight: float = 0.0
    failure_weight: float = 1.0
    load_weight: float = 0.01

    def __post_init__(self) -> None:
        for name in ("cost_weight", "latency_weight", "failure_weight", "load_weight"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                raise ConfigurationError(f"{name} must be at least 0, not {value!r}")

    def penalty(
        self, estimates: Estimates, expected_usd: FloatArray, cost_weight: float
    ) -> FloatArray:
        """Return what to subtract from an index of quality, shape ``(*lead, n_arms)``.

        Args:
            estimates: Where failures and seconds come from.
            expected_usd: Mean cost of a call like this one; 0 where unknown (a limit on cost is
                a requirement, not an objective).
            cost_weight: The weight in force.
        """
        penalty = cost_weight * expected_usd
        if self.failure_weight and estimates.any_failed:
            penalty = penalty + self.failure_weight * estimates.p_fail
        if self.latency_weight:
            penalty = penalty + self.latency_weight * estimates.seconds
        return penalty


def default_cost_weight(mean_call_usd: FloatArray) -> float:
    """Return the weight at which a mean call of the dearest arm costs 0.2 points of quality.

    Args:
        mean_call_usd: Cost of a mean call per arm; nan where unknown. All free or unknown: 0.
    """
    known = mean_call_usd[mean_call_usd > 0]
    return _DEAREST_COSTS / float(known.max()) if known.size else 0.0
