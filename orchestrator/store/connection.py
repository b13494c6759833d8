"""A connection to SQLite that can be left while it hangs."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import aiosqlite

__all__ = ["Connection"]


class Connection(aiosqlite.Connection):
    """A connection of aiosqlite that ends once, however often and in whatever way it is asked to.

    SQLAlchemy closes a connection whose use was cancelled, and then stops it as well. Theirs waits
    after that for a thread that has ended: a program whose store hangs would never exit.

    Args:
        path: The file.
        patience_s: How long to wait while another program holds it.
    """

    def __init__(self, path: Path, patience_s: float) -> None:
        def connect() -> sqlite3.Connection:
            return sqlite3.connect(path, timeout=patience_s, check_same_thread=False)

        super().__init__(connect, iter_chunk_size=64)
        self._thread.daemon = True
        self._ended: asyncio.Future[object] | None = None

    def stop(self) -> asyncio.Future[object] | None:
        """Close it behind what it is doing, and end its thread."""
        if self._ended is None:
            self._ended = super().stop()
        return self._ended

    async def close(self) -> None:
        """Close it behind what it is doing, and wait for that."""
        ended = self.stop()
        if ended is not None:
            await ended
