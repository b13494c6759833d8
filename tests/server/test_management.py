"""What operators ask: models, health, events, feedback, reasons."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import anyio
import orjson
import pytest
from aiohttp import web

from orchestrator import Model, Orchestrator
from orchestrator.core.events import CallStarted, ModelUsed, event_types
from orchestrator.server.event_stream import EventStream
from orchestrator.testing.faults import FaultPlan, failure
from orchestrator.testing.provider_server import ProviderServer
from tests.server.serving import CHAT, Door, door_to, remote


class Silent(Model):
    """A model that is only looked at."""

    def __init__(self, name: str, provider: str = "acme", **facts: Any) -> None:
        super().__init__(name, provider, facts.pop("capabilities", ("chat_completion",)), **facts)

    async def generate_response(self, prompt: str, **options: Any) -> str:
        return "yes"


GPT = Silent(
    "gpt-4",
    "openai",
    capabilities=("chat_completion", "function_calling"),
    context_window=8192,
    max_output_tokens=4096,
)
CLAUDE = Silent("opus", "claude", capabilities=("chat_completion", "vision"))
LOCAL = Silent("small", "embedded", resident="file", local=True)


# -- models ----------------------------------------------------------------------------------------


async def test_models_are_described_as_the_management_api_describes_them():
    async with door_to(GPT) as door:
        reply = await door.get("/api/v1/models")

    assert reply.json == {
        "success": True,
        "models": [
            {
                "id": "gpt-4",
                "name": "gpt-4",
                "key": "openai:gpt-4",
                "provider": "openai",
                "contextWindow": 8192,
                "maxTokens": 4096,
                "capabilities": ["chat_completion", "function_calling", "text_generation"],
                "status": "available",
            }
        ],
        "count": 1,
    }


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        ("", ["openai:gpt-4", "anthropic:opus", "embedded:small"]),
        ("provider=openai", ["openai:gpt-4"]),
        ("provider=claude", ["anthropic:opus"]),
        ("provider=anthropic", ["anthropic:opus"]),
        ("capability=vision", ["anthropic:opus"]),
        ("capability=embeddings", []),
        ("status=available", ["openai:gpt-4", "anthropic:opus", "embedded:small"]),
        ("status=loaded", []),
        ("status=failed", []),
        ("status=available,failed", ["openai:gpt-4", "anthropic:opus", "embedded:small"]),
        ("provider=openai&capability=vision", []),
        ("provider=openai&capability=function_calling&status=available", ["openai:gpt-4"]),
    ],
)
async def test_models_are_filtered(query: str, keys: list[str]):
    async with door_to(GPT, CLAUDE, LOCAL) as door:
        reply = await door.get(f"/api/v1/models?{query}")

    assert [model["key"] for model in reply.json["models"]] == keys
    assert reply.json["count"] == len(keys)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("provider=nobody", "anthropic"),
        ("provider=", "openai"),
        ("capability=telepathy", "vision"),
        ("status=asleep", "loaded"),
        ("status=", "loaded"),
    ],
)
async def test_a_filter_that_means_nothing_is_refused_and_says_what_does(query: str, named: str):
    async with door_to(GPT, CLAUDE) as door:
        reply = await door.get(f"/api/v1/models?{query}")

    assert reply.status == 400
    assert named in reply.error["message"]


async def test_openais_list_holds_routes_and_models_with_what_they_are():
    async with door_to(GPT) as door:
        listed = (await door.get("/v1/models")).json["data"]
        found = (await door.get("/v1/models/gpt-4")).json

    kinds = {entry["id"]: entry["orchestrator"]["kind"] for entry in listed}
    assert kinds["auto"] == "route"
    assert kinds["openai:gpt-4"] == "model"
    assert found["orchestrator"]["context_window"] == 8192


async def test_a_name_that_two_models_share_asks_for_the_provider():
    async with door_to(Silent("m", "a"), Silent("m", "b")) as door:
        reply = await door.get("/v1/models/m")

    assert reply.status == 404
    assert "a:m, b:m" in reply.error["message"]


# -- health ----------------------------------------------------------------------------------------


async def test_a_healthy_gateway_says_so_briefly():
    async with door_to(GPT, CLAUDE) as door:
        reply = await door.get("/healthz")

    assert (reply.status, reply.json) == (
        200,
        {"status": "ok", "models": 2, "healthy": 2, "issues": []},
    )


async def test_what_speaks_against_a_model_is_told_and_the_server_is_still_well():
    plan = FaultPlan(script=[failure(429, retry_after_s=30)])
    async with (
        ProviderServer(faults=plan) as server,
        door_to(remote(server, "a"), remote(server, "b")) as door,
    ):
        await door.chat()
        reply = await door.get("/healthz")

    [issue] = reply.json["issues"]
    assert (reply.status, reply.json["models"], reply.json["healthy"]) == (200, 2, 1)
    assert issue["issues"] == ["rate_limit from its endpoint"]
    assert 0 < issue["back_in_s"] <= 30


# -- events ----------------------------------------------------------------------------------------


@asynccontextmanager
async def listening(door: Door, query: str = "") -> AsyncIterator[AsyncIterator[dict[str, str]]]:
    """Open the event stream; yields its events as their fields."""
    async with door.session.get(f"{door.url}/api/v1/events{query}") as response:
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"

        async def events() -> AsyncIterator[dict[str, str]]:
            fields: dict[str, str] = {}
            async for line in response.content:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name:
                    fields[name] = value
                elif fields:
                    yield fields
                    fields = {}

        yield events()


async def test_events_arrive_with_their_number_their_name_and_their_data():
    with anyio.fail_after(30):
        async with door_to(GPT) as door, listening(door) as events:
            reply = await door.chat()
            seen = [await anext(events) for _ in range(3)]

    assert [event["event"] for event in seen] == ["model-selected", "call-started", "model-used"]
    for event in seen:
        data = orjson.loads(event["data"])
        assert (data["event"], str(data["id"])) == (event["event"], event["id"])
        assert data["decision_id"] == reply.headers["X-Orchestrator-Decision-Id"]


async def test_only_the_types_that_were_named_arrive():
    with anyio.fail_after(30):
        async with (
            door_to(GPT) as door,
            listening(door, "?types=model-used,%20model-registered") as events,
        ):
            await door.chat()
            await door.chat()
            seen = [(await anext(events))["event"] for _ in range(2)]

    assert seen == ["model-used", "model-used"]


async def test_a_type_that_is_none_is_refused_with_those_there_are():
    async with door_to(GPT) as door:
        reply = await door.get("/api/v1/events?types=model-used,model-uesd")

    assert (reply.status, reply.error["param"]) == (400, "types")
    assert all(name in reply.error["message"] for name in event_types())


async def test_a_listener_that_leaves_is_forgotten():
    with anyio.fail_after(30):
        async with door_to(GPT) as door:
            async with listening(door):
                assert door.orchestrator.events.wants(CallStarted)
            with door.orchestrator.events.subscribe(ModelUsed) as used:
                while door.orchestrator.events.wants(CallStarted):
                    await door.chat()
                    await anext(used)


async def test_a_silent_stream_sends_heartbeats_and_a_slow_reader_hears_what_it_lost():
    with anyio.fail_after(30):
        async with Orchestrator([GPT], seed=1) as orchestrator:
            stream = EventStream(orchestrator, heartbeat_s=0.001, buffer=2)
            async with (
                serving(stream) as url,
                aiohttp.ClientSession() as session,
                session.get(f"{url}?types=model-selected,decision-expired") as response,
            ):
                beat = await response.content.readuntil(b"\n\n")
                for _ in range(3):  # six events at once, with room for two
                    (await orchestrator.select_model()).release()
                after = beat
                while after == beat:
                    after = await response.content.readuntil(b"\n\n")

    assert beat == b": still here\n\n"
    assert after == b": 4 events were dropped\n\n"


@asynccontextmanager
async def serving(stream: EventStream) -> AsyncIterator[str]:
    app = web.Application()
    app.add_routes([web.get("/", stream.serve)])
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await stream.close(app)
        await runner.cleanup()


# -- feedback and reasons --------------------------------------------------------------------------


async def test_feedback_reaches_the_statistics_and_twice_changes_nothing():
    async with door_to(GPT) as door:
        decision_id = (await door.chat()).headers["X-Orchestrator-Decision-Id"]
        feedback = {"decision_id": decision_id, "quality": 0.75}
        replies = [await door.post("/api/v1/feedback", feedback) for _ in range(2)]
        sums = door.orchestrator.get_model_statistics()["openai:gpt-4"]

    assert [reply.json for reply in replies] == [{"success": True}] * 2
    assert (sums["n_quality"], sums["quality"]) == (1, 0.75)


@pytest.mark.parametrize(
    ("feedback", "status", "code"),
    [
        ({"quality": 1}, 400, "invalid_request"),
        ({"decision_id": 7, "quality": 1}, 400, "invalid_request"),
        ({"decision_id": "d-0-0-0"}, 400, "invalid_request"),
        ({"decision_id": "d-0-0-0", "quality": 1, "comment": "!"}, 400, "invalid_request"),
        ({"decision_id": "d-0-0-0", "quality": 1.5}, 400, "invalid_request"),
        ({"decision_id": "d-0-0-0", "quality": "good"}, 400, "invalid_request"),
        ({"decision_id": "d-0-0-0", "quality": 1}, 404, "unknown_decision"),
        ({"decision_id": "nonsense", "quality": 1}, 404, "unknown_decision"),
    ],
)
async def test_feedback_that_means_nothing_says_why(
    feedback: dict[str, Any], status: int, code: str
):
    async with door_to(GPT) as door:
        reply = await door.post("/api/v1/feedback", feedback)

    assert (reply.status, reply.error["code"]) == (status, code)


async def test_an_explanation_names_each_models_score_or_reason_and_calls_nobody():
    image = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}
    asked = CHAT | {"messages": [{"role": "user", "content": [image]}]}
    async with door_to(GPT, CLAUDE) as door:
        reply = await door.post("/api/v1/explain", asked)
        calls = door.orchestrator.get_model_statistics()

    models = {model["key"]: model for model in reply.json["models"]}
    assert reply.json["chosen"] == "anthropic:opus"
    assert models["openai:gpt-4"]["refused"] == "capability"
    assert {"requirement": "vision", "origin": "request: image part"} in reply.json["origins"]
    assert calls == {}


async def test_a_stream_is_explained_as_one():
    whole_only = Silent("m")
    async with door_to(whole_only) as door:
        reply = await door.post("/api/v1/explain", CHAT | {"stream": True})

    assert "streaming" in [origin["requirement"] for origin in reply.json["origins"]]


async def test_demands_are_explained_without_a_request():
    async with door_to(GPT, CLAUDE) as door:
        reply = await door.post("/api/v1/explain", {"orchestrator": {"capabilities": ["vision"]}})

    assert reply.json["chosen"] == "anthropic:opus"
    assert reply.json["requirements"] == {"capabilities": ["vision"]}
