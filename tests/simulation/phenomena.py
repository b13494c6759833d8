"""What has to turn up in simulated worlds, or their checks would say little."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from orchestrator.core.decisions import RefusalCode
from orchestrator.core.errors import (
    AttemptsExhaustedError,
    DeadlineExceededError,
    NoEligibleModelsError,
    StreamInterruptedError,
)
from orchestrator.core.events import (
    CallFailed,
    DecisionExpired,
    EndpointCooled,
    Event,
    FailedOver,
    HealthChanged,
    ModelUnloaded,
    ModelUnregistered,
    RetryScheduled,
    SubscriberFailed,
)
from orchestrator.testing.trace import Trace
from tests.simulation.evidence import Attempt, Evidence

_Sign = Callable[[Evidence], bool]


def phenomena_of(trace: Trace) -> set[str]:
    """Return which of them one world holds."""
    evidence = Evidence(trace)
    return {name for name, sign in PHENOMENA.items() if sign(evidence)}


def _event(sign: Callable[[Event], bool]) -> _Sign:
    return lambda evidence: any(sign(event) for _, event in evidence.trace.events)


def _failed(classification: str) -> _Sign:
    return _event(lambda e: isinstance(e, CallFailed) and e.classification == classification)


def _health(was: str, now: str) -> _Sign:
    return _event(lambda e: isinstance(e, HealthChanged) and (e.was, e.now) == (was, now))


def _error(kind: type[Exception]) -> _Sign:
    return lambda evidence: any(isinstance(story.error, kind) for story in evidence.trace.stories)


def _goes_on(evidence: Evidence, how: str) -> bool:
    """Say whether a stream that had broken off was answered by another model."""
    return any(
        story.ending == "answered"
        and story.entered_s is not None
        and story.use is not None
        and story.use.on_interrupt == how
        and any(one.end is not None and story.entered_s < one.end.at for one in attempts[:-1])
        for story, attempts in evidence.attempts.items()
    )


def _last_resort(evidence: Evidence) -> bool:
    """Say whether a model was taken although it was out, and answered."""
    return any(
        _was_out(one, evidence) and one.end is not None and one.end.name == "model-used"
        for attempts in evidence.attempts.values()
        for one in attempts
        if one.retry is None
    )


def _was_out(one: Attempt, evidence: Evidence) -> bool:
    decision = evidence.trace.engine.decision(one.selected.decision_id)
    out = (RefusalCode.UNHEALTHY, RefusalCode.COOLING)
    codes = {refusal.code for key, refusal in decision.refused.items() if key != one.key}
    cools = [
        event
        for _, event in evidence.trace.events
        if isinstance(event, EndpointCooled) and event.model == one.key and event.for_s is not None
    ]
    resting = any(e.at < one.selected.at < e.at + (e.for_s or 0.0) for e in cools)
    return resting and bool(codes & set(out) or len(decision.scores) == 1)


PHENOMENA: Final[Mapping[str, _Sign]] = {
    "failover": _event(lambda e: isinstance(e, FailedOver)),
    "a third retry": _event(lambda e: isinstance(e, RetryScheduled) and e.retry == 3),
    "eight attempts": lambda evidence: any(len(a) == 8 for a in evidence.attempts.values()),
    "a last resort that answers": _last_resort,
    "ejection": _health("closed", "open"),
    "ejection by rate": _event(lambda e: isinstance(e, HealthChanged) and " of " in e.reason),
    "a probe": _health("open", "half_open"),
    "a probe that fails": _health("half_open", "open"),
    "recovery": _health("half_open", "closed"),
    "a cooled endpoint": _failed("rate_limit"),
    "a refused credential": _failed("authentication_failed"),
    "a cancellation": _failed("cancelled"),
    "a deadline in a call": _failed("deadline"),
    "a process that dies": _event(lambda e: isinstance(e, ModelUnloaded) and e.reason == "crashed"),
    "a load that fails": _failed("load_failed"),
    "a broken call that is paid": _event(lambda e: isinstance(e, CallFailed) and e.cost_usd > 0),
    "an unused selection": _event(lambda e: isinstance(e, DecisionExpired)),
    "a model that leaves": _event(lambda e: isinstance(e, ModelUnregistered)),
    "a subscriber that fails": _event(lambda e: isinstance(e, SubscriberFailed)),
    "a stream that starts over": lambda evidence: _goes_on(evidence, "restart"),
    "a stream that is continued": lambda evidence: _goes_on(evidence, "continue"),
    "a broken stream": _error(StreamInterruptedError),
    "nobody eligible": _error(NoEligibleModelsError),
    "everybody tried": _error(AttemptsExhaustedError),
    "too late": _error(DeadlineExceededError),
    "a stream left early": lambda evidence: any(
        story.ending == "left" for story in evidence.trace.stories
    ),
    "a decision that is forgotten": lambda evidence: any(
        rated.forgotten for rated in evidence.trace.ratings
    ),
}
