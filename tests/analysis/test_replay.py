from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest

from orchestrator.analysis.decisions import Gathered
from orchestrator.analysis.generator import generate_table
from orchestrator.analysis.replay import decide_again
from orchestrator.core.errors import ConfigurationError, InvalidRequestError
from orchestrator.core.objective import Objective
from orchestrator.selectors import (
    CostBasedSelector,
    LinUCBSelector,
    RandomSelector,
    UCBModelSelector,
    make_selector,
)
from orchestrator.store import MemoryStore
from orchestrator.testing.scripted import Drawn, ScriptedModel
from tests.analysis.logged import START, entry, gathered, logged
from tests.engine.world import engine, simulated
from tests.store.history import read

TABLE = generate_table(2, prompts=3000, models=3, tasks=2, features=2)
ODDS = (0.5, 0.3, 0.2)
LOG = logged(TABLE, ODDS)
GREEDY = UCBModelSelector(exploration_factor=0.0, min_trials=0, floor=0.0)


@pytest.mark.parametrize("name", ["ucb-tuned", "d-ucb-tuned", "default", "thompson", "random"])
@simulated
async def test_the_selector_that_made_a_log_has_the_same_odds_again(name: str):
    models = [
        ScriptedModel(f"m{n}", Drawn(quality=n / 4, p_fail=0.1, latency_s=9.0, seed=n), "p")
        for n in range(1, 4)
    ]
    store, luck = MemoryStore(), Random(1)
    selector = make_selector(name, {"floor": 0.1} if name != "random" else {})
    async with engine(*models, store=store, selector=selector) as orchestrator:
        for _ in range(150):
            result = await orchestrator.generate("Why?", context={"task": luck.choice("abc")})
            if luck.random() < 0.8:
                await orchestrator.feedback(
                    result.decision_id, quality=float(result.text == "right")
                )
    found = Gathered()
    found.add(await read(store))
    log = found.log()

    target = decide_again(log, selector)

    assert len(log) > 150  # some failed and went elsewhere
    assert target[np.arange(len(log)), log.arm] == pytest.approx(log.numbers["propensity"])


def test_odds_are_a_distribution_over_what_could_be_chosen():
    log = gathered(
        *(entry(wall=START + n, eligible='["b:y","c:z"]', model="b:y") for n in range(20)),
        *(entry(wall=START + 30 + n) for n in range(20)),
    )

    target = decide_again(log, UCBModelSelector(floor=0.3))

    assert target.sum(axis=1) == pytest.approx(1.0)
    assert np.all((target > 0) == log.eligible_sets[log.eligible_set])


def test_only_what_was_known_by_then_counts():
    at_first = entry(wall=START, ended_wall=START + 50, rated_wall=START + 60, quality=0.0)
    before = entry(wall=START + 59)
    after = entry(wall=START + 61)
    others = [
        entry(wall=START + n, model="b:y", ended_wall=START + n, rated_wall=START + n, quality=0.4)
        for n in range(1, 4)
    ]

    target = decide_again(gathered(at_first, *others, before, after), GREEDY)

    assert target[-2].tolist() == [1.0, 0.0]  # an arm of which nothing is known is worth 0.5
    assert target[-1].tolist() == [0.0, 1.0]


def test_of_one_moment_each_decision_knows_of_those_before_it():
    at_once = {"wall": START, "ended_wall": START, "rated_wall": START, "quality": 0.0}

    target = decide_again(gathered(*(entry(**at_once) for _ in range(3))), GREEDY)

    assert target[:, 0].tolist() == [1.0, 0.0, 0.0]


def test_cost_is_weighed_as_the_objective_says():
    free, dear = Objective(cost_weight=0.0), Objective(cost_weight=1e6)

    for_quality, for_cost = (decide_again(LOG, GREEDY, o).mean(axis=0) for o in (free, dear))

    assert for_quality.argmax() == 2
    assert for_cost.argmax() == 0


def test_an_unsaid_cost_weight_is_that_of_serving():
    usd = np.array([TABLE.cost_usd[LOG.arm == arm, arm].mean() for arm in range(3)])
    weight = 0.2 / usd.max()

    unsaid, said = (decide_again(LOG, GREEDY, Objective(cost_weight=w)) for w in (None, weight))

    assert np.array_equal(unsaid, said)


def test_a_selector_reads_the_costs_and_features_of_the_log():
    assert decide_again(LOG, CostBasedSelector())[-100:].mean(axis=0)[0] > 0.9
    target = decide_again(LOG, LinUCBSelector(n_features=2), Objective(cost_weight=0.0))
    chosen = (target * TABLE.quality).sum(axis=1)[500:].mean()
    assert chosen > TABLE.quality[500:].mean(axis=0).max() - 0.02
    with pytest.raises(InvalidRequestError, match="learns from 5 features, not 2"):
        decide_again(LOG, LinUCBSelector(n_features=5))


def test_what_a_call_says_nothing_of_is_not_learned():
    nothing = {"ended_wall": START + 1, "ok": False, "counts": False, "quality": None}
    log = gathered(*(entry(**nothing) for _ in range(9)), entry(wall=START + 9))

    target = decide_again(log, UCBModelSelector(min_trials=1, floor=0.0))

    assert target[-1].tolist() == [1.0, 0.0]


def test_a_selector_that_draws_is_repeatable():
    first, second, other = (decide_again(LOG, _Drawing(), seed=seed) for seed in (1, 1, 2))

    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


class _Drawing(UCBModelSelector):
    def scores(self, evidence: Any, candidates: Any, rng: np.random.Generator) -> Any:
        return rng.random(candidates.eligible.shape)


def test_progress_is_told():
    told: list[int] = []

    decide_again(gathered(entry(), entry()), RandomSelector(), on_decision=told.append)

    assert told == [1, 2]


def test_a_selector_that_keeps_its_own_knowledge_is_refused():
    with pytest.raises(ConfigurationError, match="keeps by itself what it learns"):
        decide_again(LOG, _Nan(update=True))


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(ConfigurationError, match="has scores that are nan"):
        decide_again(LOG, _Nan())


class _Nan(UCBModelSelector):
    def __init__(self, update: bool = False) -> None:
        super().__init__()
        if update:
            self.update = None

    def scores(self, evidence: Any, candidates: Any, rng: np.random.Generator) -> Any:
        return np.full(candidates.eligible.shape, np.nan)
