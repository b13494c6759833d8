"""A pace of spending: a price on cost that rises while money goes too fast."""

from __future__ import annotations

from math import exp, log
from typing import Final

from orchestrator.core.errors import ConfigurationError

__all__ = ["BudgetPacer"]

_DAY_S: Final = 86_400.0
_RANGE: Final = log(1e3)
"""How far the price may lie from where it starts, either way. Wide enough for the costs of one
pool, and not so wide that a quiet night takes long to unlearn."""
_NOTHING: Final = exp(-_RANGE)


class BudgetPacer:
    """Holds spending to so many US dollars per period, by a multiplier on cost.

    The multiplier is added to the objective's cost weight. It is the dual variable of the budget:
    each dollar spent raises its logarithm, each moment lowers it by what may be spent in it, which
    is what is left of the budget over what is left of the period. So it settles where spending is
    even, whatever the prices and the traffic, and what a rush has spent is saved on later. A
    budget that does not bind costs nothing: the multiplier sinks to 0.

    It steers and refuses nobody: a hard cap is `DailyBudget`'s business.

    Args:
        budget_usd: What a period may cost.
        wall: Now, in seconds since 1970. Of the period that is under way, the share that has
            passed counts as spent.
        start: The multiplier to begin with, in points of quality per USD; it can rise and fall a
            thousandfold. A fifth of a point per mean call of the dearest model is a good one.
        period_s: Periods follow each other from 1970 on, so that a day is a UTC day.
        haste: Share of the budget that, spent at once, raises the multiplier e-fold. The smaller,
            the closer it keeps to the plan and the more single calls shake it.

    Source:
        Balseiro, Lu & Mirrokni (2023), dual mirror descent, here with the negative entropy (so
        that steps are factors) and a target that is set anew from what is left.
    """

    __slots__ = ("_at", "_price", "budget_usd", "haste", "period_s", "spent_usd", "start")

    def __init__(
        self,
        budget_usd: float,
        wall: float,
        *,
        start: float,
        period_s: float = _DAY_S,
        haste: float = 0.02,
    ) -> None:
        self.budget_usd = budget_usd
        self.start = start
        self.period_s = period_s
        self.haste = haste
        for name in ("budget_usd", "start", "period_s", "haste"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise ConfigurationError(f"{name} of a pacer must be above 0, not {value!r}")
        self.spent_usd = budget_usd * (wall % period_s) / period_s
        self._price = 0.0  # logarithm of the multiplier over `start`
        self._at = wall

    def multiplier(self, wall: float) -> float:
        """Return what to add to the cost weight now, in points of quality per USD."""
        return self.start * (exp(self._price_at(wall)) - _NOTHING)

    def spend(self, usd: float, wall: float) -> None:
        """Count what a call has cost, when that is known."""
        self._price = min(self._price_at(wall) + usd / (self.budget_usd * self.haste), _RANGE)
        if wall // self.period_s > self._at // self.period_s:
            self.spent_usd = 0.0
        self.spent_usd += usd
        # Also where the clock was put back: what may be spent is set by what is left, so time
        # that passes twice gives no money twice.
        self._at = wall

    def _price_at(self, wall: float) -> float:
        if wall <= self._at:
            return self._price
        left = max(self.budget_usd - self.spent_usd, 0.0) / self.budget_usd
        ends = (self._at // self.period_s + 1) * self.period_s
        if wall < ends:
            allowed = left * (wall - self._at) / (ends - self._at)
        else:
            allowed = left + (wall - ends) / self.period_s
        return max(self._price - allowed / self.haste, -_RANGE)
