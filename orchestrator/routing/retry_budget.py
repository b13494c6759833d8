"""How many retries all requests together may make, so that an outage is not met by a storm."""

from __future__ import annotations

from orchestrator.core.errors import InvalidRequestError

__all__ = ["RetryBudget"]


class RetryBudget:
    """Every request pays in a part of a retry; a retry takes out a whole one.

    Time pays in as well, but only up to the floor, so that the first requests, and those of a
    quiet service, may be retried too. The first ``n`` requests, made within ``t`` seconds, are
    granted at most ``share * n + floor * (1 + t / floor_s)`` retries.

    Args:
        share: Retries per request.
        floor: Retries that are there at the start and whenever it has been quiet.
        floor_s: Seconds in which time alone pays in the whole floor.
        most: Retries that can be saved up.
    """

    __slots__ = ("_floor", "_floor_per_s", "_most", "_paid_until", "_saved", "_share")

    def __init__(
        self, *, share: float = 0.2, floor: float = 10.0, floor_s: float = 10.0, most: float = 100.0
    ) -> None:
        for name, value in {"share": share, "floor": floor, "most": most}.items():
            if not value >= 0:
                raise InvalidRequestError(f"{name} must be at least 0, not {value!r}", param=name)
        if not floor_s > 0:
            raise InvalidRequestError(f"floor_s must be above 0, not {floor_s!r}", param="floor_s")
        self._share = share
        self._floor = floor
        self._floor_per_s = floor / floor_s
        self._most = max(floor, most)
        self._saved = floor
        self._paid_until = 0.0

    def deposit(self) -> None:
        """Pay in for a request that starts."""
        saved = self._saved + self._share
        self._saved = saved if saved < self._most else self._most

    def withdraw(self, now: float) -> bool:
        """Take out one retry, or say that there is none."""
        paid = (now - self._paid_until) * self._floor_per_s
        self._paid_until = now
        self._saved = max(self._saved, min(self._floor, self._saved + paid))
        if self._saved < 1 - 1e-9:  # ten tenths are a little less than one
            return False
        self._saved -= 1
        return True
