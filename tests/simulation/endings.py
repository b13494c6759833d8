"""Promises about how requests end: once, in time, within their attempts, and saying why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from orchestrator.core.errors import (
    AttemptsExhaustedError,
    DeadlineExceededError,
    EngineClosedError,
    InternalError,
    InvalidRequestError,
    ModelNotFoundError,
    NoEligibleModelsError,
    OrchestratorError,
    StreamInterruptedError,
)
from orchestrator.core.events import CallStarted, DecisionExpired, ModelUsed
from orchestrator.engine.deadlines import TICK_S
from orchestrator.testing.trace import Story, Trace
from tests.simulation.evidence import Evidence

_ROUNDING_S = 1e-6
_CLOSING_S = 2.0
"""How long closing the connection of a stream may take beyond its end."""


def ends_once(evidence: Evidence) -> Iterator[str]:
    """Every request ends exactly once, and nothing is heard of it afterwards."""
    for story in evidence.trace.stories:
        if story.n_endings != 1:
            yield f"#{story.tag} ended {story.n_endings} times"
        after = story.events[story.events_at_end :]
        if any(not isinstance(event, DecisionExpired) for event in after):
            yield f"#{story.tag} had ended when {after} came"
        n_used = sum(isinstance(event, ModelUsed) for event in story.events)
        asks = story.errand.kind != "explain"
        if n_used > 1 or (story.ending == "answered" and n_used != asks):
            yield f"#{story.tag} was {story.ending} by {n_used} models"
        if story.ending == "cancelled" and not story.errand.cancelled_after_s:
            yield f"#{story.tag} was cancelled by nobody"


def fails_with_a_reason(evidence: Evidence) -> Iterator[str]:
    """Errors are typed, and each kind is raised only where it is true."""
    for story, attempts in evidence.attempts.items():
        error = story.error
        if error is None:
            continue
        if not isinstance(error, OrchestratorError) or isinstance(error, InternalError):
            yield f"#{story.tag} failed with {error!r}"
        entered = story.entered_s is not None
        if entered != isinstance(error, StreamInterruptedError):
            yield f"#{story.tag}, entered: {entered}, failed with {error!r}"
        if isinstance(error, NoEligibleModelsError) and attempts:
            yield f"#{story.tag} had tried {len(attempts)} models before {error!r}"
        if isinstance(error, AttemptsExhaustedError) and len(error.attempts) != len(attempts):
            yield f"#{story.tag} made {len(attempts)} attempts, its error has {error.attempts}"
        away = _named_somebody_away(story, evidence.trace)
        if isinstance(error, ModelNotFoundError) and not away:
            yield f"#{story.tag} failed with {error!r}"
        if isinstance(error, InvalidRequestError) and not attempts:
            yield f"#{story.tag} was refused: {error!r}"
        closed = after_closing(story.ended_s, evidence.trace)
        if isinstance(error, EngineClosedError) and not closed:
            yield f"#{story.tag} found no engine: {error!r}"


def keeps_its_deadline(evidence: Evidence) -> Iterator[str]:
    """No request passes its deadline by more than a tick, and none is given up before it.

    A stream's ends with its first content; after that no attempt may begin past it.
    """
    for story, attempts in evidence.attempts.items():
        if story.errand.kind == "select" and not attempts:
            continue  # its client took its time, and asked for nothing
        allowed_s = deadline_s(story, evidence.trace)
        until_s = story.begun_s + allowed_s + TICK_S + _ROUNDING_S
        streamed = story.use is not None and story.use.streamed
        if story.entered_s is not None:
            if story.entered_s > until_s:
                yield f"#{story.tag} began to answer {story.entered_s - until_s:g} s too late"
        elif story.ended_s > until_s + (_CLOSING_S if streamed else 0.0):
            yield f"#{story.tag} ended {story.ended_s - until_s:g} s too late"
        for event in story.events:
            if isinstance(event, CallStarted) and event.at > until_s:
                yield f"#{story.tag} called {event.model} {event.at - until_s:g} s too late"
        early = story.ended_s < story.begun_s + allowed_s - _ROUNDING_S
        if isinstance(story.error, DeadlineExceededError) and early:
            yield f"#{story.tag} was given up {until_s - story.ended_s:g} s before its deadline"


def waits_for_nobody_silent(evidence: Evidence) -> Iterator[str]:
    """A call that is never answered lasts no longer than its phases may."""
    limits = evidence.trace.settings.timeouts
    for story, attempts in evidence.attempts.items():
        streamed = story.use is not None and story.use.streamed
        answer_s = limits.first_token_s if streamed else limits.answer_s
        most_s = limits.connect_s + answer_s + TICK_S + _ROUNDING_S
        for one in attempts:
            if one.end is None or not one.calls or one.calls[0].trouble != "silent":
                continue
            took_s = one.end.at - one.calls[0].begun_s
            if took_s > most_s:
                yield f"#{story.tag} waited {took_s:g} s for {one.key}"


def keeps_to_its_attempts(evidence: Evidence) -> Iterator[str]:
    """No request makes more attempts than its policy allows, in all and at one model."""
    policy = evidence.trace.settings.attempts
    for story, attempts in evidence.attempts.items():
        keys = Counter(one.key for one in attempts)
        n_retries = sum(one.retry is not None for one in attempts)
        if keys.total() > policy.max_attempts:
            yield f"#{story.tag} made {keys.total()} attempts"
        if keys and max(keys.values()) > policy.retries + 1:
            yield f"#{story.tag} tried {keys.most_common(1)}"
        if n_retries > policy.retries:
            yield f"#{story.tag} made {n_retries} retries"


def deadline_s(story: Story, trace: Trace) -> float:
    """Return the whole time of a request."""
    found: float = story.errand.options.get("deadline_s", trace.settings.deadline_s)
    return found


def after_closing(at_s: float, trace: Trace) -> bool:
    """Say whether the engine had been closed by then, in the middle of everything."""
    closes_s = trace.settings.closes_s
    return closes_s is not None and at_s >= closes_s


def _named_somebody_away(story: Story, trace: Trace) -> bool:
    name = story.errand.options.get("model")
    return any(
        name in (arm.key, *arm.model.spec.aliases)
        and not any(since < story.ended_s < until for since, until in arm.present)
        for arm in trace.pool.arms.values()
    )
