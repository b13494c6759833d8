"""Promises about what is held and spent: money, places, leases, calls at the same time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from orchestrator.core.events import CallFailed, DecisionExpired, ModelSelected, ModelUsed
from orchestrator.testing.arms import Arm
from orchestrator.testing.trace import ProviderCall
from tests.simulation.demand import cost_bounds, demand_of
from tests.simulation.evidence import Evidence

_CENT = 1e-9
_DAY_S = 86_400


def keeps_to_max_cost(evidence: Evidence) -> Iterator[str]:
    """A request costs no more than it allows, but for what its models' answers were misjudged by.

    No attempt is begun that is expected to pass the limit, and expectations are sound.
    """
    trace = evidence.trace
    for story, attempts in evidence.attempts.items():
        demand = demand_of(story, trace)
        limits = [limit for _, limit in demand.candidates if limit is not None]
        limit = demand.max_cost if demand.max_cost is not None else float("inf")
        if len(limits) == len(demand.candidates):
            limit = min(limit, max(limits))
        spent = misjudged = 0.0
        for one in attempts:
            expected = trace.engine.decision(one.selected.decision_id).cost_usd or 0.0
            bounds = cost_bounds(trace.pool.arms[one.key], demand)
            first = one is attempts[0] and story.errand.kind == "select"
            if expected and spent + expected > limit + _CENT and not first:
                yield f"#{story.tag} had spent {spent} and expected {expected} of {limit}"
            if bounds is not None and not first:
                least, most = bounds
                if not least - _CENT <= expected <= most + _CENT:
                    yield f"#{story.tag} expected {expected} of {one.key}, not {least} to {most}"
            spent += one.cost_usd
            misjudged += max(0.0, one.cost_usd - expected)
        if spent > limit + misjudged + _CENT:
            yield f"#{story.tag} cost {spent}, {limit} were allowed, {misjudged} misjudged"


def keeps_to_the_cap(evidence: Evidence) -> Iterator[str]:
    """A day's spending, with what is set aside, passes its cap by misjudged answers only."""
    trace = evidence.trace
    cap = trace.settings.budget_usd
    if cap is None:
        return
    aside: dict[str, float] = {}
    spent: dict[int, float] = defaultdict(float)
    misjudged: dict[int, float] = defaultdict(float)
    for _, event in trace.events:
        day = int(event.wall // _DAY_S)
        match event:
            case ModelSelected():
                expected = trace.engine.decision(event.decision_id).cost_usd
                if expected is None:
                    yield f"{event} under a cap, and nobody knows what it costs"
                aside[event.decision_id] = expected or 0.0
                held = spent[day] + sum(aside.values())
                if expected and held > cap + misjudged[day] + _CENT:
                    yield f"{event} brings the day to {held}, {misjudged[day]} of it misjudged"
            case ModelUsed() | CallFailed():
                expected = aside.pop(event.decision_id, 0.0)
                spent[day] += event.cost_usd
                misjudged[day] += max(0.0, event.cost_usd - expected)
            case DecisionExpired():
                aside.pop(event.decision_id, None)
    budget = trace.engine._budget
    assert budget is not None
    if abs(budget.reserved_usd) > _CENT:
        yield f"{budget.reserved_usd} are still set aside"
    today = spent[int(budget._day)]
    if abs(budget.spent_usd - today) > _CENT:
        yield f"the budget says that its day has cost {budget.spent_usd}, not {today}"


def gives_places_back(evidence: Evidence) -> Iterator[str]:
    """When nobody wants anything any more, every place is free and nobody waits."""
    at_rest = evidence.trace.at_rest
    assert at_rest is not None
    for key, (busy, waiting) in at_rest.places.items():
        if busy or waiting:
            yield f"{busy} places of {key} are taken, {waiting} wait"
    for name, in_flight in at_rest.in_flight.items():
        if in_flight:
            yield f"{name} works on {in_flight} calls"


def gives_leases_back(evidence: Evidence) -> Iterator[str]:
    """When nobody wants anything any more, no lease is open."""
    at_rest = evidence.trace.at_rest
    assert at_rest is not None
    for name, leases in at_rest.leases.items():
        if leases:
            yield f"{leases} leases on {name} are open"


def crowds_nobody(evidence: Evidence) -> Iterator[str]:
    """No model gets more calls at once, or more in a minute, than it takes."""
    trace = evidence.trace
    calls: dict[str, list[ProviderCall]] = defaultdict(list)
    for attempts in evidence.attempts.values():
        for one in attempts:
            calls[one.key] += one.calls
    for key, arm in trace.pool.arms.items():
        if len(arm.present) == 1:  # one that comes back begins to count anew
            yield from _crowds(arm, sorted(calls[key], key=lambda call: call.begun_s))


def _crowds(arm: Arm, calls: list[ProviderCall]) -> Iterator[str]:
    limits = arm.model.spec.constraints
    most, per_minute = limits.max_concurrent_requests, limits.max_requests_per_minute
    for number, call in enumerate(calls):
        if most is not None:
            open_ = [c for c in calls[:number] if c.ended_s is None or c.ended_s > call.begun_s]
            if len(open_) >= most:
                yield f"{arm.key} works on {len(open_) + 1} calls at {call.begun_s}"
        if per_minute is not None:
            allowed = per_minute + max(1, per_minute // 10)
            if number >= allowed and call.begun_s - calls[number - allowed].begun_s < 60 - 1e-3:
                yield f"{arm.key} got more than {allowed} calls in the minute to {call.begun_s}"
