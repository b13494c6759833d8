"""An OpenAI-compatible provider on a loopback port, which answers, paces and fails as told."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from types import TracebackType
from typing import Any, Self

import orjson
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from orchestrator.testing.answer import Hang, Head, Refuse, Reset, Send, Step, Wait
from orchestrator.testing.echo import echo
from orchestrator.testing.faults import Fault, FaultPlan, apply
from orchestrator.testing.openai_provider import OpenAIProvider, Responder

__all__ = ["ProviderServer", "Received"]

_BACKLOG = 1_024
_CLOSING_S = 5.0
# Close without lingering, so that the other side gets a reset rather than an orderly end.
_NO_LINGER = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it arrived, and the fault that befell it."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    fault: Fault | None

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


class ProviderServer:
    """Serves an `OpenAIProvider` over HTTP and applies faults to its completions and embeddings.

    An async context manager: it listens inside the block, until killed.

    Args:
        responder, models, api_key, first_token_s, tokens_per_s: As in `OpenAIProvider`; what
            `provider` holds may change while the server runs.
        price: USD per million prompt tokens and per million completion tokens. It never goes
            over the wire; whoever registers the models may read it here.
        faults: What befalls which request, counted from the first; may be replaced at any time.
        port: 0 for any that is free.
        keep: How many requests `requests` remembers: the latest.

    Attributes:
        in_flight: Requests that are being answered.
        connections_made: Connections accepted so far.
    """

    def __init__(
        self,
        responder: Responder = echo,
        *,
        models: Sequence[str] = ("echo",),
        api_key: str | None = None,
        first_token_s: float = 0.0,
        tokens_per_s: float = inf,
        price: tuple[float, float] = (0.0, 0.0),
        faults: FaultPlan | None = None,
        port: int = 0,
        keep: int = 1_000,
    ) -> None:
        self.provider = OpenAIProvider(responder, models, api_key, first_token_s, tokens_per_s)
        self.price = price
        self.faults = faults or FaultPlan()
        self.port = port
        self.requests: deque[Received] = deque(maxlen=keep)
        self.in_flight = 0
        self.connections_made = 0
        self._n_fallible = 0
        self._listener: asyncio.Server | None = None

    @property
    def base_url(self) -> str:
        """What an OpenAI client takes as its base URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def connections(self) -> int:
        """Connections that are open."""
        return len(self._http.connections)

    async def __aenter__(self) -> Self:
        self._http = _CountingServer(self)
        self._socket = self._bind()
        self.port = self._socket.getsockname()[1]
        await self.revive()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.kill()
        self._socket.close()

    async def kill(self) -> None:
        """Reset every connection and refuse new ones, as when the process dies."""
        if self._listener is None:
            return
        listener, self._listener = self._listener, None
        listener.close()
        # Bound but not listening, the port refuses, and nobody else is given it meanwhile.
        self._socket = self._bind()
        for connection in self._http.connections:
            _reset(connection)
        await self._http.shutdown(_CLOSING_S)
        await listener.wait_closed()

    async def revive(self) -> None:
        """Listen again, on the same port."""
        if self._listener is not None:
            return
        self._listener = await asyncio.get_running_loop().create_server(
            self._http, sock=self._socket, backlog=_BACKLOG
        )

    def _bind(self) -> socket.socket:
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", self.port))
        return bound

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.in_flight += 1
        try:
            body = await request.content.read()
            fault = self._draw(request)
            headers = dict(request.headers)
            self.requests.append(Received(request.method, request.path, headers, body, fault))
            answer = await self.provider.answer(request.method, request.path, headers, body)
            return await _play(request, apply(fault, answer))
        finally:
            self.in_flight -= 1

    def _draw(self, request: web.BaseRequest) -> Fault | None:
        if request.method != "POST":
            return None  # health and the list of models stay reliable, and use up no fault
        self._n_fallible += 1
        return self.faults.draw(self._n_fallible - 1)


class _CountingServer(web.Server):
    """aiohttp's server, which ends a request's handler when its client leaves."""

    def __init__(self, owner: ProviderServer) -> None:
        super().__init__(owner._handle, handler_cancellation=True, access_log=None)
        self._owner = owner

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        self._owner.connections_made += 1
        super().connection_made(handler, transport)


async def _play(request: web.BaseRequest, steps: Iterable[Step]) -> web.StreamResponse:
    """Carry out the steps of an answer on the connection of its request."""
    response = web.StreamResponse()
    try:
        for step in steps:
            match step:
                case Head(status, headers):
                    response = web.StreamResponse(status=status, headers=headers)
                    await response.prepare(request)
                case Send(data):
                    await response.write(data)
                case Wait(seconds):
                    await asyncio.sleep(seconds)
                case Reset() | Refuse():
                    _reset(request.protocol)
                    await _until_cancelled()
                case Hang():
                    await _until_cancelled()
        await response.write_eof()
    except ConnectionError:
        # The client left while we wrote. aiohttp will cancel us for it, but were we to raise
        # first, it would report an error of the server.
        await _until_cancelled()
    return response


async def _until_cancelled() -> None:
    """Wait for the end of the connection, at which aiohttp cancels the handler."""
    await asyncio.Event().wait()


def _reset(connection: RequestHandler) -> None:
    transport = connection.transport
    if transport is not None:
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        transport.abort()
