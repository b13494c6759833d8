"""What telling an event costs: to nobody, to a callback, to a reader in bursts."""

from __future__ import annotations

import asyncio
import statistics
import time
import timeit
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.harness import Benchmark, Samples, Setting, microseconds

_BURST: Final = 64
_BURSTS: Final = 32

benchmark = Benchmark(
    "events", "One event told, us", baseline="a call, and asyncio.Queue for the reader"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Expired:
    at: float
    wall: float
    request_id: str
    decision_id: str
    model: str


_BUILD: Final = "Expired(at=1.0, wall=2.0, request_id='r-1', decision_id='d-1', model='m')"


@benchmark.contender("a call, and asyncio.Queue for the reader")
async def direct(setting: Setting) -> Samples:
    """Call a function with the event; put events into a queue."""
    queue: asyncio.Queue[object] = asyncio.Queue()

    async def read(number: int) -> None:
        for _ in range(number):
            await queue.get()

    def tell(event: object) -> None:
        pass

    return await _told(_Expired, tell, tell, queue.put_nowait, read, setting)


@benchmark.contender("orchestrator")
async def bus(setting: Setting) -> Samples:
    """Publish on the engine's bus."""
    from orchestrator.core.bus import EventBus
    from orchestrator.core.events import DecisionExpired

    unheard, heard, read_from = EventBus(), EventBus(), EventBus()
    heard.on(DecisionExpired, lambda event: None)
    with read_from.subscribe(DecisionExpired, buffer=_BURST, overflow="error") as events:

        async def read(number: int) -> None:
            async for _ in events:
                number -= 1
                if not number:
                    return

        return await _told(
            DecisionExpired, unheard.publish, heard.publish, read_from.publish, read, setting
        )


async def _told(
    kind: type[Any],
    to_nobody: Callable[[Any], object],
    to_one: Callable[[Any], object],
    to_reader: Callable[[Any], object],
    read: Callable[[int], Awaitable[None]],
    setting: Setting,
) -> Samples:
    """Time every way of telling an event of this kind."""
    event = kind(at=1.0, wall=2.0, request_id="r-1", decision_id="d-1", model="m")

    def timed(statement: str, tell: Callable[[Any], object]) -> float:
        known = {"Expired": kind, "event": event, "tell": tell}
        return microseconds(timeit.Timer(statement, globals=known), setting)

    return {
        "to nobody, us": timed("tell(event)", to_nobody),
        "to a callback, us": timed("tell(event)", to_one),
        "built and to a callback, us": timed(f"tell({_BUILD})", to_one),
        f"to a reader in bursts of {_BURST}, us": await _bursts(to_reader, event, read, setting),
    }


async def _bursts(
    tell: Callable[[Any], object],
    event: object,
    read: Callable[[int], Awaitable[None]],
    setting: Setting,
) -> float:
    """Return the median microseconds per event, from telling it to its being read."""
    took: list[float] = []
    for _ in range(1 if setting.quick else 50):
        reader = asyncio.ensure_future(read(_BURST * _BURSTS))
        await asyncio.sleep(0)
        begun = time.perf_counter()
        for _ in range(_BURSTS):
            for _ in range(_BURST):
                tell(event)
            await asyncio.sleep(0)
        await reader
        took.append(time.perf_counter() - begun)
    return statistics.median(took) / (_BURST * _BURSTS) * 1e6


if __name__ == "__main__":
    benchmark.main()
