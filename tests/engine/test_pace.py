"""Spending that keeps to a pace."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from orchestrator import Objective, Price, UCBModelSelector
from orchestrator.core.errors import ConfigurationError
from orchestrator.engine.orchestrator import Orchestrator
from tests.engine.world import engine, says, simulated

GREEDY = UCBModelSelector(0.0, min_trials=0, floor=0.0)


def pair(**options: Any) -> Orchestrator:
    """Return an engine that takes a dear good model as long as cost does not weigh too much."""
    return engine(
        says("good", quality=0.9, price=Price.per_1k(1, 1)),
        says("cheap", quality=0.6, price=Price.free()),
        selector=GREEDY,
        prior_weight=1000,  # nobody rates here, and success is not to count
        **{"objective": Objective(cost_weight=0.01, failure_weight=0.0), **options},
    )


async def asked(orchestrator: Orchestrator, every_s: float, times: int) -> tuple[float, int]:
    """Ask now and then; return what it has cost, and how often the good one answered."""
    cost, good = 0.0, 0
    for _ in range(times):
        result = await orchestrator.generate("hi", max_tokens=5)
        cost += result.cost_usd
        good += result.model == "p:good"
        await asyncio.sleep(every_s)
    return cost, good


@simulated
async def test_money_that_goes_too_fast_makes_cost_weigh_more():
    async with pair() as orchestrator:
        free, good = await asked(orchestrator, 60, 300)
        assert good == 300
    per_day = free / 300 * 1440  # a request a minute

    async with pair(pace_usd_per_day=per_day / 4) as orchestrator:
        before = orchestrator.cost_weight()
        paced, good = await asked(orchestrator, 60, 300)

        assert 0 < good < 300
        # A quarter, and what a pacer may be off by while it learns: a tenth of a day's money.
        assert paced <= 300 / 1440 * per_day / 4 + 0.1 * per_day / 4
        assert paced >= 0.5 * 300 / 1440 * per_day / 4
        assert before > 0.01


@simulated
async def test_a_pace_that_does_not_bind_comes_to_cost_nothing():
    async with pair(pace_usd_per_day=1e6) as orchestrator:
        await asked(orchestrator, 600, 60)

        assert orchestrator.cost_weight() == pytest.approx(0.01, abs=0.002)


@simulated
async def test_nobody_is_refused_however_fast_it_goes():
    async with pair(pace_usd_per_day=1e-6) as orchestrator:
        orchestrator.unregister_model("cheap")
        _, good = await asked(orchestrator, 0, 50)

    assert good == 50


@simulated
async def test_the_pace_starts_from_the_prices_of_the_pool():
    async with pair(pace_usd_per_day=10.0, objective=Objective()) as orchestrator:
        # Twice: the weight that the objective has by itself is the same fifth of a point.
        dearest = 750 / 1000 + 250 / 1000
        assert orchestrator.cost_weight() == pytest.approx(2 * 0.2 / dearest, rel=0.01)


@simulated
async def test_a_pool_that_costs_nothing_has_no_pace_to_keep():
    free = (says("a", price=Price.free()), says("b", price=Price.free()))
    async with engine(*free, pace_usd_per_day=1.0) as orchestrator:
        assert (await orchestrator.generate("hi")).text == "a"


@pytest.mark.parametrize("pace", [0.0, -1.0, float("inf")])
def test_a_pace_that_is_none_is_refused(pace: float):
    with pytest.raises(ConfigurationError, match="budget_usd of a pacer must be above 0"):
        Orchestrator(pace_usd_per_day=pace)
