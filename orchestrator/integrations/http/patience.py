"""How long connections wait for their servers: one timer for all of them."""

from __future__ import annotations

import asyncio
from math import inf
from typing import Final, Protocol

from orchestrator.core.errors import OrchestratorError

__all__ = ["GRAIN_S", "Patience", "Waiting"]

GRAIN_S: Final = 0.05
"""How late a wait may end, in seconds."""


class Waiting(Protocol):
    """What waits for a server; it is hashed by identity.

    Attributes:
        due: When it has waited long enough, in the loop's time; ``inf`` while it does not wait.
    """

    due: float

    def overdue(self) -> None:
        """Give up, or be due later."""
        ...

    def fail(self, error: OrchestratorError) -> None:
        """Give up for this reason."""
        ...


class Patience:
    """Ends waits that take too long.

    A timer of its own would go into the loop's heap and out again with every request and every
    piece of a stream, although hardly any ever strikes. Here the timer stands at the earliest time
    it knew of, and looks who is late when it strikes.

    Attributes:
        waiting: Everything that may be waiting, in the order it entered.
        at: When the timer strikes next; ``inf`` while there is none.
    """

    __slots__ = ("_loop", "_timer", "at", "waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self.waiting: dict[Waiting, None] = {}
        self.at = inf

    def expect(self, due: float) -> None:
        """Look no later than this."""
        if due < self.at:
            self.close()
            self.at = due
            self._timer = self._loop.call_at(due, self._strike)

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.at = inf

    def _strike(self) -> None:
        self._timer = None
        self.at = inf
        now = self._loop.time()
        for late in [waiting for waiting in self.waiting if waiting.due <= now]:
            late.overdue()
        earliest = min((waiting.due for waiting in self.waiting), default=inf)
        self.expect(max(earliest, now + GRAIN_S) if earliest < inf else inf)
