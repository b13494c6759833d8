"""A cap on spending per UTC day, held by reserving before and settling after."""

from __future__ import annotations

from orchestrator.core.errors import ConfigurationError

__all__ = ["DailyBudget"]

_DAY_S = 86_400


class DailyBudget:
    """US dollars that may be spent in one UTC day.

    What is reserved counts as spent until it is settled, so that concurrent requests cannot pass
    the cap together. A call may cost more than was reserved for it (a provider may count tokens
    otherwise than we do); the cap is then passed by that much, and nothing more is let through.

    Args:
        limit_usd: The cap.
        wall: Now, in seconds since 1970.
    """

    __slots__ = ("_day", "limit_usd", "reserved_usd", "spent_usd")

    def __init__(self, limit_usd: float, wall: float) -> None:
        if not 0 <= limit_usd < float("inf"):
            raise ConfigurationError(f"a budget must be at least 0 USD, not {limit_usd!r}")
        self.limit_usd = limit_usd
        self.spent_usd = 0.0
        self.reserved_usd = 0.0
        self._day = wall // _DAY_S

    def left(self, wall: float) -> float:
        """Return what may still be reserved."""
        return max(self.limit_usd - self.spent(wall) - self.reserved_usd, 0.0)

    def spent(self, wall: float) -> float:
        """Return what the present day has cost."""
        if wall // _DAY_S > self._day:
            self._day, self.spent_usd = wall // _DAY_S, 0.0
        return self.spent_usd

    def ends_in_s(self, wall: float) -> float:
        """Return how long the present day still lasts."""
        return (wall // _DAY_S + 1) * _DAY_S - wall

    def reserve(self, usd: float) -> None:
        """Set aside what a call may cost."""
        self.reserved_usd += usd

    def settle(self, reserved_usd: float, spent_usd: float, wall: float) -> None:
        """Replace what was set aside by what it did cost, on the day on which that is known."""
        self.reserved_usd = max(self.reserved_usd - reserved_usd, 0.0)
        self.spent_usd = self.spent(wall) + spent_usd
