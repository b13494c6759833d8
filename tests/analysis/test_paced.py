from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from orchestrator.analysis.generator import generate_table
from orchestrator.analysis.online import baselines, play_online
from orchestrator.analysis.paced import Pacer, play_paced
from orchestrator.core.errors import InvalidRequestError
from orchestrator.routing.pacer import BudgetPacer
from orchestrator.selectors import UCBModelSelector, make_selector

BEFORE, TABLE = generate_table(3, prompts=2400, models=4).halves(np.random.default_rng(1))


def pacer(usd: float, start: float, period_s: float) -> Pacer:
    return BudgetPacer(usd, 0.0, start=start, period_s=period_s)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_what_is_spent_is_the_budget(share: float):
    found = play_paced(make_selector("default"), TABLE, share, pacer, prior=BEFORE, seeds=3)

    # A fiftieth of the budget raises the price e-fold, and so the end is reached within a few.
    assert found.spend_over_budget == pytest.approx(np.ones(3), abs=0.06)


def test_more_money_buys_more_quality():
    selector = make_selector("default")
    small, large = (
        play_paced(selector, TABLE, share, pacer, prior=BEFORE).quality.mean()
        for share in (0.05, 0.5)
    )

    assert small + 0.05 < large


def test_a_budget_that_does_not_bind_changes_nothing_of_note():
    selector = make_selector("default")
    free = play_online(selector, TABLE, prior=BEFORE, weights=(0.0,)).points()[0, :, 1]

    found = play_paced(selector, TABLE, 50.0, pacer, prior=BEFORE)

    # Both are means of five runs of 1,200 prompts, whose own noise this is.
    assert found.quality.mean() == pytest.approx(free.mean(), abs=0.02)
    assert np.all(found.spend_over_budget < 0.1)


def test_spending_is_that_of_the_choices():
    found = play_paced(UCBModelSelector(), TABLE, 0.3, pacer, seeds=2)

    rows = {name: n for n, name in enumerate(TABLE.prompt_ids)}
    spent = sum(
        TABLE.cost_usd[rows[prompt], TABLE.models.index(model)]
        for _, seed, prompt, model in found.runs.choices()
        if seed == 1
    )
    budget = 0.3 * baselines(TABLE).best_cost_usd * len(TABLE)
    assert found.spend_over_budget[1] == pytest.approx(spent / budget)


@pytest.mark.parametrize("share", [0.0, -1.0, float("nan"), float("inf")])
def test_a_budget_that_is_none_is_refused(share: float):
    with pytest.raises(InvalidRequestError, match="a budget must be above 0"):
        play_paced(UCBModelSelector(), TABLE, share, pacer)


def test_where_the_best_model_is_free_there_is_no_budget():
    free = replace(TABLE, cost_usd=np.zeros_like(TABLE.cost_usd))

    with pytest.raises(InvalidRequestError, match="the best model is free"):
        play_paced(UCBModelSelector(), free, 0.5, pacer)
