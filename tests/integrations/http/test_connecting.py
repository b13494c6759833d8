"""Whom a connection leads to, and which request it may carry."""

from __future__ import annotations

import asyncio
import socket

import pytest

from orchestrator.core.ports import HttpRequest
from tests.conftest import require
from tests.integrations.http.calls import PATIENT, opened, post
from tests.integrations.loopback import Connection, serving


@pytest.mark.parametrize("named", ["localhost", "127.0.0.1", "[::1]"])
async def test_a_server_is_called_by_its_name_or_its_address(named: str):
    async def script(connection: Connection) -> None:
        requests.append(await connection.request())
        await connection.answer(b"ok")

    if named == "[::1]":
        require(socket.has_dualstack_ipv6(), "no IPv6 here")
    requests: list[bytes] = []
    async with serving(script, host="::1" if ":" in named else "127.0.0.1") as server:
        port = server.base_url.rpartition(":")[2]
        async with opened() as transport:
            answer = await transport.request(post(f"http://{named}:{port}/v1"), PATIENT)
    assert answer.body == b"ok"
    assert f"\r\nHost: {named}:{port}\r\n".encode() in requests[0]


async def test_the_next_address_is_called_when_one_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
):
    async def look_up(*_: object, **__: object) -> list[object]:
        here = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [
            (*here, ("169.254.1.1", port)),  # refused by us
            (*here, closed.getsockname()),  # refuses
            (*here, ("127.0.0.1", port)),
        ]

    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.answer(b"ok")

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        async with serving(script) as server, opened() as transport:
            port = int(server.base_url.rpartition(":")[2])
            monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
            answer = await transport.request(post("http://name.example"), PATIENT)
    assert answer.body == b"ok"


async def test_a_connection_its_server_closed_at_rest_is_not_used():
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.answer(b"ok")
        await leave.wait()
        leave.clear()

    leave = asyncio.Event()
    async with serving(script) as server, opened() as transport:
        for _ in range(3):
            await transport.request(post(server.base_url), PATIENT)
            assert transport._pool is not None
            ((resting,),) = transport._pool._idle._by_origin.values()
            leave.set()
            while not resting.closed:  # noqa: ASYNC110  nobody but the loop is told
                await asyncio.sleep(0)
        assert len(server.connections) == 3


async def test_no_request_follows_one_that_asked_to_be_the_last():
    async def script(connection: Connection) -> None:
        while await connection.request():
            await connection.answer(b"ok")  # without a word of closing

    async with serving(script) as server, opened() as transport:
        for _ in range(3):
            last = HttpRequest("POST", server.base_url, {"Connection": "close"}, b"{}")
            assert (await transport.request(last, PATIENT)).body == b"ok"
        assert len(server.connections) == 3


async def test_changed_headers_are_sent_as_they_are_now():
    async def script(connection: Connection) -> None:
        while request := await connection.request():
            requests.append(request)
            await connection.answer(b"ok")

    requests: list[bytes] = []
    headers = {"X-Number": "1"}
    async with serving(script) as server, opened() as transport:
        for number in ("1", "2"):
            headers["X-Number"] = number
            await transport.request(HttpRequest("GET", server.base_url, headers), PATIENT)
    assert [b"X-Number: %d\r\n" % (i + 1) in r for i, r in enumerate(requests)] == [True, True]
