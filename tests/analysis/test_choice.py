from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from orchestrator.analysis.choice import choose_each
from orchestrator.core.errors import ConfigurationError
from orchestrator.selectors import propensities

SHAPE = (5, 4)
scores = arrays.arrays(np.float64, SHAPE, elements=st.sampled_from([-np.inf, -1.0, 0.5, 0.5, 2.0]))
eligible = arrays.arrays(np.bool_, SHAPE).filter(lambda mask: bool(mask.any(axis=1).all()))
N = 20_000
"""Runs of a test of frequencies."""


@given(scores, eligible, st.sampled_from([0.0, 0.3, 1.0]), st.integers(0, 2**32))
def test_the_chosen_arm_is_eligible(scores, eligible, floor, seed):
    chosen = choose_each(scores, eligible, floor, np.random.default_rng(seed))

    assert eligible[np.arange(5), chosen].all()


@given(scores, eligible, st.integers(0, 2**32))
def test_without_a_floor_no_eligible_arm_scores_better(scores, eligible, seed):
    chosen = choose_each(scores, eligible, 0.0, np.random.default_rng(seed))

    best = np.where(eligible, scores, -np.inf).max(axis=1)
    assert np.array_equal(scores[np.arange(5), chosen], best)


@pytest.mark.parametrize("order", [np.ascontiguousarray, np.asfortranarray])
@pytest.mark.parametrize("floor", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("allowed", [(True, True, True, True), (True, False, True, True)])
def test_arms_are_taken_as_often_as_their_propensity_says(
    order: Any, floor: float, allowed: tuple[bool, ...]
):
    scored = order(np.broadcast_to([0.1, 0.9, 0.3, 0.2], (N, 4)))
    mask = np.array([allowed])

    chosen = choose_each(scored, mask, floor, np.random.default_rng(1))

    wanted = propensities(scored[0], mask[0], floor)
    margin = 5 * math.sqrt(0.25 / N)
    assert np.bincount(chosen, minlength=4) / N == pytest.approx(wanted, abs=margin)


def test_ties_are_broken_evenly():
    tied = np.broadcast_to([0.7, 0.1, 0.7, 0.7], (N, 4))

    chosen = choose_each(tied, np.ones((1, 4), dtype=bool), 0.0, np.random.default_rng(1))

    margin = 5 * math.sqrt(0.25 / N)
    assert np.bincount(chosen, minlength=4) / N == pytest.approx(
        [1 / 3, 0, 1 / 3, 1 / 3], abs=margin
    )


def test_scores_that_are_no_numbers_choose_nobody():
    scored = np.array([[0.1, 0.2], [np.nan, 0.2]])

    with pytest.raises(ConfigurationError, match="not numbers"):
        choose_each(scored, np.ones((1, 2), dtype=bool), 0.0, np.random.default_rng(1))
