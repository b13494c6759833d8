"""No request is lost: none fails although somebody who was up could have served it in time.

Who was up is the world's knowledge: a model whose breaker is open or whose endpoint rests counts
as up once its trouble is over, for it has to be tried as a last resort.
"""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.core.errors import DeadlineExceededError, NoEligibleModelsError
from orchestrator.core.events import CallFailed, CallStarted, RetryScheduled
from orchestrator.routing.backoff import BACKOFF_CAPS_S
from orchestrator.testing.arms import Arm
from orchestrator.testing.trace import Story, Trace
from tests.simulation.demand import Demand, demand_of, may_serve
from tests.simulation.endings import after_closing, deadline_s
from tests.simulation.evidence import Attempt, Evidence

_RETRIES_AT_START = 10.0
_RETRIES_PER_REQUEST = 0.2
_RETRIES_PER_S = 1.0


def loses_nothing(evidence: Evidence) -> Iterator[str]:
    """A request fails only when every model that may serve it and is up has been tried."""
    trace = evidence.trace
    for story, attempts in evidence.attempts.items():
        if not _gave_up(story, attempts, trace):
            continue
        demand = _demand_at_the_end(story, trace)
        spent_usd = sum(one.cost_usd for one in attempts)
        tried = {one.key for one in attempts}
        for key, arm in trace.pool.arms.items():
            at_hand = _there(arm, story) and arm.site.condition.up(story.ended_s)
            if key not in tried and at_hand and may_serve(arm, demand, trace, spent_usd):
                yield f"#{story.tag} is lost: {key} was not tried before {_why(story)}"


def gives_up_on_nobody_early(evidence: Evidence) -> Iterator[str]:
    """A request whose models are all tried tries them again while it may and that may help."""
    trace = evidence.trace
    policy = trace.settings.attempts
    saved = _saved_retries(trace)
    for story, attempts in evidence.attempts.items():
        n_retries = sum(one.retry is not None for one in attempts)
        may_retry = n_retries < policy.retries and saved[story.tag] >= 1
        if not (attempts and may_retry and _gave_up(story, attempts, trace)):
            continue
        wait_s = BACKOFF_CAPS_S[min(n_retries, len(BACKOFF_CAPS_S) - 1)]
        if story.ended_s + wait_s >= story.begun_s + deadline_s(story, trace):
            continue
        demand = demand_of(story, trace)
        spent_usd = sum(one.cost_usd for one in attempts)
        for key, last in {one.key: one for one in attempts}.items():
            arm = trace.pool.arms[key]
            again = _passes(last) and _there(arm, story)
            if again and may_serve(arm, demand, trace, spent_usd):
                yield f"#{story.tag} could have tried {key} again before {_why(story)}"


def keeps_to_its_retry_budget(evidence: Evidence) -> Iterator[str]:
    """All requests together make no more retries than a fifth of them, and a few per second."""
    left = _saved_retries(evidence.trace, generous=True)
    for tag, saved in left.items():
        if saved < -1e-6:
            yield f"there were {-saved:g} retries too many when #{tag} ended"


def _gave_up(story: Story, attempts: list[Attempt], trace: Trace) -> bool:
    """Say whether a request failed with attempts and time to spare, by no fault of its own."""
    error = story.error
    if error is None or isinstance(error, DeadlineExceededError):
        return False
    if after_closing(story.ended_s, trace):
        return False
    if story.ended_s >= story.begun_s + deadline_s(story, trace):
        return False
    if not attempts:
        return isinstance(error, NoEligibleModelsError)
    interrupted = story.entered_s is not None
    if interrupted and (story.use is None or story.use.on_interrupt == "error"):
        return False
    final = bool(attempts[-1].calls) and attempts[-1].calls[0].harm == "final"
    return len(attempts) < trace.settings.attempts.max_attempts and not final


def _demand_at_the_end(story: Story, trace: Trace) -> Demand:
    selecting = story.errand.kind == "select" and "." not in story.tag and not story.events
    return demand_of(story, trace, selecting=selecting)


def _passes(last: Attempt) -> bool:
    """Say whether what befell an attempt passes by itself, and without a time to wait."""
    call = last.calls[0] if last.calls else None
    if call is None or call.harm != "passing" or call.trouble == "limited":
        return False
    return isinstance(last.end, CallFailed) and last.end.classification != "unexpected"


def _there(arm: Arm, story: Story) -> bool:
    """Say whether a model was in the pool when a request ended."""
    return any(since < story.ended_s < until for since, until in arm.present)


def _saved_retries(trace: Trace, *, generous: bool = False) -> dict[str, float]:
    """Return, by request, how many retries all of them together had left when it ended.

    Args:
        trace: What happened.
        generous: Of what happened at the same instant, the payments came first, and every request
            paid, though only once time had, which pays no more above the floor; else they came
            last, and only those that called somebody paid.
    """
    pays, retries, ends = (0, 1, 2) if generous else (2, 0, 1)
    moments = [(story.ended_s, ends, story.tag) for story in trace.stories]
    if generous:
        moments += [(story.begun_s, pays, "") for story in trace.stories]
    for _, event in trace.events:
        if isinstance(event, RetryScheduled):
            moments.append((event.at, retries, ""))
        elif isinstance(event, CallStarted) and event.attempt == 1 and not generous:
            moments.append((event.at, pays, ""))
    left, paid_s = _RETRIES_AT_START, 0.0
    found = {}
    for at_s, what, tag in sorted(moments):
        with_time = max(left, min(_RETRIES_AT_START, left + (at_s - paid_s) * _RETRIES_PER_S))
        if what == pays:
            if generous:
                left, paid_s = with_time, at_s
            left += _RETRIES_PER_REQUEST
        elif what == retries:
            left, paid_s = with_time - 1, at_s
        else:
            found[tag] = with_time
    return found


def _why(story: Story) -> str:
    return f"{type(story.error).__name__} at {story.ended_s:.3f} s: {story.error}"
