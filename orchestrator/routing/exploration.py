"""What exploring has cost today, and when it has cost enough."""

from __future__ import annotations

from math import isnan
from typing import Final, NamedTuple

from orchestrator.core.errors import ConfigurationError
from orchestrator.core.estimates import FloatArray
from orchestrator.core.selector import Candidates, Selector
from orchestrator.core.views import Evidence

__all__ = ["ExplorationLedger", "Explored", "believed", "explores", "utility"]

_DAY_S: Final = 86_400


class Explored(NamedTuple):
    """What a UTC day's decisions were expected to bring beyond those of the greedy rule.

    Attributes:
        decisions: Those that were other than greedy.
        cost_usd: Sum of the chosen model's expected cost less the greedy one's, in USD; below 0
            where cheaper models were tried.
        quality: Sum of the chosen model's posterior mean less the greedy one's, in points of
            quality; mostly below 0.
    """

    decisions: int = 0
    cost_usd: float = 0.0
    quality: float = 0.0


class ExplorationLedger:
    """Adds up what exploration costs per UTC day, and says when its cap is reached.

    The greedy model is the eligible one with the largest posterior mean less its penalty. Costs
    are what was expected when it was decided, since nobody knows what the other would have cost.

    Args:
        limit_usd: What exploring may cost per day; inf only keeps the ledger.
        wall: Now, in seconds since 1970.

    Raises:
        ConfigurationError: The limit is below 0.
    """

    __slots__ = ("_day", "_today", "limit_usd")

    def __init__(self, limit_usd: float, wall: float) -> None:
        if not limit_usd >= 0:
            raise ConfigurationError(f"a cap on exploration is at least 0 USD, not {limit_usd!r}")
        self.limit_usd = limit_usd
        self._today = Explored()
        self._day = wall // _DAY_S

    def today(self, wall: float) -> Explored:
        """Return the sums of the present day."""
        if wall // _DAY_S > self._day:
            self._day, self._today = wall // _DAY_S, Explored()
        return self._today

    def exhausted(self, wall: float) -> bool:
        """Whether decisions are to be greedy until the day ends."""
        return self.today(wall).cost_usd >= self.limit_usd

    def add(self, arm: int, mean: FloatArray, candidates: Candidates, wall: float) -> None:
        """Count a decision.

        Args:
            arm: The chosen one.
            mean: What is `believed` of each, shape ``(n_arms,)``.
            candidates: What it was chosen from; a cost that is not known makes no difference.
            wall: Now, in seconds since 1970.
        """
        greedy = int((mean - candidates.penalty).argmax())
        if arm == greedy:
            return
        usd = candidates.cost_usd.item(arm) - candidates.cost_usd.item(greedy)
        decisions, cost_usd, quality = self.today(wall)
        self._today = Explored(
            decisions + 1,
            cost_usd + (0.0 if isnan(usd) else usd),
            quality + mean.item(arm) - mean.item(greedy),
        )


def believed(evidence: Evidence, candidates: Candidates) -> FloatArray:
    """Return each arm's posterior mean for one request, as its selector's memory has it.

    Returns:
        Shape ``(*lead, n_arms)``, in [0, 1] but for regressions, which may leave it.
    """
    if evidence.extra is not None:
        return evidence.extra.predict(candidates.features)[0]
    return (evidence.pooled or evidence.total).mean


def utility(evidence: Evidence, candidates: Candidates) -> FloatArray:
    """Return what a greedy decision maximises: posterior mean - penalty; as `believed`."""
    return believed(evidence, candidates) - candidates.penalty


def explores(selector: Selector) -> bool:
    """Whether a selector ever takes another model than the one it believes to be the best.

    Rules such as priority or the lowest cost do not: they have neither a floor, nor do they
    sample, nor add optimism.
    """
    optimism = getattr(selector, "exploration_factor", 0.0) or getattr(selector, "exploration", 0.0)
    return bool(selector.floor or optimism or hasattr(selector, "odds"))
