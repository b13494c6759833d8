"""Tasks that have one order in a set, and are cancelled in one order, in each run of a program.

asyncio and anyio keep tasks and cancel scopes in sets, whose usual order is that of addresses in
memory. Tasks therefore hash by their number here. Scopes cannot be made to, so what their
cancellations make ready is sorted afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from orchestrator.testing.loop import SimulatedLoop

__all__ = ["Cancellation", "NumberedTask", "in_task_order"]

_T = TypeVar("_T")


class Cancellation(NamedTuple):
    """What the cancellation of one task made ready: a slice of the loop's queue."""

    task_number: int
    start: int
    stop: int


class NumberedTask(asyncio.Task[_T]):
    """A task that hashes by its number and reports to its loop when a cancel scope cancels it."""

    def __init__(
        self,
        coro: Generator[Any, None, _T] | Coroutine[Any, Any, _T],
        loop: SimulatedLoop,
        number: int,
        *,
        name: str | None = None,
        **options: Any,
    ) -> None:
        self.number = number  # first, because Task.__init__ hashes the new task
        self._world = loop
        super().__init__(coro, loop=loop, name=name or f"Task-{number}", **options)

    def __hash__(self) -> int:
        return self.number

    def cancel(self, msg: Any = None) -> bool:
        start = len(self._world._ready)
        requested = super().cancel(msg)
        if isinstance(msg, str) and "cancel scope" in msg:  # as anyio words it
            cancellations = self._world._cancellations
            while cancellations and cancellations[-1].start >= start:
                cancellations.pop()  # of a task that this one awaits: its slice is within ours
            cancellations.append(Cancellation(self.number, start, len(self._world._ready)))
        return requested


def in_task_order(
    ready: list[asyncio.Handle], cancellations: list[Cancellation]
) -> list[asyncio.Handle]:
    """Return `ready` with what each scope cancelled in the order of its tasks.

    Only unbroken runs of cancellations are sorted. A run never spans two scopes, for each scope
    queues its next attempt behind the tasks that it cancelled.
    """
    runs: list[list[Cancellation]] = []
    for cancellation in cancellations:
        if runs and runs[-1][-1].stop == cancellation.start:
            runs[-1].append(cancellation)
        else:
            runs.append([cancellation])
    ordered = list(ready)
    for run in runs:
        ordered[run[0].start : run[-1].stop] = [
            handle for _, start, stop in sorted(run) for handle in ready[start:stop]
        ]
    return ordered
