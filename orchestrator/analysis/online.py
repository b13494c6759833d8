"""A selector at work on an outcome table: many cost weights and seeds at once, learning included.

Every run meets every prompt once, in an order of its own, and sees the outcome of the arm that it
pulled and of no other. One cost weight is one point of quality against cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from orchestrator.analysis.simulation import simulate
from orchestrator.analysis.table_replay import TableEpisode, TableReplay
from orchestrator.analysis.tables import OutcomeTable
from orchestrator.analysis.tally import IntArray
from orchestrator.core.estimates import FloatArray
from orchestrator.core.selector import Selector

__all__ = [
    "COST_WEIGHTS",
    "Baselines",
    "OnlineRuns",
    "baselines",
    "play_online",
    "singles",
    "with_tasks_of",
]

COST_WEIGHTS: Final = (0.0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.8, 1.2, 2.0)
"""Points of quality that a mean call of the dearest arm costs: from nothing to more than all."""


@dataclass(frozen=True, slots=True, eq=False)
class OnlineRuns:
    """What was pulled, by cost weight and seed.

    Attributes:
        table: The prompts.
        weights: The cost weights.
        prompts: Position of each round's prompt, shape ``(n_prompts, n_weights, seeds)``.
        arms: Who was pulled for it, as prompts.
    """

    table: OutcomeTable
    weights: tuple[float, ...]
    prompts: IntArray
    arms: IntArray

    def points(self) -> FloatArray:
        """Return mean cost in USD and mean quality of each run, ``(n_weights, seeds, 2)``."""
        where = self.prompts, self.arms
        means = [values[where].mean(axis=0) for values in (self.table.cost_usd, self.table.quality)]
        return np.stack(means, axis=-1)

    def choices(self) -> Iterator[tuple[float, int, str, str]]:
        """Iterate over weight, seed (from 0), prompt and model, in the order of each run."""
        names, models = self.table.prompt_ids, self.table.models
        for n, weight in enumerate(self.weights):
            for seed in range(self.arms.shape[2]):
                pulls = zip(self.prompts[:, n, seed], self.arms[:, n, seed], strict=True)
                yield from ((weight, seed, names[prompt], models[arm]) for prompt, arm in pulls)


@dataclass(frozen=True, slots=True)
class Baselines:
    """What choosing without learning would give on a table, as mean quality.

    Attributes:
        oracle: Of the best model for each prompt, known beforehand.
        best_single: Of the one model that is best on the whole, the cheaper one of equals.
        best_model: Its name.
        best_cost_usd: Its mean cost.
        random: Of any model.
    """

    oracle: float
    best_single: float
    best_model: str
    best_cost_usd: float
    random: float


def play_online(
    selector: Selector,
    table: OutcomeTable,
    *,
    prior: OutcomeTable | None = None,
    weights: Sequence[float] = COST_WEIGHTS,
    seeds: int = 5,
    seed: int = 0,
    on_round: Callable[[int], object] = lambda rounds: None,
) -> OnlineRuns:
    """Play a selector over all prompts of a table, so many seeds for each cost weight.

    Args:
        selector: Chooses, its floor included.
        table: Prompts to come.
        prior: Prompts whose outcomes every run has seen before, of every model; or None.
        weights: Cost weights, at least one.
        seeds: Runs of each, at least 1.
        seed: The same seed, the same runs.
        on_round: Told after every prompt how many are done.

    Raises:
        InvalidRequestError: The prior is of other models, or there is nothing to play.
        ConfigurationError: The selector cannot be simulated.
    """
    weighed = np.repeat(weights, seeds)
    environment = TableReplay(with_tasks_of(table, prior), cost_weight=weighed, prior=prior)
    trace = simulate(
        *(selector, environment),
        horizon=len(table),
        runs=len(weights) * seeds,
        seed=seed,
        on_round=on_round,
    )
    assert isinstance(trace.episode, TableEpisode)
    shape = (len(table), len(weights), seeds)
    prompts, arms = trace.episode.prompts.reshape(shape), trace.arms.reshape(shape)
    return OnlineRuns(table, tuple(weights), prompts, arms)


def with_tasks_of(table: OutcomeTable, prior: OutcomeTable | None) -> OutcomeTable:
    """Return a table that also has a prior's tasks, so that what these told of models counts."""
    if prior is None:
        return table
    tasks = sorted({*table.tasks, *prior.tasks})
    places = np.array([tasks.index(task) for task in table.tasks], dtype=np.intp)
    return replace(table, tasks=tuple(tasks), task=places[table.task])


def singles(table: OutcomeTable) -> FloatArray:
    """Return mean cost in USD and mean quality of each model, shape ``(n_models, 2)``."""
    return np.column_stack([table.cost_usd.mean(axis=0), table.quality.mean(axis=0)])


def baselines(table: OutcomeTable) -> Baselines:
    """Return what needs no learning."""
    cost_usd, quality = singles(table).T
    best = np.lexsort((cost_usd, -quality))[0]
    return Baselines(
        oracle=float(table.quality.max(axis=1).mean()),
        best_single=float(quality[best]),
        best_model=table.models[best],
        best_cost_usd=float(cost_usd[best]),
        random=float(quality.mean()),
    )
