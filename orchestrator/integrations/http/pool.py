"""The connections of one transport: made, lent, kept and closed."""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

from orchestrator.core.errors import EngineClosedError, ModelTimeoutError
from orchestrator.core.ports import Timeouts
from orchestrator.integrations.http.addresses import connected_socket
from orchestrator.integrations.http.connection import Connection, network_error
from orchestrator.integrations.http.idle import IdleConnections
from orchestrator.integrations.http.patience import Patience
from orchestrator.integrations.http.request_head import Origin, RequestHead

__all__ = ["ConnectionPool"]

_READ_BYTES: Final = 64 * 1024
"""Half of where malloc begins to map each buffer anew, at the cost of page faults."""


class ConnectionPool:
    """Lends a connection for each request: one at rest, else a new one.

    Args:
        loop: Where its connections live.
        max_body_bytes: An answer that is read whole may not be longer.
        ssl_context: For https; None trusts whom the system trusts.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        max_body_bytes: int,
        ssl_context: ssl.SSLContext | None,
    ) -> None:
        self._loop = loop
        self._max_body_bytes = max_body_bytes
        self._ssl_context = ssl_context
        self._buffer = memoryview(bytearray(_READ_BYTES))
        self._idle: IdleConnections[Connection] = IdleConnections(loop)
        self._patience = Patience(loop)
        self._closed = False

    async def send(
        self, head: RequestHead, body: bytes | None, timeouts: Timeouts, *, whole: bool
    ) -> Connection:
        """Send a request and return the connection that its answer will come by.

        It belongs to the caller until it is released or closed.

        Raises:
            ModelTimeoutError: No connection was made in time.
            ModelAPIError: No connection can be made.
            EngineClosedError: The pool was closed meanwhile.
        """
        connection = self._idle.take(head.origin) or await self._connect(head.origin, timeouts)
        connection.send(head, body, timeouts, whole=whole)
        return connection

    def release(self, connection: Connection) -> None:
        """Take a connection back: for the next request, if it is fit for one."""
        if self._closed or not connection.reusable():
            connection.close()
        else:
            self._patience.waiting.pop(connection, None)
            self._idle.put(connection)

    def linger(self, connection: Connection) -> None:
        """Take a connection back once its answer has come to its end, if that is soon."""
        if connection.answer.complete:
            self.release(connection)
        else:
            connection.linger(self.release)

    def close(self) -> None:
        """Close every connection and fail what is under way."""
        self._closed = True
        self._idle.close()
        for waiting in list(self._patience.waiting):
            waiting.fail(_closed())
        self._patience.close()

    async def _connect(self, origin: Origin, timeouts: Timeouts) -> Connection:
        tls = origin.scheme == "https"
        try:
            async with asyncio.timeout(timeouts.connect_s):
                sock = await connected_socket(self._loop, origin.host, origin.port)
                _, connection = await self._loop.create_connection(
                    lambda: Connection(
                        origin, self._loop, self._buffer, self._patience, self._max_body_bytes
                    ),
                    sock=sock,
                    ssl=self._trust() if tls else None,
                    server_hostname=origin.host if tls else None,
                )
        except TimeoutError as error:
            raise ModelTimeoutError(
                f"no connection to {origin} in time", phase="connect"
            ) from error
        except OSError as error:
            raise network_error(origin, error) from error
        if self._closed:
            connection.close()
            raise _closed()
        return connection

    def _trust(self) -> ssl.SSLContext:
        if self._ssl_context is None:
            self._ssl_context = ssl.create_default_context()
        return self._ssl_context


def _closed() -> EngineClosedError:
    return EngineClosedError("the HTTP transport is closed")
