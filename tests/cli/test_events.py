from __future__ import annotations

import asyncio
import json
from typing import Any

from pydantic import SecretStr

from orchestrator import Orchestrator
from orchestrator.server import Gateway
from orchestrator.testing.provider_server import ProviderServer
from orchestrator.testing.scripted import ScriptedModel, Turn
from tests.cli.command import Ran, command_beside


async def followed(*words: str, **gateway: Any) -> Ran:
    """Run ``events`` beside a gateway whose engine is always asked something."""
    model = ScriptedModel("steady", [Turn(text="Hello", after_s=0.001)])

    async with (
        Orchestrator([model]) as orchestrator,
        Gateway(orchestrator, port=0, **gateway) as serving,
        asyncio.TaskGroup() as tasks,
    ):

        async def ask_forever() -> None:
            while True:
                await orchestrator.generate("Hello")

        asking = tasks.create_task(ask_forever())
        ran = await command_beside("events", "--url", serving.url, *words)
        asking.cancel()
    return ran


async def test_events_are_written_as_they_happen():
    ran = await followed("--count", "4")

    assert ran.code == 0
    assert len(ran.stdout.splitlines()) == 4
    assert "model=scripted:steady" in ran.stdout


async def test_types_can_be_picked_and_as_json_each_event_is_a_line():
    ran = await followed("--type", "model-used", "--count", "2", "--json")

    told = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [event["event"] for event in told] == ["model-used", "model-used"]
    assert told[0]["model"] == "scripted:steady"


async def test_the_key_is_taken_from_the_environment(monkeypatch):
    ran = await followed("--count", "1", api_key=SecretStr("gateway-key"))
    assert (ran.code, ran.stdout) == (2, "")
    assert "answered 401: the API key is missing or wrong" in ran.stderr

    monkeypatch.setenv("ORCHESTRATOR_API_KEY", "gateway-key")
    ran = await followed("--count", "1", api_key=SecretStr("gateway-key"))
    assert ran.code == 0


async def test_a_type_that_there_is_not_is_refused():
    ran = await followed("--type", "bogus")

    assert ran.code == 2
    assert "there is no event type 'bogus'" in ran.stderr


async def test_where_nobody_serves_the_command_fails():
    async with ProviderServer() as provider:
        await provider.kill()
        ran = await command_beside("events", "--url", f"http://127.0.0.1:{provider.port}")

    assert ran.code == 1
    [error, hint] = ran.stderr.splitlines()
    assert f"127.0.0.1:{provider.port}" in error
    assert hint.startswith("hint: start one with `orchestrator serve`")


async def test_something_else_that_answers_there_is_told_apart():
    async with ProviderServer() as provider:
        ran = await command_beside("events", "--url", f"http://127.0.0.1:{provider.port}")

    assert ran.code == 2
    assert "answered 404" in ran.stderr
