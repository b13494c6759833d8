"""HTTP over aiohttp, which is imported at the first request."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from orchestrator.core.errors import (
    EngineClosedError,
    ErrorClass,
    ModelAPIError,
    ModelError,
    ModelResponseError,
    ModelTimeoutError,
)
from orchestrator.core.ports import HttpRequest, HttpResponse, HttpStream, Timeouts

if TYPE_CHECKING:
    from aiohappyeyeballs import AddrInfoType
    from aiohttp import ClientResponse, ClientSession, ClientTimeout

__all__ = ["MAX_BODY_BYTES", "AiohttpTransport"]

MAX_BODY_BYTES: Final = 64 * 1024 * 1024
"""Of an answer that is read whole; 2,000 vectors of 1,536 numbers are about 60 MB."""


class AiohttpTransport:
    """Implements `orchestrator.core.ports.Transport` on one event loop.

    Connections are kept alive and their number is not limited: the engine limits requests.
    Redirects, proxies and netrc are not heeded, cookies not kept. Link-local addresses, where
    clouds hand out credentials, are refused even behind a name.

    The first-token time starts anew for the body of a server that sends its headers early. A
    POST that broke on a connection the server was about to close is not repeated: only the
    caller knows whether it may be.
    """

    def __init__(self, *, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._max_body_bytes = max_body_bytes
        self._session: ClientSession | None = None
        self._failures: tuple[type[Exception], ...] = ()  # what aiohttp raises, once imported
        self._closed = False

    async def request(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
        """Send and read the whole answer, whatever its status."""
        answer = await self._send(request, timeouts)
        try:
            return HttpResponse(answer.status, answer.headers, await answer.read())
        finally:
            answer.release()

    @asynccontextmanager
    async def stream(self, request: HttpRequest, timeouts: Timeouts) -> AsyncIterator[HttpStream]:
        """Send and hand over the answer once its headers have arrived."""
        answer = await self._send(request, timeouts)
        try:
            yield answer
        finally:
            answer.release()

    async def aclose(self) -> None:
        """Close every connection; a later request raises `EngineClosedError`."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _send(self, request: HttpRequest, timeouts: Timeouts) -> _Answer:
        session = self._session or self._open()
        try:
            response = await session.request(
                request.method,
                request.url,
                data=request.body,
                headers=request.headers,
                timeout=_client_timeout(timeouts),
                allow_redirects=False,
            )
        except self._failures as error:
            raise _failure(error, request.url, "first_token") from error
        return _Answer(response, timeouts, self._failures, self._max_body_bytes)

    def _open(self) -> ClientSession:
        if self._closed:
            raise EngineClosedError("the HTTP transport is closed")
        import aiohttp

        self._failures = (aiohttp.ClientError, OSError)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, socket_factory=_socket_for),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self._session


class _Answer:
    """Implements `orchestrator.core.ports.HttpStream`."""

    __slots__ = ("_failures", "_max_body_bytes", "_response", "_started", "_timeouts")

    def __init__(
        self,
        response: ClientResponse,
        timeouts: Timeouts,
        failures: tuple[type[Exception], ...],
        max_body_bytes: int,
    ) -> None:
        self._response = response
        self._timeouts = timeouts
        self._failures = failures
        self._max_body_bytes = max_body_bytes
        self._started = False

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._response.headers

    def __aiter__(self) -> _Answer:
        return self

    async def __anext__(self) -> bytes:
        try:
            data = await self._response.content.readany()
        except self._failures as error:
            phase = "idle" if self._started else "first_token"
            raise _failure(error, str(self._response.url), phase) from error
        if not data:
            raise StopAsyncIteration
        if not self._started:
            self._started = True
            self._wait_from_now_on(self._timeouts.idle_s)
        return data

    async def read(self) -> bytes:
        parts: list[bytes] = []
        size = 0
        async for data in self:
            parts.append(data)
            size += len(data)
            if size > self._max_body_bytes:
                raise ModelResponseError(
                    f"{_host(str(self._response.url))} answered more than"
                    f" {self._max_body_bytes} bytes"
                )
        return b"".join(parts)

    def release(self) -> None:
        """Return the connection if the body was read to its end, else close it."""
        self._response.release()

    def _wait_from_now_on(self, idle_s: float) -> None:
        connection = self._response.connection
        # None once the whole body has come; aiohttp knows one time for all reads of a request.
        if connection is not None and idle_s != self._timeouts.first_token_s:
            protocol = connection.protocol
            assert protocol is not None
            protocol.read_timeout = idle_s
            protocol.start_timeout()


@lru_cache(maxsize=64)
def _client_timeout(timeouts: Timeouts) -> ClientTimeout:
    from aiohttp import ClientTimeout

    # ``connect`` covers looking up the name, TCP and TLS.
    return ClientTimeout(connect=timeouts.connect_s, sock_read=timeouts.first_token_s)


def _socket_for(address: AddrInfoType) -> socket.socket:
    """Make the socket that is to connect to a looked-up address, unless it is link-local."""
    family, kind, protocol, _, where = address
    ip = ip_address(str(where[0]).partition("%")[0])
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if ip.is_link_local:
        raise PermissionError(errno.EACCES, f"the address {ip} is link-local and refused")
    return socket.socket(family, kind, protocol)


def _failure(error: Exception, url: str, phase: str) -> ModelError:
    """Return our error for one of aiohttp's.

    Args:
        error: What aiohttp raised.
        url: Where the request went.
        phase: What a read that took too long was waiting for.
    """
    from aiohttp import ClientResponseError, ConnectionTimeoutError
    from multidict import CIMultiDict, CIMultiDictProxy

    host = _host(url)
    if isinstance(error, ConnectionTimeoutError):
        return ModelTimeoutError(f"no connection to {host} in time", phase="connect")
    if isinstance(error, TimeoutError):
        what = "answered nothing" if phase == "first_token" else "stopped answering"
        return ModelTimeoutError(f"{host} {what} in time", phase=phase)
    if isinstance(error, ClientResponseError):
        # It came with the request's headers, the key among them, and its repr shows them.
        error.args = (error.status, error.message)
        error.request_info = error.request_info._replace(headers=CIMultiDictProxy(CIMultiDict()))
    return ModelAPIError(
        f"no whole answer from {host} ({type(error).__name__}: {error})",
        classification=ErrorClass.NETWORK_ERROR,
    )


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]
