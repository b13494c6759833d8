from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import InvalidRequestError
from orchestrator.routing.retry_budget import RetryBudget


def drain(budget: RetryBudget, now: float) -> int:
    """Withdraw until there is nothing left, and count."""
    retries = 0
    while budget.withdraw(now):
        retries += 1
    return retries


def test_the_first_requests_have_ten_retries():
    assert drain(RetryBudget(), now=5_000.0) == 10


def test_a_fifth_of_the_requests_may_be_retried():
    budget = RetryBudget()
    drain(budget, now=5_000.0)
    for _ in range(200):
        budget.deposit()

    assert drain(budget, now=5_000.0) == 40


def test_time_brings_back_the_floor_and_no_more():
    budget = RetryBudget()
    drain(budget, now=5_000.0)

    assert drain(budget, now=5_003.0) == 3
    assert drain(budget, now=6_000.0) == 10


def test_time_adds_nothing_to_what_requests_have_saved():
    budget = RetryBudget()
    for _ in range(50):
        budget.deposit()

    assert drain(budget, now=6_000.0) == 20


def test_savings_have_an_end():
    budget = RetryBudget(most=30)
    for _ in range(10_000):
        budget.deposit()

    assert drain(budget, now=0.0) == 30


def test_a_share_and_a_floor_of_nothing_allow_nothing():
    budget = RetryBudget(share=0, floor=0)
    budget.deposit()

    assert not budget.withdraw(100.0)


@given(
    st.floats(0, 1),
    st.floats(0, 20),
    st.floats(0.1, 60),
    st.lists(
        st.tuples(st.integers(0, 30), st.integers(0, 30), st.floats(0, 30)),
        min_size=10,
        max_size=40,
    ),
)
def test_no_run_has_more_retries_than_its_share_and_the_floor(
    share: float, floor: float, floor_s: float, run: list[tuple[int, int, float]]
):
    budget = RetryBudget(share=share, floor=floor, floor_s=floor_s)
    start = now = 5_000.0
    requests = retries = 0

    for arriving, wanted, pause_s in run:
        for _ in range(arriving):
            budget.deposit()
        requests += arriving
        retries += sum(budget.withdraw(now) for _ in range(wanted))
        assert retries <= share * requests + floor * (1 + (now - start) / floor_s) + 1e-6
        now += pause_s


@given(st.lists(st.integers(0, 20), min_size=10, max_size=60))
def test_a_retry_is_refused_only_when_the_share_is_used_up(run: list[int]):
    budget = RetryBudget(floor=0, most=1_000)
    requests = retries = 0

    for arriving in run:
        for _ in range(arriving):
            budget.deposit()
        requests += arriving
        granted = budget.withdraw(0.0)
        assert granted == (retries + 1 <= 0.2 * requests + 1e-9)
        retries += granted


@pytest.mark.parametrize("field", ["share", "floor", "most", "floor_s"])
def test_a_negative_amount_is_refused_by_name(field: str):
    with pytest.raises(InvalidRequestError) as refused:
        RetryBudget(**{field: -1.0})

    assert refused.value.param == field
