"""A selector on an outcome table with so much to spend and no more: quality under a budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

import numpy as np

from orchestrator.analysis.online import OnlineRuns, baselines, with_tasks_of
from orchestrator.analysis.simulation import simulate
from orchestrator.analysis.table_replay import TableEpisode, TableReplay
from orchestrator.analysis.tables import OutcomeTable
from orchestrator.analysis.tally import IntArray
from orchestrator.core.errors import InvalidRequestError
from orchestrator.core.estimates import FloatArray
from orchestrator.core.objective import default_cost_weight
from orchestrator.core.selector import Candidates, Selector

__all__ = ["PacedRuns", "Pacer", "play_paced"]


class Pacer(Protocol):
    """Holds spending to a budget, as `orchestrator.routing.pacer.BudgetPacer` does."""

    def multiplier(self, wall: float) -> float:
        """Return what a USD costs now, in points of quality."""
        ...

    def spend(self, usd: float, wall: float) -> None:
        """Count what a call has cost."""
        ...


_MakePacer: TypeAlias = Callable[[float, float, float], Pacer]


@dataclass(frozen=True, slots=True, eq=False)
class PacedRuns:
    """What was reached with a budget.

    Attributes:
        runs: Who was pulled, with a cost weight of 0 beside the pacer's.
        quality: Mean quality of each run, shape ``(seeds,)``.
        spend_over_budget: What each run spent, as a share of its budget, shape ``(seeds,)``.
    """

    runs: OnlineRuns
    quality: FloatArray
    spend_over_budget: FloatArray


def play_paced(
    selector: Selector,
    table: OutcomeTable,
    share: float,
    pacer: _MakePacer,
    *,
    prior: OutcomeTable | None = None,
    seeds: int = 5,
    seed: int = 0,
    on_round: Callable[[int], object] = lambda rounds: None,
) -> PacedRuns:
    """Play a selector over all prompts of a table with a budget for the whole of them.

    A prompt comes every second, and the budget's period ends with the last.

    Args:
        selector: Chooses.
        table: Prompts to come.
        share: The budget, as a share of what the best single model would cost.
        pacer: Makes the pacer of a run of a budget in USD, a multiplier to begin with, and the
            seconds of its period.
        prior, seeds, seed, on_round: As for `orchestrator.analysis.online.play_online`.

    Raises:
        InvalidRequestError: The share is not above 0, the best model is free, or as `play_online`.
        ConfigurationError: The selector cannot be simulated.
    """
    best_usd = baselines(table).best_cost_usd * len(table)
    if not 0 < share < float("inf"):
        raise InvalidRequestError(f"a budget must be above 0, not {share!r}", param="budget")
    if not best_usd:
        raise InvalidRequestError("the best model is free: no budget binds", param="budget")
    start = default_cost_weight(table.cost_usd.mean(axis=0))
    environment = _PacedReplay(
        table, prior, lambda: pacer(share * best_usd, start, float(len(table)))
    )
    trace = simulate(
        *(selector, environment), horizon=len(table), runs=seeds, seed=seed, on_round=on_round
    )
    assert isinstance(trace.episode, TableEpisode)
    quality, cost_usd = trace.episode.outcomes(trace.arms)
    runs = OnlineRuns(table, (0.0,), trace.episode.prompts[:, None], trace.arms[:, None])
    return PacedRuns(runs, quality, cost_usd * len(table) / (share * best_usd))


class _PacedReplay(TableReplay):
    def __init__(
        self, table: OutcomeTable, prior: OutcomeTable | None, pacer: Callable[[], Pacer]
    ) -> None:
        super().__init__(with_tasks_of(table, prior), prior=prior)
        self._pacer: Final = pacer

    def episode(self, horizon: int, runs: int, rng: np.random.Generator) -> TableEpisode:
        return _PacedEpisode(self, runs, rng, [self._pacer() for _ in range(runs)])


class _PacedEpisode(TableEpisode):
    def __init__(
        self, environment: TableReplay, runs: int, rng: np.random.Generator, pacers: list[Pacer]
    ) -> None:
        super().__init__(environment, runs, rng)
        self._pacers = pacers

    def candidates(self, t: int) -> Candidates:
        known = super().candidates(t)
        price = np.array([[pacer.multiplier(t)] for pacer in self._pacers])
        return known._replace(penalty=price * np.nan_to_num(known.cost_usd))

    def reveal(self, t: int, arms: IntArray) -> FloatArray:
        paid = self._table.cost_usd[self.prompts[t], arms]
        for pacer, usd in zip(self._pacers, paid.tolist(), strict=True):
            pacer.spend(usd, t)
        return super().reveal(t, arms)
