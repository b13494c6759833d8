"""When models are measured by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from orchestrator.core.errors import ConfigurationError

__all__ = ["ProfilingSchedule"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfilingSchedule:
    """When models are measured by themselves.

    Attributes:
        interval_s: Seconds between two rounds.
        jitter: By which share of that a round comes earlier or later, in [0, 1).
        n: Calls per model and round.
        max_cost: USD that one round may cost, all models together.
        idle_s: A model that was called within this time is left alone, and so is one that is
            being called: its own requests measure it.

    Raises:
        ConfigurationError: A number is out of range.
    """

    interval_s: float = 3600.0
    jitter: float = 0.2
    n: int = 5
    max_cost: float = 0.01
    idle_s: float = 60.0

    def __post_init__(self) -> None:
        for name, sound, wanted in (
            ("interval_s", 0 < self.interval_s < inf, "above 0"),
            ("jitter", 0 <= self.jitter < 1, "in [0, 1)"),
            ("n", self.n >= 1, "at least 1"),
            ("max_cost", self.max_cost >= 0, "at least 0"),
            ("idle_s", 0 <= self.idle_s < inf, "at least 0"),
        ):
            if not sound:
                raise ConfigurationError(
                    f"profiling.{name} must be {wanted}, not {getattr(self, name)!r}"
                )
