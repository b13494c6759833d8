"""Models that come into memory and leave it, over HTTP."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import anyio
import pytest
from yarl import URL

from orchestrator import OpenAICompatibleModel, Orchestrator
from orchestrator.core.events import ModelLoaded, ModelLoading
from orchestrator.integrations.embedded import EmbeddedModel
from orchestrator.server import Gateway
from orchestrator.testing import ProcessScript
from orchestrator.testing.faults import FaultPlan, failure
from orchestrator.testing.provider_server import ProviderServer
from orchestrator.testing.scripted import ScriptedModel, Turn
from tests.integrations.real_engine import smollm2
from tests.server.local import BROKEN, local, local_door
from tests.server.serving import Door, Reply, door_to, remote
from tests.server.test_management import CLAUDE, GPT

MODELS = "/api/v1/models"
HANGS = ProcessScript(hangs=True)


async def load(door: Door, name: str, **fields: Any) -> Reply:
    return await door.post(f"{MODELS}/load", {"provider": "embedded", "model": name, **fields})


async def keys(door: Door, path: str) -> list[str]:
    return [model["key"] for model in (await door.get(MODELS + path)).json["models"]]


async def test_the_management_api_is_on_port_3001_unless_told_otherwise():
    assert Gateway(Orchestrator([GPT])).url == "http://127.0.0.1:3001"
    async with door_to(GPT) as door:
        reply = await door.get(MODELS)

    assert (reply.status, reply.json["count"]) == (200, 1)


# -- what there is ---------------------------------------------------------------------------------


async def test_what_is_in_memory_is_listed_with_the_current_one():
    async with local_door(local("a"), local("b"), GPT) as door:
        before = (await door.get(f"{MODELS}/loaded")).json
        await load(door, "a")
        await door.post(f"{MODELS}/switch", {"model": "embedded:a"})
        after = (await door.get(f"{MODELS}/loaded")).json

    assert before == {"success": True, "models": [], "count": 0, "currentModel": None}
    assert [model["key"] for model in after["models"]] == ["embedded:a"]
    assert (after["count"], after["currentModel"]["key"]) == (1, "embedded:a")


async def test_the_status_of_a_model_follows_what_becomes_of_it():
    scripts = {"b": BROKEN}
    async with local_door(local("a"), local("b"), local("c"), GPT, scripts=scripts) as door:
        await load(door, "a")
        await load(door, "b")
        loaded = await keys(door, "?status=loaded")
        failed = await keys(door, "?status=failed")
        loadable = await keys(door, "?status=available,unloaded,failed")
        await door.post(f"{MODELS}/unload", {"model": "a"})
        unloaded = await keys(door, "?status=unloaded&provider=embedded&capability=chat_completion")

    assert loaded == ["embedded:a"]
    assert failed == ["embedded:b"]
    assert loadable == ["embedded:b", "embedded:c", "openai:gpt-4"]
    assert unloaded == ["embedded:a"]


async def test_without_a_current_model_there_is_none_to_describe():
    async with local_door(local("a")) as door:
        reply = await door.get(f"{MODELS}/current")

    assert (reply.status, reply.error["code"]) == (404, "model_not_found")
    assert "/switch" in reply.error["message"]


async def test_the_current_model_is_described_with_what_it_has_done():
    async with local_door(local("a", 145_000_000), GPT) as door:
        await door.post(f"{MODELS}/switch", {"provider": "embedded", "model": "a"})
        await door.chat(model="embedded:a")
        model = (await door.get(f"{MODELS}/current")).json["model"]

    metrics = model["performanceMetrics"]
    assert model.keys() >= {"key", "model", "loadedAt", "totalInferences", "performanceMetrics"}
    assert (model["key"], model["model"]["id"]) == ("embedded:a", "a")
    assert model["loadedAt"].endswith("Z")
    assert (model["totalInferences"], metrics["totalInferences"]) == (1, 1)
    assert metrics["successRate"] == 1.0
    assert metrics["averageLatency"] > 0
    assert (metrics["memoryUsage"], metrics["lastBenchmarked"]) == (145.0, None)
    assert (model["memory"]["resident"], model["memory"]["current"]) == ("a", True)


async def test_latency_is_in_milliseconds():
    model = ScriptedModel("a", [Turn(text="one two", after_s=0.05)])
    async with door_to(model) as door:
        await door.chat()
        metrics = (await door.get(f"{MODELS}/a")).json["model"]["performanceMetrics"]

    assert 50 <= metrics["averageLatency"] < 5_000


async def test_one_address_leads_to_a_provider_or_to_a_model():
    llama = OpenAICompatibleModel("m", "llama.cpp", "http://127.0.0.1:9/v1")
    async with local_door(local("a"), GPT, CLAUDE, llama) as door:
        of_providers = {
            name: await keys(door, f"/{name}") for name in ("openai", "claude", "llama.cpp")
        }
        one = (await door.get(f"{MODELS}/gpt-4")).json["model"]
        none = await door.get(f"{MODELS}/nobody")

    assert of_providers == {
        "openai": ["openai:gpt-4"],
        "claude": ["anthropic:opus"],
        "llama.cpp": ["llama_cpp:m"],
    }
    assert (one["key"], one["memory"], one["loadedAt"]) == ("openai:gpt-4", None, None)
    assert (none.status, none.error["param"]) == (404, "model")


@pytest.mark.parametrize("written", ["hub:org/m:7b", "hub%3Aorg%2Fm%3A7b", "hub:org%2Fm:7b"])
@pytest.mark.parametrize("path", ["models/{}", "models/{}/capabilities", "health/{}"])
async def test_keys_with_slashes_and_colons_may_be_encoded_or_not(path: str, written: str):
    model = OpenAICompatibleModel("org/m:7b", "hub", "http://127.0.0.1:9/v1")
    async with door_to(model) as door:
        url = f"{door.url}/api/v1/{path.format(written)}"
        reply = await door.session.get(URL(url, encoded=True))
        found = await reply.json()

    assert reply.status == 200
    assert "hub:org/m:7b" in str(found)


async def test_the_pool_is_counted():
    async with local_door(local("a"), local("b"), GPT, CLAUDE, budget={"ram_bytes": 10}) as door:
        await load(door, "a")
        await door.post(f"{MODELS}/switch", {"provider": "claude", "model": "opus"})
        await door.chat(model="a")
        found = (await door.get(f"{MODELS}/statistics")).json

    statistics = found["statistics"]
    assert found["success"] is True
    assert (statistics["totalModels"], statistics["loadedModels"]) == (4, 1)
    assert (statistics["currentModel"], statistics["totalInferences"]) == ("anthropic:opus", 1)
    assert statistics["providerCounts"] == {"embedded": 2, "openai": 1, "anthropic": 1}
    assert statistics["capabilityCounts"]["vision"] == 1
    assert statistics["statusCounts"] == {"loaded": 1, "available": 3}
    assert (statistics["memoryLimits"], statistics["memoryReserved"]["ram"]) == ({"ram": 10}, 1)


# -- loading ---------------------------------------------------------------------------------------


async def test_a_model_is_loaded_and_unloaded():
    async with local_door(local("a")) as door:
        loaded = await load(door, "a")
        first = door.orchestrator.loaded
        unloaded = await door.post(f"{MODELS}/unload", {"provider": "embedded", "model": "a"})
        second = door.orchestrator.loaded

    named = {"success": True, "provider": "embedded", "model": "a", "key": "embedded:a"}
    assert loaded.json == {**named, "message": "Model loaded successfully", "plan": None}
    assert unloaded.json == {**named, "message": "Model unloaded successfully"}
    assert first == {"a"}
    assert not second


async def test_a_hosted_model_is_always_there():
    async with door_to(GPT) as door:
        reply = await door.post(f"{MODELS}/load", {"provider": "openai", "model": "gpt-4"})

    assert (reply.status, reply.json["provider"], reply.json["model"]) == (200, "openai", "gpt-4")


async def test_a_dry_run_says_who_would_have_to_go_and_loads_nothing():
    models = (local("a", 6), local("b", 6))
    async with local_door(*models, budget={"ram_bytes": 10}) as door:
        await load(door, "a")
        plan = (await load(door, "b", dryRun=True)).json["plan"]
        loaded = door.orchestrator.loaded

    assert (plan["load"], plan["evict"], plan["needsBytes"]) == (["b"], ["a"], 6)
    assert plan["expectedS"] >= 0
    assert loaded == {"a"}


@pytest.mark.parametrize("path", ["load", "switch"])
async def test_a_load_that_fails_is_a_bad_gateway(path: str):
    async with local_door(local("a"), scripts={"a": BROKEN}) as door:
        reply = await door.post(f"{MODELS}/{path}", {"model": "a"})
        current = door.orchestrator.current_model

    assert reply.status == 502
    assert "the file is cut off" in reply.error["message"]
    assert current is None


@pytest.mark.parametrize("fields", [{}, {"dryRun": True}])
async def test_what_can_never_fit_is_told_so_and_evicts_nobody(fields: dict[str, Any]):
    async with local_door(local("a", 6), local("b", 11), budget={"ram_bytes": 10}) as door:
        await load(door, "a")
        reply = await load(door, "b", **fields)
        loaded = door.orchestrator.loaded

    assert (reply.status, reply.error["code"]) == (507, "model_does_not_fit")
    assert "11 of ram" in reply.error["message"]
    assert loaded == {"a"}


async def test_whoever_waited_too_long_is_told_when_to_come_back():
    async with local_door(local("a"), scripts={"a": HANGS}) as door:
        reply = await load(door, "a", waitLimitS=0.01)

    assert (reply.status, reply.error["code"]) == (503, "overloaded")
    assert int(reply.headers["Retry-After"]) >= 1


async def test_a_client_that_leaves_does_not_cancel_the_load():
    slow = {"a": ProcessScript(load_s=0.2)}
    with anyio.fail_after(30):
        async with local_door(local("a"), scripts=slow) as door:
            with door.orchestrator.events.subscribe(ModelLoading, ModelLoaded) as events:
                asking = asyncio.create_task(load(door, "a"))
                await anext(events)
                asking.cancel()
                assert isinstance(await anext(events), ModelLoaded)


async def test_requests_that_load_the_same_model_share_one_load():
    slow = {"a": ProcessScript(load_s=0.05)}
    async with local_door(local("a"), scripts=slow) as door:
        with door.orchestrator.events.subscribe(ModelLoading) as events:
            replies = await asyncio.gather(*(load(door, "a") for _ in range(5)))
            begun = [await anext(events)]
            events.close()
            begun += [event async for event in events]

    assert {reply.status for reply in replies} == {200}
    assert len(begun) == 1


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("load", {}, 400, "model"),
        ("load", {"model": 7}, 400, "model"),
        ("load", {"model": "a", "modle": "b"}, 400, "modle"),
        ("load", {"model": "a", "waitLimitS": 0}, 400, "waitLimitS"),
        ("load", b"[]", 400, None),
        ("load", {"model": "b"}, 404, "model"),
        ("load", {"model": "a", "provider": "openai"}, 404, "model"),
        ("switch", {"model": "b"}, 404, "model"),
        ("switch", {"model": "a", "load": "no"}, 400, "load"),
        ("unload", {"model": "a"}, 400, "resident"),
        ("unload", {"provider": "openai", "model": "gpt-4"}, 400, "model"),
        ("embedded:a/profile", {"testCount": 0}, 400, "testCount"),
        ("embedded:a/profile", {"testCount": "3"}, 400, "testCount"),
        ("embedded:a/profile", {"maxCost": -1}, 400, "maxCost"),
        ("nobody/profile", {}, 404, "model"),
        ("embedded:a/pin", {"pinned": "yes"}, 400, "pinned"),
        ("openai:gpt-4/pin", {}, 400, "model"),
        ("discover", {"register": 1}, 400, "register"),
    ],
)
async def test_what_cannot_be_done_says_why_and_changes_nothing(
    path: str, body: Any, status: int, param: str | None
):
    async with local_door(local("a"), GPT) as door:
        reply = await door.post(f"{MODELS}/{path}", body)
        memory = door.orchestrator.memory()

    assert (reply.status, reply.error["param"]) == (status, param)
    assert [(r.status, r.pinned) for r in memory.residents] == [("available", False)]


# -- switching and pinning -------------------------------------------------------------------------


async def test_a_switch_loads_first_and_tells_both_models():
    async with local_door(local("a"), local("b")) as door:
        await door.post(f"{MODELS}/switch", {"model": "a"})
        reply = await door.post(f"{MODELS}/switch", {"model": "b", "evictPrevious": True})
        answer = await door.chat(model="current")

    assert reply.json["message"] == "Model switched successfully"
    assert (reply.json["provider"], reply.json["model"]) == ("embedded", "b")
    assert (reply.json["previousModel"], reply.json["currentModel"]["key"]) == (
        "embedded:a",
        "embedded:b",
    )
    assert reply.json["currentModel"]["status"] == "loaded"
    assert answer.json["model"] == "embedded:b"


async def test_a_switch_that_may_not_load_is_a_conflict():
    async with local_door(local("a")) as door:
        cold = await door.post(f"{MODELS}/switch", {"model": "a", "load": False})
        await load(door, "a")
        warm = await door.post(f"{MODELS}/switch", {"model": "a", "load": False})

    assert (cold.status, cold.error["code"]) == (409, "model_not_loaded")
    assert warm.status == 200


async def test_what_is_pinned_stays_until_it_is_let_go():
    models = (local("a", 6), local("b", 6))
    async with local_door(*models, budget={"ram_bytes": 10}) as door:
        await load(door, "a")
        pinned = await door.post(f"{MODELS}/embedded:a/pin", {"pinned": True})
        refused = await load(door, "b")
        unpinned = await door.post(f"{MODELS}/a/pin", {"pinned": False})
        loaded = await load(door, "b")

    assert pinned.json == {"success": True, "key": "embedded:a", "pinned": True}
    assert (refused.status, loaded.status) == (507, 200)
    assert unpinned.json["pinned"] is False


# -- what models are like --------------------------------------------------------------------------


async def test_a_profile_is_told_in_milliseconds_and_in_full():
    async with ProviderServer() as server, door_to(remote(server)) as door:
        path = f"{MODELS}/acme%3Aecho/profile"
        estimated = (await door.post(path, {"testCount": 3, "dryRun": True})).json
        called = len(server.requests)
        profiled = (await door.post(path, {"testCount": 3})).json
        entry = (await door.get(f"{MODELS}/echo")).json["model"]

    metrics = profiled["metrics"]
    assert (estimated["estimate"]["calls"], estimated["metrics"], called) == (3, None, 0)
    assert (profiled["success"], profiled["message"]) == (True, "Profiling completed")
    assert (metrics["totalInferences"], metrics["successRate"]) == (3, 1.0)
    mean_s = profiled["profile"]["latency_s"]["mean"]
    assert metrics["averageLatency"] == pytest.approx(mean_s * 1e3)
    assert entry["performanceMetrics"]["lastBenchmarked"] == metrics["lastBenchmarked"]


async def test_a_profile_without_a_body_makes_ten_calls():
    async with ProviderServer() as server, door_to(remote(server)) as door:
        reply = await door.request("POST", f"{MODELS}/echo/profile")

    assert reply.json["metrics"]["totalInferences"] == 10


async def test_capabilities_come_with_how_they_are_known():
    async with door_to(GPT) as door:
        found = (await door.get(f"{MODELS}/openai:gpt-4/capabilities")).json

    assert (found["success"], found["key"]) == (True, "openai:gpt-4")
    assert found["capabilities"] == ["chat_completion", "function_calling", "text_generation"]
    assert {one["source"] for one in found["evidence"]} >= {"declared"}


async def test_every_server_is_asked_for_its_models_and_one_that_is_down_is_told():
    async with (
        ProviderServer(models=["echo", "fresh-embedding", "other"]) as up,
        ProviderServer() as down,
    ):
        models = (
            remote(up, "a"),
            remote(up, "b"),
            remote(down, "c", provider="lost"),
            GPT,
        )
        async with door_to(*models) as door:
            await down.kill()
            found = (await door.post(f"{MODELS}/discover", {})).json
            listed = door.orchestrator.registry.list_models()

    acme, lost = found["providers"]["acme"], found["providers"]["lost"]
    assert found["providers"].keys() == {"acme", "lost"}, "a model of one's own has no server"
    assert (acme["found"], acme["error"]) == (3, None)
    assert (lost["found"], lost["models"]) == (0, [])
    assert lost["error"]
    assert (found["count"], found["registered"]) == (3, [])
    assert found["new"] == ["acme:fresh-embedding", "acme:other"]
    assert len(listed) == 4


async def test_what_is_found_joins_the_pool_if_asked_to_and_serves():
    async with (
        ProviderServer(models=["echo", "other"], api_key="sk-provider") as server,
        door_to(remote(server)) as door,
    ):
        found = (await door.post(f"{MODELS}/discover", {"register": True})).json
        again = (await door.post(f"{MODELS}/discover", {"register": True})).json
        answer = await door.chat(model="acme:other")

    assert (found["new"], found["registered"]) == (["acme:other"], ["acme:other"])
    assert (again["new"], again["registered"]) == ([], [])
    assert answer.json["choices"][0]["message"]["content"] == "one two three"


# -- the state file --------------------------------------------------------------------------------


async def test_the_state_is_written_when_it_is_asked_for(tmp_path: Path):
    path = tmp_path / "state.json"
    async with local_door(local("a"), state=path) as door:
        await door.post(f"{MODELS}/a/pin", {})
        saved = await door.post(f"{MODELS}/save-state", {})
        written = path.read_text("utf-8")

    assert saved.json == {
        "success": True,
        "message": "State saved successfully",
        "path": str(path),
    }
    assert '"a"' in written


async def test_a_mistyped_field_comes_with_the_nearest_of_its_body():
    async with local_door(local("a")) as door:
        reply = await load(door, "a", waitLimit=5)

    assert (reply.status, reply.error["param"]) == (400, "waitLimit")
    assert reply.error["message"].endswith("did you mean 'waitLimitS'?")


async def test_without_a_state_file_there_is_none_to_write():
    async with local_door(local("a")) as door:
        reply = await door.post(f"{MODELS}/save-state", {})

    assert (reply.status, reply.error["code"]) == (400, "configuration_error")
    assert "path under [state]" in reply.error["message"]


# -- health ----------------------------------------------------------------------------------------


async def test_health_tells_of_every_model_and_of_one():
    plan = FaultPlan(script=[failure(429, retry_after_s=30)])
    async with (
        ProviderServer(faults=plan) as server,
        door_to(remote(server, "a"), remote(server, "b")) as door,
    ):
        await door.chat()
        every = (await door.get("/api/v1/health")).json
        [cooling] = [health for health in every["models"] if not health["healthy"]]
        one = (await door.get(f"/api/v1/health/{cooling['model']}")).json["health"]
        none = await door.get("/api/v1/health/nobody")

    assert (every["count"], every["healthy"]) == (2, 1)
    assert one.keys() == cooling.keys()
    assert (one["healthy"], one["endpoint"]) == (False, "cooling")
    assert one["issues"]
    assert none.status == 404


# -- the real engine -------------------------------------------------------------------------------


async def test_a_real_model_is_loaded_answers_and_leaves():
    model = EmbeddedModel("small", smollm2(context=512, slots=1))
    async with door_to(model) as door:
        loaded = await load(door, "small")
        described = (await door.get(f"{MODELS}/small")).json["model"]
        answer = await door.chat(model="small", max_tokens=4)
        unloaded = await door.post(f"{MODELS}/unload", {"model": "small"})
        status = (await door.get(f"{MODELS}/small")).json["model"]["model"]["status"]

    assert (loaded.status, answer.status, unloaded.status) == (200, 200, 200)
    assert described["model"]["status"] == "loaded"
    assert described["performanceMetrics"]["memoryUsage"] > 90, "the file alone has 93 MB"
    assert status == "unloaded"
