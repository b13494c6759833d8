"""Whose memory is taken for another: the least recently used that suffice, and none more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Final

from orchestrator.lifecycle.book import Book, Resident

__all__ = ["choose", "evictable", "forcible"]

_LAST_USED: Final = attrgetter("last_used")


def choose(candidates: Iterable[Resident], short: Mapping[str, int]) -> list[Resident] | None:
    """Return victims that make good a shortage, or None if all together do not.

    Args:
        candidates: In the order in which they are to go.
        short: What is missing, by dimension; above zero.

    Returns:
        Of the shortest sufficient beginning of ``candidates`` those without which it would not
        suffice; where several of them could be spared, the later ones are.
    """
    missing = dict(short)
    taken: list[Resident] = []
    for candidate in candidates:
        if not missing:
            break
        if any(candidate.holds.get(dimension) for dimension in missing):
            taken.append(candidate)
            for dimension in list(missing):
                missing[dimension] -= candidate.holds.get(dimension, 0)
                if missing[dimension] <= 0:
                    del missing[dimension]
    if missing:
        return None
    return _spared(taken, short)


def _spared(taken: Sequence[Resident], short: Mapping[str, int]) -> list[Resident]:
    spare = {d: sum(t.holds.get(d, 0) for t in taken) - s for d, s in short.items()}
    needed = []
    for victim in reversed(taken):
        if all(victim.holds.get(d, 0) <= s for d, s in spare.items()):
            for dimension in spare:
                spare[dimension] -= victim.holds.get(dimension, 0)
        else:
            needed.append(victim)
    return needed[::-1]


def evictable(book: Book, now: float) -> list[Resident]:
    """Return who may go because nobody uses them, the least recently used first."""
    return sorted(
        [
            resident
            for resident in book.loaded.values()
            if not resident.leases and book.idle_from(resident) <= now and not book.fixed(resident)
        ],
        key=_LAST_USED,
    )


def forcible(book: Book, now: float) -> list[Resident]:
    """Return who may be made to go, those first who would have had to go soon anyway.

    Only what is in its minimum residence comes after what is in use: cutting that short would be
    the beginning of thrashing.
    """
    soonest = book.policy.min_residence_s
    return sorted(
        (resident for resident in book.loaded.values() if not book.fixed(resident)),
        key=lambda r: (now < r.loaded_at + soonest, r.leases > 0, r.last_used),
    )
