"""Connections that wait for their next request."""

from __future__ import annotations

import asyncio
from typing import Final, Generic, Protocol, TypeVar

from orchestrator.integrations.http.request_head import Origin

__all__ = ["TICK_S", "IdleConnections", "Resting"]

TICK_S: Final = 2.0
"""Seconds between two looks at what is idle."""

_TICKS: Final = {"http": 2, "https": 15}
"""How many looks a connection may stay for, by scheme.

A request that meets its server's close on the way is lost, so we close first where we can. Servers
close after five seconds (uvicorn, Node, llama.cpp) up to 75 (nginx). Without TLS the server is near
and a new connection costs little; with it, one takes two more round trips.
"""


class Resting(Protocol):
    """A connection between two requests.

    Attributes:
        origin: Where it leads.
        closed: Whether either side has closed it.
        ticks: How many looks it has been idle for.
    """

    @property
    def origin(self) -> Origin: ...
    @property
    def closed(self) -> bool: ...

    ticks: int

    def close(self) -> None: ...


_C = TypeVar("_C", bound=Resting)


class IdleConnections(Generic[_C]):
    """Keeps connections for a while. Which is used last is used first, so that the others age."""

    __slots__ = ("_by_origin", "_loop", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._by_origin: dict[Origin, list[_C]] = {}

    def take(self, origin: Origin) -> _C | None:
        """Return a connection to there that nobody has closed, as far as we know."""
        resting = self._by_origin.get(origin)
        while resting:
            connection = resting.pop()
            if not connection.closed:
                return connection
        return None

    def put(self, connection: _C) -> None:
        """Keep a connection for its next request."""
        connection.ticks = 0
        self._by_origin.setdefault(connection.origin, []).append(connection)
        if self._timer is None:
            self._timer = self._loop.call_later(TICK_S, self.tick)

    def tick(self) -> None:
        """Close what has been idle for too long, and forget what is closed."""
        self._timer = None
        for origin, resting in list(self._by_origin.items()):
            for connection in resting:
                connection.ticks += 1
                if connection.ticks >= _TICKS[origin.scheme]:
                    connection.close()
            resting[:] = [connection for connection in resting if not connection.closed]
            if not resting:
                del self._by_origin[origin]
        if self._by_origin:
            self._timer = self._loop.call_later(TICK_S, self.tick)

    def close(self) -> None:
        """Close them all."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for resting in self._by_origin.values():
            for connection in resting:
                connection.close()
        self._by_origin.clear()
