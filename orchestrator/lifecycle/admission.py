"""Which cold resident is loaded next, and who leaves for it.

Those that are loaded serve whoever asks for them and never stand in this line, so their work goes
first as far as the limits on waiting allow: that is where most swaps are saved. A resident goes
for another once nobody uses it; only when the oldest one in the line has waited for
``max_wait_for_load_s`` does one have to go that is in use, and nobody overtakes him then.
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple

from orchestrator.core.events import ModelLoading
from orchestrator.lifecycle import victims
from orchestrator.lifecycle.book import Book, Resident
from orchestrator.lifecycle.effects import Effect, Say, StartLoad
from orchestrator.lifecycle.footprint import Amounts, fits, room_for, shortage
from orchestrator.lifecycle.leaving import evict
from orchestrator.lifecycle.state import Cause, Status

__all__ = ["Candidate", "admit", "line"]

_COLD = (Status.AVAILABLE, Status.UNLOADED, Status.FAILED)


class Candidate(NamedTuple):
    """A cold resident that is wanted.

    Attributes:
        overdue_at: When its oldest caller has waited too long, or inf if only its pin wants it.
        priority: The highest among its callers'.
    """

    resident: Resident
    overdue_at: float
    priority: float

    def rank(self, now: float) -> tuple[bool, float, float]:
        """Return a key: who is overdue by age, then the others by priority, then by age."""
        overdue = self.overdue_at <= now
        return not overdue, 0.0 if overdue else -self.priority, self.overdue_at


def line(book: Book, now: float) -> list[Candidate]:
    """Return the cold residents that may be loaded now, in the order in which they are."""
    wanted: dict[str, Candidate] = {}
    patience_s = book.policy.max_wait_for_load_s
    for waiter in book.waiting:
        seen = wanted.get(waiter.resident)
        if seen is None:
            resident = book.residents[waiter.resident]
            if resident.status in _COLD:
                at = waiter.asked_at + patience_s
                wanted[waiter.resident] = Candidate(resident, at, waiter.priority)
        elif waiter.priority > seen.priority:
            wanted[waiter.resident] = seen._replace(priority=waiter.priority)
    for resident in book.to_restore():
        if not book.rest_s(resident, now) and not book.hopeless(resident):
            wanted.setdefault(resident.name, Candidate(resident, inf, -inf))
    return sorted(wanted.values(), key=lambda candidate: candidate.rank(now))


def admit(book: Book, now: float, effects: list[Effect]) -> None:
    """Start the loads for which there is room, and make room for the others where that is due."""
    candidates = line(book, now)
    if not candidates:
        return
    room = room_for(book.limits, book.reserved)
    # What there will be when everybody has gone who is about to, less what others wait for.
    coming = _plus(room, *(resident.holds for resident in book.leaving.values()))
    unused: list[Resident] | None = None
    expecting = 0
    for candidate in candidates:
        if len(book.loading) >= book.policy.parallel_loads:
            return
        resident, overdue = candidate.resident, candidate.overdue_at <= now
        if fits(resident.needs, coming):
            if fits(resident.needs, room):
                _start(book, resident, now, effects)
                room = room_for(room, resident.needs)
            else:
                expecting += 1
            coming = room_for(coming, resident.needs)
            continue
        if unused is None:
            unused = victims.evictable(book, now)
        # Nobody leaves for a load that could not begin anyway.
        if expecting < book.policy.parallel_loads and (unused or overdue):
            short = shortage(resident.needs, coming)
            found = victims.choose(unused, short)
            if found is None and overdue:
                found = victims.choose(victims.forcible(book, now), short)
            if found is not None:
                for victim in found:
                    coming = _plus(coming, victim.holds)
                    evict(book, victim, resident.name, now, effects)
                unused = [other for other in unused if other.endpoint is not None]
                coming = room_for(coming, resident.needs)
                expecting += 1
                continue
        if overdue:
            return  # whoever came later would take what it waits for


def _start(book: Book, resident: Resident, now: float, effects: list[Effect]) -> None:
    """Reserve its memory and begin to load it."""
    book.move(resident, Cause.LOAD)
    book.hold(resident, resident.needs)
    resident.life += 1
    resident.leases = 0
    resident.load_began = now
    reserved = dict(resident.needs)
    effects += [
        Say(ModelLoading, {"resident": resident.name, "reserved": reserved}),
        StartLoad(resident.name),
    ]


def _plus(room: Amounts, *returned: Amounts) -> Amounts:
    return {d: a + sum(one.get(d, 0) for one in returned) for d, a in room.items()}
