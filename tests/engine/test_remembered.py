"""A manager of local models and a registry, from one simulated process to the next."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import pytest

from orchestrator.core.bus import EventBus
from orchestrator.core.ports import ResidentSize, ResidentSpec
from orchestrator.core.saved_state import MeasuredResident, SavedResident, SavedState, fingerprint
from orchestrator.engine.remembered import Remembered
from orchestrator.engine.state import StateKeeper
from orchestrator.lifecycle.manager import ModelManager
from orchestrator.lifecycle.policy import LifecyclePolicy, MemoryBudget
from orchestrator.lifecycle.state import Status
from orchestrator.routing.registry import ModelRegistry
from orchestrator.testing import (
    ProcessScript,
    ScriptedModel,
    SimulatedLauncher,
    SimulatedProbe,
    SimulatedTransport,
)
from orchestrator.testing.clock import LoopClock
from tests.engine.test_state import Disk, Storage
from tests.engine.world import simulated

MB = 1_000_000
SMALL = ResidentSpec("small", ("serve", "small.gguf"), {}, size=ResidentSize(100 * MB))
BIG = ResidentSpec("big", ("serve", "big.gguf"), {}, size=ResidentSize(300 * MB))
TOOK = {"ram": 120 * MB}


class Process:
    """What one process has, from its start to its end."""

    def __init__(
        self, disk: Disk, specs: tuple[ResidentSpec, ...] = (SMALL, BIG), **options: Any
    ) -> None:
        self.launcher = SimulatedLauncher(
            SimulatedTransport(), load_s=2.0, script_for=lambda spec: ProcessScript(memory=TOOK)
        )
        clock, bus = LoopClock(), EventBus(LoopClock())
        budget = MemoryBudget(ram_bytes=options.pop("ram_bytes", None))
        self.manager = ModelManager(
            specs,
            self.launcher,
            bus,
            clock,
            policy=LifecyclePolicy(budget=budget),
            probe=SimulatedProbe(self.launcher),
        )
        models = [ScriptedModel(spec.name, (), "local", resident=spec.name) for spec in specs]
        self.registry = ModelRegistry([*models, ScriptedModel("hosted", (), "p")])
        self.current: str | None = None
        source = Remembered(self.registry, self.manager, lambda: self.current, self.make_current)
        self.keeper = StateKeeper(Storage(disk), source, clock, bus, node="n", **options)

    def make_current(self, key: str) -> None:
        self.current = key


@asynccontextmanager
async def process(disk: Disk, *args: Any, **options: Any) -> AsyncIterator[Process]:
    """Live through one: what is remembered is saved before anything is unloaded."""
    one = Process(disk, *args, **options)
    await one.keeper.open()
    async with anyio.create_task_group() as tasks, one.manager:
        tasks.start_soon(one.keeper.run)
        yield one
        await one.keeper.aclose()
        tasks.cancel_scope.cancel()


@simulated
async def test_pins_measures_and_the_current_one_outlive_the_process():
    disk = Disk()
    async with process(disk) as first:
        await first.manager.switch_model("small")
        first.make_current("local:small")
        first.manager.pin("big")

    assert disk.state == SavedState(
        current="local:small",
        loaded=("small",),
        residents={
            "small": SavedResident(
                measured=MeasuredResident(of=fingerprint(SMALL), memory_bytes=TOOK, load_s=2.0)
            ),
            "big": SavedResident(pinned=True),
        },
    )
    async with process(disk) as second:
        snapshot = second.manager.snapshot()
        assert second.current == "local:small"
        assert second.manager.current == "small"
        assert [resident.pinned for resident in snapshot.residents] == [False, True]
        assert [resident.needs_bytes for resident in snapshot.residents] == [120 * MB, 300 * MB]
        assert second.manager.expected_load_s("small") == 2.0


@simulated
async def test_what_was_in_memory_comes_back_unloaded_and_holds_nothing():
    disk = Disk()
    async with process(disk) as first:
        await first.manager.load("small")

    async with process(disk) as second:
        assert second.manager.statuses() == {"small": Status.UNLOADED, "big": Status.AVAILABLE}
        assert not any(second.manager.snapshot().reserved.values())
        assert second.launcher.processes == []

        await second.manager.load("small")
        assert second.manager.loaded == {"small"}


@simulated
async def test_what_was_in_memory_is_loaded_again_if_that_is_wanted():
    disk = Disk()
    async with process(disk) as first:
        await first.manager.load_set(["small", "big"])

    async with process(disk, restore_loaded=True) as second:
        await anyio.sleep(10)
        assert second.manager.loaded == {"small", "big"}


@simulated
async def test_nobody_is_evicted_for_what_was_in_memory_before(caplog: pytest.LogCaptureFixture):
    disk = Disk()
    async with process(disk) as first:
        await first.manager.load_set(["small", "big"])

    async with process(disk, restore_loaded=True, ram_bytes=130 * MB) as second:
        await anyio.sleep(10)
        assert second.manager.loaded == {"small"}

    assert "big was in memory before, and is not loaded again: there is no room" in caplog.text
    assert disk.state.loaded == ("small",)


@simulated
async def test_what_was_measured_of_another_file_is_not_believed():
    disk = Disk()
    async with process(disk) as first:
        await first.manager.load("small")
        first.manager.pin("small")
    other = replace(SMALL, command=("serve", "other.gguf"))

    async with process(disk, (other,)) as second:
        (resident,) = second.manager.snapshot().residents
        assert resident.needs_bytes == 100 * MB
        assert resident.pinned


@simulated
async def test_a_model_that_runs_elsewhere_can_be_the_current_one():
    disk = Disk()
    async with process(disk) as first:
        first.make_current("p:hosted")

    async with process(disk) as second:
        assert second.current == "p:hosted"
        assert second.manager.current is None


@simulated
async def test_a_current_one_chosen_before_the_start_stands():
    disk = Disk()
    async with process(disk) as first:
        first.make_current("p:hosted")

    second = Process(disk)
    second.make_current("local:small")
    await second.keeper.open()

    assert second.current == "local:small"
    await second.keeper.aclose()
