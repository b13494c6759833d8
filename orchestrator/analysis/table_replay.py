"""An environment made of an outcome table: real prompts, real answers, real costs."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from orchestrator.analysis.environments import Seen, alike
from orchestrator.analysis.tables import OutcomeTable
from orchestrator.analysis.tally import IntArray
from orchestrator.core.errors import InvalidRequestError
from orchestrator.core.estimates import FloatArray
from orchestrator.core.selector import Candidates

__all__ = ["TableEpisode", "TableReplay"]

_KAPPA: Final = 8.0
"""Calls that an arm's mean cost over all tasks counts for in each task."""


class TableReplay:
    """The prompts of a table, in a random order in every run; only the pulled arm answers.

    A prompt's task is its segment. utility = quality - cost_weight x cost / mean cost of the
    dearest arm, and quality alone where all are free; what a call will cost is learned from those
    that were seen.

    Args:
        table: Prompts to come.
        cost_weight: Points of quality that a mean call of the dearest arm costs; one number, or
            one per run.
        delay: Rounds after which an outcome is seen.
        prior: Prompts whose outcomes every run has seen before, of every arm; or None.
        prior_weight: What each of those counts for.

    Raises:
        InvalidRequestError: The prior is of other models, or a number is out of range.
    """

    shifts: Final = ()

    def __init__(
        self,
        table: OutcomeTable,
        *,
        cost_weight: float | npt.ArrayLike = 0.0,
        delay: int = 0,
        prior: OutcomeTable | None = None,
        prior_weight: float = 1.0,
    ) -> None:
        self.cost_weight: FloatArray = np.atleast_1d(np.asarray(cost_weight, dtype=np.float64))
        if self.cost_weight.ndim != 1 or not np.all(self.cost_weight >= 0):
            raise InvalidRequestError("cost weights are numbers of at least 0", param="cost_weight")
        if delay < 0:
            raise InvalidRequestError(f"a delay is at least 0, not {delay}", param="delay")
        self.table: Final = table
        self.arms: Final = table.models
        self.n_segments: Final = len(table.tasks)
        self.delay: Final = delay
        self.seen: Final = None if prior is None else _seen(prior, table, prior_weight)

    def episode(self, horizon: int, runs: int, rng: np.random.Generator) -> TableEpisode:
        """Shuffle the prompts for every run.

        Raises:
            InvalidRequestError: There are fewer prompts than rounds, or more cost weights than
                one and other than runs.
        """
        if horizon > len(self.table):
            raise InvalidRequestError(
                f"{horizon} rounds are more than the table's {len(self.table)} prompts",
                param="horizon",
            )
        if len(self.cost_weight) not in (1, runs):
            raise InvalidRequestError(
                f"{len(self.cost_weight)} cost weights do not fit {runs} runs", param="cost_weight"
            )
        return TableEpisode(self, runs, rng)


class TableEpisode:
    """See `orchestrator.analysis.environments.Episode`.

    Attributes:
        prompts: Position of each round's prompt in the table, shape ``(n_prompts, runs)``.
    """

    def __init__(self, environment: TableReplay, runs: int, rng: np.random.Generator) -> None:
        table = self._table = environment.table
        ordered = np.broadcast_to(np.arange(len(table)), (runs, len(table)))
        self.prompts: IntArray = rng.permuted(ordered, axis=1).T.copy()
        dearest = table.cost_usd.mean(axis=0).max()
        self._weight = environment.cost_weight / (dearest or np.inf)
        self._candidates = alike(len(table.models))
        self._costs = _Costs(runs, environment.n_segments, len(table.models), environment.seen)

    def candidates(self, t: int) -> Candidates:
        cost_usd = self._costs.expected(self._table.task[self.prompts[t]])
        features = self._table.features
        return self._candidates._replace(
            cost_usd=cost_usd,
            penalty=self._weight[:, None] * np.nan_to_num(cost_usd),
            features=None if features is None else features[self.prompts[t]],
        )

    def segments(self, t: int) -> IntArray | None:
        return np.asarray(self._table.task[self.prompts[t]])

    def reveal(self, t: int, arms: IntArray) -> FloatArray:
        prompts = self.prompts[t]
        self._costs.add(self._table.task[prompts], arms, self._table.cost_usd[prompts, arms])
        return np.asarray(self._table.quality[prompts, arms])

    def gaps(self, first: int, arms: IntArray) -> FloatArray:
        """Return what pulls fall short of their task's best arm, both by their mean utility."""
        table, tasks = self._table, len(self._table.tasks)
        n = np.maximum(np.bincount(table.task, minlength=tasks), 1)[:, None]
        quality, cost_usd = (
            _sums(values, table.task, tasks) / n for values in (table.quality, table.cost_usd)
        )
        best = (quality - self._weight[:, None, None] * cost_usd).max(axis=-1)
        task = table.task[self.prompts[first : first + len(arms)]]
        lanes = np.arange(len(best)) if len(best) == arms.shape[1] else 0
        pulled = quality[task, arms] - self._weight * cost_usd[task, arms]
        return np.asarray(best[lanes, task] - pulled)

    def outcomes(self, arms: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return mean quality and mean cost in USD of each run's pulls, shape ``(runs,)`` both.

        Args:
            arms: The pulls from the first round on, shape ``(rounds, runs)``.
        """
        prompts = self.prompts[: len(arms)]
        quality, cost_usd = (
            values[prompts, arms].mean(axis=0)
            for values in (self._table.quality, self._table.cost_usd)
        )
        return quality, cost_usd


class _Costs:
    """What calls have cost, by run, task and arm."""

    def __init__(self, runs: int, tasks: int, n_arms: int, seen: Seen | None) -> None:
        self._lanes = np.arange(runs)
        self._n, self._usd = np.zeros((2, runs, tasks, n_arms))
        if seen is not None:
            self._n += seen.n
            self._usd += seen.cost_usd
        self._whole_n, self._whole_usd = self._n.sum(axis=1), self._usd.sum(axis=1)

    def add(self, tasks: IntArray, arms: IntArray, usd: FloatArray) -> None:
        self._n[self._lanes, tasks, arms] += 1.0
        self._usd[self._lanes, tasks, arms] += usd
        self._whole_n[self._lanes, arms] += 1.0
        self._whole_usd[self._lanes, arms] += usd

    def expected(self, tasks: IntArray) -> FloatArray:
        """Return each arm's mean in a task, shrunk to its mean over all; nan where unknown."""
        known = self._whole_n > 0
        mean = np.where(known, self._whole_usd / np.where(known, self._whole_n, 1.0), np.nan)
        n, usd = self._n[self._lanes, tasks], self._usd[self._lanes, tasks]
        return np.asarray((usd + _KAPPA * mean) / (n + _KAPPA))


def _seen(prior: OutcomeTable, table: OutcomeTable, weight: float) -> Seen:
    if prior.models != table.models:
        raise InvalidRequestError("the prior is not of the same models", param="prior")
    if not weight >= 0:
        raise InvalidRequestError("a weight is at least 0", param="prior_weight")
    known = np.isin(prior.tasks, table.tasks)[prior.task]
    prior = prior.take(np.flatnonzero(known))
    places = {task: n for n, task in enumerate(table.tasks)}
    task = np.array([places[prior.tasks[n]] for n in prior.task], dtype=np.intp)

    def sums(values: FloatArray) -> FloatArray:
        return weight * _sums(values, task, len(table.tasks))

    return Seen(
        sums(np.ones_like(prior.quality)),
        sums(prior.quality),
        sums(prior.quality**2),
        sums(prior.cost_usd),
    )


def _sums(values: FloatArray, task: IntArray, tasks: int) -> FloatArray:
    """Add up values of shape ``(n_prompts, n_models)`` by task."""
    found = np.zeros((tasks, values.shape[1]))
    np.add.at(found, task, values)
    return found
