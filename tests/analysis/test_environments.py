from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from orchestrator.analysis.environments import Bernoulli
from orchestrator.analysis.problems import PROBLEMS, problem
from orchestrator.core.errors import InvalidRequestError

RUNS = 20_000


def shares(environment: Bernoulli, t: int, arm: int) -> float:
    episode = environment.episode(10_000, RUNS, np.random.default_rng(1))
    return float(episode.reveal(t, np.full(RUNS, arm)).mean())


@pytest.mark.parametrize(
    ("t", "rate"), [(0, 0.4), (2999, 0.4), (3000, 0.9), (4999, 0.9), (5000, 0.4)]
)
def test_an_arm_wins_at_the_rate_of_its_phase(t: int, rate: float):
    margin = 5 * math.sqrt(0.25 / RUNS)

    assert shares(problem("N1"), t, 2) == pytest.approx(rate, abs=margin)


def test_a_gap_is_what_a_pull_falls_short_of_the_best_arm_of_its_round():
    episode = problem("N2").episode(10_000, 2, np.random.default_rng(1))

    gaps = episode.gaps(3999, np.array([[0, 1], [0, 1]]))

    assert gaps == pytest.approx(np.array([[0.0, 0.05], [0.35, 0.0]]))


def test_the_last_problem_turns_by_one_place_every_two_thousand_rounds():
    environment = problem("N3")

    assert environment.shifts == (2000, 4000, 6000, 8000)
    assert environment.means[1].tolist() == [0.3, 0.9, 0.7, 0.5]
    assert environment.means[4].tolist() == environment.means[0].tolist()


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_problem_has_a_best_arm_throughout(name: str):
    means = np.sort(problem(name).means, axis=1)

    assert np.all(means[:, -1] > means[:, -2])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"means": []}, "one or more numbers"),
        ({"means": [0.5, 1.1]}, "numbers in"),
        ({"means": [0.5, math.nan]}, "numbers in"),
        ({"means": [0.5], "delay": -1}, "a delay is at least 0"),
        ({"means": [0.5], "later": [(10, [0.1, 0.2])]}, "a rate for each arm"),
        ({"means": [0.5], "later": [(10, [0.1]), (5, [0.2])]}, "in order"),
        ({"means": [0.5], "later": [(0, [0.1])]}, "in order"),
    ],
)
def test_arms_that_cannot_be_are_refused(arguments: dict[str, Any], told: str):
    with pytest.raises(InvalidRequestError, match=told):
        Bernoulli(**arguments)


def test_a_problem_that_is_unknown_is_told_those_that_are_known():
    with pytest.raises(InvalidRequestError, match="known: A, B, C, D, E, F, N1, N2, N3"):
        problem("G")
