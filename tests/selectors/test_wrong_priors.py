"""A prior that has it backwards is unlearned."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.analysis.choice import choose_each
from orchestrator.core.estimates import Estimates, FloatArray, Prior
from orchestrator.core.selector import Candidates, Selector
from orchestrator.core.statistics import COLUMNS, Column
from orchestrator.core.views import Evidence
from orchestrator.core.warm_start import DEFAULT_WEIGHT
from orchestrator.selectors import HierarchicalSelector, ThompsonSelector, UCBModelSelector

PULLS_PER_ARM = 500
RUNS = 100


def share_of_the_best(selector: Selector, means: FloatArray, prior: Prior | None) -> FloatArray:
    """Return in which share of runs each round pulled the best arm, on arms that win or lose."""
    n_arms, lanes = len(means), np.arange(RUNS)
    luck, draws, choices = (np.random.default_rng([1, stream]) for stream in range(3))
    sums = np.zeros((len(COLUMNS), RUNS, n_arms))
    nothing, every = np.zeros((1, n_arms)), np.ones((1, n_arms), dtype=np.bool_)
    candidates = Candidates(every, nothing, nothing, nothing, ~every, ~every, nothing)
    best = np.empty(PULLS_PER_ARM * n_arms)
    for t in range(len(best)):
        seen = Estimates.of(sums, prior=prior)
        scores = selector.scores(Evidence(seen, seen), candidates, draws)
        arms = choose_each(scores, every, selector.floor, choices)
        won = luck.random(RUNS) < means[arms]
        for column in (Column.CALLS, Column.OK, Column.N_QUALITY, Column.OPENED, Column.CLOSED):
            sums[column, lanes, arms] += 1
        for column in (Column.QUALITY, Column.QUALITY_SQ):
            sums[column, lanes, arms] += won
        best[t] = np.mean(arms == means.argmax())
    return best


@pytest.mark.parametrize(
    "selector", [UCBModelSelector(), HierarchicalSelector(), ThompsonSelector()]
)
@pytest.mark.parametrize("means", [[0.9, 0.6], [0.8, 0.7, 0.6, 0.5]], ids=len)
def test_within_500_pulls_per_arm_the_best_has_its_share_again(
    selector: Selector, means: list[float]
):
    n_arms = len(means)
    backwards = Prior(np.full(n_arms, DEFAULT_WEIGHT), np.array(means[::-1]))

    cold = share_of_the_best(selector, np.array(means), None)
    warm = share_of_the_best(selector, np.array(means), backwards)

    # After the first pulls, which are the same for every arm, it did mislead.
    early, late = slice(5 * n_arms, 20 * n_arms), slice(-100 * n_arms, None)
    assert warm[early].mean() < cold[early].mean() - 0.05
    assert warm.mean() == pytest.approx(cold.mean(), abs=0.05)
    assert warm[late].mean() == pytest.approx(cold[late].mean(), abs=0.05)
