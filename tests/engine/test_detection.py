from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import anyio
import pytest

from orchestrator import Model, OpenAICompatibleModel, Orchestrator, Price
from orchestrator.core.errors import (
    InvalidRequestError,
    ModelNotFoundError,
    NoEligibleModelsError,
    UnknownCapabilityError,
)
from orchestrator.core.events import CapabilitiesChanged
from orchestrator.engine.detection import Detector
from orchestrator.lifecycle.evidence import Source
from orchestrator.lifecycle.probes import PROBES
from orchestrator.testing import (
    OpenAIProvider,
    Reply,
    SimulatedServer,
    SimulatedTransport,
    Turn,
    echo,
)
from tests.engine.world import down, engine, listen, pending, says, simulated

PROBED = {probe.capability for probe in PROBES}
SCHEMA = ("chat_completion", "streaming", "function_calling", "json_schema")


def detector(orchestrator: Orchestrator) -> Detector:
    return Detector(
        orchestrator, orchestrator._parts, orchestrator._asking, orchestrator._say_if_wanted
    )


def served(provider: OpenAIProvider, **facts: Any) -> tuple[Orchestrator, SimulatedServer]:
    """Return an engine with one model behind a server, and the server."""
    transport = SimulatedTransport()
    server = transport.serve("http://served.test", SimulatedServer(provider))
    facts = {"capabilities": SCHEMA, "price": Price.free(), **facts}
    model = OpenAICompatibleModel("echo", "p", "http://served.test/v1", **facts)
    return engine(model, transport=transport), server


def knowing(request: Any) -> Reply:
    """Answer as `echo`, and see what colour an image has."""
    return Reply("Orange") if "image_url" in str(request["messages"]) else echo(request)


def prose(request: Any) -> Reply:
    """Answer in words whatever is asked for."""
    return Reply("I would rather talk about the weather.")


# -- what others say ---------------------------------------------------------------------------


@simulated
async def test_what_a_model_declares_is_what_it_has_until_somebody_knows_more():
    async with engine(says("a")) as orchestrator:
        heard = listen(orchestrator, CapabilitiesChanged)
        report = await detector(orchestrator).detect("a")

    assert report.capabilities == {"text_generation", "chat_completion", "embeddings", "streaming"}
    assert {one.source for one in report.evidence} == {Source.DECLARED}
    assert {one.at for one in report.evidence} == {orchestrator._parts.clock.wall()}
    assert heard == []


@simulated
async def test_a_name_is_reported_but_routes_nothing():
    async with engine(says("llava:13b")) as orchestrator:
        report = await detector(orchestrator).detect("llava:13b")
        with pytest.raises(NoEligibleModelsError, match="vision"):
            await orchestrator.select_model(capabilities=["vision"])

        trusted = await detector(orchestrator).detect("llava:13b", weakest=Source.NAME)
        assert (await orchestrator.select_model(capabilities=["vision"])).key == "p:llava:13b"

    assert "vision" not in report.capabilities
    assert report.likely == {"vision"}
    assert "vision" in trusted.capabilities


@simulated
async def test_what_a_server_lists_is_routed_by_from_then_on():
    listing = {"capabilities": {"vision": True}, "max_model_len": 4096}
    async with engine(says("a")) as orchestrator:
        heard = listen(orchestrator, CapabilitiesChanged)
        report = await detector(orchestrator).detect("a", listing=listing)

        assert (await orchestrator.select_model(capabilities=["vision"])).key == "p:a"
        assert orchestrator.registry.get_model("a").spec.context_window == 4096
        assert "image:analysis" in orchestrator.registry.get_model("a").spec.types
    (event,) = heard
    assert (event.model, event.gained, event.lost) == ("p:a", ("vision",), ())
    assert event.because == ("has vision (listing: vision is true)",)
    assert report.context_window == 4096


@simulated
async def test_a_window_alone_is_no_change_of_capabilities():
    async with engine(says("a")) as orchestrator:
        heard = listen(orchestrator, CapabilitiesChanged)
        report = await detector(orchestrator).detect("a", listing={"context_length": 9000})

    assert (report.context_window, heard) == (9000, [])


@simulated
async def test_a_model_that_leaves_while_it_is_probed_does_not_come_back():
    model = says("a", Turn(text="prose", after_s=10.0), capabilities=("json_mode",))
    async with engine(model, says("b")) as orchestrator, anyio.create_task_group() as tasks:
        probing = partial(detector(orchestrator).detect, "a", probe=["json_mode"])
        tasks.start_soon(probing)
        await asyncio.sleep(5.0)
        orchestrator.unregister_model("a")

    assert orchestrator.registry.list_models() == ["p:b"]


@simulated
async def test_a_window_that_is_declared_stays():
    async with engine(says("a", context_window=2048)) as orchestrator:
        report = await detector(orchestrator).detect("a", listing={"context_length": 9000})

    assert report.context_window == 2048


@simulated
async def test_nobody_contradicts_a_declaration_but_a_probe():
    listing = {"capabilities": {"vision": False}}
    header = {"general.architecture": "llama"}  # without a chat template
    async with engine(says("a", capabilities=("chat_completion", "vision"))) as orchestrator:
        report = await detector(orchestrator).detect("a", listing=listing, header=header)

    assert {"chat_completion", "vision"} <= report.capabilities


@simulated
async def test_evidence_is_kept_for_the_next_time():
    async with engine(says("a")) as orchestrator:
        detecting = detector(orchestrator)
        heard = listen(orchestrator, CapabilitiesChanged)
        await detecting.detect("a", listing={"vision": True})
        again = await detecting.detect("a")
        withdrawn = await detecting.detect("a", listing={"vision": False})

    assert "vision" in again.capabilities
    assert "vision" not in withdrawn.capabilities
    assert [(event.gained, event.lost) for event in heard] == [(("vision",), ()), ((), ("vision",))]


@simulated
async def test_a_model_that_takes_anothers_place_starts_anew():
    async with engine(says("a")) as orchestrator:
        detecting = detector(orchestrator)
        await detecting.detect("a", listing={"vision": True})
        orchestrator.register_model(says("a"), replace=True)
        report = await detecting.detect("a")

    assert "vision" not in report.capabilities


# -- what a probe shows ------------------------------------------------------------------------


@simulated
async def test_a_server_that_can_all_is_seen_to():
    orchestrator, _ = served(OpenAIProvider(knowing), capabilities=("text_generation",))
    async with orchestrator:
        report = await detector(orchestrator).detect("echo", probe=True)

        assert pending(orchestrator) == 0
    seen = {one.capability for one in report.evidence if one.source is Source.PROBE}
    assert seen == PROBED
    assert report.capabilities == PROBED | {"text_generation"}
    assert report.unclear == ()


@simulated
async def test_a_probe_takes_away_what_was_declared_in_vain():
    orchestrator, _ = served(OpenAIProvider(prose))
    async with orchestrator:
        heard = listen(orchestrator, CapabilitiesChanged)
        assert (await orchestrator.select_model(capabilities=["json_mode"])).key == "p:echo"
        report = await detector(orchestrator).detect("echo", probe=["json_mode"])

        with pytest.raises(NoEligibleModelsError, match="json_mode"):
            await orchestrator.select_model(capabilities=["json_mode"])
    (evidence,) = [one for one in report.evidence if one.source is Source.PROBE]
    assert (evidence.present, evidence.at) == (False, orchestrator._parts.clock.wall())
    assert evidence.detail == "it answered 'I would rather talk about the weather.'"
    assert report.capabilities == {
        "text_generation",
        "chat_completion",
        "streaming",
        "function_calling",
    }
    assert heard[0].lost == ("json_mode", "json_schema")


@simulated
async def test_what_a_model_refuses_it_cannot_do():
    class Texts(Model):
        async def generate_response(self, prompt: str, **options: Any) -> str:
            return "text"

    model = Texts("a", "p", capabilities=("chat_completion", "embeddings"))
    async with engine(model) as orchestrator:
        report = await detector(orchestrator).detect("a", probe=["embeddings"])

    assert "embeddings" not in report.capabilities
    assert any("refused: p:a cannot embed" in one.detail for one in report.evidence)


@simulated
async def test_an_outage_shows_nothing():
    async with engine(says("a", down())) as orchestrator:
        report = await detector(orchestrator).detect("a", probe=["chat_completion", "json_mode"])

    assert {one.source for one in report.evidence} == {Source.DECLARED}
    assert "chat_completion" in report.capabilities
    assert [line.split(":")[0] for line in report.unclear] == ["chat_completion", "json_mode"]


@simulated
async def test_a_model_that_falls_ill_is_probed_no_further():
    model = says("a", down())
    async with engine(model) as orchestrator:
        report = await detector(orchestrator).detect("a", probe=True)

    assert len(model.calls) == 3, "three failures in a row open its breaker"
    assert report.unclear[-1].endswith("and after: it has failed too often")


# -- how much ----------------------------------------------------------------------------------


@simulated
async def test_nothing_is_probed_unasked():
    model = says("a")
    async with engine(model) as orchestrator:
        await detector(orchestrator).detect("a")

    assert model.calls == []


@simulated
async def test_no_more_calls_are_made_than_may_be():
    orchestrator, server = served(OpenAIProvider(echo))
    async with orchestrator:
        report = await detector(orchestrator).detect("echo", probe=True, max_probes=2)

    assert len(server.exchanges) == 2
    assert len(report.unclear) == len(PROBES) - 2
    assert report.unclear[-1] == "embeddings: beyond max_probes"


@simulated
async def test_probes_cost_no_more_than_they_may():
    price = Price.per_million(input=0, output=1_000_000)  # a USD for each token of an answer
    orchestrator, _ = served(OpenAIProvider(prose), price=price)
    async with orchestrator:
        report = await detector(orchestrator).detect("echo", probe=True, max_cost=70.0)

    assert 0 < report.cost_usd <= 70.0
    assert "json_mode: not probed, max_cost" in report.unclear
    assert any(one.source is Source.PROBE for one in report.evidence)


@simulated
async def test_a_limit_that_allows_no_call_is_an_error_and_changes_nothing():
    orchestrator, server = served(OpenAIProvider(echo), price=None)
    async with orchestrator:
        before = orchestrator.registry.get_model("echo").spec
        with pytest.raises(NoEligibleModelsError, match="price is not known"):
            await detector(orchestrator).detect("echo", probe=True, max_cost=1.0)

        assert orchestrator.registry.get_model("echo").spec is before
    assert len(server.exchanges) == 0


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"probe": ["visoin"]}, UnknownCapabilityError),
        ({"probe": ["rerank"]}, InvalidRequestError),
        ({"probe": True, "max_cost": -1}, InvalidRequestError),
        ({"probe": True, "max_probes": 1.5}, InvalidRequestError),
        ({"listing": ["gpt-4o"]}, InvalidRequestError),
    ],
)
@simulated
async def test_wrong_arguments_are_refused_before_any_call(wrong: Any, error: type[Exception]):
    model = says("a")
    async with engine(model) as orchestrator:
        with pytest.raises(error):
            await detector(orchestrator).detect("a", **wrong)
        with pytest.raises(ModelNotFoundError):
            await detector(orchestrator).detect("nobody")

    assert model.calls == []


@simulated
async def test_a_report_is_plain_data():
    async with engine(says("llava:13b")) as orchestrator:
        told = (await detector(orchestrator).detect("llava:13b")).to_dict()

    assert (told["model"], told["likely"], told["unclear"]) == ("p:llava:13b", ["vision"], [])
    assert told["capabilities"] == ["chat_completion", "embeddings", "streaming", "text_generation"]
    assert {one["source"] for one in told["evidence"]} == {"declared", "name"}
