"""How a model is, for people: what keeps it out, and what was seen of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from math import inf
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from orchestrator.core.clock import Clock
from orchestrator.core.decisions import RefusalCode
from orchestrator.lifecycle.state import Status
from orchestrator.routing.availability import Availability
from orchestrator.routing.breaker_states import BreakerState
from orchestrator.routing.evidence import Checked, Failure
from orchestrator.routing.registry import ModelRegistry

if TYPE_CHECKING:
    from orchestrator.monitoring import ModelHealthMonitor

__all__ = ["EndpointState", "Health", "HealthEvidence", "ModelHealth"]

EndpointState: TypeAlias = Literal["ready", "cooling", "refused"]
_ENDPOINT: dict[RefusalCode, EndpointState] = {
    RefusalCode.COOLING: "cooling",
    RefusalCode.CREDENTIAL: "refused",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthEvidence:
    """What was seen of a model. Times are seconds since 1970-01-01 UTC.

    Attributes:
        last_answer_at: When it last answered a request or a check, or None.
        last_failures: Its last five failures, the latest first; some, such as a rate limit, do
            not count against its health.
        calls: Its calls within the breaker's window, since the breaker last closed.
        failures: How many of them failed by its fault.
        error_rate: Their share, or None without calls.
        response_s: Seconds an answer took on average, or None without one.
        checks: Active checks that were made of it.
        failed_checks: How many of them failed.
        check_cost_usd: What they cost, which is in no statistics of requests.
    """

    last_answer_at: float | None = None
    last_failures: tuple[Failure, ...] = ()
    calls: int = 0
    failures: int = 0
    error_rate: float | None = None
    response_s: float | None = None
    checks: int = 0
    failed_checks: int = 0
    check_cost_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class ModelHealth:
    """Whether a model may be chosen now. Three things may speak against it, each by itself.

    Attributes:
        model: Its key.
        healthy: Nothing speaks against it.
        breaker: State of its breaker: failures open it, probes close it.
        endpoint: ``cooling`` after a refusal such as 429, ``refused`` until its credential
            changes.
        lifecycle: Whether a model of ours is in memory, ``loading`` or ``failed`` to load; None for
            those that need none of it.
        issues: What speaks against it, a sentence each.
        back_in_s: Seconds until it is tried again, or None if it is healthy or waiting does not
            help.
        next_check_s: Seconds until a health monitor checks it, or None if none will.
        evidence: What was seen of it.
    """

    model: str
    healthy: bool
    breaker: BreakerState
    endpoint: EndpointState = "ready"
    lifecycle: Status | None = None
    issues: tuple[str, ...] = ()
    back_in_s: float | None = None
    next_check_s: float | None = None
    evidence: HealthEvidence = HealthEvidence()

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready data."""
        failures = [failure._asdict() for failure in self.evidence.last_failures]
        return {**asdict(self), "evidence": {**asdict(self.evidence), "last_failures": failures}}


class Health:
    """Describes the models of one engine.

    Args:
        registry: The models.
        availability: Their service state.
        clock: Time.
        statuses: Returns what the models in our own memory are, by resident.
        monitor: Checks them, or None.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        availability: Availability,
        clock: Clock,
        statuses: Callable[[], Mapping[str, Status]],
        monitor: ModelHealthMonitor | None,
    ) -> None:
        self._registry = registry
        self._availability = availability
        self._clock = clock
        self._statuses = statuses
        self._monitor = monitor

    def of(self, key: str) -> ModelHealth:
        """Describe one model of the pool."""
        availability, now = self._availability, self._clock.monotonic()
        availability.arrange(self._registry.pool)
        outages = list(availability.speaks_against(key, now))
        state = availability.state(key)
        issues = [outage.reason for outage in outages]
        if state != "closed" and all(o.code is not RefusalCode.UNHEALTHY for o in outages):
            issues.append("it has failed, and its next call is a probe")
        ends = [outage.until for outage in outages]
        back_at = max((at for at in ends if at is not None), default=None)
        checked = Checked() if self._monitor is None else self._monitor.checked(key)
        resident = self._registry.get_model(key).spec.resident
        lifecycle = None if resident is None else self._statuses()[resident]
        if lifecycle is Status.FAILED:
            issues.append("its last load failed")
        endpoint = (_ENDPOINT[o.code] for o in outages if o.code in _ENDPOINT)
        return ModelHealth(
            key,
            not issues,
            state,
            next(endpoint, "ready"),
            lifecycle,
            tuple(issues),
            None if back_at is None or None in ends else max(back_at - now, 0.0),
            max(checked.next_at - now, 0.0) if checked.next_at < inf else None,
            self._evidence(key, now, checked),
        )

    def _evidence(self, key: str, now: float, checked: Checked) -> HealthEvidence:
        seen, tally = self._availability.evidence(key), self._availability.tally(key, now)
        to_wall = self._clock.wall() - now
        return HealthEvidence(
            last_answer_at=None if seen.answered_at is None else seen.answered_at + to_wall,
            last_failures=tuple(f._replace(at=f.at + to_wall) for f in seen.failures),
            calls=tally.calls,
            failures=tally.failures,
            error_rate=tally.error_rate,
            response_s=tally.response_s,
            checks=checked.checks,
            failed_checks=checked.failed,
            check_cost_usd=checked.cost_usd,
        )
