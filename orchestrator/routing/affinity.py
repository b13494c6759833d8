"""Which model a session stays with, and for how long."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

__all__ = ["AFFINITY", "Affinity"]

AFFINITY: Final = "affinity"
"""The selector that decisions name where a session stayed with its model."""


class Affinity:
    """Remembers who answered each session last.

    Local to this process and never merged: another process has caches of its own to keep warm.

    Args:
        limit: Sessions to remember; beyond that the one answered longest ago is forgotten.
    """

    def __init__(self, limit: int = 10_000) -> None:
        self._limit = limit
        self._sessions: OrderedDict[Hashable, tuple[str, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def answered(self, session: Hashable, key: str, now: float, lasts_s: float) -> None:
        """Let a session stay with the model that answered it, anew with each answer.

        Args:
            session: Whose request it was.
            key: The model.
            now: Monotonic seconds.
            lasts_s: Seconds from now; 0 lets it go.
        """
        self._sessions.pop(session, None)
        if not lasts_s > 0:
            return
        self._sessions[session] = (key, now + lasts_s)
        if len(self._sessions) > self._limit:
            self._sessions.popitem(last=False)

    def model(self, session: Hashable, now: float) -> str | None:
        """Return the model that a session stays with, or None."""
        key, until = self._sessions.get(session, (None, now))
        if now < until:
            return key
        self._sessions.pop(session, None)
        return None
