"""Requests per minute, spread evenly but for a small burst."""

from __future__ import annotations

from math import inf
from typing import Final

from orchestrator.core.errors import InvalidRequestError

__all__ = ["RateLimit"]

# A timer that fires a rounding error early must find its request conforming, or it would be set
# again for the same instant for ever.
_TICK_S: Final = 1e-6


class RateLimit:
    """The generic cell rate algorithm: one number, no counters to expire.

    Requests are ``60 / per_minute`` seconds apart, of which a rested limit forgives `burst` at
    once. No minute sees more than ``per_minute + burst`` of them.

    Args:
        per_minute: Sustained requests per minute, at least 1.
        burst: Requests that may come at once; by default a tenth of a minute's, at least 1.
            Providers count over shorter times than they write, so a whole minute's requests at
            once would be refused.

    Source:
        ITU-T I.371 (2004), annex A, generic cell rate algorithm.
    """

    __slots__ = ("_free_at", "_interval_s", "_slack_s")

    def __init__(self, per_minute: int, burst: int | None = None) -> None:
        if burst is None:
            burst = max(1, per_minute // 10)
        for name, value in {"per_minute": per_minute, "burst": burst}.items():
            if isinstance(value, bool) or not value >= 1:
                raise InvalidRequestError(f"{name} must be at least 1, not {value!r}", param=name)
        self._interval_s = 60.0 / per_minute
        self._slack_s = (burst - 1) * self._interval_s
        self._free_at = -inf

    def wait_s(self, now: float, ahead: int = 0) -> float:
        """Return the seconds until a request conforms, 0 if one does now.

        Args:
            now: Monotonic seconds.
            ahead: Requests that are to be counted before it.
        """
        free_at = self._free_at
        if ahead:
            free_at = max(free_at, now - self._slack_s) + ahead * self._interval_s
        return free_at - now if free_at - now > _TICK_S else 0.0

    def take(self, now: float) -> bool:
        """Count a request if it conforms, and say whether it does."""
        if self._free_at - now > _TICK_S:
            return False
        self._free_at = max(self._free_at, now - self._slack_s) + self._interval_s
        return True
