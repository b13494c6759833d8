"""What happened in the simulated world: to each request, on the bus, and at the providers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from orchestrator.core.events import Event
from orchestrator.core.results import Result
from orchestrator.engine import Orchestrator
from orchestrator.testing.arms import Pool
from orchestrator.testing.errands import Errand, Rating, Use
from orchestrator.testing.processes import SimulatedLauncher
from orchestrator.testing.settings import Settings
from orchestrator.testing.troubles import Harm

__all__ = ["AtRest", "Ending", "ProviderCall", "Rated", "Story", "Trace", "at_rest"]

Ending: TypeAlias = Literal["answered", "failed", "cancelled", "left", "unused"]


@dataclass(slots=True, eq=False)
class Story:
    """One request from its client's side.

    Attributes:
        tag: In its prompt; further uses of one selection add a part: ``17``, ``17.2``.
        use: How its answer was asked for; None of a selection that was not used.
        begun_s, ended_s: When it was made and when it ended.
        entered_s: When the first content of a stream was there, or None.
        heard: The text that its client put together.
        ending: How it ended: ``left`` is a stream that was not read to its end.
        n_endings: How often; once, if all is well.
        events: The events of this request, in order.
        events_at_end: How many of these there were when it ended.
    """

    tag: str
    errand: Errand
    use: Use | None
    begun_s: float
    entered_s: float | None = None
    ended_s: float = 0.0
    heard: str = ""
    ending: Ending | None = None
    n_endings: int = 0
    error: Exception | None = None
    result: Result | None = None
    events: list[Event] = field(default_factory=list)
    events_at_end: int = 0

    def end(self, ending: Ending, at_s: float, error: Exception | None = None) -> None:
        """Write down how it ended."""
        self.ending, self.error, self.ended_s = ending, error, at_s
        self.n_endings += 1
        self.events_at_end = len(self.events)


@dataclass(frozen=True, slots=True)
class ProviderCall:
    """One call that reached a provider, from the provider's side.

    Attributes:
        tag: The request it belongs to, None for one of the engine's own.
        key: The model; a resident's name where several arms share it.
        trouble: What befell it, by name, and how bad that was.
        end: ``whole``, ``broken`` or ``left``.
        text: What the model said, or would have.
        tokens: Prompt and completion tokens that its answer reports, or None.
        partials: Beginnings of an answer that the conversation ended in.
    """

    tag: str | None
    key: str
    begun_s: float
    ended_s: float | None
    trouble: str | None
    harm: Harm
    end: str | None
    text: str
    tokens: tuple[int, int] | None
    partials: int = 0


@dataclass(frozen=True, slots=True)
class Rated:
    """One attempt to give a quality, and the error it raised, if it did.

    Attributes:
        forgotten: More decisions had followed this one than the engine can still rate.
        closing: The engine was being closed by then, or had closed.
    """

    decision_id: str
    rating: Rating
    error: Exception | None
    forgotten: bool
    closing: bool


@dataclass(frozen=True, slots=True)
class AtRest:
    """What was held when nobody wanted anything any more.

    Attributes:
        places: By model, the places taken and those who wait for one.
        leases: By resident, the leases open.
        in_flight: By site, the calls being answered.
        reserved_usd: Set aside of the day's budget.
    """

    places: Mapping[str, tuple[int, int]]
    leases: Mapping[str, int]
    in_flight: Mapping[str, int]
    reserved_usd: float


@dataclass(slots=True)
class Trace:
    """Everything that happened, and the engine as it was left."""

    seed: int
    settings: Settings
    pool: Pool
    engine: Orchestrator
    stories: list[Story] = field(default_factory=list)
    events: list[tuple[str | None, Event]] = field(default_factory=list)
    calls: list[ProviderCall] = field(default_factory=list)
    ratings: list[Rated] = field(default_factory=list)
    at_rest: AtRest | None = None
    closing: bool = False
    """Whether the engine is being closed, or has closed."""

    def lines(self) -> Iterator[str]:
        """Yield it as text, a line each; two runs of one seed give the same lines."""
        for tag, event in self.events:
            facts = {
                f.name: getattr(event, f.name)
                for f in dataclasses.fields(event)
                if f.name not in ("id", "at", "wall")
            }
            yield f"{event.at:12.6f} #{tag} {event.name} {facts}"
        for story in self.stories:
            yield (
                f"#{story.tag} {story.errand.kind} {story.begun_s:.6f} .. {story.ended_s:.6f}"
                f" {story.ending} {story.error!r} {story.heard!r}"
            )
        for call in self.calls:
            yield repr(call)


def at_rest(engine: Orchestrator, pool: Pool, launcher: SimulatedLauncher) -> AtRest:
    """Return what an engine and its providers hold now."""
    places = engine._parts.places
    residents = engine._residency.snapshot().residents
    in_flight = {n: s.server.in_flight for n, s in pool.sites.items() if s.server is not None}
    in_flight |= {a.key: a.script.in_flight for a in pool.arms.values() if a.script is not None}
    in_flight |= {f"{p.resident} {p.pid}": p.server.in_flight for p in launcher.processes}
    return AtRest(
        places={key: (door.busy, door.waiting) for key, door in places._admissions.items()},
        leases={resident.name: resident.leases for resident in residents},
        in_flight=in_flight,
        reserved_usd=0.0 if engine._budget is None else engine._budget.reserved_usd,
    )
