from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import ConfigurationError
from orchestrator.core.estimates import Estimates
from orchestrator.core.selector import Candidates
from orchestrator.core.views import ALL, Evidence, Memory, View
from orchestrator.routing.exploration import ExplorationLedger, believed, explores
from orchestrator.selectors import make_selector

NOON = 20_000 * 86_400 + 43_200.0


def candidates(cost_usd: list[float], penalty: list[float]) -> Candidates:
    usd, less = np.array(cost_usd), np.array(penalty)
    no = np.zeros(len(usd), dtype=np.bool_)
    return Candidates(~no, usd, less, less, no, no, usd)


def test_what_the_chosen_costs_and_brings_beyond_the_greedy_is_summed():
    ledger = ExplorationLedger(math.inf, NOON)
    arms = candidates([0.01, 0.04, 0.0], [0.1, 0.4, 0.0])
    mean = np.array([0.75, 0.9, 0.5])  # utility 0.65, 0.5, 0.5: the first is greedy

    for arm in (0, 1, 2, 1):
        ledger.add(arm, mean, arms, NOON)

    decisions, cost_usd, quality = ledger.today(NOON)
    assert decisions == 3
    assert cost_usd == pytest.approx(0.03 - 0.01 + 0.03)
    assert quality == pytest.approx(0.15 - 0.25 + 0.15)


def test_a_cost_that_nobody_knows_makes_no_difference():
    ledger = ExplorationLedger(1.0, NOON)

    ledger.add(1, np.array([0.75, 0.5]), candidates([math.nan, 5.0], [0.0, 0.0]), NOON)

    assert ledger.today(NOON) == (1, 0.0, -0.25)


def test_it_is_exhausted_at_its_cap_until_the_utc_day_ends():
    ledger = ExplorationLedger(0.05, NOON)
    arms, mean = candidates([0.0, 0.03], [0.0, 0.0]), np.array([0.75, 0.5])

    ledger.add(1, mean, arms, NOON)
    assert not ledger.exhausted(NOON)
    ledger.add(1, mean, arms, NOON)
    assert ledger.exhausted(NOON)
    assert ledger.exhausted(NOON + 43_199)
    assert not ledger.exhausted(NOON + 43_200)
    assert ledger.today(NOON + 43_200) == (0, 0.0, 0.0)


def test_a_cap_of_0_is_greedy_from_the_start():
    assert ExplorationLedger(0.0, NOON).exhausted(NOON)


@pytest.mark.parametrize("limit", [-1.0, math.nan])
def test_a_cap_that_is_none_is_refused(limit: float):
    with pytest.raises(ConfigurationError, match="at least 0 USD"):
        ExplorationLedger(limit, NOON)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=5),
    st.lists(st.integers(0, 4), max_size=20),
)
def test_exploring_never_adds_to_utility(arms: list[tuple[float, float, float]], pulls: list[int]):
    mean, usd, _ = (np.array(values) for values in zip(*arms, strict=True))
    ledger = ExplorationLedger(math.inf, NOON)
    weighed = candidates(usd.tolist(), usd.tolist())  # a point of quality per USD

    for pull in pulls:
        ledger.add(pull % len(arms), mean, weighed, NOON)

    _, cost_usd, quality = ledger.today(NOON)
    assert quality - cost_usd <= 1e-9


@pytest.mark.parametrize("name", ["ucb", "ucb1", "thompson", "epsilon-greedy", "default", "random"])
def test_what_learns_by_trying_explores(name: str):
    assert explores(make_selector(name))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("priority", {}),
        ("cost", {}),
        ("performance", {}),
        ("round-robin", {}),
        ("ucb", {"exploration_factor": 0.0, "floor": 0.0}),
    ],
)
def test_rules_do_not(name: str, options: dict[str, Any]):
    assert not explores(make_selector(name, options))


def test_optimism_without_a_floor_explores():
    assert explores(make_selector("ucb", {"floor": 0.0}))
    assert explores(make_selector("lin-ucb", {"n_features": 2, "floor": 0.0}))


def test_what_is_believed_is_what_the_selectors_view_holds():
    arms = candidates([0.0, 0.0], [0.0, 0.0])
    plain, pooling = View(ALL, ("a", "b")), View(Memory(pooling=8.0), ("a", "b"), segmented=True)
    for view in (plain, pooling):
        for segment, key, won in (("x", "a", 1.0), ("y", "a", 0.0), ("x", "b", 1.0)):
            view.add(0, segment, key, [(0, 1.0), (1, won)])

    assert believed(plain.evidence("x"), arms).tolist() == [0.5, 1.0]
    pooled = pooling.evidence("x").pooled
    assert pooled is not None
    assert believed(pooling.evidence("x"), arms).tolist() == pooled.mean.tolist()
    assert believed(Evidence(Estimates(2)), arms).tolist() == [0.5, 0.5]
