"""How good an arm may plausibly be, without searching for a root."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.optimism import upper_bound, upper_bounds
from orchestrator.selectors.kl import kl_index

means, pulls = st.floats(0.001, 0.999), st.floats(0.5, 5000)


@given(mean=means, n=st.floats(50, 5000), level=st.floats(0.05, 5))
def test_it_lies_near_the_bound_of_kl_ucb(mean: float, n: float, level: float):
    known = np.array([mean])

    above = upper_bounds(known, np.array([n]), level + np.log(n)) - known

    assert above == pytest.approx(kl_index(known, level / np.array([n])) - known, rel=0.25)


@given(mean=st.floats(0, 1), n=pulls, level=st.floats(0, 12), boost=st.floats(0, 9))
def test_one_arm_is_judged_as_among_many(mean: float, n: float, level: float, boost: float):
    among = upper_bounds(np.array([0.5, mean]), np.array([3.0, n]), level, boost)

    assert upper_bound(mean, n, level, boost) == pytest.approx(among[1], rel=1e-12, abs=1e-12)


@given(mean=means, n=pulls, more=pulls, level=st.floats(0, 12))
def test_the_more_is_known_the_less_may_be_hoped_for(
    mean: float, n: float, more: float, level: float
):
    few, many = (upper_bound(mean, known, level, 1.0) for known in (n, n + more))

    assert mean <= many <= few + 1e-12


def test_an_arm_that_is_known_well_enough_is_worth_its_mean():
    assert upper_bound(0.7, 500.0, math.log(400), 2.0) == 0.7
