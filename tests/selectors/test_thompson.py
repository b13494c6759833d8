from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import ConfigurationError
from orchestrator.core.estimates import Estimates
from orchestrator.core.views import Evidence
from orchestrator.selectors import NIGThompsonSelector, ThompsonSelector
from orchestrator.selectors.nig import _posterior
from tests.selectors.arms import calls, candidates, rated, score, sums_of

DRAWS = 40_000


def drawn(selector: Any, *arms: list[tuple[int, float]], **known: Any) -> Any:
    """Draw of the same arms in many runs at once: shape ``(DRAWS, n_arms)``."""
    sums = np.repeat(sums_of(*arms)[:, None, :], DRAWS, axis=1)
    evidence = Evidence(Estimates.of(sums, rates_quality=bool(sums[2].any())))
    return score(selector, evidence, candidates((DRAWS, len(arms)), **known), seed=3)


@pytest.mark.parametrize(("won", "lost"), [(0, 0), (8, 2), (90, 10), (0, 7)])
def test_a_draw_is_of_the_beta_that_rewards_make(won: int, lost: int):
    draws = drawn(ThompsonSelector(), calls(won + lost, won))
    a, b = 1 + won, 1 + lost
    mean, variance = a / (a + b), a * b / (a + b) ** 2 / (a + b + 1)

    # Five standard errors; a Beta's fourth moment is at most that of a two-valued one.
    assert draws.mean() == pytest.approx(mean, abs=5 * math.sqrt(variance / DRAWS))
    assert draws.var() == pytest.approx(variance, rel=0.05)


def test_ratings_between_count_as_shares_of_a_win():
    partial = drawn(ThompsonSelector(), rated(0.5, 20))
    whole = drawn(ThompsonSelector(), calls(20, 10))

    assert partial.mean() == pytest.approx(whole.mean(), abs=0.01)


@pytest.mark.parametrize("selector", [ThompsonSelector(), NIGThompsonSelector()])
def test_the_penalty_is_subtracted_from_the_draw(selector: Any):
    free = drawn(selector, calls(10, 5), calls(10, 5))
    dear = drawn(selector, calls(10, 5), calls(10, 5), penalty=[0.0, 0.25])

    np.testing.assert_allclose(free - dear, [[0.0, 0.25]] * DRAWS, atol=1e-12)


@pytest.mark.parametrize("selector", [ThompsonSelector(), NIGThompsonSelector()])
def test_the_same_generator_draws_the_same(selector: Any):
    assert (drawn(selector, calls(5, 2)) == drawn(selector, calls(5, 2))).all()


@given(st.lists(st.floats(0, 1), max_size=30))
def test_the_normal_inverse_gamma_belief_is_that_of_its_rewards_one_by_one(rewards: list[float]):
    """Each reward makes yesterday's posterior today's prior."""
    mean, weight, shape, scale = 0.5, 1.0, 1.0, 0.1
    for reward in rewards:
        scale += weight * (reward - mean) ** 2 / (2 * (weight + 1))
        mean = (weight * mean + reward) / (weight + 1)
        weight, shape = weight + 1, shape + 0.5
    sums = np.zeros((18, 1))
    sums[2:5, 0] = len(rewards), sum(rewards), sum(r * r for r in rewards)

    found = _posterior(Estimates.of(sums))

    assert [value.item() for value in found] == pytest.approx([mean, 2 * shape, 2 * scale / weight])


def test_an_arm_whose_ratings_agree_is_known_better_than_one_whose_do_not():
    steady = [*rated(0.8, 50)]
    steady[-1] = (steady[-1][0], 50 * 0.64)  # every rating 0.8, not four wins of five
    draws = drawn(NIGThompsonSelector(), steady, rated(0.8, 50))

    assert draws[:, 0].std() < 0.3 * draws[:, 1].std()


@pytest.mark.parametrize("build", [ThompsonSelector, NIGThompsonSelector])
@pytest.mark.parametrize("floor", [-0.1, 1.1, math.nan])
def test_a_floor_out_of_range_is_refused(build: Any, floor: float):
    with pytest.raises(ConfigurationError, match="floor"):
        build(floor=floor)
