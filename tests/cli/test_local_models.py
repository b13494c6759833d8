"""Models of a running gateway, moved and measured from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.cli.app import run
from orchestrator.testing import ProcessScript
from orchestrator.testing.faults import FaultPlan, failure
from orchestrator.testing.provider_server import ProviderServer
from orchestrator.testing.scripted import ScriptedModel, Turn
from tests.cli.command import Ran, command, command_beside, configured
from tests.server.local import BROKEN, local, local_door
from tests.server.serving import Door, door_to, remote
from tests.server.test_management import GPT

HANGS = ProcessScript(hangs=True)


async def on(door: Door, *words: str) -> Ran:
    return await command_beside(*words, "--url", door.url)


async def models(door: Door, *words: str) -> Ran:
    return await on(door, "models", *words)


# -- coming and going ------------------------------------------------------------------------------


async def test_a_model_comes_is_current_and_goes():
    async with local_door(local("a"), local("b"), GPT) as door:
        loaded = await models(door, "load", "a")
        switched = await models(door, "switch", "b", "--evict-previous")
        again = await models(door, "switch", "a", "--json")
        unloaded = await models(door, "unload", "b")
        left = door.orchestrator.loaded

    assert (loaded.code, loaded.stdout) == (0, "embedded:a is in memory\n")
    assert switched.stdout == "embedded:b is current, after none\n"
    assert again.json["previousModel"] == "embedded:b"
    assert unloaded.stdout == "embedded:b is out of memory\n"
    assert left == {"a"}


async def test_a_load_shows_how_it_goes():
    slow = {"b": ProcessScript(load_s=0.1)}
    pool = (local("a", 6), local("b", 6))
    budget = {"ram_bytes": 10}
    async with local_door(*pool, scripts=slow, budget=budget, progress_every_s=0.02) as door:
        await models(door, "load", "a")
        ran = await models(door, "load", "b", "--json")

    told = ran.stderr.splitlines()
    assert ran.json["key"] == "embedded:b"
    assert told[:2] == ["a goes to make room", "loading b ..."]
    assert any(line.startswith("starting b: 0.") for line in told)


async def test_a_hosted_model_needs_no_load():
    async with local_door(GPT) as door:
        ran = await models(door, "load", "gpt-4")

    assert (ran.code, ran.stderr) == (0, "")


async def test_a_dry_run_of_a_load_shows_who_would_go_and_does_nothing():
    async with local_door(
        local("a", 6_000), local("b", 6_000), budget={"ram_bytes": 9_000}
    ) as door:
        await models(door, "load", "a")
        shown = await models(door, "load", "b", "--dry-run")
        told = await models(door, "load", "b", "--dry-run", "--json")
        loaded = door.orchestrator.loaded

    assert [line.split()[1] for line in shown.stdout.splitlines()[1:4]] == ["b", "a", "6,000"]
    assert told.json["plan"]["evict"] == ["a"]
    assert told.json["plan"]["expectedS"] >= 0
    assert loaded == {"a"}


@pytest.mark.parametrize(
    ("words", "code", "said", "error"),
    [
        (("load", "broken"), 1, "answered 502: broken could not be loaded", "model_load_failed"),
        (("load", "huge"), 1, "answered 507", "model_does_not_fit"),
        (("load", "stuck", "--wait", "0.01"), 1, "answered 503", "overloaded"),
        (("load", "nobody"), 2, "there is no model 'nobody'", "model_not_found"),
        (("switch", "nobody"), 2, "there is no model 'nobody'", "model_not_found"),
        (("unload", "broken"), 2, "broken is not loaded", "invalid_request"),
        (("pin", "gpt-4"), 2, "openai:gpt-4 runs elsewhere", "invalid_request"),
        (("profile", "nobody"), 2, "there is no model 'nobody'", "model_not_found"),
        (("show", "nobody"), 2, "there is no model 'nobody'", "model_not_found"),
    ],
)
async def test_what_cannot_be_done_says_why(
    words: tuple[str, ...], code: int, said: str, error: str
):
    scripts = {"broken": BROKEN, "stuck": HANGS}
    pool = (local("broken"), local("stuck"), local("huge", 99), GPT)
    async with local_door(*pool, scripts=scripts, budget={"ram_bytes": 10}) as door:
        ran = await models(door, *words, "--json")

    assert (ran.code, ran.json["error"]["code"]) == (code, error)
    assert said in ran.stderr


async def test_a_pin_holds_until_it_is_taken_off():
    async with local_door(local("org/a:7b")) as door:
        pinned = await models(door, "pin", "embedded:org/a:7b")
        held = door.orchestrator.memory().residents[0].pinned
        unpinned = await models(door, "unpin", "embedded:org/a:7b", "--json")

    assert (pinned.stdout, held) == ("embedded:org/a:7b is pinned\n", True)
    assert unpinned.json["pinned"] is False


@pytest.mark.parametrize("words", [("load", "a"), ("unload", "a"), ("switch", "a"), ("pin", "a")])
def test_without_a_gateway_nothing_can_be_moved(words: tuple[str, ...]):
    ran = command("models", *words)

    assert ran.code == 1
    assert "no gateway answers at http://127.0.0.1:9" in ran.stderr
    assert "hint: start one with `orchestrator serve`" in ran.stderr


# -- looking ---------------------------------------------------------------------------------------


async def test_the_gateway_that_runs_is_listed_with_the_status_of_each_model():
    async with local_door(local("a"), local("b"), GPT) as door:
        await models(door, "load", "a")
        shown = await models(door, "list")
        told = await models(door, "list", "--json")

    rows = [line.split()[:2] for line in shown.stdout.splitlines()[1:4]]
    assert rows == [
        ["embedded:a", "loaded"],
        ["embedded:b", "available"],
        ["openai:gpt-4", "available"],
    ]
    assert "routes: auto" in shown.stdout
    assert told.json["models"][2]["context_window"] == 8192
    assert told.json["models"][0]["status"] == "loaded"


async def test_a_gateway_that_answers_by_default_is_asked(monkeypatch: pytest.MonkeyPatch):
    async with local_door(GPT) as door:
        monkeypatch.setattr("orchestrator.cli.gateway.DEFAULT_URL", door.url)
        ran = await command_beside("models", "list", "--json")

    assert [model["key"] for model in ran.json["models"]] == ["openai:gpt-4"]
    assert ran.stderr == f"asking {door.url}\n"


async def test_something_else_that_answers_by_default_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    configured(tmp_path, "http://127.0.0.1:9/v1")
    async with ProviderServer() as provider:
        monkeypatch.setattr(
            "orchestrator.cli.gateway.DEFAULT_URL", f"http://127.0.0.1:{provider.port}"
        )
        ran = await command_beside("models", "list", "--json")

    assert [model["key"] for model in ran.json["models"]] == ["loop:echo"]


async def test_one_model_is_shown_with_its_memory():
    async with local_door(local("a", 5_000)) as door:
        await models(door, "load", "a")
        shown = await models(door, "show", "a")
        told = await models(door, "show", "a", "--json")

    assert "5,000 of 5,000 bytes" in shown.stdout
    assert "loaded" in shown.stdout
    assert (told.json["key"], told.json["memory"]["resident"]) == ("embedded:a", "a")


def test_a_gateway_and_a_configuration_cannot_both_be_meant(tmp_path: Path):
    path = configured(tmp_path, "http://127.0.0.1:9/v1")
    words = ("models", "show", "echo", "--url", "http://127.0.0.1:9", "--config", str(path))

    assert command(*words).code == 2


# -- measuring -------------------------------------------------------------------------------------


async def test_a_profile_counts_its_calls_and_tells_percentiles():
    model = ScriptedModel("a", [Turn(text="one two three", after_s=0.01)])
    async with door_to(model) as door:
        shown = await models(door, "profile", "a", "--calls", "3")
        told = await models(door, "profile", "a", "--calls", "2", "--json")

    assert "3 calls, 100% answered" in shown.stdout
    assert "calling scripted:a 3 times" in shown.stderr
    assert told.json["metrics"]["totalInferences"] == 2
    assert told.json["profile"]["latency_s"]["p95"] >= 0.01


async def test_a_dry_run_of_a_profile_calls_nobody():
    async with ProviderServer() as server, door_to(remote(server)) as door:
        shown = await models(door, "profile", "echo", "--calls", "4", "--dry-run")
        told = await models(door, "profile", "echo", "--calls", "4", "--dry-run", "--json")
        called = len(server.requests)

    assert (shown.code, called) == (0, 0)
    assert "at most 256 out" in shown.stdout
    assert told.json["estimate"]["calls"] == 4


def test_by_itself_a_command_names_no_address(tmp_path: Path):
    path = configured(tmp_path, "http://127.0.0.1:9/v1")

    ran = command("models", "show", "nobody", "--config", str(path))

    assert ran.code == 2
    assert ran.stderr.startswith("error: there is no model 'nobody'")


async def test_by_itself_a_profile_uses_what_is_configured(tmp_path: Path):
    async with ProviderServer() as provider:
        path = configured(tmp_path, provider.base_url)
        ran = await command_beside(
            *("models", "profile", "echo", "--calls", "2", "--config", str(path), "--json")
        )

    assert ran.json["metrics"]["successRate"] == 1.0


async def test_what_providers_list_is_told_by_itself_and_one_that_is_down_is_no_failure(
    tmp_path: Path,
):
    async with ProviderServer(models=["echo", "other"]) as provider:
        path = configured(tmp_path, provider.base_url)
        text = path.read_text("utf-8")
        lost = '[providers.lost]\ntype = "openai_compatible"\nbase_url = "http://127.0.0.1:9/v1"\n'
        path.write_text(f'{text}{lost}[[models]]\nkey = "lost:m"\n')
        shown = await command_beside("models", "discover")
        told = await command_beside("models", "discover", "--json")

    rows = [line.split() for line in shown.stdout.splitlines()[1:]]
    assert rows[0] == ["loop", "2", "other"]
    assert rows[1][:2] == ["lost", "0"]
    assert (shown.code, told.json["providers"]["loop"]["found"]) == (0, 2)
    assert told.json["providers"]["lost"]["error"]


async def test_what_was_found_joins_a_gateway_but_no_pool_of_ones_own(tmp_path: Path):
    path = configured(tmp_path, "http://127.0.0.1:9/v1")
    async with (
        ProviderServer(models=["echo", "other"], api_key="sk-provider") as server,
        door_to(remote(server)) as door,
    ):
        joined = await models(door, "discover", "--register", "--json")
        listed = door.orchestrator.registry.list_models()
    refused = command("models", "discover", "--register", "--config", str(path))

    assert joined.json["registered"] == ["acme:other"]
    assert listed == ["acme:echo", "acme:other"]
    assert refused.code == 2


# -- health ----------------------------------------------------------------------------------------


async def test_health_is_what_the_gateway_has_seen():
    plan = FaultPlan(script=[failure(429, retry_after_s=30)])
    async with (
        ProviderServer(faults=plan) as server,
        door_to(remote(server, "a"), remote(server, "b")) as door,
    ):
        await door.chat()
        shown = await on(door, "health")
        told = await on(door, "health", "--json")
        well = next(one["model"] for one in told.json["models"] if one["healthy"])
        one = await on(door, "health", well, "--json")

    assert (shown.code, told.code, one.code) == (1, 1, 0)
    assert "rate_limit from its endpoint" in shown.stdout
    assert (told.json["count"], told.json["healthy"]) == (2, 1)
    assert [found["model"] for found in one.json["models"]] == [well]


async def test_by_itself_health_asks_the_servers_and_calls_no_model(tmp_path: Path):
    async with ProviderServer() as provider:
        configured(tmp_path, provider.base_url)
        well = await command_beside("health", "--json")
        asked = [request.path for request in provider.requests]
        await provider.kill()
        ill = await command_beside("health", "echo", "--json")

    assert (well.code, well.json["healthy"]) == (0, 1)
    assert asked == ["/v1/models"]
    assert ill.code == 1
    assert ill.json["models"][0]["issues"]


def test_health_of_a_model_that_there_is_not(tmp_path: Path):
    configured(tmp_path, "http://127.0.0.1:9/v1")

    ran = command("health", "nobody", "--json")

    assert (ran.code, json.loads(ran.stdout)["error"]["code"]) == (2, "model_not_found")
    assert run(["health", "--help"]) == 0
