from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import InvalidRequestError
from orchestrator.routing.ejection import EjectionPolicy, LastResort


@pytest.mark.parametrize(
    ("pool", "most"), [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (10_001, 5_000)]
)
def test_rates_eject_at_most_half_of_the_pool(pool: int, most: int):
    policy = EjectionPolicy()
    ejected = 0
    while policy.may_eject(ejected, pool):
        ejected += 1

    assert ejected == most


@given(st.integers(0, 50), st.integers(0, 50), st.floats(0, 1))
def test_no_share_is_ever_exceeded(ejected: int, pool: int, max_share: float):
    if EjectionPolicy(max_share=max_share).may_eject(ejected, pool):
        assert (ejected + 1) / pool <= max_share + 1e-9


def test_when_all_are_ejected_the_one_that_recovers_soonest_is_tried():
    probe_at = np.array([30.0, 12.0, 11.0, 12.0])
    ejected = np.array([True, True, False, True])

    found = EjectionPolicy().last_resort(probe_at, ejected, now=10.0)

    assert found == LastResort(arm=1, recovers_in_s=2.0)


def test_or_the_request_is_refused_with_the_time_to_wait():
    policy = EjectionPolicy(when_all_are_ejected="refuse")

    found = policy.last_resort(np.array([30.0, 12.0]), np.array([True, True]), now=10.0)

    assert found == LastResort(arm=None, recovers_in_s=2.0)


def test_there_is_no_last_resort_for_what_no_model_can_do():
    assert EjectionPolicy().last_resort(np.array([1.0, 2.0]), np.zeros(2, bool), 0.0) is None


@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.booleans()), max_size=30),
    st.floats(0, 1e6),
)
def test_the_last_resort_is_ejected_and_none_recovers_before_it(
    arms: list[tuple[float, bool]], now: float
):
    probe_at = np.array([at for at, _ in arms])
    ejected = np.array([out for _, out in arms], bool)

    found = EjectionPolicy().last_resort(probe_at, ejected, now)

    assert (found is None) == (not ejected.any())
    if found is not None and found.arm is not None:
        assert ejected[found.arm]
        assert probe_at[found.arm] == probe_at[ejected].min()
        assert found.recovers_in_s == max(0.0, probe_at[found.arm] - now)


@pytest.mark.parametrize(
    "facts", [{"max_share": -0.1}, {"max_share": 1.1}, {"when_all_are_ejected": "panic"}]
)
def test_a_policy_out_of_range_is_refused_by_name(facts: dict[str, Any]):
    with pytest.raises(InvalidRequestError) as refused:
        EjectionPolicy(**facts)

    assert refused.value.param in facts
