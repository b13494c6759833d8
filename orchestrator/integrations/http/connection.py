"""One connection: a request goes out, its answer comes in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import Final, cast

from httptools import HttpParserError, HttpParserUpgrade

from orchestrator.core.errors import (
    ErrorClass,
    ModelAPIError,
    ModelError,
    ModelResponseError,
    ModelTimeoutError,
    OrchestratorError,
)
from orchestrator.core.ports import Timeouts
from orchestrator.integrations.http.answer import AnswerParser
from orchestrator.integrations.http.patience import Patience
from orchestrator.integrations.http.request_head import Origin, RequestHead

__all__ = ["Connection", "network_error"]

_UNREAD_BYTES: Final = 256 * 1024
"""So much of a stream waits for its reader; then the server has to wait."""
_LINGER_S: Final = 1.0
"""How long a connection may take to the end of an answer that nobody reads any more."""
_WORDLESS_BYTES: Final = 256 * 1024
"""More than any server's headers and trailers: who sends so much without a body means no good."""


class Connection(asyncio.BufferedProtocol):
    """Carries one request at a time.

    Attributes:
        origin: Where it leads.
        answer: To the request that was sent last.
        closed: Whether either side has closed it.
        ticks: For `IdleConnections`.
        due: For `Patience`.
    """

    __slots__ = (
        "_asked",
        "_buffer",
        "_ended",
        "_error",
        "_last",
        "_limit",
        "_loop",
        "_patience",
        "_paused",
        "_started",
        "_timeouts",
        "_transport",
        "_unread",
        "_unsent",
        "_waiter",
        "_whole",
        "_wordless",
        "answer",
        "closed",
        "due",
        "origin",
        "ticks",
    )

    def __init__(
        self,
        origin: Origin,
        loop: asyncio.AbstractEventLoop,
        buffer: memoryview,
        patience: Patience,
        limit: int,
    ) -> None:
        """Describe it, for `create_connection`.

        Args:
            origin: Where it leads.
            loop: Where it lives.
            buffer: Where everything read arrives; shared by all connections, since what a read
                brings is parsed before the next one.
            patience: Calls when a wait has taken too long.
            limit: At most so many bytes of an answer's body are read at once or as a whole.
        """
        self.origin = origin
        self.answer = AnswerParser()
        self.closed = False
        self.ticks = 0
        self.due = inf
        self._loop = loop
        self._buffer = buffer
        self._patience = patience
        self._limit = limit
        self._asked = False  # sent a request whose answer is not complete
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._error: OrchestratorError | None = None
        self._ended: Callable[[Connection], None] | None = None

    # -- what the transport calls --------------------------------------------------------------

    def send(
        self, head: RequestHead, body: bytes | None, timeouts: Timeouts, *, whole: bool
    ) -> None:
        """Send a request.

        Args:
            head: What it begins with.
            body: The rest.
            timeouts: How long the phases after connecting may take.
            whole: Whether the answer is of use only when it is complete.
        """
        self.answer.expect(bodiless=head.bodiless)
        self._timeouts = timeouts
        self._whole = whole
        self._last = head.last
        self._asked = True
        self._started = False
        self._unread = self._wordless = 0
        self._unsent: float = inf
        self._patience.waiting[self] = None
        self._be_due_in(timeouts.first_token_s)
        self._transport.write(head.with_body(body))

    def progress(self) -> asyncio.Future[None]:
        """Return what is done when more of the answer is there; of a whole one, when all is.

        It, or this call, raises the errors of `orchestrator.core.ports.Transport`.
        """
        if self._error is not None:
            raise self._error
        self._waiter = waiter = self._loop.create_future()
        if not self._asked:
            waiter.set_result(None)  # it is complete
        return waiter

    def take(self) -> bytes:
        """Return what has come of the body, and let the server send more.

        Raises:
            ModelResponseError: It is too long, or not what its Content-Encoding says.
        """
        data = self.answer.take(self._limit)
        if len(data) > self._limit:
            raise self._too_long()
        self._unread = 0
        if self._paused and self._asked:
            self._paused = False
            self._transport.resume_reading()
            self._be_due_in(self._timeouts.idle_s)
        return data

    def linger(self, ended: Callable[[Connection], None]) -> None:
        """Read the rest of the answer for nobody, and call this at its end if it is near."""
        self._ended = ended
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        self._be_due_in(_LINGER_S)

    def reusable(self) -> bool:
        """Return whether another request may follow the last one."""
        return (
            self.answer.keep_alive
            and not self._last
            # Who refuses a request may not have read it, and close or take the rest for the next.
            and self.answer.status < 400
            and not self.closed
            and not self._paused
            and not self._transport.get_write_buffer_size()
        )

    def close(self) -> None:
        """Close it, whatever it is doing."""
        self.closed = True
        self._asked = False
        self.due = inf
        self._patience.waiting.pop(self, None)
        self._transport.abort()

    def fail(self, error: OrchestratorError) -> None:
        """Close it and raise this where its answer is awaited."""
        self._error = error
        self.close()
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)

    def overdue(self) -> None:
        """Fail, unless the server is still taking our request."""
        unsent = self._transport.get_write_buffer_size()
        if 0 < unsent < self._unsent and not self.answer.headed:
            self._unsent = unsent
            self._be_due_in(self._timeouts.first_token_s)
        elif self._started:
            error = ModelTimeoutError(f"{self.origin} stopped answering in time", phase="idle")
            self.fail(error)
        else:
            error = ModelTimeoutError(
                f"{self.origin} answered nothing in time", phase="first_token"
            )
            self.fail(error)

    # -- what the loop calls -------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if not self._asked:
            self.close()  # nobody asked: what follows could be taken for the next answer
            return
        answer = self.answer
        n_parts, headed = len(answer.parts), answer.headed
        try:
            answer.feed(self._buffer[:nbytes])
        except (HttpParserError, HttpParserUpgrade) as error:
            if not answer.complete:
                self.fail(network_error(self.origin, error))
                return
            self.closed = True
        if answer.complete:
            self._complete()
            return
        if self._ended is not None:
            answer.parts.clear()
            return
        self._wait_on(nbytes, n_parts, headed)
        if not self._whole:
            self._wake()

    def eof_received(self) -> None:
        if self._asked and self.answer.end():
            self._complete()
        self.connection_lost(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and self._asked:
            self._salvage()
        if self._asked:
            self.fail(network_error(self.origin, exc))
        self.close()

    # -- how answers arrive --------------------------------------------------------------------

    def _wait_on(self, n_read: int, n_parts: int, headed: bool) -> None:
        """Wait for the rest of the answer.

        Args:
            n_read: How many bytes have just been read.
            n_parts: How many pieces of the body had been there before.
            headed: Whether its headers had been.
        """
        answer = self.answer
        parts = answer.parts
        if len(parts) == n_parts:
            self._wordless += n_read
            if self._wordless > _WORDLESS_BYTES:
                self.fail(network_error(self.origin, ValueError("headers without end")))
            elif answer.headed and not headed:
                self._be_due_in(self._timeouts.first_token_s)
            return
        self._started = True
        self._be_due_in(self._timeouts.idle_s)
        for part in parts[n_parts:]:
            self._unread += len(part)
        if self._whole:
            if self._unread > self._limit:
                self.fail(self._too_long())
        elif self._unread > _UNREAD_BYTES and not self._paused:
            self._paused = True
            self.due = inf
            self._transport.pause_reading()

    def _be_due_in(self, seconds: float) -> None:
        self.due = due = self._loop.time() + seconds
        if due < self._patience.at:
            self._patience.expect(due)

    def _complete(self) -> None:
        self._asked = False
        self.due = inf
        self._wake()
        if self._ended is not None:
            ended, self._ended = self._ended, None
            ended(self)

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _salvage(self) -> None:
        """Read what a server answered before it closed on a request it did not want to read.

        Writing then fails, and the loop closes without reading what has arrived. Behind TLS there
        is nothing to read it with; but the window is narrow: the loop reads before it writes.
        """
        if self._transport.get_extra_info("ssl_object") is not None:
            return
        with suppress(OSError), self._transport.get_extra_info("socket").dup() as rest:
            rest.setblocking(False)
            while self._asked and (n_read := rest.recv_into(self._buffer)):
                self.buffer_updated(n_read)

    def _too_long(self) -> ModelResponseError:
        return ModelResponseError(f"{self.origin} answered more than {self._limit} bytes")


def network_error(origin: Origin, error: Exception | None) -> ModelError:
    """Return our error for one of the network's or the parser's; None is an early end."""
    said = "the connection was closed" if error is None else f"{type(error).__name__}: {error}"
    ours = ModelAPIError(
        f"no whole answer from {origin} ({said})", classification=ErrorClass.NETWORK_ERROR
    )
    ours.__cause__ = error
    return ours
