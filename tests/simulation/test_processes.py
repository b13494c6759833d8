from __future__ import annotations

import asyncio
import functools
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import orjson
import pytest

from orchestrator.core.errors import ModelAPIError, ProcessError
from orchestrator.core.ports import (
    ChildProcess,
    HttpRequest,
    ProcessLauncher,
    ResidentSpec,
    Timeouts,
)
from orchestrator.testing import (
    OpenAIProvider,
    SimulatedLauncher,
    SimulatedProcess,
    SimulatedTransport,
    run_simulated,
)

SPEC = ResidentSpec("small", ("engine",), {}, ready_timeout_s=10.0)


def simulated(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    @functools.wraps(test)
    def run() -> None:
        run_simulated(test, until_s=3_600)

    return run


def now() -> float:
    return asyncio.get_running_loop().time()


def question(process: SimulatedProcess, key: str | None = None) -> HttpRequest:
    endpoint = process.endpoint
    assert endpoint.credential is not None
    headers = {"Authorization": f"Bearer {key or endpoint.credential.get_secret_value()}"}
    body = {"model": "any", "messages": [{"role": "user", "content": "hi"}]}
    return HttpRequest("POST", f"{endpoint.base_url}/chat/completions", headers, orjson.dumps(body))


@simulated
async def test_it_is_a_launcher_of_processes():
    launcher: ProcessLauncher = SimulatedLauncher(SimulatedTransport())
    process: ChildProcess = await launcher.start(SPEC)

    assert process.pid > 0


@simulated
async def test_a_process_serves_once_it_is_loaded_to_whoever_has_its_key():
    transport = SimulatedTransport()
    process = await SimulatedLauncher(transport, load_s=3.0).start(SPEC)

    assert now() == 3.0
    assert (await transport.request(question(process), Timeouts())).status == 200
    assert (await transport.request(question(process, "another"), Timeouts())).status == 401


@simulated
async def test_each_process_has_an_address_and_a_key_of_its_own():
    launcher = SimulatedLauncher(SimulatedTransport())

    first, second = [await launcher.start(SPEC) for _ in range(2)]

    assert first.endpoint.base_url != second.endpoint.base_url
    assert first.endpoint.credential != second.endpoint.credential
    assert first.pid != second.pid
    assert launcher.alive("small") == launcher.processes == [first, second]


@simulated
async def test_a_death_breaks_what_it_was_working_on():
    transport = SimulatedTransport()
    slow = OpenAIProvider(first_token_s=5.0)
    launcher = SimulatedLauncher(transport, lambda spec: slow)
    process = await launcher.start(SPEC)
    asked = asyncio.create_task(transport.request(question(process), Timeouts()))
    await asyncio.sleep(1.0)

    process.die()

    with pytest.raises(ModelAPIError):
        await asked
    assert (await process.wait(), now()) == (-signal.SIGKILL, 1.0)
    assert launcher.alive() == []


@simulated
async def test_it_dies_once():
    process = await SimulatedLauncher(SimulatedTransport()).start(SPEC)
    process.die(1)
    process.die(2)

    assert await process.wait() == await process.stop() == 1


@simulated
async def test_asked_to_stop_it_takes_its_time_or_is_killed():
    launcher = SimulatedLauncher(SimulatedTransport())
    willing, stubborn = [await launcher.start(SPEC) for _ in range(2)]
    willing.stop_s, stubborn.stop_s = 1.0, 60.0

    assert (await willing.stop(grace_s=5.0), now()) == (-signal.SIGTERM, 1.0)
    assert (await stubborn.stop(grace_s=5.0), now()) == (-signal.SIGKILL, 6.0)


@simulated
async def test_a_cancelled_stop_kills():
    process = await SimulatedLauncher(SimulatedTransport()).start(SPEC)
    process.stop_s = 60.0
    stop = asyncio.create_task(process.stop(grace_s=60.0))
    await asyncio.sleep(1.0)
    stop.cancel()
    await asyncio.wait([stop])

    assert (process.exit_code, now()) == (-signal.SIGKILL, 1.0)


@simulated
async def test_starts_fail_as_they_are_told_to():
    launcher = SimulatedLauncher(SimulatedTransport(), load_s=2.0)
    launcher.failures.extend([ProcessError("no memory"), None])

    with pytest.raises(ProcessError, match="no memory"):
        await launcher.start(SPEC)
    await launcher.start(SPEC)

    assert len(launcher.processes) == 1


@simulated
async def test_a_load_that_takes_too_long_fails():
    launcher = SimulatedLauncher(SimulatedTransport(), load_s=60.0)

    with pytest.raises(ProcessError, match="not ready in time"):
        await launcher.start(SPEC)

    assert (now(), launcher.processes) == (10.0, [])
