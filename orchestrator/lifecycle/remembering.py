"""What of a book outlives its manager."""

from __future__ import annotations

from orchestrator.core.saved_state import MeasuredResident, SavedResident, SavedState, fingerprint
from orchestrator.lifecycle.book import Book, Resident
from orchestrator.lifecycle.footprint import estimate

__all__ = ["fingerprints", "remembered"]


def fingerprints(book: Book) -> dict[str, str]:
    """Return by name what tells whether a resident is still the one that was measured."""
    return {name: fingerprint(resident.spec) for name, resident in book.residents.items()}


def remembered(book: Book) -> SavedState:
    """Return what is to be remembered: pins, measures, and what serves, the current one first."""
    loaded = sorted(book.loaded, key=lambda name: name != book.current)
    residents = {
        name: SavedResident(pinned=name in book.pins, measured=_measured(resident))
        for name, resident in book.residents.items()
    }
    return SavedState(loaded=tuple(loaded), residents=residents)


def _measured(resident: Resident) -> MeasuredResident | None:
    if resident.load_s is None:
        return None
    estimated = estimate(resident.spec)
    measured = {d: n for d, n in resident.needs.items() if estimated.get(d) != n}
    return MeasuredResident(
        of=fingerprint(resident.spec), memory_bytes=measured, load_s=resident.load_s
    )
