"""Time as a value that is handed in, so that pure code never asks for it."""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """Two readings of one time: one for intervals, one for dates."""

    def monotonic(self) -> float:
        """Seconds that never go back; the running event loop's own time."""
        ...

    def wall(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        ...


class SystemClock:
    """The machine's clocks."""

    # Bound directly: one attribute look-up per reading, no Python frame.
    monotonic = staticmethod(time.monotonic)
    wall = staticmethod(time.time)
