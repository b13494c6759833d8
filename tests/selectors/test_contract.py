"""What every selector promises, whoever wrote it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.selector import Selector
from orchestrator.core.views import ALL, Memory, View
from orchestrator.selectors import (
    CostBasedSelector,
    PerformanceSelector,
    UCBModelSelector,
    choose,
    make_selector,
    propensities,
    selector_names,
)
from tests.selectors.arms import (
    candidates,
    evidence_of,
    histories,
    known,
    permuted,
    score,
    stacked,
)

ARMS = 5

SELECTORS: dict[str, Callable[[], Selector]] = {
    **{name: lambda name=name: make_selector(name) for name in selector_names()},  # type: ignore[misc]
    "ucb, greedy": lambda: UCBModelSelector(0.0, min_trials=0),
    "ucb1, no floor": lambda: UCBModelSelector(index="ucb1", floor=0.0),
    "ucb, of an hour": lambda: UCBModelSelector(memory=Memory(window_s=3600)),
    "ucb, that fades": lambda: UCBModelSelector(memory=Memory(half_life_s=600)),
    "cost, local first": lambda: CostBasedSelector(0.01, prefer_local_models=True),
    "performance, choosy": lambda: PerformanceSelector(20.0, 5.0, True, min_trials=3),
}
"""By name, and with each setting that takes another way through the code."""

pytestmark = pytest.mark.parametrize("name", SELECTORS)


def draws(selector: Selector, evidence: Any, arms: Any) -> bool:
    """Whether its scores depend on chance: such scores are compared in shape only."""
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    selector.scores(evidence, arms, rng)
    return rng.bit_generator.state != before


def test_it_declares_what_it_reads(name: str):
    selector = SELECTORS[name]()

    assert isinstance(selector.name, str)
    assert isinstance(selector.memory, Memory)
    assert isinstance(selector.segmented, bool)
    assert selector.n_extra >= 0
    assert 0 <= selector.floor <= 1
    view = View(selector.memory, ["a:m"], segmented=selector.segmented, n_extra=selector.n_extra)
    assert score(selector, view.evidence("all"), candidates(1)).shape == (1,)


@settings(max_examples=15)
@given(data=st.data())
def test_it_scores_every_arm_with_a_number_and_changes_nothing_it_was_given(name: str, data: Any):
    selector = SELECTORS[name]()
    evidence = evidence_of(data.draw(histories(ARMS)), selector)
    arms = data.draw(known(ARMS))

    scores = score(selector, evidence, arms)

    assert scores.shape == (ARMS,)
    assert np.isfinite(scores[arms.eligible]).all()


@settings(max_examples=15)
@given(data=st.data())
def test_many_runs_at_once_score_as_each_alone(name: str, data: Any):
    selector = SELECTORS[name]()
    n_runs = data.draw(st.integers(1, 3))
    sums = [data.draw(histories(ARMS)) for _ in range(n_runs)]
    quality = any(run[2].any() for run in sums)
    arms = [data.draw(known(ARMS)) for _ in range(n_runs)]
    together = evidence_of(np.stack(sums, axis=1), selector)

    scores = score(selector, together, stacked(arms))

    assert scores.shape == (n_runs, ARMS)
    if draws(selector, together, stacked(arms)):
        return
    for run in range(n_runs):
        alone = evidence_of(sums[run], selector)
        if quality and not alone.total.rates_quality:
            alone.total.rates_quality = True
            alone.total._derive(sums[run])
        np.testing.assert_allclose(scores[run], score(selector, alone, arms[run]), rtol=1e-12)


@settings(max_examples=15)
@given(data=st.data())
def test_no_arm_gains_by_its_place(name: str, data: Any):
    selector = SELECTORS[name]()
    sums, arms = data.draw(histories(ARMS)), data.draw(known(ARMS))
    order = data.draw(st.permutations(range(ARMS)))
    if draws(selector, evidence_of(sums, selector), arms):
        return

    straight = score(selector, evidence_of(sums, selector), arms)
    shuffled = score(selector, evidence_of(sums[:, order], selector), permuted(arms, order))

    np.testing.assert_allclose(shuffled, straight[order], rtol=1e-12)


@settings(max_examples=15)
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_only_an_eligible_arm_is_ever_chosen(name: str, data: Any, seed: int):
    selector = SELECTORS[name]()
    evidence, arms = evidence_of(data.draw(histories(ARMS)), selector), data.draw(known(ARMS))
    rng = random.Random(seed)

    for floor in (selector.floor, 1.0):
        choice = choose(score(selector, evidence, arms, seed), arms.eligible, floor, rng)

        assert arms.eligible[choice.arm]


@settings(max_examples=10)
@given(data=st.data())
def test_what_is_not_eligible_does_not_change_who_is_best(name: str, data: Any):
    selector = SELECTORS[name]()
    sums, arms = data.draw(histories(ARMS)), data.draw(known(ARMS))
    evidence = evidence_of(sums, selector)
    if draws(selector, evidence, arms):
        return
    other = data.draw(known(ARMS))
    mixed = arms._replace(
        speed=np.where(arms.eligible, arms.speed, other.speed),
        cost_usd=np.where(arms.eligible, arms.cost_usd, other.cost_usd),
        penalty=np.where(arms.eligible, arms.penalty, other.penalty),
    )

    best, still = (
        choose(score(selector, evidence, found), arms.eligible, 0.0, random.Random())
        for found in (arms, mixed)
    )

    assert best.arm == still.arm


@settings(max_examples=10)
@given(data=st.data())
def test_its_propensities_sum_to_one_and_leave_no_eligible_arm_out(name: str, data: Any):
    selector = SELECTORS[name]()
    evidence, arms = evidence_of(data.draw(histories(ARMS)), selector), data.draw(known(ARMS))

    chances = propensities(score(selector, evidence, arms), arms.eligible, selector.floor)

    assert chances.sum() == pytest.approx(1.0)
    assert (chances[~arms.eligible] == 0).all()
    if selector.floor:
        assert (chances[arms.eligible] > 0).all()


@pytest.mark.parametrize("n_arms", [1, 10_000])
def test_a_pool_may_have_one_arm_or_ten_thousand(name: str, n_arms: int):
    selector = SELECTORS[name]()
    rng = np.random.default_rng(1)
    sums = np.zeros((18, n_arms))
    n_calls = rng.integers(0, 50, n_arms)
    sums[0] = sums[15] = sums[16] = n_calls
    sums[1] = rng.binomial(n_calls, 0.8)
    eligible = rng.random(n_arms) < 0.5
    eligible[-1] = True
    arms = candidates(n_arms, eligible=eligible, cost_usd=rng.random(n_arms))

    scores = score(selector, evidence_of(sums, selector), arms)

    assert scores.shape == (n_arms,)
    assert eligible[choose(scores, eligible, selector.floor, random.Random(1)).arm]


def test_it_remembers_everything_unless_told_otherwise(name: str):
    if "," not in name:
        assert SELECTORS[name]().memory == ALL
