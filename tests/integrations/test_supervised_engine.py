"""The real engine under supervision: as an embedded resident, and as a command like any other."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import psutil
import pytest

from orchestrator import Orchestrator
from orchestrator.core.bounds import Liveness, ProcessBounds
from orchestrator.core.bus import EventBus
from orchestrator.core.clock import SystemClock
from orchestrator.core.errors import ModelLoadError
from orchestrator.core.events import Event, ModelLoaded, ModelUnloaded
from orchestrator.core.model import Call
from orchestrator.core.params import TextGenerationParams, ToolSpec
from orchestrator.core.ports import Endpoint, HttpRequest, HttpResponse, ResidentSpec, Timeouts
from orchestrator.integrations.embedded import EmbeddedModel, warm_up
from orchestrator.integrations.http.transport import HttpTransport
from orchestrator.integrations.served import ServedModel
from orchestrator.lifecycle.command import CommandResident, command_resident
from orchestrator.lifecycle.manager import ModelManager
from orchestrator.lifecycle.process import SubprocessLauncher
from orchestrator.lifecycle.restart import RestartPolicy
from tests.integrations.real_engine import smollm2, smollm2_file
from tests.lifecycle.processes import until

WEATHER: ToolSpec = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 20}},
            "required": ["city"],
        },
    },
}
RESTLESS = Liveness(every_s=0.2, answer_within_s=0.5)


class CountingTransport(HttpTransport):
    """Counts the requests for each path."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()

    async def request(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
        response = await super().request(request, timeouts)
        self.asked[urlsplit(request.url).path] += 1
        return response


class World:
    """A manager of supervised engines, with what it published."""

    def __init__(self, logs: Path, *specs: ResidentSpec) -> None:
        self.events: list[Event] = []
        self.transport = CountingTransport()
        clock = SystemClock()
        bus = EventBus(clock)
        bus.on(Event, self.events.append)
        self.launcher = SubprocessLauncher(
            lambda: self.transport, first_token=self.warm_up, log_folder=logs, memory_every_s=0.1
        )
        self.manager = ModelManager(
            specs,
            self.launcher,
            bus,
            clock,
            warm_up=self.warm_up,
            restart=RestartPolicy(first_wait_s=0.001),
        )

    async def warm_up(self, endpoint: Endpoint) -> None:
        await warm_up(self.transport, endpoint)

    @property
    def process(self) -> psutil.Process:
        """The one that serves, or its guard."""
        return psutil.Process([e.pid for e in self.events if isinstance(e, ModelLoaded)][-1])

    async def lease_after_the_rest(self, resident: str) -> Endpoint:
        while True:
            try:
                async with self.manager.lease(resident) as endpoint:
                    return endpoint
            except ModelLoadError as error:
                assert error.retry_after_s is not None  # noqa: PT017
                await anyio.sleep(error.retry_after_s)

    @property
    def unloads(self) -> list[str]:
        return [event.reason for event in self.events if isinstance(event, ModelUnloaded)]


@asynccontextmanager
async def world(logs: Path, *specs: ResidentSpec) -> AsyncIterator[World]:
    world = World(logs, *specs)
    try:
        async with world.manager:
            yield world
    finally:
        await world.transport.aclose()
    assert psutil.Process().children(recursive=True) == []


def llama_server(**settings: Any) -> CommandResident:
    """The real engine as a program that knows nothing of us."""
    program = Path(__file__).with_name("llama_server.py")
    words = [sys.executable, str(program), "-m", "{path}", "--port", "{port}", "--alias", "{name}"]
    env = {"LLAMA_API_KEY": "{key}"}
    return command_resident("llama", words, path=smollm2_file(), env=env, **settings)


async def test_a_pool_answers_from_a_command_and_leaves_nothing_behind(tmp_path: Path):
    resident = llama_server(ready_timeout_s=60)
    transport = HttpTransport()

    async def first_token(endpoint: Endpoint) -> None:
        await warm_up(transport, endpoint)

    launcher = SubprocessLauncher(lambda: transport, first_token=first_token, log_folder=tmp_path)
    terse = {"system_prompt": "Answer with one word.", "max_tokens": 8, "temperature": 0}
    model = ServedModel("terse", resident, defaults=terse)
    try:
        async with Orchestrator([model], launcher=launcher, transport=transport) as orchestrator:
            result = await orchestrator.generate("What is the capital of France?")
            called = await orchestrator.generate(
                "What is the weather in Rome?",
                tools=[WEATHER],
                tool_choice="required",
                max_tokens=80,
            )
            guard, *others = psutil.Process().children(recursive=True)
    finally:
        await transport.aclose()

    assert "Paris" in result.text
    assert called.tool_calls[0].name == "get_weather"
    assert len(others) == 1
    assert not guard.is_running()
    assert not others[0].is_running()
    log = (tmp_path / "llama.log").read_text("utf-8")
    assert f"process {guard.pid}" in log


@pytest.mark.parametrize("kind", ["embedded", "command"])
async def test_an_engine_that_hangs_is_killed_and_the_next_lease_has_a_new_one(
    tmp_path: Path, kind: str
):
    bounds = ProcessBounds(liveness=RESTLESS)
    resident: ResidentSpec = (
        smollm2(context=1024, bounds=bounds) if kind == "embedded" else llama_server(bounds=bounds)
    )
    async with world(tmp_path, resident) as w:
        async with w.manager.lease(resident.name) as first:
            pid = w.process.pid
        everybody = [w.process, *w.process.children(recursive=True)]
        engine = everybody[-1]
        engine.suspend()  # its port is still connected to

        await until(lambda: w.unloads, within_s=60)
        assert not any(one.is_running() for one in everybody)
        await until(lambda: "it hung: " in (tmp_path / f"{resident.name}.log").read_text("utf-8"))
        second = await w.lease_after_the_rest(resident.name)

        assert w.unloads == ["crashed"]
        assert second.base_url != first.base_url
        assert w.process.pid != pid


async def test_an_engine_that_is_left_alone_or_works_is_never_taken_to_hang(tmp_path: Path):
    bounds = ProcessBounds(liveness=Liveness(every_s=0.05, answer_within_s=10, failures=1))
    resident = smollm2(context=1024, bounds=bounds)
    model = EmbeddedModel("story", resident)
    async with world(tmp_path, resident) as w, w.manager.lease("smollm2") as endpoint:
        model.bind(w.transport, None)
        params = TextGenerationParams(prompt="Tell me a story.", max_tokens=40)
        for times in range(1, 4):
            await model.answer(params, Call(endpoint, Timeouts(first_token_s=120, answer_s=120)))
            asked = w.transport.asked
            await until(lambda: asked["/slots"] >= 5 * times)  # noqa: B023  # awaited here

        assert w.unloads == []


async def test_an_engine_that_holds_more_than_it_may_is_killed(tmp_path: Path):
    bounds = ProcessBounds(memory_bytes=50_000_000)
    async with world(tmp_path, smollm2(context=1024, bounds=bounds)) as w:
        async with w.manager.lease("smollm2"):
            await until(lambda: w.unloads)

        log = (tmp_path / "smollm2.log").read_text("utf-8")
        assert re.search(r"ended: it took 0\.\d\d GB of memory, and may take 0\.05\n", log)


async def test_the_embedded_engine_gets_the_shares_it_is_given(tmp_path: Path):
    (core, *_) = psutil.Process().cpu_affinity() if sys.platform == "linux" else (None,)
    bounds = ProcessBounds(nice=4, cores=() if core is None else (core,))
    async with (
        world(tmp_path, smollm2(context=512, bounds=bounds)) as w,
        w.manager.lease("smollm2"),
    ):
        assert w.process.nice() == min(psutil.Process().nice() + 4, 19)
        assert w.process.children() == []
        if core is not None:
            for thread in w.process.threads():
                assert os.sched_getaffinity(thread.id) == {core}
