"""The running event loop's time, as the engine's clock."""

from __future__ import annotations

import asyncio
from typing import Final

__all__ = ["LoopClock"]

_NOON: Final = 1_750_000_000 // 86_400 * 86_400 + 43_200.0


class LoopClock:
    """Implements `orchestrator.core.clock.Clock` inside an event loop, simulated or not.

    Args:
        wall_at_zero: Seconds since 1970 when the loop's time is 0; by default noon of a day in
            June 2025, so that a test of some hours stays within one day.
    """

    def __init__(self, wall_at_zero: float = _NOON) -> None:
        self._wall_at_zero = wall_at_zero

    def monotonic(self) -> float:
        """Seconds of the loop's own time."""
        return asyncio.get_running_loop().time()

    def wall(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        return self._wall_at_zero + asyncio.get_running_loop().time()
