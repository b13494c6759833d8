"""What a manager looks like at one moment, for people and programs that watch it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.lifecycle.book import Book, Resident
from orchestrator.lifecycle.footprint import total_bytes
from orchestrator.lifecycle.forecast import expected_load_s
from orchestrator.lifecycle.state import Status

__all__ = ["LifecycleSnapshot", "ResidentSnapshot", "snapshot"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidentSnapshot:
    """One resident.

    Attributes:
        memory_bytes: What is reserved for it now, on all devices.
        needs_bytes: What it is expected to take, measured once it was loaded.
        waiting: Callers who wait for it.
        idle_s: How long nobody has used it; None while somebody does, or where it is not loaded.
        expected_load_s: How long until it serves; 0 if it does.
        retry_after_s: How long it rests after a failure.
        error: Its last failure.
    """

    name: str
    status: Status
    current: bool
    pinned: bool
    leases: int
    waiting: int
    memory_bytes: int
    needs_bytes: int
    idle_s: float | None
    expected_load_s: float
    retry_after_s: float
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecycleSnapshot:
    """Every resident, in the order of registration, and what is taken of the limits.

    Attributes:
        limits: By dimension: bytes of ``ram`` and ``gpu:0``, places of ``models``, ``group:NAME``.
        reserved: The same, in all dimensions.
        waiting: Callers who wait for a lease.
    """

    residents: tuple[ResidentSnapshot, ...]
    limits: Mapping[str, int]
    reserved: Mapping[str, int]
    current: str | None
    waiting: int


def snapshot(book: Book, now: float) -> LifecycleSnapshot:
    """Take one."""
    return LifecycleSnapshot(
        residents=tuple(_one(book, resident, now) for resident in book.residents.values()),
        limits=dict(book.limits),
        reserved=dict(book.reserved),
        current=book.current,
        waiting=len(book.waiting),
    )


def _one(book: Book, resident: Resident, now: float) -> ResidentSnapshot:
    idle = resident.status is Status.LOADED and not resident.leases
    return ResidentSnapshot(
        name=resident.name,
        status=resident.status,
        current=resident.name == book.current,
        pinned=resident.name in book.pins,
        leases=resident.leases,
        waiting=len(resident.waiters),
        memory_bytes=total_bytes(resident.holds),
        needs_bytes=total_bytes(resident.needs),
        idle_s=now - resident.last_used if idle else None,
        expected_load_s=expected_load_s(book, resident, now),
        retry_after_s=book.rest_s(resident, now),
        error=None if resident.error is None else str(resident.error),
    )
