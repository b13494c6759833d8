from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trustme

from orchestrator.core.errors import ErrorClass, ModelAPIError, ModelError, ModelTimeoutError
from orchestrator.core.ports import HttpRequest, Timeouts
from orchestrator.integrations.http.transport import HttpTransport
from tests.integrations.loopback import Connection, Loopback, Script, serving

PATIENT = Timeouts(connect_s=10, first_token_s=10, idle_s=10)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@asynccontextmanager
async def secured(
    authority: trustme.CA, script: Script, name: str = "127.0.0.1"
) -> AsyncIterator[tuple[Loopback, HttpTransport]]:
    """Run a server whose certificate is for this name, and a transport that trusts it."""
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(theirs)
    ours = ssl.create_default_context()
    authority.configure_trust(ours)
    transport = HttpTransport(ssl_context=ours)
    async with serving(script, tls=theirs) as server:
        try:
            yield server, transport
        finally:
            await transport.aclose()


def post(url: str, body: bytes = b"{}") -> HttpRequest:
    return HttpRequest("POST", url, {"Content-Type": "application/json"}, body)


async def answer_all(connection: Connection) -> None:
    while await connection.request():
        await connection.answer(b"x" * 200_000)


async def failure_of(transport: HttpTransport, url: str) -> ModelError:
    with pytest.raises(ModelError) as caught:
        await transport.request(post(url), PATIENT)
    return caught.value


async def test_whole_answers_and_streams_come_over_one_secured_connection(authority: trustme.CA):
    async with secured(authority, answer_all) as (server, transport):
        for _ in range(3):
            answer = await transport.request(post(server.base_url, b"y" * 300_000), PATIENT)
            assert answer.body == b"x" * 200_000
            async with transport.stream(post(server.base_url), PATIENT) as stream:
                assert b"".join([data async for data in stream]) == b"x" * 200_000
        assert len(server.connections) == 1


async def test_a_slow_reader_gets_all_of_a_long_stream(authority: trustme.CA):
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.begin_stream()
        for _ in range(100):
            await connection.piece(b"x" * 50_000)
        await connection.end_stream()

    async with secured(authority, script) as (server, transport):
        async with transport.stream(post(server.base_url), PATIENT) as stream:
            size = 0
            async for data in stream:
                size += len(data)
                for _ in range(5):
                    await asyncio.sleep(0)
        assert size == 5_000_000


async def test_a_certificate_nobody_vouches_for_is_refused(authority: trustme.CA):
    async with secured(authority, answer_all) as (server, _):
        stranger = HttpTransport()
        error = await failure_of(stranger, server.base_url)
        await stranger.aclose()
    assert error.classification is ErrorClass.NETWORK_ERROR
    assert isinstance(error.__cause__, ssl.SSLCertVerificationError)


async def test_a_certificate_for_another_name_is_refused(authority: trustme.CA):
    async with secured(authority, answer_all, "elsewhere.example") as (server, transport):
        error = await failure_of(transport, server.base_url)
    assert isinstance(error.__cause__, ssl.SSLCertVerificationError)


async def test_a_name_is_checked_though_its_address_was_called(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
):
    async def look_up(*_: object, **__: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    async with secured(authority, answer_all, "models.example") as (server, transport):
        port = int(server.base_url.rpartition(":")[2])
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
        answer = await transport.request(post(f"https://models.example:{port}"), PATIENT)
        assert answer.status == 200
        error = await failure_of(transport, f"https://other.example:{port}")
    assert isinstance(error.__cause__, ssl.SSLCertVerificationError)


async def test_a_handshake_that_takes_too_long_times_out_as_a_connection():
    async def script(connection: Connection) -> None:
        await connection.until_closed()
        closed.set()

    closed = asyncio.Event()
    async with serving(script) as server:
        transport = HttpTransport()
        with pytest.raises(ModelTimeoutError) as caught:
            await transport.request(
                post(server.base_url.replace("http", "https")), Timeouts(connect_s=0.05)
            )
        assert caught.value.phase == "connect"
        await closed.wait()
        await transport.aclose()


async def test_a_server_that_does_not_speak_tls_is_a_network_error():
    async def script(connection: Connection) -> None:
        await connection.reader.read(1)
        await connection.answer(b"plain")

    async with serving(script) as server:
        transport = HttpTransport()
        error = await failure_of(transport, server.base_url.replace("http", "https"))
        await transport.aclose()
    assert isinstance(error, ModelAPIError)
    assert isinstance(error.__cause__, ssl.SSLError)


@pytest.mark.parametrize("size", [100, 5_000_000])
async def test_an_answer_that_comes_before_the_request_was_read_counts(
    authority: trustme.CA, size: int
):
    async def script(connection: Connection) -> None:
        await connection.reader.readuntil(b"\r\n\r\n")
        await connection.answer(b"who are you?", "401 Unauthorized")

    async with secured(authority, script) as (server, transport):
        for _ in range(5):
            answer = await transport.request(post(server.base_url, b"x" * size), PATIENT)
            assert (answer.status, answer.body) == (401, b"who are you?")


@pytest.mark.parametrize("reset", [True, False])
async def test_a_connection_that_breaks_is_a_network_error(authority: trustme.CA, reset: bool):
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\none")
        if reset:
            connection.reset()

    async with secured(authority, script) as (server, transport):
        error = await failure_of(transport, server.base_url)
    assert error.classification is ErrorClass.NETWORK_ERROR


async def test_cancelling_closes_the_connection_also_amid_the_handshake():
    async def script(connection: Connection) -> None:
        assert await connection.reader.read(1)
        greeted.set()
        await connection.until_closed()
        closed.set()

    greeted, closed = asyncio.Event(), asyncio.Event()
    async with serving(script) as server:
        transport = HttpTransport()
        url = server.base_url.replace("http", "https")
        call = asyncio.create_task(transport.request(post(url), PATIENT))
        await greeted.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await closed.wait()
        await transport.aclose()


async def test_an_answer_may_end_with_its_connection(authority: trustme.CA):
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\n\r\nall of it")

    async with secured(authority, script) as (server, transport):
        for _ in range(2):
            answer = await transport.request(post(server.base_url), PATIENT)
            assert answer.body == b"all of it"
        assert len(server.connections) == 2
