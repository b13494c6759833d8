"""The provider server as clients meet it: the official one for the format, aiohttp for faults."""

from __future__ import annotations

import asyncio
import errno
import io
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import openai
import orjson
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import BaseModel

from orchestrator.testing.faults import (
    Cut,
    Dripping,
    Dropped,
    Endless,
    Fault,
    FaultPlan,
    Garbled,
    Late,
    Recut,
    Refused,
    Stalled,
    Truncated,
    failure,
    html_page,
)
from orchestrator.testing.openai_wire import Reply, Request, ToolCall, sse_frames, unary_body
from orchestrator.testing.provider_server import ProviderServer

MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": "one two three"}]
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
CHAT: dict[str, Any] = {"model": "echo", "messages": MESSAGES}
STREAM: dict[str, Any] = {**CHAT, "stream": True}
CHAT_BODY = unary_body(CHAT, Reply("one two three"))
STREAM_BODY = b"".join(sse_frames(STREAM, Reply("one two three")))


@asynccontextmanager
async def client_of(
    server: ProviderServer, api_key: str = "any"
) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=server.base_url, api_key=api_key, max_retries=0, timeout=30
    ) as client:
        yield client


@asynccontextmanager
async def posting(
    server: ProviderServer, request: dict[str, Any]
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Post on a connection of its own; the head has come when this yields."""
    url = f"{server.base_url}/chat/completions"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, json=request, timeout=aiohttp.ClientTimeout(30)) as response,
    ):
        yield response


def always(fault: Fault) -> FaultPlan:
    return FaultPlan([(fault, 1.0)])


class TestOfficialClient:
    async def test_a_chat_is_answered(self) -> None:
        async with ProviderServer() as server, client_of(server) as client:
            answer = await client.chat.completions.create(model="echo", messages=MESSAGES)
        assert answer.choices[0].message.content == "one two three"
        assert answer.choices[0].finish_reason == "stop"
        assert answer.usage is not None
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (7, 3)

    async def test_a_stream_ends_with_its_usage(self) -> None:
        async with ProviderServer() as server, client_of(server) as client:
            stream = await client.chat.completions.create(
                model="echo",
                messages=MESSAGES,
                stream=True,
                stream_options={"include_usage": True},
            )
            *chunks, last = [chunk async for chunk in stream]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == (
            "one two three"
        )
        assert chunks[-1].choices[0].finish_reason == "stop"
        assert last.choices == []
        assert last.usage is not None
        assert last.usage.total_tokens == 10

    async def test_an_offered_tool_is_called(self) -> None:
        async with ProviderServer() as server, client_of(server) as client:
            answer = await client.chat.completions.create(
                model="echo", messages=MESSAGES, tools=[WEATHER], tool_choice="required"
            )
        [call] = answer.choices[0].message.tool_calls or []
        assert call.type == "function"
        assert (call.function.name, call.function.arguments) == (
            "weather",
            '{"city":"one two three"}',
        )
        assert answer.choices[0].finish_reason == "tool_calls"

    async def test_a_streamed_tool_call_is_put_together(self) -> None:
        async with (
            ProviderServer() as server,
            client_of(server) as client,
            client.chat.completions.stream(
                model="echo", messages=MESSAGES, tools=[WEATHER]
            ) as stream,
        ):
            answer = await stream.get_final_completion()
        [call] = answer.choices[0].message.tool_calls or []
        assert call.function.arguments == '{"city":"one two three"}'

    async def test_a_schema_is_kept(self) -> None:
        class Verdict(BaseModel):
            reason: str
            good: bool

        async with ProviderServer() as server, client_of(server) as client:
            answer = await client.chat.completions.parse(
                model="echo", messages=MESSAGES, response_format=Verdict
            )
        assert answer.choices[0].message.parsed == Verdict(reason="one two three", good=True)

    async def test_embeddings_have_the_dimensions_asked_for(self) -> None:
        async with ProviderServer() as server, client_of(server) as client:
            first = await client.embeddings.create(model="echo", input=["a", "b"], dimensions=7)
            second = await client.embeddings.create(model="echo", input="b", dimensions=7)
        assert [len(item.embedding) for item in first.data] == [7, 7]
        assert first.data[1].embedding == second.data[0].embedding
        assert first.data[0].embedding != second.data[0].embedding

    async def test_models_are_listed(self) -> None:
        async with ProviderServer(models=["a", "b"]) as server, client_of(server) as client:
            assert [model.id async for model in client.models.list()] == ["a", "b"]

    async def test_a_wrong_key_is_an_authentication_error(self) -> None:
        async with ProviderServer(api_key="right") as server:
            async with client_of(server, "wrong") as client:
                with pytest.raises(openai.AuthenticationError) as caught:
                    await client.chat.completions.create(model="echo", messages=MESSAGES)
            assert caught.value.code == "invalid_api_key"
            async with client_of(server, "right") as client:
                await client.chat.completions.create(model="echo", messages=MESSAGES)

    @pytest.mark.parametrize(
        ("fault", "error"),
        [
            (failure(400, code="context_length_exceeded"), openai.BadRequestError),
            (failure(401), openai.AuthenticationError),
            (failure(403), openai.PermissionDeniedError),
            (failure(404), openai.NotFoundError),
            (failure(429, retry_after_s=3), openai.RateLimitError),
            (failure(500), openai.InternalServerError),
            (failure(503), openai.InternalServerError),
            (Dropped(), openai.APIConnectionError),
            (Cut(10), openai.APIConnectionError),
            (Truncated(), ValueError),
        ],
    )
    async def test_faults_arrive_as_the_errors_that_the_client_maps(
        self, fault: Fault, error: type[Exception]
    ) -> None:
        async with (
            ProviderServer(faults=always(fault)) as server,
            client_of(server) as client,
        ):
            with pytest.raises(error):
                await client.chat.completions.create(model="echo", messages=MESSAGES)

    async def test_a_rate_limit_says_when_to_come_back(self) -> None:
        plan = FaultPlan(script=[failure(429, retry_after_s=3)])
        async with ProviderServer(faults=plan) as server, client_of(server) as client:
            with pytest.raises(openai.RateLimitError) as caught:
                await client.chat.completions.create(model="echo", messages=MESSAGES)
            assert caught.value.response.headers["retry-after"] == "3"
            await client.chat.completions.create(model="echo", messages=MESSAGES)


class TestFaultsOnTheWire:
    @pytest.mark.parametrize("fault", [Refused(), Dropped()])
    async def test_a_connection_is_lost_before_the_head(self, fault: Fault) -> None:
        async with ProviderServer(faults=always(fault)) as server:
            with pytest.raises(aiohttp.ClientOSError) as caught:
                async with posting(server, CHAT):
                    raise AssertionError("there must be no head")
            assert caught.value.errno == errno.ECONNRESET

    @pytest.mark.parametrize(("request_", "body"), [(CHAT, CHAT_BODY), (STREAM, STREAM_BODY)])
    @pytest.mark.parametrize("offset", [0, 1, 200])
    async def test_a_cut_comes_after_exactly_as_many_bytes(
        self, request_: dict[str, Any], body: bytes, offset: int
    ) -> None:
        async with (
            ProviderServer(faults=always(Cut(offset))) as server,
            posting(server, request_) as response,
        ):
            assert response.status == 200
            assert await response.content.readexactly(offset) == body[:offset]
            with pytest.raises(aiohttp.ClientPayloadError, match="ConnectionResetError"):
                await response.content.read()

    @pytest.mark.parametrize("offset", [0, 1, 200])
    async def test_a_stall_sends_so_many_bytes_and_keeps_the_connection(self, offset: int) -> None:
        async with (
            ProviderServer(faults=always(Stalled(offset))) as server,
            posting(server, STREAM) as response,
        ):
            assert await response.content.readexactly(offset) == STREAM_BODY[:offset]
            # Another request is answered by then, and still not one byte more has come.
            server.faults = FaultPlan()
            async with posting(server, STREAM) as other:
                assert await other.read() == STREAM_BODY
            assert response.content.total_bytes == offset
            assert (server.in_flight, server.connections_made) == (1, 2)

    @pytest.mark.parametrize(
        "fault",
        [Stalled(50, for_s=0.01), Late(0.01), Dripping(100, every_s=0.001), Recut(1), None],
    )
    @pytest.mark.parametrize(("request_", "body"), [(CHAT, CHAT_BODY), (STREAM, STREAM_BODY)])
    async def test_what_only_slows_or_recuts_arrives_whole(
        self, fault: Fault | None, request_: dict[str, Any], body: bytes
    ) -> None:
        async with (
            ProviderServer(faults=FaultPlan(script=[fault])) as server,
            posting(server, request_) as response,
        ):
            assert await response.read() == body

    async def test_recut_pieces_arrive_cut_across_frames(self) -> None:
        async with (
            ProviderServer(faults=always(Recut(3, most_bytes=5))) as server,
            posting(server, STREAM) as response,
        ):
            pieces = [piece async for piece, _ in response.content.iter_chunks()]
        assert max(map(len, pieces)) <= 5
        assert b"".join(pieces) == STREAM_BODY

    async def test_half_a_json_ends_cleanly(self) -> None:
        async with (
            ProviderServer(faults=always(Truncated(0.5))) as server,
            posting(server, CHAT) as response,
        ):
            assert await response.read() == CHAT_BODY[: len(CHAT_BODY) // 2]

    async def test_a_page_comes_instead_of_json(self) -> None:
        async with (
            ProviderServer(faults=always(html_page())) as server,
            posting(server, CHAT) as response,
        ):
            assert (response.status, response.content_type) == (200, "text/html")

    async def test_a_malformed_event_stands_between_good_ones(self) -> None:
        async with (
            ProviderServer(faults=always(Garbled())) as server,
            posting(server, STREAM) as response,
        ):
            events = (await response.read()).split(b"\n\n")
        assert events[1] == b'data: {"choices": [}'
        assert b"\n\n".join(events[:1] + events[2:]) == STREAM_BODY

    async def test_an_endless_stream_ends_when_the_client_leaves(self) -> None:
        filler = b": still here\n\n"
        start = STREAM_BODY.index(b"\n\n") + 2
        async with (
            ProviderServer(faults=always(Endless(1, filler, every_s=0.001))) as server,
            posting(server, STREAM) as response,
        ):
            assert await response.content.readexactly(start) == STREAM_BODY[:start]
            for _ in range(20):
                assert await response.content.readexactly(len(filler)) == filler
            # The server's block ends only if the handler of the request does.

    async def test_faults_change_while_the_server_runs(self) -> None:
        async with ProviderServer() as server:
            seen = []
            for plan in (FaultPlan(), always(failure(500)), FaultPlan()):
                server.faults = plan
                async with posting(server, CHAT) as response:
                    seen.append(response.status)
        assert seen == [200, 500, 200]

    async def test_the_same_plan_fails_the_same_requests(self) -> None:
        plan = FaultPlan([(failure(500), 0.3), (failure(429), 0.3)], seed=5)

        async def statuses() -> list[int]:
            seen = []
            async with ProviderServer(faults=plan) as server:
                for _ in range(20):
                    async with posting(server, CHAT) as response:
                        seen.append(response.status)
            return seen

        first = await statuses()
        assert first == await statuses()
        assert set(first) == {200, 429, 500}

    async def test_health_and_models_have_no_faults_and_use_none_up(self) -> None:
        async with (
            ProviderServer(faults=FaultPlan(script=[failure(500)])) as server,
            aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session,
        ):
            for path in ("/health", "/v1/models"):
                async with session.get(path) as response:
                    assert response.status == 200
            async with posting(server, CHAT) as response:
                assert response.status == 500


class TestLife:
    async def test_a_killed_server_drops_every_request_at_once(self) -> None:
        arrived = asyncio.Semaphore(0)

        async def never(request: Request) -> Reply:
            arrived.release()
            await asyncio.Event().wait()
            raise AssertionError

        async def ask(server: ProviderServer) -> None:
            async with posting(server, CHAT):
                raise AssertionError("must not be answered")

        async with ProviderServer(never) as server:
            asking = [asyncio.create_task(ask(server)) for _ in range(20)]
            async with asyncio.timeout(30):
                for _ in asking:
                    await arrived.acquire()
            assert (server.in_flight, server.connections) == (20, 20)
            await server.kill()
            assert (server.in_flight, server.connections) == (0, 0)
            ends = await asyncio.gather(*asking, return_exceptions=True)
        assert [getattr(end, "errno", end) for end in ends] == [errno.ECONNRESET] * 20

    async def test_idle_connections_die_with_the_server(self) -> None:
        async with ProviderServer() as server, client_of(server) as client:
            await client.chat.completions.create(model="echo", messages=MESSAGES)
            assert server.connections == 1
            await server.kill()
            assert server.connections == 0

    async def test_a_killed_server_refuses_and_a_revived_one_answers_on_the_same_port(
        self,
    ) -> None:
        async with ProviderServer() as server:
            port = server.port
            for _ in range(3):
                await server.kill()
                with pytest.raises(aiohttp.ClientConnectorError) as caught:
                    async with posting(server, CHAT):
                        raise AssertionError("must not be answered")
                assert isinstance(caught.value.os_error, ConnectionRefusedError)
                await server.revive()
                assert server.port == port
                async with posting(server, CHAT) as response:
                    assert response.status == 200

    async def test_killing_and_reviving_twice_changes_nothing(self) -> None:
        async with ProviderServer() as server:
            await server.revive()
            await server.kill()
            await server.kill()
            await server.revive()
            async with posting(server, CHAT) as response:
                assert response.status == 200
            await server.kill()

    async def test_the_chosen_port_is_used(self) -> None:
        async with ProviderServer() as first:
            port = first.port
        async with ProviderServer(port=port) as second:
            assert second.port == port
            assert second.base_url == f"http://127.0.0.1:{port}/v1"

    async def test_a_client_that_leaves_cancels_its_answer(self) -> None:
        arrived, cancelled = asyncio.Event(), asyncio.Event()

        async def wait(request: Request) -> Reply:
            arrived.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()
            raise AssertionError

        async def ask(server: ProviderServer) -> None:
            async with posting(server, CHAT):
                raise AssertionError("must not be answered")

        async with ProviderServer(wait) as server:
            asking = asyncio.create_task(ask(server))
            async with asyncio.timeout(30):
                await arrived.wait()
                asking.cancel()
                await cancelled.wait()

    async def test_a_client_that_leaves_while_it_is_written_to_is_no_error_of_the_server(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        answered = asyncio.Event()
        client = socket.socket()

        def answer_when_gone(request: Request) -> Reply:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            answered.set()
            return Reply("word " * 1_000)

        async with ProviderServer(answer_when_gone) as server:
            body = orjson.dumps(STREAM)
            head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}"
            client.connect(("127.0.0.1", server.port))
            client.sendall(head.encode() + b"\r\n\r\n" + body)
            async with asyncio.timeout(30):
                await answered.wait()
        assert caplog.record_tuples == []


class TestRecord:
    async def test_only_the_latest_requests_are_remembered_each_with_its_fault(self) -> None:
        plan = FaultPlan(script=[None, failure(500), None])
        async with ProviderServer(faults=plan, keep=2, api_key="k") as server:
            for number in range(3):
                async with posting(server, {**CHAT, "seed": number}) as response:
                    await response.read()
            assert [request.json["seed"] for request in server.requests] == [1, 2]
            assert [request.fault for request in server.requests] == [failure(500), None]
            assert server.requests[0].path == "/v1/chat/completions"

    async def test_a_kept_connection_is_counted_once(self) -> None:
        async with ProviderServer() as server, client_of(server) as client:
            for _ in range(3):
                await client.chat.completions.create(model="echo", messages=MESSAGES)
            assert (server.connections, server.connections_made) == (1, 1)
            assert server.in_flight == 0

    async def test_a_responder_decides_what_is_said(self) -> None:
        def respond(request: Request) -> Reply:
            return Reply(tool_calls=[ToolCall("weather", '{"city": "Oslo"}')], prompt_tokens=99)

        async with ProviderServer(respond, price=(1.0, 2.0)) as server:
            async with posting(server, CHAT) as response:
                body = await response.json()
            assert server.price == (1.0, 2.0)
        assert body["usage"]["prompt_tokens"] == 99
        assert body["choices"][0]["finish_reason"] == "tool_calls"

    @pytest.mark.parametrize("error", [LookupError, ConnectionResetError])
    async def test_a_responder_that_raises_is_an_internal_error_and_is_logged(
        self, error: type[Exception], caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(request: Request) -> Reply:
            raise error("out of ideas")

        async with ProviderServer(fail) as server, posting(server, CHAT) as response:
            assert response.status == 500
        assert "out of ideas" in caplog.text

    async def test_a_prompt_of_megabytes_is_taken(self) -> None:
        request = {**CHAT, "messages": [{"role": "user", "content": "word " * 500_000}]}
        async with (
            ProviderServer() as server,
            aiohttp.ClientSession(server.base_url + "/") as session,
            session.post("chat/completions", data=io.BytesIO(orjson.dumps(request))) as response,
        ):
            assert (await response.json())["usage"]["completion_tokens"] == 500_000
