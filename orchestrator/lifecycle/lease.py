"""The right to use a loaded model."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TypeAlias

from orchestrator.core.ports import Endpoint
from orchestrator.lifecycle.book import Book, Resident
from orchestrator.lifecycle.happenings import Waiter

__all__ = ["Lease"]

_Wait: TypeAlias = Callable[[Resident, int, float | None], Awaitable[tuple[Waiter, Endpoint]]]


class Lease:
    """Holds one resident loaded while the context is open; for one use.

    A class rather than a generator, and past the planner as long as the resident is loaded, since
    every call to a local model passes here.
    """

    __slots__ = ("_book", "_life", "_limit_s", "_now", "_nudge", "_priority", "_resident", "_wait")

    def __init__(
        self,
        book: Book,
        resident: Resident,
        priority: int,
        limit_s: float | None,
        *,
        now: Callable[[], float],
        wait: _Wait,
        nudge: Callable[[Resident], None],
    ) -> None:
        self._book = book
        self._resident = resident
        self._priority = priority
        self._limit_s = limit_s
        self._now = now
        self._wait = wait
        self._nudge = nudge

    async def __aenter__(self) -> Endpoint:
        resident = self._resident
        endpoint = resident.endpoint
        if endpoint is not None:
            resident.leases += 1
            resident.last_used = self._now()
            self._life = resident.life
            return endpoint
        waiter, endpoint = await self._wait(resident, self._priority, self._limit_s)
        assert waiter.granted is not None, "it was not refused"
        self._life = waiter.granted
        return endpoint

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._resident.give_back(self._life, self._now()):
            self._nudge(self._resident)
