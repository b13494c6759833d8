"""The transport: whole answers and streams over kept connections."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from orchestrator.core.errors import EngineClosedError
from orchestrator.core.ports import HttpRequest, HttpResponse, HttpStream, Timeouts
from orchestrator.integrations.http.headers import Headers
from orchestrator.integrations.http.request_head import encode_head
from orchestrator.integrations.http.stream import AnswerStream

if TYPE_CHECKING:
    from ssl import SSLContext

    from orchestrator.integrations.http.pool import ConnectionPool

__all__ = ["MAX_BODY_BYTES", "HttpTransport"]

MAX_BODY_BYTES: Final = 64 * 1024 * 1024
"""Of an answer that is read whole; 2,000 vectors of 1,536 numbers are about 60 MB."""

_HEADS: Final = 256
"""How many request heads are remembered: one for each model, and one more if it streams."""


class HttpTransport:
    """Implements `orchestrator.core.ports.Transport` on one event loop.

    Connections are kept alive and their number is not limited: the engine limits requests.
    Redirects, proxies and netrc are not heeded, cookies not kept. Link-local addresses, where
    clouds hand out credentials, are refused even behind a name.

    The first-token time starts anew for the body of a server that sends its headers early. A
    POST that broke on a connection the server was about to close is not repeated: only the
    caller knows whether it may be. An answer that comes before the whole request has gone counts,
    and what is left of the request stays here.

    Args:
        max_body_bytes: An answer that is read whole may not be longer.
        ssl_context: For https; None trusts whom the system trusts.
    """

    def __init__(
        self, *, max_body_bytes: int = MAX_BODY_BYTES, ssl_context: SSLContext | None = None
    ) -> None:
        self._max_body_bytes = max_body_bytes
        self._ssl_context = ssl_context
        # Of this transport, not of the module: they hold keys.
        self._head = lru_cache(maxsize=_HEADS)(encode_head)
        self._pool: ConnectionPool | None = None
        self._closed = False

    async def request(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
        """Send and read the whole answer, whatever its status."""
        pool = self._pool or self._open()
        head = self._head(request.method, request.url, tuple(request.headers.items()))
        connection = await pool.send(head, request.body, timeouts, whole=True)
        try:
            await connection.progress()
            answer = connection.answer
            response = HttpResponse(answer.status, Headers(answer.headers), connection.take())
        except BaseException:
            connection.close()
            raise
        pool.release(connection)
        return response

    def stream(
        self, request: HttpRequest, timeouts: Timeouts
    ) -> AbstractAsyncContextManager[HttpStream]:
        """Send and hand over the answer once its headers have arrived."""
        pool = self._pool or self._open()
        head = self._head(request.method, request.url, tuple(request.headers.items()))
        return AnswerStream(pool, head, request.body, timeouts, self._max_body_bytes)

    async def aclose(self) -> None:
        """Close every connection; requests under way and later raise `EngineClosedError`."""
        self._closed = True
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()
            await asyncio.sleep(0)  # in which the loop closes the sockets

    def _open(self) -> ConnectionPool:
        if self._closed:
            raise EngineClosedError("the HTTP transport is closed")
        # With the parser, which who never asks need not load.
        from orchestrator.integrations.http.pool import ConnectionPool

        loop = asyncio.get_running_loop()
        self._pool = ConnectionPool(loop, self._max_body_bytes, self._ssl_context)
        return self._pool
