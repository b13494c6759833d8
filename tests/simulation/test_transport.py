from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from math import inf
from typing import Any

import orjson
import pytest

from orchestrator.core.errors import EngineClosedError, ErrorClass, ModelAPIError, ModelTimeoutError
from orchestrator.core.ports import HttpRequest, HttpResponse, Timeouts, Transport
from orchestrator.testing import (
    Cut,
    Dropped,
    Fault,
    FaultPlan,
    Late,
    OpenAIProvider,
    Recut,
    Refused,
    Reply,
    SimulatedServer,
    SimulatedTransport,
    Stalled,
    run_simulated,
)

URL = "https://api.acme.test/v1"
PATIENCE = Timeouts(connect_s=2, first_token_s=5, idle_s=3)


def simulated(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(**arguments: Any) -> None:
        run_simulated(lambda: test(**arguments), until_s=3_600)

    return run


class Line:
    """A transport with one server behind it."""

    def __init__(self, *faults: Fault | None, connect_s: float = 0.0, **provider: Any) -> None:
        self.transport = SimulatedTransport(connect_s=connect_s)
        self.server = SimulatedServer(
            OpenAIProvider(lambda request: Reply("one two three"), **provider),
            faults=FaultPlan(script=faults),
        )
        self.transport.serve(URL, self.server)

    async def ask(self) -> HttpResponse:
        return await self.transport.request(request(), PATIENCE)

    async def pieces(self) -> list[tuple[float, bytes]]:
        """Return what a stream brings, and when."""
        async with self.transport.stream(request(stream=True), PATIENCE) as answer:
            return [(now(), data) async for data in answer]

    @property
    def ends(self) -> list[str | None]:
        return [exchange.end for exchange in self.server.exchanges]


def request(*, stream: bool = False, url: str = URL, model: str = "echo") -> HttpRequest:
    messages = [{"role": "user", "content": "hi"}]
    body = {"model": model, "messages": messages, "stream": stream}
    return HttpRequest("POST", f"{url}/chat/completions", {}, orjson.dumps(body))


def now() -> float:
    return asyncio.get_running_loop().time()


def test_it_is_a_transport():
    transport: Transport = SimulatedTransport()

    assert transport is not None


@simulated
async def test_an_answer_comes_when_its_provider_is_done():
    line = Line(connect_s=1.0, first_token_s=2.0, tokens_per_s=1.0)

    answer = await line.ask()

    assert answer.status == 200
    assert orjson.loads(answer.body)["choices"][0]["message"]["content"] == "one two three"
    assert answer.headers["Content-Type"] == answer.headers["content-type"] == "application/json"
    assert (now(), line.ends, line.server.in_flight) == (5.0, ["whole"], 0)


@simulated
async def test_a_stream_comes_piece_by_piece():
    line = Line(first_token_s=2.0, tokens_per_s=1.0)

    pieces = await line.pieces()

    said = [at_s for at_s, data in pieces if b'"content":"t' in data or b'"content":"o' in data]
    assert said == [2.0, 3.0, 4.0]
    assert pieces[-1] == (4.0, b"data: [DONE]\n\n")


@simulated
async def test_bytes_arrive_in_their_time_whether_they_are_read_or_not():
    line = Line(first_token_s=2.0, tokens_per_s=1.0)

    async with line.transport.stream(request(stream=True), PATIENCE) as answer:
        await asyncio.sleep(60)
        await answer.read()

    assert now() == 60.0


@simulated
async def test_an_answer_may_take_thought():
    line = Line()

    async def think(request: Any) -> Reply:
        await asyncio.sleep(4.0)
        return Reply("at last")

    line.server.provider.responder = think

    assert b"at last" in (await line.ask()).body
    assert now() == 4.0


@pytest.mark.parametrize(
    ("phase", "fault", "at_s"),
    [("first_token", Late(inf), 6.0), ("idle", Stalled(10), 4.0)],
    ids=["no head", "no more"],
)
@simulated
async def test_each_phase_has_its_limit(phase: str, fault: Fault, at_s: float):
    line = Line(fault, connect_s=1.0)

    with pytest.raises(ModelTimeoutError) as failure:
        await line.ask()

    assert (failure.value.phase, now(), line.ends) == (phase, at_s, ["left"])


@simulated
async def test_a_server_that_thinks_for_too_long_is_given_up_and_does_not_go_on():
    line = Line()
    thought = []

    async def think(request: Any) -> Reply:
        try:
            await asyncio.sleep(60)
        finally:
            thought.append(now())
        return Reply()

    line.server.provider.responder = think
    with pytest.raises(ModelTimeoutError):
        await line.ask()

    assert thought == [5.0]


@simulated
async def test_an_unreachable_server_is_given_up_and_open_connections_hang():
    line = Line(first_token_s=1.0, tokens_per_s=0.5)
    stream = asyncio.create_task(line.pieces())
    await asyncio.sleep(1.5)
    line.server.vanish()

    with pytest.raises(ModelTimeoutError) as failure:
        await line.ask()
    assert (failure.value.phase, now()) == ("connect", 3.5)

    with pytest.raises(ModelTimeoutError) as failure:
        await stream
    assert (failure.value.phase, now()) == ("idle", 4.0)


@simulated
async def test_a_server_that_is_killed_resets_what_is_open_and_refuses_what_comes():
    line = Line(first_token_s=4.0)
    asked = asyncio.create_task(line.ask())
    await asyncio.sleep(1.0)
    line.server.kill()

    for broken in (asked, asyncio.create_task(line.ask())):
        with pytest.raises(ModelAPIError) as failure:
            await broken
        assert failure.value.classification is ErrorClass.NETWORK_ERROR
    assert (now(), line.ends, line.server.in_flight) == (1.0, ["broken", "broken"], 0)

    line.server.revive()
    assert (await line.ask()).status == 200


@pytest.mark.parametrize("fault", [Refused(), Dropped(), Cut(10)], ids=lambda f: type(f).__name__)
@simulated
async def test_a_broken_connection_is_a_network_error(fault: Fault):
    line = Line(fault)

    with pytest.raises(ModelAPIError) as failure:
        await line.ask()

    assert failure.value.classification is ErrorClass.NETWORK_ERROR
    assert line.ends == ["broken"]


@simulated
async def test_faults_befall_completions_only_and_are_kept_with_them():
    line = Line(Recut(1), None, Dropped())
    models = HttpRequest("GET", f"{URL}/models", {})

    assert (await line.transport.request(models, PATIENCE)).status == 200
    assert (await line.ask()).status == (await line.ask()).status == 200
    with pytest.raises(ModelAPIError):
        await line.ask()

    assert [exchange.fault for exchange in line.server.exchanges] == [
        None,
        Recut(1),
        None,
        Dropped(),
    ]
    assert line.server.exchanges[1].json["model"] == "echo"


@simulated
async def test_who_goes_away_is_noticed():
    line = Line(first_token_s=1.0, tokens_per_s=1.0)

    async with line.transport.stream(request(stream=True), PATIENCE) as answer:
        await anext(aiter(answer))
    cancelled = asyncio.create_task(line.ask())
    await asyncio.sleep(0.5)
    assert line.server.in_flight == 1
    cancelled.cancel()
    await asyncio.wait([cancelled])

    assert (line.ends, line.server.left, line.server.in_flight) == (["left", "left"], 2, 0)
    assert [exchange.ended_s for exchange in line.server.exchanges] == [1.0, 1.5]


@simulated
async def test_an_unknown_host_cannot_be_reached():
    with pytest.raises(ModelAPIError, match=r"bolt\.test"):
        await Line().transport.request(request(url="https://api.bolt.test/v1"), PATIENCE)


@simulated
async def test_a_closed_transport_sends_nothing():
    line = Line()
    await line.transport.aclose()

    with pytest.raises(EngineClosedError):
        await line.ask()


@simulated
async def test_what_a_request_gets_wrong_is_answered_like_anything_else():
    answer = await Line().transport.request(request(model="unknown"), PATIENCE)

    assert answer.status == 404


@simulated
async def test_a_server_keeps_no_more_exchanges_than_it_is_told():
    line = Line()
    line.transport.serve(URL, server := SimulatedServer(OpenAIProvider(), keep=2))
    for _ in range(5):
        await line.ask()

    assert len(server.exchanges) == 2
