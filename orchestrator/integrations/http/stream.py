"""Answers whose body is still arriving."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

from orchestrator.core.errors import ModelResponseError
from orchestrator.core.ports import Timeouts
from orchestrator.integrations.http.headers import Headers
from orchestrator.integrations.http.request_head import RequestHead

if TYPE_CHECKING:
    from orchestrator.integrations.http.connection import Connection
    from orchestrator.integrations.http.pool import ConnectionPool

__all__ = ["AnswerStream"]


class AnswerStream:
    """Sends a request when entered and implements `orchestrator.core.ports.HttpStream` within.

    What arrived between two reads comes in one piece. A server that is ahead of its reader by a
    quarter of a megabyte has to wait.
    """

    __slots__ = (
        "_connection",
        "_max_body_bytes",
        "_pool",
        "_request",
        "headers",
        "status",
    )

    status: int
    headers: Mapping[str, str]

    def __init__(
        self,
        pool: ConnectionPool,
        head: RequestHead,
        body: bytes | None,
        timeouts: Timeouts,
        max_body_bytes: int,
    ) -> None:
        self._pool = pool
        self._request = (head, body, timeouts)
        self._max_body_bytes = max_body_bytes
        self._connection: Connection | None = None

    async def __aenter__(self) -> Self:
        connection = await self._pool.send(*self._request, whole=False)
        answer = connection.answer
        try:
            while not answer.headed:
                await connection.progress()
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        self.status = answer.status
        self.headers = Headers(answer.headers)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._release()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        connection = self._connection
        if connection is None:
            raise StopAsyncIteration
        answer = connection.answer
        while True:
            complete = answer.complete
            if data := connection.take():
                return data
            if complete:
                self._release()
                raise StopAsyncIteration
            await connection.progress()

    async def read(self) -> bytes:
        """Read the rest of the body.

        Raises:
            ModelResponseError: It is too long.
        """
        parts: list[bytes] = []
        left = self._max_body_bytes
        async for data in self:
            parts.append(data)
            left -= len(data)
            if left < 0:
                raise ModelResponseError(
                    f"{self._request[0].origin} answered more than {self._max_body_bytes} bytes"
                )
        return b"".join(parts)

    def leave(self) -> None:
        """Let the connection serve again once the body has ended, if that is within a second."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.linger(connection)

    def _release(self) -> None:
        """Give the connection back if the answer has come to its end, else close it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.release(connection)
