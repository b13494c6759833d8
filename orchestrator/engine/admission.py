"""Who may call an endpoint now: so many at once, so many per minute, the others in a queue."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from typing import NamedTuple

from orchestrator.core.clock import Clock
from orchestrator.core.errors import OverloadedError
from orchestrator.core.model import ModelConstraints
from orchestrator.routing.rate_limit import RateLimit

__all__ = ["Admission"]


class _Waiter(NamedTuple):
    """One in the queue; the future says whether it got a place."""

    admitted: asyncio.Future[bool]
    since: float


class Admission:
    """The places of one endpoint. Whoever entered has to leave, and nobody overtakes.

    Attributes:
        busy: Places taken.
    """

    __slots__ = (
        "_clock",
        "_max_queue",
        "_max_wait_s",
        "_name",
        "_places",
        "_queue",
        "_rate",
        "_timer",
        "busy",
    )

    def __init__(self, name: str, constraints: ModelConstraints, clock: Clock) -> None:
        places = constraints.max_concurrent_requests
        per_minute = constraints.max_requests_per_minute
        shut = 0 in (places, per_minute)  # waiting would never end
        self._name = name
        self._clock = clock
        self._places = 0 if shut else sys.maxsize if places is None else places
        self._rate = RateLimit(per_minute) if per_minute else None
        self._max_queue = 0 if shut else constraints.max_queue
        self._max_wait_s = constraints.max_wait_s
        self._queue: deque[_Waiter] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self.busy = 0

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return len(self._queue)

    def try_enter(self) -> bool:
        """Take a place if one is free and nobody waits for it."""
        if self.busy >= self._places or self._queue:
            return False
        if self._rate is not None and not self._rate.take(self._clock.monotonic()):
            return False
        self.busy += 1
        return True

    async def enter(self, patience_s: float) -> None:
        """Take a place, waiting for it if need be.

        Args:
            patience_s: Seconds the caller would wait; the endpoint's own limit holds as well.

        Raises:
            OverloadedError: The queue is full, or no place came, or could come, in time.
        """
        if self.try_enter():
            return
        now = self._clock.monotonic()
        wait_s = min(patience_s, self._max_wait_s)
        if len(self._queue) >= self._max_queue:
            raise self._overloaded(f"the queue of {self._name} is full", now)
        if self._rate_wait_s(now) >= wait_s:
            raise self._overloaded(f"{self._name} has no place within {wait_s:g} s", now)
        loop = asyncio.get_running_loop()
        waiter = _Waiter(loop.create_future(), now)
        self._queue.append(waiter)
        self._admit()
        patience = loop.call_later(wait_s, self._expire, waiter)
        try:
            admitted = await waiter.admitted
        except BaseException:
            self._abandon(waiter)
            raise
        finally:
            patience.cancel()
        if not admitted:
            now = self._clock.monotonic()
            raise self._overloaded(f"{self._name} had no place within {wait_s:g} s", now)

    def leave(self) -> None:
        """Give a place back; it goes to whoever has waited longest."""
        self.busy -= 1
        if self._queue:
            self._admit()

    def _admit(self) -> None:
        """Give the free places to those who wait, or set a timer for when the rate allows it."""
        while self._queue and self.busy < self._places:
            waiter = self._queue[0]
            if not waiter.admitted.done():  # done here: cancelled, and about to find out
                now = self._clock.monotonic()
                if self._rate is not None and not self._rate.take(now):
                    if self._timer is None:
                        loop = asyncio.get_running_loop()
                        self._timer = loop.call_later(self._rate.wait_s(now), self._rate_allows)
                    return
                self.busy += 1
                waiter.admitted.set_result(True)
            self._queue.popleft()

    def _rate_allows(self) -> None:
        self._timer = None
        self._admit()

    def _expire(self, waiter: _Waiter) -> None:
        if not waiter.admitted.done():
            self._queue.remove(waiter)
            waiter.admitted.set_result(False)

    def _abandon(self, waiter: _Waiter) -> None:
        """Drop a cancelled waiter; a place it was just given goes on to the next."""
        if waiter in self._queue:
            self._queue.remove(waiter)
        elif not waiter.admitted.cancelled() and waiter.admitted.result():
            self.leave()

    def _rate_wait_s(self, now: float) -> float:
        """Return the seconds until the rate allows one more than those who wait."""
        return 0.0 if self._rate is None else self._rate.wait_s(now, len(self._queue))

    def _overloaded(self, message: str, now: float) -> OverloadedError:
        # In a queue that moves steadily a newcomer waits as long as the first has waited.
        oldest_s = now - self._queue[0].since if self._queue else 0.0
        return OverloadedError(
            message,
            retry_after_s=max(1.0, oldest_s, self._rate_wait_s(now)),
            hint=f"{self.busy} are served, {len(self._queue)} wait; try later or raise its limits",
        )
