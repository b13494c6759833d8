"""What of a book outlives its manager, and how the next one takes it in."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.core.saved_state import MeasuredResident, SavedResident, SavedState, fingerprint
from orchestrator.lifecycle.book import Book, Resident
from orchestrator.lifecycle.footprint import estimate
from orchestrator.lifecycle.state import Status

__all__ = ["fingerprints", "recall", "remembered"]


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


def recall(book: Book, state: SavedState, current: str | None = None) -> None:
    """Take in what was remembered of some residents, all of them known.

    Nothing counts as loaded for that: what was in memory is as if it had been unloaded. What this
    manager has measured itself stands.

    Args:
        book: Of a manager that may have begun to work.
        state: What was remembered.
        current: The resident that is to be the current one, or None if there is nothing to say.
    """
    for name, saved in state.residents.items():
        resident = book.residents[name]
        if saved.pinned:
            book.pins[name] = None
        if saved.measured is not None and resident.load_s is None:
            resident.needs |= _devices(saved.measured.memory_bytes)
            resident.load_s = saved.measured.load_s
    for name in state.loaded:
        resident = book.residents[name]
        if resident.status is Status.AVAILABLE:
            resident.status = Status.UNLOADED
    if current is not None and book.current is None:
        book.current = current


def _measured(resident: Resident) -> MeasuredResident | None:
    if resident.load_s is None:
        return None
    estimated = estimate(resident.spec)
    measured = {d: n for d, n in resident.needs.items() if estimated.get(d) != n}
    return MeasuredResident(
        of=fingerprint(resident.spec), memory_bytes=measured, load_s=resident.load_s
    )


def _devices(amounts: Mapping[str, int]) -> dict[str, int]:
    """Return what is memory; places are said by the configuration alone."""
    return {d: n for d, n in amounts.items() if d == "ram" or d.startswith("gpu:")}
