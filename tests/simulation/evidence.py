"""A trace made ready for judging: each request's attempts, with the calls they led to."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from orchestrator.core.events import (
    CallFailed,
    CallStarted,
    DecisionExpired,
    FailedOver,
    ModelSelected,
    ModelUsed,
    RetryScheduled,
)
from orchestrator.testing.trace import ProviderCall, Story, Trace

_SLACK_S = 1e-6


@dataclass(slots=True)
class Attempt:
    """One decision of a request, and what followed.

    Attributes:
        retry, failover: What was said before it, if anything.
        end: None if it has none.
        calls: What reached the provider; one, or none if it got no place there.
    """

    selected: ModelSelected
    retry: RetryScheduled | None
    failover: FailedOver | None
    started: CallStarted | None = None
    end: ModelUsed | CallFailed | DecisionExpired | None = None
    calls: list[ProviderCall] = field(default_factory=list)

    @property
    def key(self) -> str:
        return self.selected.model

    @property
    def cost_usd(self) -> float:
        return self.end.cost_usd if isinstance(self.end, ModelUsed | CallFailed) else 0.0


class Evidence:
    """What the checks look at.

    Attributes:
        attempts: By story, the decisions that led to a call.
        strays: Calls that reached a provider outside every attempt of their request.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.attempts: dict[Story, list[Attempt]] = {s: _attempts(s) for s in trace.stories}
        self.strays: list[ProviderCall] = []
        by_tag: dict[str, list[Attempt]] = {s.tag: found for s, found in self.attempts.items()}
        for call in trace.calls:
            if call.tag is not None:
                self._assign(call, by_tag.get(call.tag, []))

    def _assign(self, call: ProviderCall, attempts: list[Attempt]) -> None:
        """Give a call to the last attempt at its place that had begun by then."""
        begun = [
            one
            for one in attempts
            if one.started is not None
            and one.started.at <= call.begun_s + _SLACK_S
            and self._place(one.key) == call.key
        ]
        if begun and (begun[-1].end is None or call.begun_s <= begun[-1].end.at + _SLACK_S):
            begun[-1].calls.append(call)
        else:
            self.strays.append(call)

    def _place(self, key: str) -> str:
        """Return how calls name a model: processes do not know for which arm they work."""
        site = self.trace.pool.arms[key].site
        return site.name if site.kind == "process" else key

    def costs_usd(self) -> dict[str, float]:
        """Return what was paid to each model."""
        costs: dict[str, float] = defaultdict(float)
        for attempts in self.attempts.values():
            for one in attempts:
                costs[one.key] += one.cost_usd
        return costs


def decisions(story: Story) -> list[Attempt]:
    """Return the decisions of a request; those of an illegal order as far as they make sense."""
    found: list[Attempt] = []
    retry: RetryScheduled | None = None
    failover: FailedOver | None = None
    for event in story.events:
        match event:
            case RetryScheduled():
                retry = event
            case FailedOver():
                failover = event
            case ModelSelected():
                found.append(Attempt(event, retry, failover))
                retry = failover = None
            case CallStarted() if found:
                found[-1].started = event
            case ModelUsed() | CallFailed() | DecisionExpired() if found:
                found[-1].end = event
    return found


def _attempts(story: Story) -> list[Attempt]:
    return [one for one in decisions(story) if one.started is not None]
