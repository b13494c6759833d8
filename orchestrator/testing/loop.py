"""An event loop whose clock jumps to the next timer, so that hours of waiting take milliseconds.

Everything that runs inside is ordinary asyncio or anyio code. There are no sockets, threads or
processes; whoever reaches for one gets an error. The same program does the same things in the
same order each time, as long as it asks neither the real clock, nor unseeded randomness, nor the
order of a set of its own objects.
"""

from __future__ import annotations

import asyncio
import gc
import heapq
import inspect
import math
import threading
from asyncio.base_events import BaseEventLoop
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable
from contextvars import Context
from itertools import count
from pathlib import Path
from typing import Any, NoReturn, TypeVar, TypeVarTuple

from orchestrator.testing.task_order import Cancellation, NumberedTask, in_task_order

__all__ = [
    "DeadlockError",
    "LeftoverTasksError",
    "LivelockError",
    "OutOfTimeError",
    "OutsideWorldError",
    "SimulatedLoop",
    "SimulationError",
    "run_simulated",
]

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

# A world that turns this often without its clock moving is spinning, not working: the busiest
# honest one, a long loop over checkpoints, stays far below, and this many take about a second.
_MOST_TURNS_AT_ONE_INSTANT = 1_000_000
_TURNS_BETWEEN_COLLECTIONS = 250_000
_TIMERS_WORTH_SWEEPING = 64
_UNWINDING_S = 3600.0


class SimulationError(RuntimeError):
    """The simulated world cannot go on, or was asked for what it does not have."""


class DeadlockError(SimulationError):
    """Nothing is ready and no timer is set, yet tasks wait."""


class LivelockError(SimulationError):
    """Callbacks keep each other busy while the clock stands still."""


class OutOfTimeError(SimulationError):
    """The next thing would happen after the end of the simulated time."""


class OutsideWorldError(SimulationError):
    """A socket, thread, process, signal or pipe was asked for."""


class LeftoverTasksError(SimulationError):
    """The main function returned while tasks it had started were still running.

    Attributes:
        tasks: Name of each task with the lines at which it waited.
    """

    def __init__(self, tasks: Iterable[str]) -> None:
        self.tasks = tuple(tasks)
        super().__init__("left over at the end:" + "".join(f"\n  {task}" for task in self.tasks))


class SimulatedLoop(BaseEventLoop):
    """An asyncio event loop on virtual time.

    Args:
        start_s: What `time()` says at first.
        until_s: The virtual time after which nothing may happen.

    Raises:
        DeadlockError, LivelockError, OutOfTimeError: From `run_until_complete` and `run_forever`.
    """

    _ready: deque[asyncio.Handle]
    _stopping: bool
    _thread_id: int | None

    def __init__(self, *, start_s: float = 0.0, until_s: float = math.inf) -> None:
        super().__init__()
        self._now_s = start_s
        self._until_s = until_s
        self._turns = 0
        self._turns_at_this_instant = 0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._timers_cancelled = 0
        self._timer_numbers = count()
        self._task_numbers = count(1)
        self._cancellations: list[Cancellation] = []

    def time(self) -> float:
        return self._now_s

    def call_at(
        self,
        when: float,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """As in asyncio; timers set for the same moment fire in the order they were set."""
        if self.is_closed():
            raise RuntimeError("Event loop is closed")
        if math.isnan(when):
            raise ValueError("a timer cannot be set for NaN")
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._timer_numbers), timer))
        return timer

    def call_soon_threadsafe(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        if self._thread_id not in (None, threading.get_ident()):
            raise OutsideWorldError("another thread called into the simulated loop")
        return self.call_soon(callback, *args, context=context)

    def create_task(
        self, coro: Generator[Any, None, _T] | Coroutine[Any, Any, _T], **options: Any
    ) -> asyncio.Task[_T]:
        if self.get_task_factory() is not None:
            return super().create_task(coro, **options)
        return NumberedTask(coro, self, next(self._task_numbers), **options)

    def run_forever(self) -> None:
        # The cyclic collector closes abandoned async generators, and when it runs depends on
        # everything the process allocated before. Inside, it runs at turns that are counted.
        collecting = gc.isenabled()
        gc.disable()
        try:
            super().run_forever()
        finally:
            if collecting:
                gc.enable()

    def _run_once(self) -> None:
        """Run what is ready; when nothing is, move the clock first."""
        self._turns += 1
        self._turns_at_this_instant += 1
        if not self._turns % _TURNS_BETWEEN_COLLECTIONS:
            gc.collect()
        if self._turns_at_this_instant > _MOST_TURNS_AT_ONE_INSTANT:
            raise LivelockError(self._account("the clock stands still while tasks keep running"))
        if not self._ready and not self._stopping:
            self._advance()
        while self._timers and self._timers[0][0] <= self._now_s:
            self._ready.append(heapq.heappop(self._timers)[2])
        turn = iter(self._ready)
        self._ready = deque()
        try:
            for handle in turn:
                if not handle._cancelled:
                    handle._run()
            if self._cancellations:
                self._ready = deque(in_task_order(list(self._ready), self._cancellations))
        finally:
            self._cancellations.clear()
            self._ready.extendleft(reversed([*turn]))  # what an interrupt kept from running

    def _advance(self) -> None:
        while self._timers and self._timers[0][2]._cancelled:
            heapq.heappop(self._timers)
        when = self._timers[0][0] if self._timers else math.inf
        if when == math.inf:
            raise DeadlockError(self._account("nothing is ready and no timer is set"))
        if when > self._until_s:
            raise OutOfTimeError(self._account(f"the next timer, {when:g} s, is past the end"))
        if when > self._now_s:
            self._now_s = when
            self._turns_at_this_instant = 0

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        # Deadlines are mostly cancelled long before they are due; sweeping once half of the
        # timers may be dead keeps the heap small at a constant cost per timer.
        self._timers_cancelled += 1
        if self._timers_cancelled > max(_TIMERS_WORTH_SWEEPING, len(self._timers) // 2):
            self._timers = [entry for entry in self._timers if not entry[2]._cancelled]
            heapq.heapify(self._timers)
            self._timers_cancelled = 0

    def _account(self, what: str) -> str:
        tasks = "".join(f"\n  {_whereabouts(task)}" for task in _tasks_of(self))
        return f"at {self._now_s:g} s {what}; the tasks:{tasks}"


def _refusal(name: str) -> Callable[..., NoReturn]:
    def refuse(*args: object, **kwargs: object) -> NoReturn:
        raise OutsideWorldError(
            f"{name}() reaches outside the simulated world, which has no sockets, threads, "
            "processes or signals; give the code a simulated port instead"
        )

    return refuse


# fmt: off
_OFFERED = frozenset({
    "run_forever", "run_until_complete", "stop", "close", "is_running", "is_closed", "time",
    "call_soon", "call_later", "call_at", "call_soon_threadsafe", "create_future", "create_task",
    "get_task_factory", "set_task_factory", "shutdown_asyncgens", "shutdown_default_executor",
    "get_exception_handler", "set_exception_handler", "default_exception_handler",
    "call_exception_handler", "get_debug", "set_debug",
})
# fmt: on
for _name in dir(asyncio.AbstractEventLoop):
    if not _name.startswith("_") and _name not in _OFFERED:
        setattr(SimulatedLoop, _name, _refusal(_name))


def run_simulated(main: Callable[[], Awaitable[_T]], *, until_s: float | None = None) -> _T:
    """Run `main` to its end on a fresh `SimulatedLoop` that starts at 0 s.

    Args:
        main: Called inside the loop; its result is returned, its exception raised.
        until_s: Virtual time at which to give up. Without it a world in which some task sets
            timers for ever while `main` waits runs for ever.

    Raises:
        DeadlockError: `main` waits for something that nothing inside can bring about.
        LivelockError: Tasks keep each other busy without the clock moving.
        OutOfTimeError: `main` was not done at `until_s`.
        LeftoverTasksError: `main` returned but left tasks running. They have been cancelled. If
            `main` raised, the exception carries the same text as a note.
    """

    if asyncio._get_running_loop() is not None:
        raise SimulationError("a simulated world cannot run while another loop is running")

    async def call() -> _T:
        return await main()

    loop = SimulatedLoop(until_s=math.inf if until_s is None else until_s)
    try:
        result = loop.run_until_complete(call())
    except SimulationError:
        _unwind(loop)
        raise
    except BaseException as failure:
        if left := _unwind(loop):
            failure.add_note(str(LeftoverTasksError(left)))
        raise
    else:
        if left := _unwind(loop):
            raise LeftoverTasksError(left)
        return result
    finally:
        loop.close()


def _unwind(loop: SimulatedLoop) -> list[str]:
    """Cancel the tasks that are left, let them and the async generators finish, and name them."""
    tasks = _tasks_of(loop)
    # asyncio closes abandoned async generators in tasks of its own, which are nobody's leftovers.
    left = [task for task in tasks if inspect.iscoroutine(task.get_coro())]
    names = {task: _whereabouts(task) for task in left}
    loop._until_s = math.inf
    loop._turns_at_this_instant = 0
    for task in left:
        task.cancel()
    if tasks:
        # A task that will not end when cancelled must not keep the world running for ever.
        _, stuck = loop.run_until_complete(asyncio.wait(tasks, timeout=_UNWINDING_S))
        for task in stuck & names.keys():
            names[task] += ", and did not end when cancelled"
    loop.run_until_complete(loop.shutdown_asyncgens())
    return list(names.values())


def _tasks_of(loop: SimulatedLoop) -> list[asyncio.Task[Any]]:
    return sorted(asyncio.all_tasks(loop), key=hash)


def _whereabouts(task: asyncio.Task[Any]) -> str:
    """Return the task's name and the lines at which it is suspended, the innermost last."""
    lines = []
    awaited: Any = task.get_coro()
    while (frame := getattr(awaited, "cr_frame", None)) is not None:
        code = frame.f_code
        lines.append(f"{code.co_name} ({Path(code.co_filename).name}:{frame.f_lineno})")
        awaited = awaited.cr_await
    return f"{task.get_name()!r} in {' > '.join(lines) or repr(awaited)}"
