"""Promises about health: nobody is ejected without evidence, or called needlessly when ejected."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from math import inf

from orchestrator.core.events import (
    CallFailed,
    EndpointCooled,
    Event,
    HealthChanged,
    ModelSelected,
)
from orchestrator.testing.trace import Trace
from tests.simulation.demand import demand_of, may_serve
from tests.simulation.evidence import Evidence

_SLACK_S = 1e-6
_INNOCENT = frozenset(
    {
        "cancelled",
        "deadline",
        "invalid_request",
        "content_filter",
        "request_too_large",
        "token_limit",
        "unsupported",
        "authentication_failed",
        "insufficient_credits",
        "rate_limit",
        "empty_completion",
    }
)
"""Failures that say nothing of a model's health."""
_DEATHS = ("network_error", "partial_failure")
"""How the death of a process looks to the calls it cuts."""


def ejects_on_evidence(evidence: Evidence) -> Iterator[str]:
    """A breaker opens after as many failures as it takes; a process that dies is one failure."""
    trace = evidence.trace
    threshold = trace.settings.breaker.failure_threshold
    causes: dict[str, list[tuple[float, object]]] = defaultdict(list)
    for _, event in trace.events:
        if isinstance(event, CallFailed) and event.classification not in _INNOCENT:
            local = trace.pool.arms[event.model].site.kind == "process"
            died = local and event.classification in _DEATHS
            causes[event.model].append((event.at, event.at if died else event.id))
    healthy_since: dict[str, float] = defaultdict(lambda: -inf)
    for _, event in trace.events:
        if not isinstance(event, HealthChanged):
            continue
        if event.now == "closed":
            healthy_since[event.model] = event.at
        elif event.was == "closed" and "in a row" in event.reason:
            since = healthy_since[event.model]
            seen = {c for at_s, c in causes[event.model] if since <= at_s <= event.at + _SLACK_S}
            if len(seen) < threshold:
                yield f"{event} after {len(seen)} failures"


def spares_the_ejected(evidence: Evidence) -> Iterator[str]:
    """A model that is out of service is called only if no other that may serve is in service."""
    trace = evidence.trace
    of_decision = {
        one.selected.decision_id: (story, number)
        for story, attempts in evidence.attempts.items()
        for number, one in enumerate(attempts)
    }
    service = _Service(trace)
    for _, event in trace.events:
        service.hear(event)
        if not isinstance(event, ModelSelected) or event.decision_id not in of_decision:
            continue
        story, number = of_decision[event.decision_id]
        attempts = evidence.attempts[story]
        again = attempts[number].retry is not None
        if again or not service.is_out(event.model, event.at):
            continue
        before = attempts[:number]
        spent_usd = sum(one.cost_usd for one in before)
        tried = {one.key for one in before}
        first = story.events[0] is event and story.errand.kind == "select" and "." not in story.tag
        demand = demand_of(story, trace, selecting=first)
        for key in trace.pool.arms.keys() - tried:
            ready = service.is_in(key, event.at)
            if ready and may_serve(trace.pool.arms[key], demand, trace, spent_usd):
                yield f"#{story.tag} chose {event.model}, which was out, before {key}"


class _Service:
    """Who is in service and who is out, as far as the bus has said so beyond doubt."""

    def __init__(self, trace: Trace) -> None:
        self._arms = trace.pool.arms
        self._state: dict[str, str] = {}
        self._open_until: dict[str, float] = {}
        self._cooling_until: dict[str, float] = {}
        self._refused: set[str] = set()

    def hear(self, event: Event) -> None:
        if isinstance(event, HealthChanged):
            self._state[event.model] = event.now
            self._open_until[event.model] = event.at + (event.probe_in_s or 0.0)
        elif isinstance(event, EndpointCooled):
            if event.for_s is None:
                self._refused.add(self._arms[event.model].site.name)
            else:
                self._cooling_until[event.model] = event.at + event.for_s

    def is_out(self, key: str, at_s: float) -> bool:
        if not self._stays(key):
            return False
        is_open = self._state.get(key) == "open" and at_s < self._open_until[key] - _SLACK_S
        return is_open or at_s < self._cooling_until.get(key, -inf) - _SLACK_S

    def is_in(self, key: str, at_s: float) -> bool:
        healthy = self._state.get(key, "closed") == "closed"
        rested = at_s > self._cooling_until.get(key, -inf) + _SLACK_S
        refused = self._arms[key].site.name in self._refused
        return self._stays(key) and healthy and rested and not refused

    def _stays(self, key: str) -> bool:
        """Say whether a model is there all the time; who comes back begins afresh, in silence."""
        return self._arms[key].present == [(0.0, inf)]
