from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import ConfigurationError
from orchestrator.selectors import CostBasedSelector
from tests.selectors.arms import best, calls, candidates, evidence_of, score, sums_of

NAN = np.nan
costs = st.floats(1e-6, 100, allow_subnormal=False)


def cheapest(cost_usd: list[float], selector: CostBasedSelector | None = None, **known: Any) -> int:
    evidence = evidence_of(sums_of(*[calls(0)] * len(cost_usd)))
    return best(selector or CostBasedSelector(), evidence, cost_usd=cost_usd, **known)


def test_the_cheapest_is_chosen():
    assert cheapest([0.03, 0.01, 0.02]) == 1


def test_what_costs_nothing_is_the_cheapest():
    assert cheapest([0.01, 0.0, 1e-9]) == 1


def test_an_unknown_price_is_dearer_than_every_known_one():
    assert cheapest([NAN, 1e6]) == 1
    assert cheapest([NAN, NAN], priority=[0, 1]) == 1


@given(st.lists(costs, min_size=2, max_size=6), st.floats(1e-3, 1e3))
def test_the_currency_does_not_matter(cost_usd: list[float], rate: float):
    chosen = cheapest(cost_usd)

    assert cost_usd[chosen] == min(cost_usd)
    assert cost_usd[cheapest([c * rate for c in cost_usd])] == pytest.approx(min(cost_usd))


@given(st.floats(0, 1000), st.integers(2, 100))
def test_at_the_same_price_the_higher_priority_is_taken(cost: float, n_arms: int):
    assert cheapest([cost] * n_arms, priority=range(n_arms)) == n_arms - 1


@given(st.floats(0, 1000))
def test_at_the_same_price_a_local_model_may_go_first_whatever_the_priorities(cost: float):
    selector = CostBasedSelector(prefer_local_models=True)

    assert cheapest([cost] * 3, selector, local=[0, 1, 0], priority=[9, 0, 5]) == 1
    assert cheapest([cost] * 3, local=[0, 1, 0], priority=[9, 0, 5]) == 0


@given(costs)
def test_a_cheaper_model_goes_before_a_local_one_and_before_any_priority(cost: float):
    selector = CostBasedSelector(prefer_local_models=True)

    assert cheapest([cost * 1.000001, cost], selector, local=[1, 0], priority=[100, 0]) == 1


def test_of_equals_the_one_registered_first_is_chosen():
    assert cheapest([0.01, 0.01], priority=[5, 5], local=[True, True]) == 0


def test_where_all_are_too_dear_the_cheapest_is_taken():
    assert cheapest([3.0, 2.0, NAN], CostBasedSelector(max_cost_per_request=1.0)) == 1


def test_a_score_is_what_it_costs():
    evidence = evidence_of(sums_of(calls(0), calls(0)))

    found = score(CostBasedSelector(), evidence, candidates(2, cost_usd=[0.03, 0.0]))

    assert found.tolist() == pytest.approx([-0.03, 0.0])


@pytest.mark.parametrize("bad", [-1, NAN])
def test_a_limit_that_is_none_is_refused(bad: float):
    with pytest.raises(ConfigurationError, match="max_cost_per_request"):
        CostBasedSelector(max_cost_per_request=bad)
