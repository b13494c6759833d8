from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.estimates import FloatArray
from orchestrator.core.selector import BoolArray
from orchestrator.selectors import choose, propensities

scores_ = st.lists(st.floats(allow_nan=False), min_size=1, max_size=8).map(np.array)
floors = st.just(0.0) | st.floats(0, 1)


@st.composite
def eligible_among(draw: st.DrawFn, n_arms: int) -> BoolArray:
    mask = draw(st.lists(st.booleans(), min_size=n_arms, max_size=n_arms))
    mask[draw(st.integers(0, n_arms - 1))] = True
    return np.array(mask)


def test_the_best_eligible_arm_is_chosen():
    choice = choose(np.array([0.9, 0.5, 0.7]), np.array([False, True, True]), 0.0, random.Random(0))

    assert choice == (2, True)


def test_of_equal_arms_the_one_registered_first_is_chosen():
    everybody = np.ones(3, dtype=np.bool_)

    assert choose(np.array([0.1, 0.5, 0.5]), everybody, 0.0, random.Random(0)).arm == 1


def test_without_a_floor_nothing_is_drawn():
    rng = random.Random(0)
    before = rng.getstate()

    choose(np.array([0.1, 0.5]), np.array([True, True]), 0.0, rng)

    assert rng.getstate() == before


@given(scores_, floors, st.integers(), st.data())
def test_the_choice_is_eligible_and_knows_whether_it_is_the_likeliest(
    scores: FloatArray, floor: float, seed: int, data: Any
):
    eligible = data.draw(eligible_among(len(scores)))

    choice = choose(scores, eligible, floor, random.Random(seed))

    assert eligible[choice.arm]
    assert choice.greedy == (choice.arm == propensities(scores, eligible, 0.0).argmax())


@given(scores_, floors, st.data())
def test_propensities_sum_to_one_over_the_eligible(scores: FloatArray, floor: float, data: Any):
    eligible = data.draw(eligible_among(len(scores)))

    chances = propensities(scores, eligible, floor)

    assert chances.sum() == pytest.approx(1.0)
    assert (chances[~eligible] == 0).all()
    assert chances[eligible] == pytest.approx(np.maximum(chances[eligible], floor / eligible.sum()))


def test_propensities_take_many_runs_at_once():
    scores = np.array([[0.1, 0.9], [0.9, 0.1]])
    eligible = np.array([[True, True], [False, True]])

    assert propensities(scores, eligible, 0.5) == pytest.approx(
        np.array([[0.25, 0.75], [0.0, 1.0]])
    )


def test_arms_are_chosen_as_often_as_their_propensities_say():
    scores, eligible = np.array([0.3, 0.2, 0.9, 0.8]), np.array([True, False, True, True])
    floor, n, rng = 0.3, 20_000, random.Random(7)

    counts = np.bincount([choose(scores, eligible, floor, rng).arm for _ in range(n)], minlength=4)

    chances = propensities(scores, eligible, floor)
    for arm, p in enumerate(chances):
        # Five standard deviations of a binomial: one seed in a million goes wrong by chance.
        assert abs(counts[arm] - n * p) <= 5 * math.sqrt(n * p * (1 - p))


@pytest.mark.parametrize("worst", [-np.inf, -1e308])
def test_eligible_arms_that_score_nothing_are_chosen_all_the_same(worst: float):
    scores = np.array([1.0, worst, worst])
    eligible = np.array([False, True, True])

    assert choose(scores, eligible, 0.0, random.Random(0)).arm == 1
    assert propensities(scores, eligible, 0.0).tolist() == [0, 1, 0]
