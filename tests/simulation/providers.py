"""What the engine says against what its providers saw."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.core.events import CallFailed, ModelUsed
from orchestrator.testing.trace import Story
from tests.simulation.demand import demand_of, may_serve
from tests.simulation.endings import after_closing
from tests.simulation.evidence import Attempt, Evidence

_SLACK_S = 1e-6
_CLOSING_S = 2.0
_GONE = ("cancelled", "deadline")


def tells_the_truth(evidence: Evidence) -> Iterator[str]:
    """An attempt is used if and only if its provider answered it; no call is made unseen."""
    for story, attempts in evidence.attempts.items():
        for one in attempts:
            if len(one.calls) > 1:
                yield f"#{story.tag} called {one.key} {len(one.calls)} times in one attempt"
            for untruth in _untruths(one):
                yield f"#{story.tag} at {one.key}: {untruth}"
    for call in evidence.strays:
        yield f"nobody knows of {call}"


def passes_answers_on(evidence: Evidence) -> Iterator[str]:
    """Clients hear what a model said, whole, and nothing twice."""
    for story, attempts in evidence.attempts.items():
        if story.ending == "answered" and attempts and attempts[-1].calls:
            yield from _misheard(story, attempts[-1])
    for call in evidence.trace.calls:
        if call.partials > 1:
            yield f"#{call.tag} handed {call.key} {call.partials} beginnings of its answer"


def calls_only_who_may_serve(evidence: Evidence) -> Iterator[str]:
    """Only models that may meet a request's demands, and are in the pool, are called."""
    trace = evidence.trace
    for story, attempts in evidence.attempts.items():
        demand = demand_of(story, trace)
        spent_usd = 0.0
        for one in attempts:
            arm = trace.pool.arms[one.key]
            if may_serve(arm, demand, trace, spent_usd) is False:
                yield f"#{story.tag} called {one.key}, which may not serve it"
            at_s = one.selected.at
            there = any(since <= at_s <= until for since, until in arm.present)
            if not there and not after_closing(at_s, trace):
                yield f"#{story.tag} chose {one.key}, which was away"
            spent_usd += one.cost_usd


def leaves_nobody_working(evidence: Evidence) -> Iterator[str]:
    """When a request has ended, whoever worked for it has noticed."""
    ended = {story.tag: story.ended_s for story in evidence.trace.stories}
    for call in evidence.trace.calls:
        if call.ended_s is None:
            yield f"{call} never ended"
        elif call.tag is not None and call.ended_s > ended[call.tag] + _CLOSING_S + _SLACK_S:
            yield f"{call} went on after its request"


def _untruths(one: Attempt) -> Iterator[str]:
    call = one.calls[0] if one.calls else None
    if isinstance(one.end, ModelUsed):
        if call is None:
            yield "it was used, but never called"
        elif call.tokens is not None and call.end == "whole" and call.harm == "none":
            said = one.end.prompt_tokens, one.end.completion_tokens
            if said != call.tokens:
                yield f"its tokens were {call.tokens}, not {said}"
    elif isinstance(one.end, CallFailed):
        answered = call is not None and call.harm == "none" and call.end == "whole"
        if answered and one.end.classification not in _GONE:
            yield f"it answered, but {one.end}"


def _misheard(story: Story, last: Attempt) -> Iterator[str]:
    if story.errand.kind == "embed":
        return
    use = story.use
    assert use is not None
    result = getattr(story.result, "text", story.heard)
    if story.heard != result:
        yield f"#{story.tag} heard {story.heard!r}, the result is {result!r}"
    said = last.calls[0].text
    continued = use.streamed and use.on_interrupt == "continue"
    whole = result.endswith(said) if continued else result == said
    if not whole and "tools" not in use.params:
        yield f"#{story.tag} heard {result!r}, {last.key} said {said!r}"
