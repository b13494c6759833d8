"""Promises about events: each request's come in a legal order, and each attempt ends once."""

from __future__ import annotations

import re
from collections.abc import Iterator

from orchestrator.core.events import (
    CallFailed,
    CallStarted,
    DecisionExpired,
    Event,
    FailedOver,
    ModelSelected,
    ModelUsed,
    RetryScheduled,
)
from orchestrator.testing.trace import Story
from tests.simulation.evidence import Attempt, Evidence

_LETTERS: dict[type[Event], str] = {
    ModelSelected: "s",
    CallStarted: "c",
    ModelUsed: "u",
    CallFailed: "f",
    RetryScheduled: "r",
    FailedOver: "o",
    DecisionExpired: "x",
}
# A selection may expire first, unused or because its request demands more than it was told of.
# Then attempts: each selected, called, and used or failed; between two of them perhaps a wait, and
# a word on the failover if the model is another. The caller may go away in the wait.
_LEGAL = re.compile(r"(sx)?(sc(fr?o?sc)*(u|fr?))?")


def keeps_order(evidence: Evidence) -> Iterator[str]:
    """The events of each request come in a legal order and agree with each other."""
    for story, attempts in evidence.attempts.items():
        for fault in _faults(story, attempts):
            yield f"#{story.tag}: {fault}"
    at_s = 0.0
    for _, event in evidence.trace.events:
        if event.at < at_s:
            yield f"{event} comes after {at_s:g} s"
        at_s = event.at


def ends_each_attempt_once(evidence: Evidence) -> Iterator[str]:
    """A call that starts is used or fails, once; a decision without a call expires, once."""
    ends: dict[str, list[str]] = {}
    started: set[str] = set()
    for _, event in evidence.trace.events:
        match event:
            case ModelSelected():
                ends[event.decision_id] = []
            case CallStarted():
                started.add(event.decision_id)
            case ModelUsed() | CallFailed() | DecisionExpired():
                ends.setdefault(event.decision_id, ["ended before it was made"])
                ends[event.decision_id].append(event.name)
    for decision_id, names in ends.items():
        called = decision_id in started
        if names not in ([["model-used"], ["call-failed"]] if called else [["decision-expired"]]):
            yield f"{decision_id}, called: {called}, ended in {names}"


def says_how_likely_each_choice_was(evidence: Evidence) -> Iterator[str]:
    """Propensities lie in (0, 1], and in a choice between several below 1 only by a floor."""
    for _, event in evidence.trace.events:
        if isinstance(event, ModelSelected):
            propensity = event.propensity
            if not 0 < propensity <= 1:
                yield f"{event} has no propensity in (0, 1]"


def _faults(story: Story, attempts: list[Attempt]) -> Iterator[str]:
    order = "".join(_LETTERS.get(type(event), "?") for event in story.events)
    if not _LEGAL.fullmatch(order):
        yield f"the order {order!r} of its events is not legal"
        return
    n_retries = 0
    for number, one in enumerate(attempts, 1):
        yield from _faults_of_one(one, number)
        tried = [before.key for before in attempts[: number - 1]]
        yield from _faults_of_passage(one, tried)
        if one.retry is not None:
            n_retries += 1
            if one.retry.retry != n_retries:
                yield f"retry {n_retries} calls itself {one.retry.retry}"


def _faults_of_one(one: Attempt, number: int) -> Iterator[str]:
    events = [event for event in (one.selected, one.started, one.end) if event is not None]
    if len({(event.decision_id, event.request_id, event.model) for event in events}) != 1:
        yield f"attempt {number} changes its identity: {events}"
    if {getattr(event, "attempt", number) for event in events} != {number}:
        yield f"attempt {number} is numbered otherwise: {events}"


def _faults_of_passage(one: Attempt, tried: list[str]) -> Iterator[str]:
    """Yield what is wrong with how an attempt follows those before it."""
    if (one.key in tried) != (one.retry is not None):
        yield f"{one.key} follows {tried} with {one.retry}"
    said = None if one.failover is None else (one.failover.from_model, one.failover.to_model)
    if said != ((tried[-1], one.key) if tried and tried[-1] != one.key else None):
        yield f"{one.key} follows {tried} with {one.failover}"
