"""A world of local models drawn from a seed: callers, an operator, and all that can go wrong.

Replay one: ``python -m tests.lifecycle.world SEED``.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from random import Random
from unittest import mock

import anyio

from orchestrator.core.bus import EventBus
from orchestrator.core.errors import (
    EngineClosedError,
    InvalidRequestError,
    ModelDoesNotFitError,
    ModelLoadError,
    OverloadedError,
    ProcessError,
)
from orchestrator.core.events import Event, ModelEvicted, ModelUnloading
from orchestrator.core.ports import Endpoint, ResidentSize, ResidentSpec
from orchestrator.lifecycle.manager import ModelManager
from orchestrator.lifecycle.policy import LifecyclePolicy, MemoryBudget
from orchestrator.lifecycle.state import OCCUPYING, Status
from orchestrator.testing import (
    ProcessScript,
    SimulatedLauncher,
    SimulatedProbe,
    SimulatedProcess,
    SimulatedTransport,
    run_simulated,
)
from tests.lifecycle.invariants import Checked

__all__ = ["LifecycleWorld"]

_MB = 1_000_000


class JumpingClock:
    """The loop's time, and whatever it has jumped ahead of it."""

    ahead_s = 0.0

    def monotonic(self) -> float:
        return anyio.current_time() + self.ahead_s

    def wall(self) -> float:
        return 1e9 + self.monotonic()


class LifecycleWorld:
    """One world.

    Attributes:
        story: Every event, and what became of each call.
        seen: What there was in it, counted.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = rng = Random(seed)
        self.story: list[str] = []
        self.seen: Counter[str] = Counter()
        self.checked = Checked()
        self.clock = JumpingClock()
        self.closing = False
        self.specs = [self._spec(f"m{n}") for n in range(rng.randint(2, 6))]
        sizes = sorted(spec.size.weights_bytes for spec in self.specs)
        self.full = sum(sizes[-2:]) + rng.randint(0, 100) * _MB
        self.policy = LifecyclePolicy(
            budget=MemoryBudget(
                ram_bytes=self.full, max_loaded_models=rng.choice([None, None, 2, 3])
            ),
            parallel_loads=rng.randint(1, 2),
            queue_limit=rng.choice([3, 100, 100]),
            wait_limit_s=rng.uniform(15, 60),
            max_wait_for_load_s=rng.uniform(1, 10),
            min_residence_s=rng.uniform(0, 5),
            linger_s=rng.uniform(0, 0.5),
            keep_alive_s=rng.choice([None, None, 0.0, 5.0]),
            drain_deadline_s=rng.uniform(1, 10),
            unload_retry_s=rng.uniform(0.5, 3),
        )
        self.trouble = rng.choice([0.0, 0.3, 1.0])
        """How much of what can go wrong does."""
        self.lasts_s = rng.uniform(20, 90)

    def _spec(self, name: str) -> ResidentSpec:
        size = ResidentSize(weights_bytes=self.rng.randint(50, 300) * _MB)
        groups = frozenset(("alone",)) if self.rng.random() < 0.2 else frozenset[str]()
        return ResidentSpec(name, ("engine",), {}, 20.0, size, groups)

    def run(self) -> LifecycleWorld:
        """Live through it; raises AssertionError where a promise is broken."""
        with mock.patch("orchestrator.lifecycle.run_loop.plan", self.checked.plan):
            run_simulated(self._live, until_s=10_000)
        self.seen["evicted"] += self.checked.evictions
        self.seen["forced to leave"] += self.checked.forced
        return self

    # -- what happens --------------------------------------------------------------------------

    async def _live(self) -> None:
        rng = self.rng
        bus = EventBus(self.clock)
        bus.on(Event, self._note)
        bus.on(Event, _raises)
        self.launcher = SimulatedLauncher(SimulatedTransport(), script_for=self._script)
        self.manager = ModelManager(
            self.specs,
            self.launcher,
            bus,
            self.clock,
            policy=self.policy,
            warm_up=self._warm_up,
            probe=SimulatedProbe(self.launcher),
        )
        async with anyio.create_task_group() as people:
            async with self.manager:
                for number in range(rng.randint(1, 12)):
                    people.start_soon(self._client, Random(rng.random()), number)
                people.start_soon(self._operator, Random(rng.random()))
                people.start_soon(self._fate, Random(rng.random()))
                await anyio.sleep(self.lasts_s)
                self.closing = True
            book = self.manager._book
            assert not self.launcher.alive(), "14: a process outlived its manager"
            assert not any(book.reserved.values()), "14: bytes are left"
            assert not book.waiting, "14: somebody waits"
            assert not self.manager._loop._answers or self.closing
            people.cancel_scope.cancel()

    async def _client(self, rng: Random, number: int) -> None:
        favourite = rng.choice(self.specs).name
        while not self.closing:
            await anyio.sleep(rng.expovariate(1.0))
            name = favourite if rng.random() < 0.5 else rng.choice(self.specs).name
            limit_s = rng.choice([None, 5.0, 30.0])
            with anyio.move_on_after(rng.choice([0.5, 1e6, 1e6, 1e6])):
                await self._call(rng, number, name, limit_s)

    async def _call(self, rng: Random, number: int, name: str, limit_s: float | None) -> None:
        began = anyio.current_time()
        most_s = self.policy.wait_limit_s if limit_s is None else limit_s
        what = "served"
        entered = False
        try:
            lease = self.manager.lease(name, priority=rng.randint(0, 1), wait_limit_s=limit_s)
            async with lease as endpoint:
                entered = True
                self._in_time(began, most_s)
                await self._use(endpoint, rng.expovariate(1.0))
        except ModelDoesNotFitError:
            what = "does not fit"
        except ModelLoadError:
            what = "load failed"
        except OverloadedError:
            what = "refused"
        except EngineClosedError:
            assert self.closing, "refused before the end"
            what = "closed"
        finally:
            if not entered:
                self._in_time(began, most_s)
        self.seen[what] += 1
        self.story.append(f"{anyio.current_time():9.3f} client {number} {name}: {what}")

    def _in_time(self, began: float, most_s: float) -> None:
        waited_s = anyio.current_time() - began
        assert waited_s <= most_s + 0.01, f"15: waited {waited_s} s, not {most_s} s"

    async def _use(self, endpoint: Endpoint, for_s: float) -> None:
        process = next(p for p in self.launcher.processes if p.endpoint == endpoint)
        if process in self._hung:
            self.seen["leased a hung process"] += 1
            for_s = 1e6
        with anyio.move_on_after(for_s):
            await process.wait()
            self.seen["process gone under a lease"] += 1

    async def _operator(self, rng: Random) -> None:
        while True:
            await anyio.sleep(rng.expovariate(0.3))
            name = rng.choice(self.specs).name
            with (
                suppress(InvalidRequestError, ModelLoadError, OverloadedError, EngineClosedError),
                anyio.move_on_after(rng.choice([0.5, 1e6])),
            ):
                match rng.randint(0, 8):
                    case 0:
                        await self.manager.unload(name, force=rng.random() < 0.3)
                        self.seen["unloaded"] += 1
                    case 1:
                        switch = await self.manager.switch_model(
                            name, evict_previous=rng.random() < 0.5
                        )
                        assert switch.current == name
                        self.seen["switched"] += 1
                    case 2:
                        self.manager.pin(name)
                    case 3 | 4:
                        self.manager.unpin(name)
                    case 5:
                        share = rng.choice([0.5, 0.8, 1.0, 1.0])
                        budget = MemoryBudget(ram_bytes=int(self.full * share))
                        self.manager.set_budget(budget)
                        self.seen["budget changed"] += 1
                    case 6:
                        self.manager.cancel_load(name)
                        self.seen["load cancelled"] += 1
                    case 7:
                        with suppress(ExceptionGroup):
                            await self.manager.load_set([name, rng.choice(self.specs).name])
                    case 8:
                        assert self.manager.snapshot().residents
                        self.manager.would_evict(name)

    async def _fate(self, rng: Random) -> None:
        self._hung: set[SimulatedProcess] = set()
        while True:
            await anyio.sleep(rng.expovariate(0.2))
            alive = self.launcher.alive()
            names = [process.resident for process in alive]
            assert len(names) == len(set(names)), "3: two processes of one resident"
            statuses = self.manager.statuses()
            assert all(statuses[name] in OCCUPYING for name in names), "a phantom"
            if rng.random() > self.trouble:
                continue
            if rng.random() < 0.2:
                self.clock.ahead_s += rng.uniform(0, 60)
                self.seen["clock jumped"] += 1
            elif alive and rng.random() < 0.5:
                rng.choice(alive).die()
                self.seen["process died"] += 1
            elif alive:
                hung = rng.choice(alive)
                hung.stop_s = 1e6
                self._hung.add(hung)

    # -- processes -----------------------------------------------------------------------------

    def _script(self, spec: ResidentSpec) -> ProcessScript:
        rng = self.rng
        bad = rng.random() < self.trouble
        harm = rng.choice(["fails", "hangs", "slow", "big", "unload fails", "", "", ""])
        self.seen[harm if bad else ""] += 1
        harm = harm if bad else ""
        return ProcessScript(
            load_s=rng.uniform(8, 30) if harm == "slow" else rng.uniform(0.2, 3),
            failure=ProcessError(f"{spec.name} is broken") if harm == "fails" else None,
            hangs=harm == "hangs",
            memory={"ram": spec.size.weights_bytes * (2 if harm == "big" else 1)},
            stop_s=rng.choice([0.0, 0.5, 8.0]),
            stop_failures=rng.randint(1, 2) if harm == "unload fails" else 0,
        )

    async def _warm_up(self, endpoint: Endpoint) -> None:
        statuses = self.manager.statuses()
        process = next(p for p in self.launcher.processes if p.endpoint == endpoint)
        assert statuses[process.resident] is Status.LOADING, "it counts as loaded too early"
        with anyio.move_on_after(0.1):
            await process.wait()
            raise ModelLoadError("it died while it warmed up")

    def _note(self, event: Event) -> None:
        self.story.append(f"{event.at:9.3f} {event!r}")
        if isinstance(event, ModelUnloading) and event.reason == "idle":
            self.seen["unloaded when idle"] += 1
        if isinstance(event, ModelEvicted) and event.for_resident is None:
            self.seen["evicted for a small budget"] += 1


def _raises(event: Event) -> None:
    raise ZeroDivisionError


def _main(seed: int, write: Callable[[str], object]) -> None:
    world = LifecycleWorld(seed)
    try:
        world.run()
    finally:
        write("\n".join([*world.story, str(dict(world.seen)), ""]))


if __name__ == "__main__":
    _main(int(sys.argv[1]), sys.stdout.write)
