"""The real engine's process: loaded on lease, killed, restarted, never left behind."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import psutil
import pytest

from orchestrator.core.bus import EventBus
from orchestrator.core.clock import SystemClock
from orchestrator.core.errors import ErrorClass, ModelAPIError, ModelLoadError, ProcessError
from orchestrator.core.events import Event, ModelLoaded, ModelUnloaded, ProcessExited
from orchestrator.core.model import Call
from orchestrator.core.params import TextGenerationParams
from orchestrator.core.ports import Endpoint, ResidentSpec, Timeouts
from orchestrator.integrations.embedded import EmbeddedModel, embedded_resident, warm_up
from orchestrator.integrations.http.transport import HttpTransport
from orchestrator.lifecycle.manager import ModelManager
from orchestrator.lifecycle.process import SubprocessLauncher
from orchestrator.lifecycle.restart import RestartPolicy
from tests.integrations.real_engine import smollm2, smollm2_file
from tests.lifecycle.processes import has_ended, parent_of, until


class World:
    """A manager of real engines, with what it published."""

    def __init__(self, *specs: ResidentSpec) -> None:
        self.events: list[Event] = []
        self.transport = HttpTransport()
        clock = SystemClock()
        bus = EventBus(clock)
        bus.on(Event, self.events.append)
        self.residency = ModelManager(
            specs,
            SubprocessLauncher(),
            bus,
            clock,
            warm_up=lambda endpoint: warm_up(self.transport, endpoint),
            restart=RestartPolicy(first_wait_s=0.05),
        )

    @property
    def pid(self) -> int:
        return [event.pid for event in self.events if isinstance(event, ModelLoaded)][-1]

    def saw(self, kind: type[Event]) -> bool:
        return any(isinstance(event, kind) for event in self.events)

    async def lease_after_the_rest(self) -> Endpoint:
        while True:
            try:
                async with self.residency.lease("smollm2") as endpoint:
                    return endpoint
            except ModelLoadError as error:
                assert error.retry_after_s is not None  # noqa: PT017
                await anyio.sleep(error.retry_after_s)


@asynccontextmanager
async def world(*specs: ResidentSpec) -> AsyncIterator[World]:
    world = World(*specs)
    try:
        async with world.residency:
            yield world
    finally:
        await world.transport.aclose()
    assert psutil.Process().children(recursive=True) == []


async def ask(model: EmbeddedModel, endpoint: Endpoint, transport: HttpTransport) -> None:
    model.bind(transport, None)
    params = TextGenerationParams(prompt="Tell me a long story.", max_tokens=400)
    await model.answer(params, Call(endpoint, Timeouts(first_token_s=120.0)))


async def test_a_killed_engine_is_reported_and_the_next_lease_after_the_rest_has_a_new_one():
    async with world(smollm2(context=1024)) as w:
        async with w.residency.lease("smollm2") as first:
            pid = w.pid
        os.kill(pid, signal.SIGKILL)
        await until(lambda: w.saw(ModelUnloaded))
        second = await w.lease_after_the_rest()

        assert second.base_url != first.base_url
        assert second.credential != first.credential
        assert w.pid != pid
        exited = next(event for event in w.events if isinstance(event, ProcessExited))
        assert (exited.pid, exited.exit_code, exited.expected) == (pid, -signal.SIGKILL, False)


async def test_a_kill_in_the_middle_of_an_answer_cuts_it_at_once():
    resident = smollm2(context=1024)
    model = EmbeddedModel("story", resident)
    errors: list[ModelAPIError] = []

    async def use(endpoint: Endpoint) -> None:
        try:
            await ask(model, endpoint, w.transport)
        except ModelAPIError as error:
            errors.append(error)

    async with (
        world(resident) as w,
        w.residency.lease("smollm2") as endpoint,
        anyio.create_task_group() as tasks,
    ):
        process = psutil.Process(w.pid)
        idle_s = process.cpu_times().user
        tasks.start_soon(use, endpoint)
        await until(lambda: process.cpu_times().user > idle_s + 0.1)  # it is at work
        process.kill()
        await until(lambda: w.saw(ModelUnloaded))

    assert [error.classification for error in errors] == [ErrorClass.NETWORK_ERROR]


async def test_unloading_ends_the_process_and_gives_back_all_its_memory():
    async with world(smollm2(context=1024)) as w:
        async with w.residency.lease("smollm2"):
            child = psutil.Process(w.pid)
            assert child.memory_info().rss > 100e6
        await w.residency.unload("smollm2")

        assert not child.is_running()
        assert w.residency.loaded == frozenset()


async def test_a_model_whose_last_values_are_missing_fails_to_load_with_the_engines_words(
    tmp_path: Path,
):
    damaged = tmp_path / "damaged.gguf"
    shutil.copyfile(smollm2_file(), damaged)
    os.truncate(damaged, damaged.stat().st_size - 1000)
    resident = embedded_resident("smollm2", damaged)

    async with world(resident) as w:
        with pytest.raises(ModelLoadError, match="could not be loaded") as caught:
            async with w.residency.lease("smollm2"):
                pass

    cause = caught.value.__cause__
    assert isinstance(cause, ProcessError)
    assert cause.exit_code == 1
    assert "not within the file bounds" in cause.output


# -- the parent's end --------------------------------------------------------------------------


async def test_killing_the_parent_of_a_serving_engine_ends_the_engine():
    with parent_of(*smollm2(context=1024).command) as parent:
        assert parent.stdout is not None
        engine = psutil.Process(int(parent.stdout.readline()))
        parent.kill()

    await until(lambda: has_ended(engine))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_killing_the_parent_of_a_loading_engine_ends_the_engine():
    with parent_of(*smollm2(context=1024).command) as parent:
        await until(lambda: psutil.Process(parent.pid).children())
        (engine,) = psutil.Process(parent.pid).children()
        await until(lambda: "smollm2.gguf" in Path(f"/proc/{engine.pid}/maps").read_text())
        parent.kill()

    await until(lambda: has_ended(engine))
