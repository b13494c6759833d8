"""Selectors at play on Bernoulli arms."""

from __future__ import annotations

import numpy as np

from orchestrator.core.estimates import Estimates, FloatArray
from orchestrator.core.selector import Selector
from orchestrator.core.statistics import COLUMNS, Column
from orchestrator.core.views import Evidence
from tests.selectors.arms import candidates


def played(
    selector: Selector, means: tuple[float, ...], horizon: int, runs: int, *, tied: str = "random"
) -> FloatArray:
    """Let the selector play so many runs at once, and return each one's regret.

    Args:
        selector: Who plays, its floor included.
        means: Of Bernoulli rewards.
        horizon: Rounds.
        runs: Runs.
        tied: What breaks ties: chance, or the order of the arms, which is another in each run.
    """
    rng = np.random.default_rng(11)
    truth = rng.permuted(np.tile(means, (runs, 1)), axis=1)
    sums = np.zeros((len(COLUMNS), runs, len(means)))
    regret, row = np.zeros(runs), np.arange(runs)
    arms = candidates((runs, len(means)))
    for _ in range(horizon):
        evidence = Evidence(Estimates.of(sums, rates_quality=False))
        scores = selector.scores(evidence, arms, rng)
        if tied == "random":
            best = scores == scores.max(axis=-1, keepdims=True)
            pulled = (best * rng.random(scores.shape)).argmax(axis=-1)
        else:
            pulled = scores.argmax(axis=-1)
        explores = rng.random(runs) < selector.floor
        pulled = np.where(explores, rng.integers(0, len(means), runs), pulled)
        p = truth[row, pulled]
        for column in (Column.OPENED, Column.CLOSED, Column.CALLS):
            sums[column, row, pulled] += 1
        sums[Column.OK, row, pulled] += rng.random(runs) < p
        regret += max(means) - p
    return regret
