from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import ConfigurationError
from orchestrator.core.estimates import Estimates
from orchestrator.core.objective import Objective, default_cost_weight
from orchestrator.core.statistics import COLUMNS, Column, Outcome

prices = st.lists(st.floats(1e-6, 100) | st.sampled_from([0.0, math.nan]), min_size=1, max_size=6)


def estimates(*arms: list[Outcome]) -> Estimates:
    sums = np.zeros((len(COLUMNS), len(arms)))
    for arm, outcomes in enumerate(arms):
        for outcome in outcomes:
            for column, delta in outcome.deltas():
                sums[column, arm] += delta
    return Estimates.of(sums, rates_quality=False)


@given(prices)
def test_a_mean_call_of_the_dearest_arm_costs_a_fifth_of_the_scale(usd: list[float]):
    weight = default_cost_weight(np.array(usd))

    known = [u for u in usd if u > 0]
    assert weight * max(known, default=0.0) == pytest.approx(0.2 if known else 0.0)


@given(prices, st.floats(0.01, 100))
def test_the_currency_does_not_matter(usd: list[float], rate: float):
    amounts = np.array(usd)

    assert default_cost_weight(amounts) * amounts == pytest.approx(
        default_cost_weight(amounts * rate) * amounts * rate, nan_ok=True
    )


def test_money_time_and_failures_count_with_their_weights():
    arms = estimates([Outcome(True, seconds=2.0), Outcome(False)], [Outcome(True, seconds=4.0)])
    objective = Objective(latency_weight=0.1, failure_weight=0.5)

    penalty = objective.penalty(arms, np.array([0.01, 0.02]), cost_weight=10.0)

    assert penalty.tolist() == pytest.approx([0.1 + 0.2 + 0.25, 0.2 + 0.4])


def test_by_default_a_certain_failure_costs_a_point_and_time_nothing():
    arms = estimates([Outcome(False)], [Outcome(True, seconds=100.0)])

    assert Objective().penalty(arms, np.zeros(2), 1.0).tolist() == [1.0, 0.0]


def test_what_is_expected_to_cost_is_left_as_it_was_and_may_serve_many_runs():
    one = estimates([Outcome(False)])
    sums = np.zeros((len(COLUMNS), 3, 1))
    sums[Column.CALLS] = 2.0
    sums[Column.OK, :, 0] = [0.0, 1.0, 2.0]
    usd = np.array([0.5])

    assert Objective().penalty(one, usd, 1.0).tolist() == [1.5]
    runs = Objective().penalty(Estimates.of(sums, rates_quality=False), usd, 1.0)
    assert runs.tolist() == [[1.5], [1.0], [0.5]]
    assert usd.tolist() == [0.5]


@pytest.mark.parametrize("name", ["cost_weight", "latency_weight", "failure_weight"])
@pytest.mark.parametrize("bad", [-1, math.nan, math.inf])
def test_a_weight_out_of_range_is_refused_by_name(name: str, bad: Any):
    with pytest.raises(ConfigurationError, match=name):
        Objective(**{name: bad})
