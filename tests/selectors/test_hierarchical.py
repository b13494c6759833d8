"""Optimism where an arm is known less than the others, and memory that ends where it changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import ConfigurationError
from orchestrator.core.estimates import Estimates, FloatArray
from orchestrator.core.statistics import Column, Outcome
from orchestrator.core.views import Evidence, Memory, View
from orchestrator.selectors.choice import choose
from orchestrator.selectors.hierarchical import HierarchicalSelector
from tests.selectors.arms import candidates, rated, sums_of


def evidence(*arms: tuple[float, int]) -> Evidence:
    """Return the evidence of one segment, where each arm has (mean, n)."""
    estimates = Estimates.of(sums_of(*(rated(mean, n) for mean, n in arms)))
    return Evidence(estimates, estimates)


def scores(selector: HierarchicalSelector, found: Evidence, **known: object) -> FloatArray:
    arms = candidates(found.total.mean.shape[-1], **known)
    return selector.scores(found, arms, np.random.default_rng(0))


def play(means: FloatArray, seed: int) -> np.ndarray:
    """Return the pulls of one run, a round a minute, of arms with these means by round."""
    rng = np.random.default_rng(seed)
    selector = HierarchicalSelector(min_trials=1, floor=0.0)
    keys = [f"a:{arm}" for arm in range(means.shape[1])]
    view = View(selector.memory, keys, segmented=True)
    arms = candidates(len(keys))
    pulls = []
    for minute, now in enumerate(means):
        view.advance(minute)
        found = selector.scores(view.evidence("all"), arms, rng)
        arm = choose(found, arms.eligible, 0.0, None).arm  # type: ignore[arg-type]  # no floor
        won = float(rng.random() < now[arm])
        view.open(minute, "all", arm)
        rating = [(Column.N_QUALITY, 1.0), (Column.QUALITY, won), (Column.QUALITY_SQ, won)]
        view.add(minute, "all", keys[arm], [*Outcome(True, seconds=1.0).deltas(), *rating])
        pulls.append(arm)
    return np.array(pulls)


def test_arms_that_are_known_equally_well_are_judged_by_their_means():
    found = evidence((0.9, 100), (0.85, 100), (0.3, 100))

    score = scores(HierarchicalSelector(), found)

    np.testing.assert_allclose(score, [0.9, 0.85, 0.3], atol=0.005)


def test_an_arm_that_is_known_less_than_the_others_gets_the_benefit_of_the_doubt():
    score = scores(HierarchicalSelector(), evidence((0.6, 1000), (0.5, 1000), (0.5, 20)))

    assert score.argmax() == 2


def test_an_arm_whose_ratings_hardly_differ_needs_less_of_it():
    sums = sums_of(rated(0.6, 1000), rated(0.5, 20), rated(0.5, 20))
    sums[Column.QUALITY_SQ, 2] = 20 * 0.5**2
    estimates = Estimates.of(sums)

    _, shaky, steady = scores(HierarchicalSelector(), Evidence(estimates, estimates))

    assert 0.5 < steady < shaky


def test_without_exploration_it_is_greedy():
    score = scores(
        HierarchicalSelector(exploration_factor=0.0), evidence((0.6, 1000), (0.5, 1000), (0.5, 20))
    )

    assert score.argmax() == 0


def test_what_an_arm_costs_counts_against_how_good_it_may_be():
    found = evidence((0.9, 500), (0.8, 500))

    assert scores(HierarchicalSelector(), found, penalty=[0.2, 0.0]).argmax() == 1


def test_every_arm_is_tried_before_it_is_judged():
    assert scores(HierarchicalSelector(), evidence((1.0, 500), (0.0, 4))).argmax() == 1


def test_a_pending_pull_makes_an_arm_less_attractive():
    view = View(HierarchicalSelector().memory, ["a:m", "b:m"], segmented=True)
    for arm, n in enumerate((200, 10)):
        for _ in range(n):
            view.open(1, "all", arm)
            view.add(1, "all", view.keys[arm], Outcome(True, seconds=1.0).deltas())
            view.add(1, "all", view.keys[arm], [(Column.N_QUALITY, 1.0), (Column.QUALITY, 0.5)])
    selector, arms = HierarchicalSelector(), candidates(2)
    before = selector.scores(view.evidence("all"), arms, np.random.default_rng(0))[1]

    view.open(1, "all", 1)

    assert selector.scores(view.evidence("all"), arms, np.random.default_rng(0))[1] < before


@given(arms=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 5000)), min_size=2, max_size=5))
def test_what_was_kept_from_earlier_decisions_scores_as_if_derived_anew(arms: list[Any]):
    selector = HierarchicalSelector()
    view = View(selector.memory, [f"a:{arm}" for arm in range(len(arms))], segmented=True)
    for arm, (mean, n) in enumerate(arms):
        rating = [(Column.N_QUALITY, n), (Column.QUALITY, n * mean), (Column.QUALITY_SQ, n * mean)]
        view.add(1, "all", view.keys[arm], [(Column.CALLS, n), (Column.OK, n), *rating])
        view.open(1, "all", arm)
        kept = scores(selector, view.evidence("all"))

    fresh = scores(selector, view.evidence("all")._replace(pooled=None))

    np.testing.assert_allclose(kept, fresh, rtol=1e-9)


def test_a_silent_regression_costs_it_the_lead():
    means = np.tile([0.9, 0.8], (1500, 1))
    means[1000:, 0] = 0.4

    pulls = play(means, seed=3)

    assert (pulls[700:1000] == 0).mean() > 0.7
    assert (pulls[1150:] == 1).mean() > 0.8


def test_it_pulls_the_best_of_many_more_and_more():
    pulls = play(np.tile(np.arange(1, 10) / 10, (3000, 1)), seed=5)

    assert (pulls[-1000:] == 8).mean() > 0.9


def test_its_memory_pools_by_its_own_kappa():
    assert HierarchicalSelector(3.0).memory == Memory(adaptive=True, pooling=3.0)
    assert HierarchicalSelector(memory=Memory(half_life_s=600)).memory.half_life_s == 600


@pytest.mark.parametrize(
    "options", [{"kappa": 0.0}, {"exploration_factor": float("inf")}, {"floor": 2.0}]
)
def test_settings_that_make_no_sense_are_refused(options: dict[str, float]):
    with pytest.raises(ConfigurationError):
        HierarchicalSelector(**options)  # type: ignore[arg-type]  # one option of several types
