"""How a model is, for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from orchestrator.routing.availability import Outage
from orchestrator.routing.breaker import BreakerState

__all__ = ["ModelHealth"]


@dataclass(frozen=True, slots=True)
class ModelHealth:
    """Whether a model may be chosen now.

    Attributes:
        model: Its key.
        healthy: Nothing speaks against it.
        breaker: State of its breaker.
        issues: What speaks against it, a sentence each.
        back_in_s: Seconds until it is tried again, or None if it is healthy or waiting does not
            help.
    """

    model: str
    healthy: bool
    breaker: BreakerState
    issues: tuple[str, ...] = ()
    back_in_s: float | None = None

    @classmethod
    def of(cls, key: str, state: BreakerState, outage: Outage | None, now: float) -> Self:
        """Describe a model from its breaker's state and what keeps it out, if anything does."""
        if outage is None:
            issues = () if state == "closed" else ("it has failed, and its next call is a probe",)
            return cls(key, not issues, state, issues)
        return cls(key, False, state, (outage.reason,), outage.refusal(now).retry_after_s)
