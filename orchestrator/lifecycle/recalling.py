"""How a manager takes in what an earlier one has left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from orchestrator.lifecycle.book import Book
from orchestrator.lifecycle.state import Status

if TYPE_CHECKING:  # which takes a while to import, and few need it
    from orchestrator.core.saved_state import SavedState

__all__ = ["recall"]


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


def _devices(amounts: Mapping[str, int]) -> dict[str, int]:
    """Return what is memory; places are said by the configuration alone."""
    return {d: n for d, n in amounts.items() if d == "ram" or d.startswith("gpu:")}
