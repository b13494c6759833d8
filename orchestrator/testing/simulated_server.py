"""A server that exists inside the simulated world only: it answers, fails, dies and returns."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, TypeAlias

import orjson

from orchestrator.testing.faults import Fault, FaultPlan
from orchestrator.testing.openai_provider import OpenAIProvider

__all__ = ["Exchange", "ExchangeEnd", "FaultSource", "Line", "ServerState", "SimulatedServer"]

ServerState: TypeAlias = Literal["up", "dead", "unreachable"]
ExchangeEnd: TypeAlias = Literal["whole", "broken", "left"]

_FALLIBLE: Final = ("/v1/chat/completions", "/v1/embeddings")


class FaultSource(Protocol):
    """Says which fault befalls which request; a `FaultPlan` is one."""

    def draw(self, request_index: int) -> Fault | None: ...


class Line(Protocol):
    """A connection as its server sees it."""

    def reset(self) -> None:
        """Break it."""
        ...

    def hang(self) -> None:
        """Let nothing more come through it."""
        ...


@dataclass(slots=True, eq=False)
class Exchange:
    """One request to a server, and what became of it.

    Attributes:
        fault: What befell it, or None.
        begun_s: When it was sent, in seconds of the loop.
        ended_s: When it ended, or None as long as it is being answered.
        end: ``whole``: the answer was sent and read to its end; ``broken``: the connection broke
            or never came about; ``left``: the client went away before, or lost patience.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    begun_s: float
    fault: Fault | None = None
    ended_s: float | None = None
    end: ExchangeEnd | None = None

    @property
    def json(self) -> Any:
        """The body of the request."""
        return orjson.loads(self.body)


class SimulatedServer:
    """Serves an `OpenAIProvider` to whoever asks through a `SimulatedTransport`.

    Args:
        provider: What it answers; its fields may change at any time.
        faults: What befalls completions and embeddings, counted from the first; may be replaced
            at any time.
        keep: How many exchanges it remembers, the latest; None is all.

    Attributes:
        state: ``up``, ``dead`` or ``unreachable``.
        exchanges: What was asked of it, in order.
    """

    def __init__(
        self,
        provider: OpenAIProvider | None = None,
        *,
        faults: FaultSource | None = None,
        keep: int | None = None,
    ) -> None:
        self.provider = provider or OpenAIProvider()
        self.faults: FaultSource = faults or FaultPlan()
        self.state: ServerState = "up"
        self.exchanges: deque[Exchange] = deque(maxlen=keep)
        self._lines: dict[Line, Exchange] = {}
        self._n_fallible = 0

    @property
    def in_flight(self) -> int:
        """Requests that are being answered."""
        return len(self._lines)

    @property
    def left(self) -> int:
        """Remembered requests whose client went away before the answer's end."""
        return sum(exchange.end == "left" for exchange in self.exchanges)

    def kill(self) -> None:
        """Reset every connection and refuse new ones, as when the process dies."""
        self.state = "dead"
        for line in list(self._lines):
            line.reset()

    def vanish(self) -> None:
        """Let packets go nowhere: connections hang, and new ones never come about."""
        self.state = "unreachable"
        for line in self._lines:
            line.hang()

    def revive(self) -> None:
        """Serve again; connections that hang do so for ever."""
        self.state = "up"

    def accept(self, line: Line, exchange: Exchange) -> None:
        """Take a request."""
        self._lines[line] = exchange
        self.exchanges.append(exchange)
        if exchange.path in _FALLIBLE:
            exchange.fault = self.faults.draw(self._n_fallible)
            self._n_fallible += 1

    def release(self, line: Line, end: ExchangeEnd) -> None:
        """Take note of a request's end; only the first counts."""
        exchange = self._lines.pop(line, None)
        if exchange is not None:
            exchange.end = end
            exchange.ended_s = asyncio.get_running_loop().time()
