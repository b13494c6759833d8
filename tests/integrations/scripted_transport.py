"""A transport that answers from a list and remembers what it was asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from multidict import CIMultiDict

from orchestrator.core.ports import HttpRequest, HttpResponse, HttpStream, Timeouts


@dataclass
class Scripted:
    """One answer: its status, its body in pieces, and what breaks it at the end."""

    pieces: Iterable[bytes] = ()
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    failure: Exception | None = None


class ScriptedTransport:
    """Implements `orchestrator.core.ports.Transport`."""

    def __init__(self, *answers: Scripted) -> None:
        self.answers = list(answers)
        self.requests: list[HttpRequest] = []
        self.timeouts: list[Timeouts] = []
        self.read_to_the_end = False

    async def request(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
        async with self.stream(request, timeouts) as answer:
            return HttpResponse(answer.status, answer.headers, await answer.read())

    @asynccontextmanager
    async def stream(self, request: HttpRequest, timeouts: Timeouts) -> AsyncIterator[HttpStream]:
        self.requests.append(request)
        self.timeouts.append(timeouts)
        yield ScriptedStream(self.answers.pop(0), self)

    async def aclose(self) -> None:
        pass


class ScriptedStream:
    """Implements `orchestrator.core.ports.HttpStream`."""

    def __init__(self, answer: Scripted, transport: ScriptedTransport) -> None:
        self.status = answer.status
        self.headers: Mapping[str, str] = CIMultiDict(
            {"Content-Type": answer.content_type, **answer.headers}
        )
        self._pieces = iter(answer.pieces)
        self._failure = answer.failure
        self._transport = transport

    def __aiter__(self) -> ScriptedStream:
        return self

    async def __anext__(self) -> bytes:
        for piece in self._pieces:
            return piece
        if self._failure is not None:
            raise self._failure
        self._transport.read_to_the_end = True
        raise StopAsyncIteration

    async def read(self) -> bytes:
        return b"".join([piece async for piece in self])

    def leave(self) -> None:
        self._transport.read_to_the_end = True


def streamed(*pieces: bytes, failure: Exception | None = None) -> Scripted:
    return Scripted(pieces, content_type="text/event-stream", failure=failure)
