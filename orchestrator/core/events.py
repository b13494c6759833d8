"""What has happened, one frozen class per fact: plain data, never a live object."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import count
from typing import Any, ClassVar, TypeVar, dataclass_transform

__all__ = [
    "BudgetExceeded",
    "CallFailed",
    "CallStarted",
    "CapabilitiesChanged",
    "DecisionExpired",
    "EndpointCooled",
    "EngineStarted",
    "EvaluationFailed",
    "EvaluationsDropped",
    "Event",
    "EventsDropped",
    "ExperimentConcluded",
    "FailedOver",
    "FeedbackRecorded",
    "HealthChanged",
    "LoadProgress",
    "ModelEvicted",
    "ModelLoadFailed",
    "ModelLoaded",
    "ModelLoading",
    "ModelPinned",
    "ModelProfiled",
    "ModelRegistered",
    "ModelSelected",
    "ModelSwitched",
    "ModelUnloadFailed",
    "ModelUnloaded",
    "ModelUnloading",
    "ModelUnregistered",
    "ModelUsed",
    "ModelWarmedUp",
    "ProcessExited",
    "ProfilingStarted",
    "RetryScheduled",
    "SegmentingFailed",
    "StateRestored",
    "StateSaveFailed",
    "StateSaved",
    "SubscriberFailed",
    "event_types",
]

_numbers = count(1)
_T = TypeVar("_T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def _fact(cls: type[_T]) -> type[_T]:
    # Comparing and printing are `Event`'s own: writing them for each class takes as long as all
    # else that importing this module does.
    return dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)(cls)


@_fact
class Event:
    """One fact.

    Attributes:
        at: When, in seconds of the engine's monotonic clock.
        wall: When, in seconds since 1970-01-01 UTC.
        id: Counts the events of this process.
    """

    at: float
    wall: float
    id: int = field(default_factory=_numbers.__next__)

    name: ClassVar[str] = "event"
    """Its name on the wire, such as ``model-loaded``."""

    def __init_subclass__(cls) -> None:
        cls.name = re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__).lower()

    def _data(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._data() == other._data()

    def __hash__(self) -> int:
        return hash((type(self), self.id))

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={value!r}" for name, value in self._data().items())
        return f"{type(self).__name__}({told})"

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready data under its wire name."""
        data = self._data()
        return {
            "event": self.name,
            **{k: v.value if isinstance(v, Enum) else v for k, v in data.items()},
        }


def event_types() -> dict[str, type[Event]]:
    """Return every event class by its wire name."""
    return {cls.name: cls for cls in sorted(Event.__subclasses__(), key=lambda c: c.name)}


# -- the engine and its models -----------------------------------------------------------------


@_fact
class EngineStarted(Event):
    """The engine takes requests."""

    node: str
    models: tuple[str, ...]


@_fact
class ModelRegistered(Event):
    """A model joined the pool."""

    model: str
    replaced: bool = False


@_fact
class ModelUnregistered(Event):
    """A model left the pool; calls in flight finish."""

    model: str


@_fact
class ModelLoading(Event):
    """A resident is being brought into memory; this much is reserved for it, by device."""

    resident: str
    reserved: Mapping[str, int]


@_fact
class LoadProgress(Event):
    """A load goes on: ``starting`` its process or ``warming_up``; about ``expected_s`` in all."""

    resident: str
    phase: str
    elapsed_s: float
    expected_s: float


@_fact
class ModelWarmedUp(Event):
    """A resident produced its first token, ``warm_up_s`` after its process was ready."""

    resident: str
    warm_up_s: float


@_fact
class ModelLoaded(Event):
    """A resident serves; ``memory_bytes`` of all devices were measured, if they could be."""

    resident: str
    load_s: float
    pid: int
    memory_bytes: int | None = None


@_fact
class ModelLoadFailed(Event):
    """A resident could not be loaded, or was no longer to be."""

    resident: str
    reason: str


@_fact
class ModelEvicted(Event):
    """A resident has to make room; ``forced`` if it had work, or had hardly been loaded.

    It is for another resident, or, if that is None, for a budget that has become too small.
    """

    resident: str
    for_resident: str | None
    forced: bool


@_fact
class ModelUnloading(Event):
    """A resident is being stopped; ``broken_leases`` had work that is cut off."""

    resident: str
    reason: str
    broken_leases: int = 0


@_fact
class ModelUnloadFailed(Event):
    """A resident's process could not be stopped; its memory stays reserved until it is."""

    resident: str
    reason: str
    retry_in_s: float


@_fact
class ModelUnloaded(Event):
    """A resident is out of memory.

    ``reason`` is ``closed``, ``requested``, ``crashed``, ``evicted``, ``idle`` or ``switched``.
    ``left_bytes`` were still measured of its process afterwards.
    """

    resident: str
    reason: str
    left_bytes: int = 0


@_fact
class ModelSwitched(Event):
    """Another resident is the current one; None is none."""

    previous: str | None
    current: str | None
    reason: str


@_fact
class ModelPinned(Event):
    """A resident is to stay in memory once it is there, or no longer is."""

    resident: str
    pinned: bool


@_fact
class ProcessExited(Event):
    """A resident's process ended; a negative exit code is the signal that ended it."""

    resident: str
    pid: int
    exit_code: int
    expected: bool


# -- what models can do ------------------------------------------------------------------------


@_fact
class CapabilitiesChanged(Event):
    """More, or something else, is known of what a model can do.

    ``because`` gives the evidence that decided each change, a sentence each.
    """

    model: str
    gained: tuple[str, ...]
    lost: tuple[str, ...]
    because: tuple[str, ...]


@_fact
class ProfilingStarted(Event):
    """A model is about to be measured with ``n`` calls."""

    model: str
    n: int


@_fact
class ModelProfiled(Event):
    """A model has been measured; the times are those of answers, None where there were none.

    ``stopped`` says why it took fewer calls than were asked for, or is None.
    """

    model: str
    calls: int
    success_rate: float
    first_token_p50_s: float | None
    latency_p50_s: float | None
    latency_p95_s: float | None
    latency_p99_s: float | None
    tokens_per_s: float | None
    cost_usd: float
    memory_bytes: int | None
    stopped: str | None


# -- one request -------------------------------------------------------------------------------


@_fact
class ModelSelected(Event):
    """A decision was made."""

    request_id: str
    decision_id: str
    model: str
    selector: str
    propensity: float
    attempt: int


@_fact
class CallStarted(Event):
    """A model is being called; attempts count from 1."""

    request_id: str
    decision_id: str
    model: str
    attempt: int


@_fact
class ModelUsed(Event):
    """A model answered."""

    request_id: str
    decision_id: str
    model: str
    attempt: int
    latency_s: float
    first_token_s: float | None
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float


@_fact
class CallFailed(Event):
    """A model did not answer. ``cancelled`` means that the caller went away.

    It may have cost money all the same: what it wrote of its answer is paid for.
    """

    request_id: str
    decision_id: str
    model: str
    attempt: int
    latency_s: float
    cost_usd: float
    classification: str
    message: str


@_fact
class RetryScheduled(Event):
    """The request waits before it tries again; ``retry`` counts from 1."""

    request_id: str
    retry: int
    wait_s: float


@_fact
class FailedOver(Event):
    """The request went on to another model."""

    request_id: str
    from_model: str
    to_model: str
    classification: str


@_fact
class DecisionExpired(Event):
    """A selection was never used; it counts neither way."""

    request_id: str
    decision_id: str
    model: str


@_fact
class FeedbackRecorded(Event):
    """A quality in [0, 1] arrived for a decision; ``corrected`` if it replaced another.

    ``evaluator`` gave it, or, if that is None, a caller.
    """

    decision_id: str
    model: str
    quality: float
    corrected: bool
    evaluator: str | None = None


@_fact
class EvaluationFailed(Event):
    """An evaluator raised, or gave what is no quality; the answer keeps what it had."""

    evaluator: str
    decision_id: str
    model: str
    error: str


@_fact
class EvaluationsDropped(Event):
    """Answers came faster than evaluators judge them; ``dropped`` counts all that were left out."""

    dropped: int


@_fact
class SegmentingFailed(Event):
    """An embedding model does not tell requests apart any more: they go on in one segment.

    Said once, until it has told one again.
    """

    model: str
    error: str


@_fact
class ExperimentConcluded(Event):
    """An experiment is over: ``promote`` a challenger, or ``stop`` and keep the control.

    ``variant`` serves from now on. The figures compare the winner with the control, or the best
    challenger if the control stays: mean rewards, challenger less control.
    """

    experiment: str
    verdict: str
    variant: str
    reason: str
    difference: float
    low: float
    high: float
    p_value: float
    n: int
    n_control: int


# -- health and limits -------------------------------------------------------------------------


@_fact
class HealthChanged(Event):
    """A model's breaker changed: ``closed``, ``open`` or ``half_open``."""

    model: str
    was: str
    now: str
    reason: str
    probe_in_s: float | None = None


@_fact
class EndpointCooled(Event):
    """A model's endpoint rests after a refusal; None is until its credential changes."""

    model: str
    reason: str
    for_s: float | None


@_fact
class BudgetExceeded(Event):
    """A spending cap is reached; what costs money is refused until the period ends."""

    budget: str
    limit_usd: float
    spent_usd: float


# -- what is remembered ------------------------------------------------------------------------


@_fact
class StateSaved(Event):
    """The state file was written."""

    path: str
    size_bytes: int


@_fact
class StateSaveFailed(Event):
    """The state file could not be written; the one from before is as it was.

    It is tried again in ``retry_in_s``; None is when somebody asks.
    """

    path: str
    reason: str
    retry_in_s: float | None


@_fact
class StateRestored(Event):
    """What an earlier process remembered, at ``saved_at`` (ISO 8601), holds again.

    ``residents`` and ``models`` got something back; ``loading`` were in memory, and will be.
    """

    saved_at: str
    residents: tuple[str, ...]
    models: tuple[str, ...]
    loading: tuple[str, ...]


# -- the bus itself ----------------------------------------------------------------------------


@_fact
class SubscriberFailed(Event):
    """A subscriber raised; nobody else noticed."""

    subscriber: str
    event_name: str
    error: str


@_fact
class EventsDropped(Event):
    """A subscription's buffer was full; ``dropped`` counts all that it has lost so far."""

    subscriber: str
    dropped: int
