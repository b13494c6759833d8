"""HTTP without sockets: requests go to simulated servers, answers come back as bytes over time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from math import inf
from typing import Final, Literal, NoReturn, TypeAlias
from urllib.parse import urlsplit

from orchestrator.core.errors import (
    EngineClosedError,
    ErrorClass,
    ModelAPIError,
    ModelResponseError,
    ModelTimeoutError,
)
from orchestrator.core.ports import HttpRequest, HttpResponse, HttpStream, Timeouts
from orchestrator.testing.answer import Answer, Hang, Head, Refuse, Reset, Send, Step, Wait
from orchestrator.testing.faults import apply
from orchestrator.testing.simulated_server import Exchange, SimulatedServer

__all__ = ["SimulatedTransport"]

_MAX_BODY_BYTES: Final = 64 * 1024 * 1024
_Phase: TypeAlias = Literal["connect", "first_token", "idle"]


class SimulatedTransport:
    """Implements `orchestrator.core.ports.Transport` without sockets.

    Base URLs lead to `SimulatedServer`s, whose bytes arrive at their time whether they are read
    or not. Time limits are kept as the real transport keeps them.

    Args:
        connect_s: Seconds until a connection is there, or refused.
    """

    def __init__(self, *, connect_s: float = 0.0) -> None:
        self.connect_s = connect_s
        self._servers: dict[str, SimulatedServer] = {}
        self._closed = False

    def serve(self, base_url: str, server: SimulatedServer) -> SimulatedServer:
        """Let this server answer at a base URL, whatever its path; returns it."""
        self._servers[_origin(base_url)] = server
        return server

    async def request(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
        """Send and read the whole answer, whatever its status."""
        async with self.stream(request, timeouts) as answer:
            return HttpResponse(answer.status, answer.headers, await answer.read())

    @asynccontextmanager
    async def stream(self, request: HttpRequest, timeouts: Timeouts) -> AsyncIterator[HttpStream]:
        """Send and hand over the answer once its headers have arrived."""
        if self._closed:
            raise EngineClosedError("the HTTP transport is closed")
        server = self._servers.get(_origin(request.url))
        if server is None:
            raise _network_error(_origin(request.url), "its name is not known")
        connection = _Connection(server, request, timeouts)
        try:
            await connection.open(self.connect_s)
            yield connection
        finally:
            connection.close()

    async def aclose(self) -> None:
        """Refuse further requests; those in flight end as their callers do."""
        self._closed = True


class _Connection:
    """Implements `orchestrator.core.ports.HttpStream`, and a `Line` for the server."""

    def __init__(self, server: SimulatedServer, request: HttpRequest, timeouts: Timeouts) -> None:
        self._server = server
        self._host = urlsplit(request.url).netloc
        self._timeouts = timeouts
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self._exchange = Exchange(
            request.method,
            urlsplit(request.url).path,
            request.headers,
            request.body or b"",
            begun_s=now,
        )
        self._steps: Iterator[Step] = iter(())
        self._phase: _Phase = "connect"
        self._due_s = self._heard_s = now
        self._is_reset = self._hangs = False
        self._waiter: asyncio.Future[None] | None = None
        self.status = 0
        self.headers: Mapping[str, str] = {}

    # -- as its server sees it -----------------------------------------------------------------

    def reset(self) -> None:
        self._is_reset = True
        self._server.release(self, "broken")
        self._wake()

    def hang(self) -> None:
        self._hangs, self._due_s = True, inf
        self._wake()

    # -- as its client sees it -----------------------------------------------------------------

    async def open(self, connect_s: float) -> None:
        """Connect, send, and read up to the end of the headers."""
        self._server.accept(self, self._exchange)
        self._due_s += inf if self._server.state == "unreachable" else connect_s
        await self._arrival()
        if self._server.state == "dead":
            self._break("the connection was refused")
        self._phase = "first_token"
        self._steps = apply(self._exchange.fault, await self._answer())
        head = await self._next()
        assert isinstance(head, Head), "an answer begins with its head"
        self.status, self.headers = head.status, _Headers(head.headers)

    def __aiter__(self) -> _Connection:
        return self

    async def __anext__(self) -> bytes:
        step = await self._next()
        if step is None:
            self._server.release(self, "whole")
            raise StopAsyncIteration
        assert isinstance(step, Send), "one head is enough"
        self._phase = "idle"
        return step.data

    async def read(self) -> bytes:
        parts: list[bytes] = []
        size = 0
        async for data in self:
            parts.append(data)
            size += len(data)
            if size > _MAX_BODY_BYTES:
                raise ModelResponseError(f"{self._host} answered more than {_MAX_BODY_BYTES} bytes")
        return b"".join(parts)

    def leave(self) -> None:
        self._server.release(self, "whole")

    def close(self) -> None:
        self._server.release(self, "left")

    # ------------------------------------------------------------------------------------------

    async def _next(self) -> Head | Send | None:
        """Return what arrives next, None at the end."""
        for step in self._steps:
            match step:
                case Wait(seconds):
                    self._due_s += seconds
                case Hang():
                    self._due_s = inf
                case Head() | Send():
                    await self._arrival()
                    return step
                case Reset() | Refuse():
                    await self._arrival()
                    self._break("the connection was reset")
        await self._arrival()
        return None

    async def _answer(self) -> Answer:
        """Return what the server has to say; it may think before its answer begins."""
        asked = self._exchange
        task = self._loop.create_task(
            self._server.provider.answer(asked.method, asked.path, asked.headers, asked.body)
        )
        task.add_done_callback(lambda _: self._wake())
        self._due_s = inf
        try:
            while not task.done():
                await self._wait_until(self._limit_s)
                self._check_patience()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
        if not self._hangs:
            self._due_s = self._loop.time()
        return task.result()

    async def _arrival(self) -> None:
        """Wait until it is time for what comes next."""
        while self._loop.time() < self._due_s or self._limit_s < self._due_s:
            await self._wait_until(min(self._due_s, self._limit_s))
            self._check_patience()
        self._check_patience()
        self._heard_s = self._due_s

    @property
    def _limit_s(self) -> float:
        """When patience ends: bytes that arrived before were in time, whoever reads them when."""
        match self._phase:
            case "connect":
                return self._heard_s + self._timeouts.connect_s
            case "first_token":
                return self._heard_s + self._timeouts.first_token_s
            case "idle":
                return self._heard_s + self._timeouts.idle_s

    def _check_patience(self) -> None:
        if self._is_reset:
            self._break("the connection was reset")
        if self._loop.time() >= self._limit_s and self._due_s > self._limit_s:
            raise ModelTimeoutError(f"{self._host} took too long", phase=self._phase)

    async def _wait_until(self, when_s: float) -> None:
        if self._is_reset or self._loop.time() >= when_s:
            return
        self._waiter = self._loop.create_future()
        timer = self._loop.call_at(when_s, self._wake)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _break(self, how: str) -> NoReturn:
        self._server.release(self, "broken")
        raise _network_error(self._host, how)


class _Headers(Mapping[str, str]):
    """Header names are looked up without regard to case."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = {name.lower(): value for name, value in headers.items()}

    def __getitem__(self, name: str) -> str:
        return self._headers[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._headers)

    def __len__(self) -> int:
        return len(self._headers)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _network_error(host: str, how: str) -> ModelAPIError:
    return ModelAPIError(
        f"no whole answer from {host} ({how})", classification=ErrorClass.NETWORK_ERROR
    )
