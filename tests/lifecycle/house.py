"""A manager in a simulated world, for tests that tell one story of a few seconds each."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio

from orchestrator.core.bus import EventBus
from orchestrator.core.events import Event
from orchestrator.core.ports import ResidentSize, ResidentSpec
from orchestrator.lifecycle.manager import ModelManager
from orchestrator.lifecycle.policy import LifecyclePolicy, MemoryBudget
from orchestrator.testing import (
    ProcessScript,
    SimulatedLauncher,
    SimulatedProbe,
    SimulatedTransport,
    run_simulated,
)

__all__ = ["House", "house", "resident", "simulated"]

_E = TypeVar("_E", bound=Event)


def simulated(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run a test on the simulated loop, where waiting costs nothing."""

    @functools.wraps(test)
    def run() -> None:
        run_simulated(test, until_s=3_600)

    return run


def resident(name: str, size: int = 1, **facts: Any) -> ResidentSpec:
    """Describe one that takes so many bytes."""
    return ResidentSpec(name, ("engine",), {}, size=ResidentSize(weights_bytes=size), **facts)


class LoopClock:
    """The loop's time."""

    def monotonic(self) -> float:
        return anyio.current_time()

    def wall(self) -> float:
        return 1e9 + anyio.current_time()


class House:
    """A manager, the processes it starts and what it says.

    Attributes:
        scripts: What becomes of the next start of a resident; else it loads in a second.
    """

    def __init__(self, *specs: ResidentSpec, ram: int | None = None, **settings: Any) -> None:
        self.events: list[Event] = []
        self.scripts: dict[str, ProcessScript] = {}
        self.bus = EventBus(LoopClock())
        self.bus.on(Event, self.events.append)
        self.launcher = SimulatedLauncher(
            SimulatedTransport(),
            load_s=1.0,
            script_for=lambda spec: self.scripts.get(spec.name, ProcessScript()),
        )
        budget = MemoryBudget(ram_bytes=ram, max_loaded_models=settings.pop("models", None))
        self.manager = ModelManager(
            specs,
            self.launcher,
            self.bus,
            LoopClock(),
            policy=LifecyclePolicy(**{"budget": budget, **settings}),
            probe=SimulatedProbe(self.launcher),
        )

    async def use(self, name: str, for_s: float = 0.0, **asked: Any) -> float:
        """Hold a lease, and return how long it had to be waited for."""
        began = anyio.current_time()
        async with self.manager.lease(name, **asked):
            waited_s = anyio.current_time() - began
            await anyio.sleep(for_s)
        return waited_s

    def said(self, kind: type[_E]) -> list[_E]:
        """Return the events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]


@asynccontextmanager
async def house(
    *specs: ResidentSpec, ram: int | None = None, **settings: Any
) -> AsyncIterator[House]:
    """Open one; nothing is left of it afterwards."""
    one = House(*specs, ram=ram, **settings)
    async with one.manager:
        yield one
    assert not one.launcher.alive()
    assert not any(one.manager.snapshot().reserved.values())
