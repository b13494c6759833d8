"""What a load would take, before anybody decides on it: time, and whose memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from orchestrator.core.errors import ModelDoesNotFitError
from orchestrator.lifecycle import victims
from orchestrator.lifecycle.book import Book, Resident
from orchestrator.lifecycle.footprint import Amounts, room_for, shortage, total_bytes
from orchestrator.lifecycle.queue import does_not_fit
from orchestrator.lifecycle.state import Status

__all__ = ["SetPlan", "cold_start", "expected_load_s", "oversized", "plan_set", "would_evict"]

# Until a load has been measured: a small model of 100 MB takes half a second on two cores.
_UNMEASURED_BYTES_S = 200e6
_UNMEASURED_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPlan:
    """What it takes to have several residents in memory together.

    Attributes:
        load: Those to be loaded, in the order asked for.
        loaded: Those that are loaded, or being loaded, already.
        evict: Those that have to go for it.
        needs_bytes: What ``load`` is expected to take, on all devices.
        expected_s: How long the loads take one after the other.
    """

    load: tuple[str, ...]
    loaded: tuple[str, ...]
    evict: tuple[str, ...]
    needs_bytes: int
    expected_s: float


def expected_load_s(book: Book, resident: Resident, now: float) -> float:
    """Return the seconds until it serves if it were asked for now and nothing stood in its way.

    Its own loads tell, else those of others by their bytes.
    """
    if resident.status is Status.LOADED:
        return 0.0
    whole_s = _load_s(book, resident)
    if resident.status is Status.LOADING:
        return max(0.0, whole_s - (now - resident.load_began))
    return whole_s


def cold_start(book: Book, resident: Resident, now: float) -> tuple[float, tuple[str, ...]]:
    """Return what it takes to have a resident serve: seconds, and who would have to go.

    The seconds are those of its load, and of the loads that bring those back who make room for
    it; inf if it can never be loaded.
    """
    try:
        evicted = would_evict(book, resident)
    except ModelDoesNotFitError:
        return inf, ()
    back_s = sum(_load_s(book, book.residents[name]) for name in evicted)
    return expected_load_s(book, resident, now) + back_s, evicted


def would_evict(book: Book, resident: Resident) -> tuple[str, ...]:
    """Return who would have to go if it were loaded now, were nobody using anything.

    Raises:
        ModelDoesNotFitError: It can never be loaded beside what is pinned and current.
    """
    if resident.status in (Status.LOADING, Status.LOADED):
        return ()
    if short := book.hopeless(resident):
        raise does_not_fit(book, resident, short)
    return _evicted_for(book, resident.needs, keep=())


def plan_set(book: Book, names: Iterable[str], now: float) -> SetPlan:
    """Plan to have these in memory together.

    Raises:
        ModelDoesNotFitError: They cannot be, beside what is pinned and current.
        ConfigurationError: There is no resident of one of the names.
    """
    wanted = [book.named(name) for name in dict.fromkeys(names)]
    there = [r for r in wanted if r.status in (Status.LOADING, Status.LOADED)]
    cold = [r for r in wanted if r not in there]
    needs: Amounts = {}
    for resident in cold:
        for dimension, amount in resident.needs.items():
            needs[dimension] = needs.get(dimension, 0) + amount
    room = room_for(book.most_room(book.limits), *(r.holds for r in there if not book.fixed(r)))
    if short := shortage(needs, room):
        dimension = next(iter(short))
        raise ModelDoesNotFitError(
            f"{', '.join(r.name for r in wanted)} do not fit together: "
            f"{needs[dimension]:,} of {dimension} to load, and room for {room[dimension]:,}",
            needs=needs,
            room=room,
        )
    return SetPlan(
        load=tuple(r.name for r in cold),
        loaded=tuple(r.name for r in there),
        evict=_evicted_for(book, needs, keep=there),
        needs_bytes=total_bytes(needs),
        expected_s=sum(expected_load_s(book, r, now) for r in cold),
    )


def oversized(book: Book, resident: Resident, holds: Amounts) -> ModelDoesNotFitError | None:
    """Return why what was just loaded cannot stay, if it took more than there can ever be."""
    measured = Resident(resident.spec, resident.needs | holds)
    room = book.most_room(book.limits, besides=resident)
    short = shortage(measured.needs, room)
    return does_not_fit(book, measured, short) if short else None


def _evicted_for(book: Book, needs: Amounts, keep: Iterable[Resident]) -> tuple[str, ...]:
    held = [r.holds for r in (*book.loading.values(), *book.loaded.values())]
    kept = set(keep)
    order = sorted(
        (r for r in book.loaded.values() if r not in kept and not book.fixed(r)),
        key=lambda r: (r.leases > 0, r.last_used),
    )
    found = victims.choose(order, shortage(needs, room_for(book.limits, *held)))
    # Where even all of them do not suffice, what is loading now goes after its load.
    return tuple(victim.name for victim in (order if found is None else found))


def _load_s(book: Book, resident: Resident) -> float:
    if resident.load_s is not None:
        return resident.load_s
    measured = [
        (r.load_s, total_bytes(r.needs)) for r in book.residents.values() if r.load_s is not None
    ]
    size = total_bytes(resident.needs)
    seconds, sizes = sum(s for s, _ in measured), sum(b for _, b in measured)
    if size and sizes and seconds:
        return seconds * size / sizes
    if size:
        return size / _UNMEASURED_BYTES_S
    return seconds / len(measured) if measured else _UNMEASURED_S
