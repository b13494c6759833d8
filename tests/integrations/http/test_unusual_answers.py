"""Answers that are whole, though not as most are."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from orchestrator.core.errors import ModelResponseError
from orchestrator.core.ports import HttpRequest
from tests.integrations.http.calls import PATIENT, failure_of, opened, post
from tests.integrations.loopback import Connection, serving

# -- answers of other shapes --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "body", "reused"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b"until the end", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok", False),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", b"ok", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more", b"ok", False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", b"", True),
        (b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok", True),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n",
            b"ok",
            True,
        ),
    ],
)
async def test_each_shape_of_answer_ends_where_it_ends(answer: bytes, body: bytes, reused: bool):
    async def script(connection: Connection) -> None:
        while await connection.request():
            await connection.send(answer)
            if not reused:
                connection.writer.write_eof()

    async with serving(script) as server, opened() as transport:
        for _ in range(2):
            assert (await transport.request(post(server.base_url), PATIENT)).body == body
            async with transport.stream(post(server.base_url), PATIENT) as stream:
                assert await stream.read() == body
        assert len(server.connections) == (1 if reused else 4)


async def test_the_answer_to_a_head_is_its_headers():
    async def script(connection: Connection) -> None:
        while await connection.request():
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")

    async with serving(script) as server, opened() as transport:
        answer = await transport.request(HttpRequest("HEAD", server.base_url, {}), PATIENT)
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "1000")


@pytest.mark.parametrize("coding", ["gzip", "br"])
async def test_a_body_of_another_coding_than_it_claims_or_of_an_unknown_one_is_refused(coding: str):
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.answer(b"plain", Content_Encoding=coding)

    async with serving(script) as server:
        assert isinstance(await failure_of(server.base_url), ModelResponseError)


async def test_little_that_unpacks_to_too_much_is_refused():
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.answer(gzip.compress(bytes(10_000_000)), Content_Encoding="gzip")

    async with serving(script) as server, opened(max_body_bytes=100_000) as transport:
        with pytest.raises(ModelResponseError, match="more than 100000 bytes"):
            await transport.request(post(server.base_url), PATIENT)
        with pytest.raises(ModelResponseError, match="more than 100000 bytes"):
            async with transport.stream(post(server.base_url), PATIENT) as stream:
                await stream.read()


# -- answers that come early ---------------------------------------------------------------------


@pytest.mark.parametrize("size", [100, 300_000, 20_000_000])
@pytest.mark.parametrize("reset", [True, False])
async def test_an_answer_that_comes_before_the_request_was_read_counts(size: int, reset: bool):
    async def script(connection: Connection) -> None:
        await connection.reader.readuntil(b"\r\n\r\n")
        await connection.answer(b"who are you?", "401 Unauthorized")
        if not reset:
            connection.writer.write_eof()
            await connection.until_closed()

    async with serving(script) as server, opened() as transport:
        for _ in range(5):
            request = post(server.base_url, b"x" * size)
            answer = await transport.request(request, PATIENT)
            assert (answer.status, answer.body) == (401, b"who are you?")
            async with transport.stream(request, PATIENT) as stream:
                assert stream.status == 401
                assert await stream.read() == b"who are you?"
        assert len(server.connections) == 10


async def test_a_request_is_not_written_on_when_its_answer_is_complete():
    async def script(connection: Connection) -> None:
        await connection.reader.readuntil(b"\r\n\r\n")
        await connection.answer(b"too long", "413 Content Too Large")
        read = 0
        while data := await connection.reader.read(65_536):
            read += len(data)
        received.set_result(read)

    size = 100_000_000
    received = asyncio.get_running_loop().create_future()
    async with serving(script) as server, opened() as transport:
        answer = await transport.request(post(server.base_url, b"x" * size), PATIENT)
        assert answer.status == 413
        assert await received < size / 2
