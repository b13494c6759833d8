"""Ends what has run out of time, for a tenth of what a timer of its own costs each request."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final, Self

__all__ = ["TICK_S", "Deadline", "Deadlines"]

TICK_S: Final = 0.05
"""How late a deadline may strike."""


class Deadlines:
    """The deadlines of all requests of one engine, struck by one timer.

    `asyncio.timeout` puts a timer into the loop's heap and takes it out again for every request,
    although hardly any ever strikes. Here a request enters itself into a dict; the timer stands at
    the earliest deadline it knew of, and looks who is late when it strikes.
    """

    def __init__(self) -> None:
        # In order, not a set: those that strike together strike in the order of their requests.
        self._open: dict[Deadline, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def within(self, seconds: float) -> Deadline:
        """Return what ends the code inside after this many seconds: ``with ... as deadline``.

        That code sees a `CancelledError`, and the ``with`` raises `TimeoutError` in its place.
        """
        return Deadline(self, seconds)

    def close(self) -> None:
        """Stop the timer, unless a request has outlived its engine: its deadline still holds."""
        if not self._open:
            self._stop()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _enter(self, deadline: Deadline, loop: asyncio.AbstractEventLoop) -> None:
        self._open[deadline] = None
        if self._timer is None or deadline.at < self._timer.when():
            self._stop()
            self._timer = loop.call_at(deadline.at, self._strike, loop)

    def _strike(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        for deadline in [d for d in self._open if d.at <= now]:
            del self._open[deadline]
            deadline.strike()
        if self._open:
            at = max(min(d.at for d in self._open), now + TICK_S)
            self._timer = loop.call_at(at, self._strike, loop)


class Deadline:
    """One request's time. ``expired`` says whether it has run out."""

    __slots__ = ("_cancelling", "_owner", "_seconds", "_task", "at", "expired")

    def __init__(self, owner: Deadlines, seconds: float) -> None:
        self._owner = owner
        self._seconds = seconds
        self.at = 0.0
        self.expired = False

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None, "the engine runs in tasks"
        self._task = task
        self._cancelling = task.cancelling()
        self.at = loop.time() + self._seconds
        self._owner._enter(self, loop)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._owner._open.pop(self, None)
        if not self.expired:
            return
        # A cancellation from outside that came as well goes before ours.
        alone = self._task.uncancel() <= self._cancelling
        if alone and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise TimeoutError from error

    def strike(self) -> None:
        """Time is up."""
        self.expired = True
        self._task.cancel()
