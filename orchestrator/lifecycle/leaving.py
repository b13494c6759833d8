"""How residents leave memory: evicted, drained, unused, forced, replaced."""

from __future__ import annotations

from math import inf

from orchestrator.core.events import (
    ModelEvicted,
    ModelSwitched,
    ModelUnloadFailed,
    ModelUnloading,
)
from orchestrator.lifecycle import victims
from orchestrator.lifecycle.book import Book, Resident
from orchestrator.lifecycle.effects import Effect, Say, Stop
from orchestrator.lifecycle.footprint import room_for
from orchestrator.lifecycle.state import Cause, Status

__all__ = [
    "evict",
    "finish_drains",
    "leave",
    "retry_stop",
    "shrink",
    "switch",
    "unload_unused",
]


def leave(
    book: Book,
    resident: Resident,
    reason: str,
    now: float,
    effects: list[Effect],
    *,
    force: bool = False,
) -> None:
    """Let a loaded resident finish its work, or cut it off, and stop its process."""
    resident.leaving = reason
    if resident.leases and not force:
        book.move(resident, Cause.DRAIN)
        resident.act_at = now + book.policy.drain_deadline_s
    else:
        _stop(book, resident, effects)


def evict(
    book: Book, resident: Resident, whom: str | None, now: float, effects: list[Effect]
) -> None:
    """Let a resident make room for another, or for a budget that is too small."""
    forced = resident.leases > 0 or now < book.idle_from(resident)
    facts = {"resident": resident.name, "for_resident": whom, "forced": forced}
    effects.append(Say(ModelEvicted, facts))
    leave(book, resident, "evicted", now, effects)


def finish_drains(book: Book, now: float, effects: list[Effect]) -> None:
    """Stop what has drained, what should have by now, and again what did not stop."""
    for resident in list(book.leaving.values()):
        if resident.status is Status.DRAINING:
            if not resident.leases or resident.act_at <= now:
                _stop(book, resident, effects)
        elif resident.act_at <= now:
            resident.act_at = inf
            effects.append(Stop(resident.name))


def retry_stop(
    book: Book, resident: Resident, error: Exception, now: float, effects: list[Effect]
) -> None:
    """Try later to stop what could not be stopped; its memory stays reserved."""
    resident.act_at = now + book.policy.unload_retry_s
    facts = {
        "resident": resident.name,
        "reason": str(error),
        "retry_in_s": book.policy.unload_retry_s,
    }
    effects.append(Say(ModelUnloadFailed, facts))


def shrink(book: Book, now: float, effects: list[Effect]) -> None:
    """Make those leave that are too many, since a budget shrank or a load took more than it said.

    What is loading is let finish: it is measured then, and may leave after that.
    """
    room = room_for(book.limits, book.reserved)
    short = {dimension: -amount for dimension, amount in room.items() if amount < 0}
    for resident in book.leaving.values():
        for dimension in list(short):
            short[dimension] -= resident.holds.get(dimension, 0)
            if short[dimension] <= 0:
                del short[dimension]
    if not short:
        return
    order = sorted(
        (r for r in book.loaded.values() if not book.fixed(r)),
        key=lambda r: (r.leases > 0, r.last_used),
    )
    for victim in victims.choose(order, short) or order:
        evict(book, victim, None, now, effects)


def unload_unused(book: Book, now: float, effects: list[Effect]) -> None:
    """Unload what nobody has used for as long as it is kept."""
    for resident in list(book.loaded.values()):
        if not resident.leases and book.unused_at(resident) <= now:
            leave(book, resident, "idle", now, effects)


def switch(book: Book, resident: str | None, reason: str, effects: list[Effect]) -> None:
    """Make another resident the current one."""
    if resident != book.current:
        facts = {"previous": book.current, "current": resident, "reason": reason}
        book.current = resident
        effects.append(Say(ModelSwitched, facts))


def _stop(book: Book, resident: Resident, effects: list[Effect]) -> None:
    book.move(resident, Cause.EVICT)
    resident.act_at = inf
    facts = {
        "resident": resident.name,
        "reason": resident.leaving,
        "broken_leases": resident.leases,
    }
    effects += [Say(ModelUnloading, facts), Stop(resident.name)]
