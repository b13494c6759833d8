"""Selectors that weigh little: in turn, at random, and the best so far."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import ConfigurationError
from orchestrator.core.statistics import Column
from orchestrator.core.views import View
from orchestrator.selectors import (
    EpsilonGreedySelector,
    RandomSelector,
    RoundRobinSelector,
    choose,
    propensities,
)
from tests.selectors.arms import best, calls, candidates, evidence_of, score, sums_of

KEYS = ("a:m", "b:m", "c:m")
START = 29_000_000


def turns(view: View, n: int, minute: int = START, *, out: int | None = None) -> list[int]:
    """Let round robin choose so often, each pull begun at once; one arm may be out of service."""
    found, eligible = [], np.array([arm != out for arm in range(3)])
    for _ in range(n):
        scores = score_now(view)
        arm = choose(scores, eligible, 0.0, random.Random(0)).arm
        view.open(minute, "all", arm)
        found.append(arm)
    return found


def score_now(view: View) -> Any:
    rng = np.random.default_rng(0)
    return RoundRobinSelector().scores(view.evidence("all"), candidates(3), rng)


def test_models_take_turns_in_the_order_of_registration():
    assert turns(View(RoundRobinSelector().memory, KEYS), 7) == [0, 1, 2, 0, 1, 2, 0]


@given(st.lists(st.integers(0, 20), min_size=1, max_size=30))
def test_however_slowly_requests_come_turns_are_kept(pauses: list[int]):
    view, found, minute = View(RoundRobinSelector().memory, KEYS), [], START
    for pause in pauses:
        minute += pause
        view.advance(minute)
        found += turns(view, 1, minute)

    assert found == [number % 3 for number in range(len(pauses))]


def test_a_model_that_was_out_catches_up_on_minutes_not_on_its_whole_absence():
    view = View(RoundRobinSelector().memory, KEYS)
    for minute in range(START, START + 60):
        view.advance(minute)
        turns(view, 30, minute, out=1)
    view.advance(START + 60)

    back = turns(view, 300, START + 60)

    assert back.count(1) <= 100 + 2 * 30


def test_models_that_may_serve_different_requests_each_get_their_share():
    """Every other request may go to the first two only: the third is not left out for it."""
    view, counts = View(RoundRobinSelector().memory, KEYS), np.zeros(3)
    for number in range(300):
        eligible = np.array([True, True, number % 2 == 1])
        arm = choose(score_now(view), eligible, 0.0, random.Random(0)).arm
        view.open(START, "all", arm)
        counts[arm] += 1

    assert counts.tolist() == [100, 100, 100]


def test_a_pull_that_expires_gives_its_turn_back():
    view = View(RoundRobinSelector().memory, KEYS)
    turns(view, 2)
    view.add(START, "all", "a:m", [(Column.EXPIRED, 1.0)])

    assert turns(view, 1) == [0]


def test_at_random_means_each_alike():
    selector, eligible = RandomSelector(), np.array([True, False, True])
    scores = score(selector, evidence_of(sums_of(calls(9), calls(1), calls(3))), candidates(3))

    assert propensities(scores, eligible, selector.floor).tolist() == [0.5, 0.0, 0.5]


@pytest.mark.parametrize("epsilon", [0.0, 0.25, 1.0])
def test_epsilon_is_what_is_spread_and_the_best_keeps_the_rest(epsilon: float):
    selector = EpsilonGreedySelector(epsilon)
    scores = score(selector, evidence_of(sums_of(calls(9, 3), calls(9, 6))), candidates(2))

    found = propensities(scores, np.ones(2, dtype=np.bool_), selector.floor)

    assert found.tolist() == pytest.approx([epsilon / 2, 1 - epsilon / 2])


def test_the_best_so_far_is_the_one_of_highest_mean_less_its_penalty():
    evidence = evidence_of(sums_of(calls(10, 6), calls(10, 8), calls(10, 9)))

    assert best(EpsilonGreedySelector(), evidence) == 2
    assert best(EpsilonGreedySelector(), evidence, penalty=[0, 0, 0.2]) == 1


def test_every_arm_is_tried_once_before_the_best_is_taken():
    evidence = evidence_of(sums_of(calls(10, 10), calls(0)))

    assert best(EpsilonGreedySelector(), evidence) == 1
    assert best(EpsilonGreedySelector(min_trials=0), evidence) == 0


@pytest.mark.parametrize("bad", [{"epsilon": -0.1}, {"epsilon": 2}, {"min_trials": -1}])
def test_a_setting_out_of_range_is_refused_by_name(bad: dict[str, Any]):
    with pytest.raises(ConfigurationError, match=next(iter(bad))):
        EpsilonGreedySelector(**bad)
