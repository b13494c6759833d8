"""Streams that break, and clients that leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import Mock

import anyio
import openai
import pytest
from aiohttp.test_utils import make_mocked_request

from orchestrator import Model, Orchestrator
from orchestrator.core.events import CallFailed, Event, FailedOver
from orchestrator.server.failure import told
from orchestrator.testing.faults import Cut, FaultPlan
from orchestrator.testing.openai_wire import Reply as Said
from orchestrator.testing.openai_wire import Request, sse_frames
from orchestrator.testing.provider_server import ProviderServer
from tests.server.serving import CHAT, Door, client_to, door_to, remote

FIRST_WORDS = len(b"".join(sse_frames(CHAT | {"model": "echo"}, Said("one two three"))[:3]))
"""Bytes of a stream up to and with its second word."""


class Halting(Model):
    """Says two words and then raises."""

    def __init__(self, error: Exception) -> None:
        super().__init__("halting", "own", ("chat_completion",))
        self._error = error

    async def stream_response(self, prompt: str, **options: Any) -> AsyncIterator[str]:
        yield "one "
        yield "two "
        raise self._error


class Waiting(Model):
    """Never ends its answer, and says so when nobody waits for it any longer."""

    def __init__(self, after: Sequence[str] = ()) -> None:
        super().__init__("waiting", "own", ("chat_completion",))
        self.called = asyncio.Event()
        self.left = asyncio.Event()
        self._words = after

    async def generate_response(self, prompt: str, **options: Any) -> str:
        return "".join([word async for word in self.stream_response(prompt)])

    async def stream_response(self, prompt: str, **options: Any) -> AsyncIterator[str]:
        self.called.set()
        try:
            for word in self._words:
                yield word
            await asyncio.Event().wait()
        finally:
            self.left.set()


async def test_a_stream_cut_before_its_first_token_fails_over_unseen():
    plan = FaultPlan(script=[Cut(0)])
    async with (
        ProviderServer(faults=plan) as server,
        door_to(remote(server, "a"), remote(server, "b")) as door,
    ):
        with door.orchestrator.events.subscribe(FailedOver) as events:
            reply = await door.chat(stream=True, stream_options={"include_usage": True})
            failover = await anext(events)

    assert reply.status == 200
    assert reply.headers["X-Orchestrator-Model"] == failover.to_model
    assert reply.events[-1]["orchestrator"]["attempts"] == 2
    assert "error" not in reply.events[-1]


async def test_a_stream_cut_after_it_ends_with_the_error_and_no_end_mark():
    async with (
        ProviderServer(faults=FaultPlan(script=[Cut(FIRST_WORDS)])) as server,
        door_to(remote(server, "a"), remote(server, "b")) as door,
    ):
        reply = await door.chat(stream=True)

    *chunks, last = reply.events
    said = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert reply.status == 200
    assert said in ("one ", "one two ")
    assert last["error"]["code"] == "stream_interrupted"
    assert b"[DONE]" not in reply.body


async def test_the_official_client_raises_where_a_stream_breaks():
    async with (
        ProviderServer(faults=FaultPlan(script=[Cut(FIRST_WORDS)])) as server,
        client_to(remote(server)) as client,
    ):
        stream = await client.chat.completions.create(
            model="auto", messages=[{"role": "user", "content": "one two three"}], stream=True
        )
        with pytest.raises(openai.APIError, match="broke off"):
            async for _ in stream:
                pass


async def test_a_stream_that_breaks_may_restart_with_another_model():
    async with (
        ProviderServer(faults=FaultPlan(script=[Cut(FIRST_WORDS)])) as server,
        door_to(remote(server, "a"), remote(server, "b")) as door,
    ):
        reply = await door.chat(stream=True, orchestrator={"on_interrupt": "restart"})

    notes = [e["orchestrator"] for e in reply.events if "orchestrator" in e]
    [note] = notes
    restarted = next(i for i, event in enumerate(reply.events) if "orchestrator" in event)
    after = reply.events[restarted:]
    assert note["restarted"] is True
    assert {event["model"] for event in after} == {note["model"]}
    assert reply.events[0]["model"] != note["model"]
    assert "".join(e["choices"][0]["delta"].get("content", "") for e in after) == "one two three"
    assert reply.body.endswith(b"data: [DONE]\n\n")


async def test_what_a_users_own_model_raises_in_a_stream_stays_inside():
    async with door_to(Halting(RuntimeError("postgres://user:secret@host"))) as door:
        reply = await door.chat(stream=True)

    assert reply.events[-1]["error"]["code"] == "stream_interrupted"
    assert "RuntimeError" in reply.events[-1]["error"]["message"]
    assert b"secret" not in reply.body


# -- clients that leave ----------------------------------------------------------------------------


@asynccontextmanager
async def leaving(door: Door, *, stream: bool) -> AsyncIterator[asyncio.Task[None]]:
    """Run a request in the background; it ends when the task is cancelled."""

    async def ask() -> None:
        await door.chat(stream=stream)

    task = asyncio.create_task(ask())
    try:
        yield task
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def leave_stream(door: Door) -> None:
    """Read the beginning of a stream and leave."""
    url = f"{door.url}/v1/chat/completions"
    async with door.session.post(url, json=CHAT | {"stream": True}) as response:
        assert await response.content.readany()


async def settled(orchestrator: Orchestrator, events: Any) -> str:
    """Wait for the end of the attempt and return how it was classified."""
    event: Event = await anext(events)
    assert isinstance(event, CallFailed)
    [sums] = orchestrator.get_model_statistics().values()
    assert (sums["opened"], sums["closed"], sums["expired"]) == (1, 0, 1)
    return event.classification


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_ends_the_call_and_counts_neither_way(stream: bool):
    model = Waiting()
    with anyio.fail_after(30):
        async with door_to(model) as door:
            with door.orchestrator.events.subscribe(CallFailed) as events:
                async with leaving(door, stream=stream) as request:
                    await model.called.wait()
                    request.cancel()
                    await model.left.wait()
                    how = await settled(door.orchestrator, events)
            health = await door.orchestrator.get_model_health("waiting")

    assert how == "cancelled"
    assert health.healthy


async def test_a_client_that_leaves_a_stream_ends_it():
    model = Waiting(after=("one ", "two "))
    with anyio.fail_after(30):
        async with door_to(model) as door:
            with door.orchestrator.events.subscribe(CallFailed) as events:
                await leave_stream(door)
                await model.left.wait()
                how = await settled(door.orchestrator, events)

    assert how == "cancelled"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_ends_what_the_provider_does(stream: bool):
    called, left = asyncio.Event(), asyncio.Event()

    async def never(_: Request) -> Said:
        called.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()
        raise AssertionError("nothing wakes it")

    with anyio.fail_after(30):
        async with (
            ProviderServer(never) as server,
            door_to(remote(server)) as door,
            leaving(door, stream=stream) as request,
        ):
            await called.wait()
            request.cancel()
            await left.wait()


async def test_a_client_that_left_is_no_error_in_the_log(caplog: pytest.LogCaptureFixture):
    with anyio.fail_after(30):
        async with door_to(Waiting(after=("one ",))) as door:
            with door.orchestrator.events.subscribe(CallFailed) as events:
                await leave_stream(door)
                await anext(events)

    assert caplog.records == []


def test_what_fails_because_the_client_has_left_is_no_error_in_the_log(
    caplog: pytest.LogCaptureFixture,
):
    transport = Mock(asyncio.Transport)
    request = make_mocked_request("POST", "/v1/chat/completions", transport=transport)

    transport.is_closing.return_value = True
    told(request, ConnectionResetError())
    assert caplog.records == []

    transport.is_closing.return_value = False
    told(request, ConnectionResetError())
    assert len(caplog.records) == 1
