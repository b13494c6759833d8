"""What exploring costs is counted, and ends at its cap."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from orchestrator import Objective, Price, UCBModelSelector
from orchestrator.core.errors import ConfigurationError
from orchestrator.engine.orchestrator import Orchestrator
from orchestrator.selectors import PrioritySelector, ThompsonSelector
from orchestrator.selectors.uniform import RandomSelector
from tests.engine.world import engine, says, simulated

FREE = Objective(cost_weight=0.0, failure_weight=0.0)
SIZE: dict[str, Any] = {"prompt_tokens": 1000, "max_tokens": 0}


def pair(selector: Any = None, **options: Any) -> Orchestrator:
    """Return an engine of a good cheap model and a bad one that costs a cent more per request."""
    return engine(
        says("good", quality=0.75, price=Price.per_1k(0.01, 0)),
        says("bad", quality=0.25, price=Price.per_1k(0.02, 0)),
        selector=selector or RandomSelector(),
        objective=FREE,
        **options,
    )


@simulated
async def test_the_ledger_says_what_exploring_has_cost_today():
    async with pair(exploration_usd_per_day=math.inf) as orchestrator:
        keys = [(await orchestrator.select_model(**SIZE)).key for _ in range(40)]

        explored = orchestrator.explored_today
        assert explored is not None
        tried = keys.count("p:bad")
        assert 0 < tried == explored.decisions < 40
        assert explored.cost_usd == pytest.approx(0.01 * tried)
        assert explored.quality == pytest.approx(-0.5 * tried)

        await asyncio.sleep(86_400 - orchestrator._clock.wall() % 86_400)
        assert orchestrator.explored_today == (0, 0.0, 0.0)


@simulated
async def test_at_the_cap_decisions_are_greedy_and_say_so_until_midnight():
    async with pair(exploration_usd_per_day=0.05) as orchestrator:
        decisions = [(await orchestrator.select_model(**SIZE)).decision for _ in range(100)]
        tried = [n for n, decision in enumerate(decisions) if decision.key == "p:bad"]

        assert len(tried) == 5
        for decision in decisions[: tried[-1] + 1]:
            assert (decision.floor, decision.propensity) == (1.0, 0.5)
        for decision in decisions[tried[-1] + 1 :]:
            assert (decision.floor, decision.propensity, decision.greedy) == (0.0, 1.0, True)
            assert decision.scores == {"p:good": 0.75, "p:bad": 0.25}
            assert decision.selector == "random"
        explained = {row.key: row.score for row in orchestrator.explain("hi").models}
        assert explained == {"p:good": 0.75, "p:bad": 0.25}

        await asyncio.sleep(86_400 - orchestrator._clock.wall() % 86_400)
        assert {(await orchestrator.select_model(**SIZE)).key for _ in range(20)} == {
            *("p:good", "p:bad")
        }


@simulated
async def test_new_models_are_not_forced_and_draws_are_not_drawn_at_the_cap():
    for selector in (UCBModelSelector(min_trials=5), ThompsonSelector()):
        async with pair(selector, exploration_usd_per_day=0.0) as orchestrator:
            for _ in range(30):
                decision = (await orchestrator.select_model(**SIZE)).decision
                assert (decision.key, decision.propensity) == ("p:good", 1.0)


@simulated
async def test_greedy_weighs_cost_as_the_objective_does():
    dear = Objective(cost_weight=1000.0)
    models = (
        says("good", quality=0.75, price=Price.per_1k(0.01, 0)),
        says("bad", quality=0.25, price=Price.free()),
    )
    options: dict[str, Any] = {"exploration_usd_per_day": 0.0, "selector": RandomSelector()}
    async with engine(*models, objective=dear, **options) as orchestrator:
        assert (await orchestrator.select_model(**SIZE)).key == "p:bad"
        excluded = await orchestrator.select_model(exclude_models=["bad"], **SIZE)
        assert excluded.key == "p:good"


@simulated
async def test_rules_that_do_not_explore_are_left_alone():
    async with pair(PrioritySelector(), exploration_usd_per_day=0.0) as orchestrator:
        orchestrator.register_model(says("first", priority=9))
        decision = (await orchestrator.select_model()).decision

        assert (decision.key, decision.scores["p:first"]) == ("p:first", 9)
        assert orchestrator.explored_today == (0, 0.0, 0.0)


@simulated
async def test_without_a_cap_there_is_no_ledger():
    async with pair() as orchestrator:
        await orchestrator.select_model(**SIZE)
        assert orchestrator.explored_today is None


def test_a_cap_below_0_is_refused():
    with pytest.raises(ConfigurationError, match="at least 0 USD"):
        Orchestrator(exploration_usd_per_day=-1.0)
