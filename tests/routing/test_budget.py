from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import ConfigurationError
from orchestrator.routing.budget import DailyBudget

DAY = 86_400.0
NOON = 20_000 * DAY + DAY / 2
amounts = st.floats(0, 10)


def test_what_is_reserved_cannot_be_spent_by_another():
    budget = DailyBudget(1.0, NOON)
    budget.reserve(0.6)

    assert budget.left(NOON) == pytest.approx(0.4)


def test_what_was_reserved_is_replaced_by_what_it_cost():
    budget = DailyBudget(1.0, NOON)
    budget.reserve(0.6)
    budget.settle(0.6, 0.1, NOON)

    assert (budget.left(NOON), budget.spent(NOON)) == (0.9, 0.1)


def test_a_call_may_cost_more_than_was_reserved_and_then_nothing_is_left():
    budget = DailyBudget(1.0, NOON)
    budget.reserve(0.9)
    budget.settle(0.9, 1.5, NOON)

    assert budget.left(NOON) == 0.0


def test_the_next_day_begins_with_nothing_spent_but_what_is_still_reserved():
    budget = DailyBudget(1.0, NOON)
    budget.reserve(0.5)
    budget.settle(0.5, 0.5, NOON)
    budget.reserve(0.25)

    assert budget.left(NOON + DAY / 2 - 1) == 0.25
    assert budget.left(NOON + DAY / 2) == 0.75
    assert budget.spent(NOON + DAY / 2) == 0.0


def test_what_a_call_cost_counts_on_the_day_on_which_that_is_known():
    budget = DailyBudget(1.0, NOON)
    budget.reserve(0.5)
    budget.settle(0.5, 0.75, NOON + DAY)

    assert budget.left(NOON + DAY) == 0.25


def test_it_says_how_long_the_day_still_lasts():
    assert DailyBudget(1.0, NOON).ends_in_s(NOON) == DAY / 2
    assert DailyBudget(1.0, NOON).ends_in_s(NOON + DAY / 2) == DAY


def test_a_clock_that_goes_back_gives_no_money_back():
    budget = DailyBudget(1.0, NOON)
    budget.settle(0.0, 1.0, NOON)

    assert budget.left(NOON - 2 * DAY) == 0.0


@given(
    st.floats(0, 20),
    st.lists(st.tuples(amounts, amounts, st.booleans()), max_size=30),
)
def test_reserved_and_spent_never_pass_the_cap_while_calls_cost_what_was_said(
    limit: float, calls: list[Any]
):
    budget, open_usd, spent = DailyBudget(limit, NOON), list[float](), 0.0
    for usd, share, ends in calls:
        if usd <= budget.left(NOON):
            budget.reserve(usd)
            open_usd.append(usd)
        if ends and open_usd:
            reserved = open_usd.pop()
            cost = reserved * share / 10
            budget.settle(reserved, cost, NOON)
            spent += cost
        assert math.fsum([*open_usd, spent]) <= limit + 1e-9
        assert budget.left(NOON) == pytest.approx(limit - math.fsum([*open_usd, spent]), abs=1e-9)


@pytest.mark.parametrize("limit", [-1, math.nan, math.inf])
def test_a_cap_that_is_none_is_refused(limit: float):
    with pytest.raises(ConfigurationError, match="budget"):
        DailyBudget(limit, NOON)
