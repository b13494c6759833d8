from __future__ import annotations

import asyncio
import gzip
import socket
import subprocess
import sys

import pytest

from orchestrator.core.errors import (
    EngineClosedError,
    ErrorClass,
    ModelAPIError,
    ModelResponseError,
    ModelTimeoutError,
)
from orchestrator.core.ports import Timeouts
from orchestrator.integrations.http.transport import HttpTransport
from tests.integrations.http.calls import KEY, PATIENT, failure_of, opened, post
from tests.integrations.loopback import Connection, serving

# -- whole answers -----------------------------------------------------------------------------


async def test_a_request_arrives_as_it_was_given():
    async def script(connection: Connection) -> None:
        requests.append(await connection.request())
        await connection.answer(b"ok")

    requests: list[bytes] = []
    async with serving(script) as server, opened() as transport:
        await transport.request(post(f"{server.base_url}/v1/x?y=1", b'{"a": 1}'), PATIENT)
    (request,) = requests
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/x?y=1 HTTP/1.1\r\n")
    assert f"Authorization: Bearer {KEY}".encode() in head
    assert head.count(b"Content-Type: application/json") == 1
    assert body == b'{"a": 1}'


async def test_an_answer_of_any_status_is_returned_with_its_headers():
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.answer(b"slow down", "429 Too Many Requests", Retry_After="7")

    async with serving(script) as server, opened() as transport:
        answer = await transport.request(post(server.base_url), PATIENT)
    assert (answer.status, answer.body) == (429, b"slow down")
    assert answer.headers["retry-after"] == answer.headers["Retry-After"] == "7"


async def test_connections_are_used_again():
    async def script(connection: Connection) -> None:
        while await connection.request():
            await connection.answer(b"ok")

    async with serving(script) as server, opened() as transport:
        for _ in range(3):
            await transport.request(post(server.base_url), PATIENT)
        assert len(server.connections) == 1


async def test_as_many_connections_as_requests_are_made():
    async def script(connection: Connection) -> None:
        await connection.request()
        await all_here.wait()
        await connection.answer(b"ok")

    all_here = asyncio.Barrier(150)
    async with serving(script) as server, opened() as transport:
        answers = await asyncio.gather(
            *(transport.request(post(server.base_url), PATIENT) for _ in range(150))
        )
    assert [answer.body for answer in answers] == [b"ok"] * 150


async def test_compressed_answers_are_unpacked():
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.answer(gzip.compress(b"x" * 1000), Content_Encoding="gzip")

    async with serving(script) as server, opened() as transport:
        assert (await transport.request(post(server.base_url), PATIENT)).body == b"x" * 1000


async def test_a_redirect_is_an_answer_and_not_followed():
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.answer(b"", "307 Temporary Redirect", Location="http://127.0.0.1:9/")

    async with serving(script) as server, opened() as transport:
        assert (await transport.request(post(server.base_url), PATIENT)).status == 307


async def test_cookies_are_not_kept():
    async def script(connection: Connection) -> None:
        while request := await connection.request():
            requests.append(request)
            await connection.answer(b"ok", Set_Cookie="tenant=1")

    requests: list[bytes] = []
    async with serving(script) as server, opened() as transport:
        for _ in range(2):
            # Clients keep cookies for names, but not for addresses.
            named = server.base_url.replace("127.0.0.1", "localhost")
            await transport.request(post(named), PATIENT)
    assert b"cookie" not in requests[1].lower()


async def test_proxies_of_the_environment_are_not_heeded(monkeypatch: pytest.MonkeyPatch):
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.answer(b"ok")

    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    async with serving(script) as server, opened() as transport:
        assert (await transport.request(post(server.base_url), PATIENT)).body == b"ok"


@pytest.mark.parametrize("chunked", [True, False])
async def test_an_answer_over_the_limit_is_refused(chunked: bool):
    async def script(connection: Connection) -> None:
        await connection.request()
        if not chunked:
            await connection.answer(b"x" * 5000)
            return
        await connection.begin_stream()
        while True:
            await connection.piece(b"x" * 1000)

    async with serving(script) as server, opened(max_body_bytes=4000) as transport:
        with pytest.raises(ModelResponseError, match="more than 4000 bytes"):
            await transport.request(post(server.base_url), PATIENT)


# -- streams -----------------------------------------------------------------------------------


async def test_a_stream_is_handed_over_as_it_arrives():
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.begin_stream()
        for piece in (b"one", b"two"):
            await wanted.acquire()
            await connection.piece(piece)
        await connection.end_stream()

    wanted = asyncio.Semaphore(0)
    async with (
        serving(script) as server,
        opened() as transport,
        transport.stream(post(server.base_url), PATIENT) as answer,
    ):
        assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream")
        pieces = aiter(answer)
        wanted.release()
        assert await anext(pieces) == b"one"
        wanted.release()
        assert await anext(pieces) == b"two"
        with pytest.raises(StopAsyncIteration):
            await anext(pieces)


async def test_a_stream_read_to_its_end_leaves_its_connection_for_the_next():
    async def script(connection: Connection) -> None:
        while await connection.request():
            await connection.begin_stream()
            await connection.piece(b"one")
            await connection.end_stream()

    async with serving(script) as server, opened() as transport:
        for _ in range(3):
            async with transport.stream(post(server.base_url), PATIENT) as answer:
                assert await answer.read() == b"one"
        assert len(server.connections) == 1


async def test_a_stream_whose_rest_does_not_matter_leaves_its_connection_when_it_ends():
    async def script(connection: Connection) -> None:
        while await connection.request():
            await connection.begin_stream()
            await connection.piece(b"[DONE]")
            await left.acquire()
            await connection.end_stream()
            ended.release()

    left, ended = asyncio.Semaphore(0), asyncio.Semaphore(0)
    async with serving(script) as server, opened() as transport:
        for _ in range(3):
            async with transport.stream(post(server.base_url), PATIENT) as answer:
                assert await anext(aiter(answer)) == b"[DONE]"
                answer.leave()
                assert [data async for data in answer] == []
            left.release()
            await ended.acquire()
            assert transport._pool is not None
            while transport._pool._patience.waiting:  # noqa: ASYNC110  nobody else is told
                await asyncio.sleep(0)
        assert len(server.connections) == 1


async def test_a_stream_may_be_left_when_all_of_it_is_there():
    async def script(connection: Connection) -> None:
        while await connection.request():
            await connection.answer(b"whole")

    async with serving(script) as server, opened() as transport:
        for _ in range(3):
            async with transport.stream(post(server.base_url), PATIENT) as answer:
                async for _ in answer:
                    answer.leave()
                answer.leave()
        assert len(server.connections) == 1


async def test_a_stream_left_early_is_closed():
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.begin_stream()
        await connection.piece(b"one")
        await connection.until_closed()
        closed.set()

    closed = asyncio.Event()
    async with serving(script) as server, opened() as transport:
        async with transport.stream(post(server.base_url), PATIENT) as answer:
            assert await anext(aiter(answer)) == b"one"
        await closed.wait()


@pytest.mark.parametrize("streaming", [True, False])
async def test_cancellation_passes_through_and_closes_the_connection(streaming: bool):
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.begin_stream()
        await connection.piece(b"one")
        begun.set()
        await connection.until_closed()
        closed.set()

    async def read() -> None:
        if not streaming:
            await transport.request(post(server.base_url), PATIENT)
            return
        async with transport.stream(post(server.base_url), PATIENT) as answer:
            async for _ in answer:
                pass

    begun, closed = asyncio.Event(), asyncio.Event()
    async with serving(script) as server, opened() as transport:
        reading = asyncio.create_task(read())
        await begun.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await closed.wait()


# -- failures ----------------------------------------------------------------------------------


async def test_a_refused_connection_is_a_network_error():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        error = await failure_of(f"http://127.0.0.1:{unused.getsockname()[1]}")
    assert isinstance(error, ModelAPIError)
    assert error.classification is ErrorClass.NETWORK_ERROR
    assert isinstance(error.__cause__, OSError)


async def test_an_unknown_host_is_a_network_error():
    error = await failure_of("http://no-such-host.invalid/v1")
    assert error.classification is ErrorClass.NETWORK_ERROR
    assert "no-such-host.invalid" in str(error)


async def test_a_connection_that_takes_too_long_times_out_in_its_phase():
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(address)
        error = await failure_of(
            f"http://127.0.0.1:{address[1]}", Timeouts(connect_s=0.05, first_token_s=10, idle_s=10)
        )
        for client in waiting:
            client.close()
    assert isinstance(error, ModelTimeoutError)
    assert error.phase == "connect"


@pytest.mark.parametrize("headers_first", [True, False])
async def test_no_first_byte_in_time_times_out_in_its_phase(headers_first: bool):
    async def script(connection: Connection) -> None:
        await connection.request()
        if headers_first:
            await connection.begin_stream()
        await connection.until_closed()

    async with serving(script) as server:
        error = await failure_of(server.base_url, Timeouts(10, first_token_s=0.05, idle_s=10))
    assert isinstance(error, ModelTimeoutError)
    assert error.phase == "first_token"
    assert error.classification is ErrorClass.TIMEOUT


@pytest.mark.parametrize("first_token_s", [0.05, 3600])
async def test_a_pause_that_is_too_long_times_out_in_its_phase(first_token_s: float):
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.begin_stream()
        await connection.piece(b"one")
        await connection.until_closed()

    async with serving(script) as server, asyncio.timeout(30):
        error = await failure_of(server.base_url, Timeouts(10, first_token_s, idle_s=0.05))
    assert isinstance(error, ModelTimeoutError)
    assert error.phase == "idle"


@pytest.mark.parametrize("reset", [True, False])
async def test_a_connection_that_breaks_is_a_network_error_wherever_it_breaks(reset: bool):
    answer = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
    )

    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(answer[:cut])
        if reset:
            connection.reset()

    for cut in range(len(answer)):
        async with serving(script) as server:
            error = await failure_of(server.base_url)
        assert error.classification is ErrorClass.NETWORK_ERROR, cut


async def test_a_kept_connection_that_the_server_closes_unasked_is_a_network_error():
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.answer(b"ok")
        await connection.request()  # takes the next one, and is gone

    async with serving(script) as server, opened() as transport:
        await transport.request(post(server.base_url), PATIENT)
        with pytest.raises(ModelAPIError) as caught:
            await transport.request(post(server.base_url), PATIENT)
        assert caught.value.classification is ErrorClass.NETWORK_ERROR
        # Sent once: nobody knows whether the model has worked on it.
        assert len(server.connections) == 1


async def test_what_is_no_http_is_a_network_error_that_keeps_the_key_to_itself():
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")

    async with serving(script) as server:
        error = await failure_of(server.base_url)
    assert error.classification is ErrorClass.NETWORK_ERROR
    cause = error.__cause__
    assert cause is not None
    assert KEY not in f"{error!r} {error} {cause!r} {vars(cause)!r} {cause.args!r}"


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "metadata.example"]
)
async def test_link_local_addresses_are_refused_even_behind_a_name(
    host: str, monkeypatch: pytest.MonkeyPatch
):
    async def look_up(*_: object, **__: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", 80))]

    loop = asyncio.get_running_loop()
    if host == "metadata.example":
        monkeypatch.setattr(loop, "getaddrinfo", look_up)
    error = await failure_of(f"http://{host}/v1")
    assert error.classification is ErrorClass.NETWORK_ERROR
    assert "link-local and refused" in str(error)


async def test_a_closed_transport_takes_no_request():
    transport = HttpTransport()
    await transport.aclose()
    with pytest.raises(EngineClosedError):
        await transport.request(post("http://127.0.0.1:9"), PATIENT)


async def test_closing_closes_the_connections_kept():
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.answer(b"ok")
        await connection.until_closed()
        closed.set()

    closed = asyncio.Event()
    async with serving(script) as server:
        async with opened() as transport:
            await transport.request(post(server.base_url), PATIENT)
        await closed.wait()


async def test_closing_ends_what_is_under_way():
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.begin_stream()
        await here.wait()
        await connection.until_closed()

    async def whole() -> None:
        await transport.request(post(server.base_url), PATIENT)

    async def streamed() -> None:
        async with transport.stream(post(server.base_url), PATIENT) as answer:
            await here.wait()
            await answer.read()

    here = asyncio.Barrier(4)
    async with serving(script) as server:
        transport = HttpTransport()
        calls = [asyncio.create_task(call()) for call in (whole, streamed)]
        await here.wait()
        await transport.aclose()
        for call in calls:
            with pytest.raises(EngineClosedError):
                await call


async def test_a_connection_that_is_made_while_the_transport_closes_is_closed(
    monkeypatch: pytest.MonkeyPatch,
):
    async def look_up(*_: object, **__: object) -> list[object]:
        await transport.aclose()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    async def script(connection: Connection) -> None:
        await connection.until_closed()
        closed.set()

    closed = asyncio.Event()
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
    async with serving(script) as server:
        port = int(server.base_url.rpartition(":")[2])
        transport = HttpTransport()
        with pytest.raises(EngineClosedError):
            await transport.request(post("http://name.example"), PATIENT)
        await closed.wait()


def test_the_parser_is_imported_at_the_first_request():
    program = (
        "import sys, orchestrator.integrations.http.transport as t; t.HttpTransport();"
        "sys.exit('httptools' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
