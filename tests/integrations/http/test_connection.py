"""One connection in simulated time: no socket, its bytes and pauses given by hand."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.core.errors import ErrorClass, ModelError, ModelResponseError, ModelTimeoutError
from orchestrator.core.ports import Timeouts
from orchestrator.integrations.http.connection import Connection
from orchestrator.integrations.http.patience import GRAIN_S, Patience
from orchestrator.integrations.http.request_head import encode_head
from tests.engine.world import simulated

HEAD = encode_head("POST", "http://host/v1", ())
TIMES = Timeouts(connect_s=5, first_token_s=10, idle_s=3)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LIMIT = 1_000_000


class Wire(asyncio.Transport):
    """The other side of a connection. ``unsent`` bytes of the request are still here."""

    def __init__(self) -> None:
        self.sent = b""
        self.unsent = 0
        self.reading = True
        self.aborted = False

    def write(self, data: Any) -> None:
        self.sent += data

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def abort(self) -> None:
        self.aborted = True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"ssl_object": self}.get(name, default)  # nothing to read past the loop


class Line:
    """A connection that has sent a request, and its wire."""

    def __init__(self, *, whole: bool = True, timeouts: Timeouts = TIMES) -> None:
        loop = asyncio.get_running_loop()
        self.wire = Wire()
        self.patience = Patience(loop)
        buffer = memoryview(bytearray(65_536))
        self.connection = Connection(HEAD.origin, loop, buffer, self.patience, LIMIT)
        self.connection.connection_made(self.wire)
        self.connection.send(HEAD, b"{}", timeouts, whole=whole)

    def receive(self, data: bytes) -> None:
        while data:
            buffer = self.connection.get_buffer(-1)
            piece, data = data[: len(buffer)], data[len(buffer) :]
            buffer[: len(piece)] = piece
            self.connection.buffer_updated(len(piece))

    def chunk(self, data: bytes) -> None:
        self.receive(b"%x\r\n%b\r\n" % (len(data), data))

    async def failure(self) -> tuple[ModelError, float]:
        """Return what ends the wait for more, and the time at which it does."""
        with pytest.raises(ModelError) as caught:
            while True:
                await self.connection.progress()
        assert self.wire.aborted
        assert self.connection not in self.patience.waiting
        return caught.value, asyncio.get_running_loop().time()


def later(delay_s: float, do: Callable[..., object], *arguments: object) -> None:
    asyncio.get_running_loop().call_later(delay_s, do, *arguments)


async def timeout_of(line: Line) -> tuple[str, float]:
    error, at = await line.failure()
    assert isinstance(error, ModelTimeoutError)
    return error.phase, at


# -- how long it waits -------------------------------------------------------------------------


@simulated
async def test_silence_ends_when_the_first_tokens_time_is_over():
    assert await timeout_of(Line()) == ("first_token", 10)


@pytest.mark.parametrize("whole", [True, False])
def test_headers_give_the_body_the_first_tokens_time_anew(whole: bool):
    @simulated
    async def check() -> None:
        line = Line(whole=whole)
        later(7, line.receive, CHUNKED)
        assert await timeout_of(line) == ("first_token", 17)

    check()


@simulated
async def test_interim_answers_and_half_a_header_are_no_answer():
    line = Line()
    for second in range(1, 10):
        later(second, line.receive, b"HTTP/1.1 102 Processing\r\n\r\n")
    later(9.5, line.receive, b"HTTP/1.1 200 OK\r\nX: ")
    assert await timeout_of(line) == ("first_token", 10)


@simulated
async def test_after_the_first_byte_each_pause_has_its_own_time():
    line = Line(whole=False)
    line.receive(CHUNKED)
    for second in (1, 3.5, 6):
        later(second, line.chunk, b"text")
    phase, at = await timeout_of(line)
    assert phase == "idle"
    assert 9 <= at <= 9 + GRAIN_S


@simulated
async def test_a_request_that_is_still_being_taken_is_given_time():
    line = Line()
    line.wire.unsent = 1000
    later(15, setattr, line.wire, "unsent", 500)
    later(25, setattr, line.wire, "unsent", 0)
    assert await timeout_of(line) == ("first_token", 30)


@simulated
async def test_a_complete_answer_waits_for_its_reader_as_long_as_that_likes():
    line = Line(whole=False)
    line.receive(CHUNKED)
    line.chunk(b"text")
    line.receive(b"0\r\n\r\n")
    await asyncio.sleep(100)
    assert line.connection.take() == b"text"
    assert line.connection.answer.complete
    assert line.connection.reusable()


# -- how much it holds -------------------------------------------------------------------------


@simulated
async def test_a_server_ahead_of_its_reader_has_to_wait_and_is_not_timed_meanwhile():
    line = Line(whole=False)
    line.receive(CHUNKED)
    for _ in range(5):
        assert line.wire.reading
        line.chunk(b"x" * 60_000)
    assert not line.wire.reading

    await asyncio.sleep(100)
    assert line.connection.take() == b"x" * 300_000
    assert line.wire.reading
    assert await timeout_of(line) == ("idle", 103)


@simulated
async def test_a_connection_left_while_its_server_waits_is_not_used_again():
    line = Line(whole=False)
    line.receive(CHUNKED)
    line.chunk(b"x" * 300_000)
    line.receive(b"0\r\n\r\n")  # was under way
    assert line.connection.answer.complete
    assert not line.connection.reusable()


@simulated
async def test_a_whole_answer_over_the_limit_ends_as_soon_as_it_is():
    line = Line()
    line.receive(CHUNKED)
    for _ in range(20):
        line.chunk(b"x" * 50_000)
    assert not line.wire.aborted
    line.chunk(b"x")
    error, _ = await line.failure()
    assert isinstance(error, ModelResponseError)


@pytest.mark.parametrize("begin", [b"HTTP/1.1 200 OK\r\n", CHUNKED + b"0\r\n"])
def test_headers_and_trailers_without_end_are_no_answer(begin: bytes):
    @simulated
    async def check() -> None:
        line = Line()
        line.receive(begin)
        for number in range(400):
            if not line.wire.aborted:
                line.receive(b"X-%d: %b\r\n" % (number, b"y" * 1000))
        error, _ = await line.failure()
        assert error.classification is ErrorClass.NETWORK_ERROR
        assert "without end" in str(error)

    check()


# -- how it ends -------------------------------------------------------------------------------


@simulated
async def test_what_nobody_asked_for_closes_the_connection():
    line = Line()
    line.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert line.connection.reusable()
    line.receive(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    assert line.connection.closed
    assert line.wire.aborted


@simulated
async def test_an_answer_before_all_of_the_request_has_gone_is_the_last():
    line = Line()
    line.wire.unsent = 1000
    waiting = line.connection.progress()
    line.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    await waiting
    assert line.connection.take() == b"ok"
    assert not line.connection.reusable()


@pytest.mark.parametrize("status", [400, 401, 413, 429, 503])
def test_who_refuses_a_request_may_not_have_read_it_so_its_connection_is_not_used_again(
    status: int,
):
    @simulated
    async def check() -> None:
        line = Line()
        line.receive(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status)
        assert line.connection.answer.complete
        assert not line.connection.reusable()

    check()


@simulated
async def test_what_had_arrived_before_the_end_is_read_before_the_error():
    line = Line(whole=False)
    line.receive(CHUNKED)
    line.chunk(b"text")
    line.connection.connection_lost(ConnectionResetError("reset"))
    assert line.connection.take() == b"text"
    error, _ = await line.failure()
    assert str(error) == "no whole answer from host (ConnectionResetError: reset)"


@pytest.mark.parametrize("answer", [b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno", b"HTTP/1.1"])
async def test_what_was_answered_before_writing_failed_counts_if_it_is_whole(answer: bytes):
    class Eager(Connection):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.send(HEAD, b"{}", TIMES, whole=True)  # before the loop reads

    ours, theirs = socket.socketpair()
    theirs.sendall(answer)
    theirs.close()
    loop = asyncio.get_running_loop()
    buffer = memoryview(bytearray(65_536))
    _, connection = await loop.create_connection(
        lambda: Eager(HEAD.origin, loop, buffer, Patience(loop), LIMIT), sock=ours
    )
    if answer.endswith(b"no"):
        await connection.progress()
        assert connection.answer.status == 401
        assert connection.take() == b"no"
        assert not connection.reusable()
    else:
        with pytest.raises(ModelError, match="BrokenPipeError"):
            await connection.progress()
    connection.close()
    await asyncio.sleep(0)


# -- what nobody waits for ---------------------------------------------------------------------


def left(line: Line) -> list[Connection]:
    released: list[Connection] = []
    line.connection.linger(released.append)
    return released


@simulated
async def test_the_rest_of_an_answer_is_read_to_nowhere_and_frees_its_connection():
    line = Line(whole=False)
    line.receive(CHUNKED)
    line.chunk(b"text")
    released = left(line)
    for _ in range(100):
        line.chunk(b"x" * 10_000)
        assert line.connection.answer.parts == []
    assert (released, line.wire.reading) == ([], True)

    line.receive(b"0\r\n\r\n")
    assert released == [line.connection]
    assert line.connection.reusable()


@simulated
async def test_the_rest_of_an_answer_that_had_to_wait_is_let_in():
    line = Line(whole=False)
    line.receive(CHUNKED)
    line.chunk(b"x" * 300_000)
    assert not line.wire.reading
    left(line)
    assert line.wire.reading


@simulated
async def test_a_rest_that_takes_too_long_closes_its_connection_however_much_comes():
    line = Line(whole=False)
    line.receive(CHUNKED)
    released = left(line)
    for _ in range(15):
        await asyncio.sleep(0.1)
        if not line.wire.aborted:
            line.chunk(b"more")
    assert line.wire.aborted
    assert asyncio.get_running_loop().time() < 2
    assert released == []


@simulated
async def test_a_connection_sends_another_request_after_its_rest_was_read():
    line = Line(whole=False)
    line.receive(CHUNKED)
    left(line)
    line.receive(b"0\r\n\r\n")
    line.connection.send(HEAD, b"{}", TIMES, whole=False)
    line.receive(CHUNKED)
    line.chunk(b"text")
    assert line.connection.take() == b"text"
    assert await timeout_of(line) == ("idle", 3)
