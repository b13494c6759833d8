"""The run loop: whatever happens is planned and done, one thing after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final

import anyio
from anyio.abc import TaskGroup

from orchestrator.core.bus import EventBus
from orchestrator.core.clock import Clock
from orchestrator.core.errors import EngineClosedError, OrchestratorError
from orchestrator.core.events import Event
from orchestrator.core.ports import Endpoint
from orchestrator.lifecycle import happenings
from orchestrator.lifecycle.book import Book, Resident
from orchestrator.lifecycle.effects import (
    CancelLoad,
    Effect,
    Gone,
    Grant,
    Refuse,
    Say,
    StartLoad,
    Stop,
)
from orchestrator.lifecycle.happenings import Happening, Waiter
from orchestrator.lifecycle.plan import due, plan
from orchestrator.lifecycle.processes import Processes

__all__ = ["RunLoop"]

# Rounding may wake the timer a hair before its time; it shall not spin until then.
_SHORTEST_NAP_S: Final = 0.001


@dataclass(slots=True, eq=False)
class _Answer:
    """What a waiter is told."""

    ready: anyio.Event = field(default_factory=anyio.Event)
    endpoint: Endpoint | None = None
    error: OrchestratorError | None = None


class RunLoop:
    """Owns every change of one manager's book.

    Args:
        book: What is known.
        bus: Learns of every change.
        clock: Stamps the events and times all waits; its seconds are those of the event loop.
        processes: Makes the processes, given what takes what becomes of them.
        on_change: Called after every change that an event tells of.
    """

    def __init__(
        self,
        book: Book,
        bus: EventBus,
        clock: Clock,
        processes: Callable[[Callable[[Happening], None]], Processes],
        on_change: Callable[[], None],
    ) -> None:
        self._book = book
        self._bus = bus
        self._clock = clock
        self._processes = processes(self.tell)
        self._on_change = on_change
        self._tasks: TaskGroup | None = None
        self._told: deque[Happening] = deque()
        self._telling = False
        self._answers: dict[Waiter, _Answer] = {}
        self._gone: dict[str, anyio.Event] = {}
        self._alarm = anyio.Event()
        self._due = inf

    async def open(self) -> None:
        """Take callers."""
        self._tasks = await anyio.create_task_group().__aenter__()
        self._book.closing = False
        self._tasks.start_soon(self._keep_time)

    async def aclose(self) -> None:
        """Refuse whoever waits, and stop every process."""
        tasks, self._tasks = self._tasks, None
        assert tasks is not None, "it was opened"
        self.tell(happenings.Closed())
        tasks.cancel_scope.cancel()
        # Without the error of the block, which would come back wrapped in a group.
        await tasks.__aexit__(None, None, None)

    def gone(self, name: str) -> anyio.Event:
        """Return what is set once a resident is out of memory."""
        return self._gone.setdefault(name, anyio.Event())

    def tell(self, happening: Happening) -> None:
        """Tell the planner and do what it says; what happens meanwhile is told afterwards."""
        self._told.append(happening)
        if self._telling:
            return
        self._telling = True
        try:
            while self._told:
                for effect in plan(self._book, self._told.popleft(), self._clock.monotonic()):
                    self._do(effect)
        finally:
            self._telling = False
        due_at = due(self._book, self._clock.monotonic())
        if due_at < self._due:
            self._alarm.set()

    async def wait(
        self, resident: Resident, priority: int, limit_s: float | None
    ) -> tuple[Waiter, Endpoint]:
        """Wait for a lease; errors as `ModelManager.lease`."""
        if self._tasks is None:
            raise EngineClosedError("local models are not in service", hint="use `async with`")
        now = self._clock.monotonic()
        limit_s = self._book.policy.wait_limit_s if limit_s is None else limit_s
        waiter = Waiter(resident.name, now, now + limit_s, priority)
        answer = self._answers[waiter] = _Answer()
        self.tell(happenings.Asked(waiter))
        try:
            await answer.ready.wait()
        except BaseException:
            self.tell(happenings.Left(waiter))
            raise
        finally:
            del self._answers[waiter]
        if answer.error is not None:
            raise answer.error
        assert answer.endpoint is not None, "it was granted"
        return waiter, answer.endpoint

    def nudge(self, resident: Resident) -> None:
        """Have the planner look again, since a resident has become idle and somebody may care."""
        book = self._book
        wanted = book.waiting or resident.endpoint is None or book.to_restore()
        if wanted or book.unused_at(resident) < self._due:
            self._alarm.set()

    def _do(self, effect: Effect) -> None:
        match effect:
            case Grant(waiter):
                answer = self._answers[waiter]
                answer.endpoint = self._book.residents[waiter.resident].address
                answer.ready.set()
            case Refuse(waiter, error):
                answer = self._answers[waiter]
                answer.error = error
                answer.ready.set()
            case StartLoad(name):
                assert self._tasks is not None, "nobody waits outside the context"
                self._processes.prepare(name)
                self._tasks.start_soon(self._processes.live, self._book.residents[name])
                self._alarm.set()
            case CancelLoad(name):
                self._processes.cancel_load(name)
            case Stop(name):
                # Those who watch the processes stop them when everything ends.
                if self._tasks is not None:
                    self._tasks.start_soon(self._processes.stop, name)
            case Gone(name):
                self._gone.pop(name, anyio.Event()).set()
            case Say(kind, facts):
                self._publish(kind, **facts)
                self._on_change()

    async def _keep_time(self) -> None:
        """Tell the planner of the time whenever it has to know."""
        while True:
            self._alarm = anyio.Event()
            now = self._clock.monotonic()
            self._due = due(self._book, now)
            next_word = self._processes.say_progress(now)
            nap_s = max(min(self._due, next_word) - now, _SHORTEST_NAP_S)
            with anyio.move_on_after(nap_s):
                await self._alarm.wait()
            self.tell(happenings.Tick())

    def _publish(self, kind: type[Event], **facts: Any) -> None:
        clock = self._clock
        self._bus.publish(kind(at=clock.monotonic(), wall=clock.wall(), **facts))
