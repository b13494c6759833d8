from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from orchestrator.analysis import regret
from orchestrator.analysis.environments import Bernoulli
from orchestrator.analysis.problems import problem
from orchestrator.analysis.regret import (
    lai_robbins,
    pull_fractions,
    recovery_rounds,
    regret_curve,
)
from orchestrator.analysis.simulation import Trace


def pulled(arms: Any, environment: Bernoulli | None = None) -> Trace:
    """Return a trace of these pulls, shape ``(horizon, runs)``; arm 1 falls short by 0.5."""
    environment = environment or Bernoulli([0.9, 0.4])
    episode = environment.episode(0, 0, np.random.default_rng(1))
    return Trace(environment, episode, np.array(arms, dtype=np.int16))


def test_regret_adds_up_what_each_pull_falls_short():
    curve = regret_curve(pulled([[0, 1], [1, 1], [0, 1], [1, 1]]))

    assert curve.rounds.tolist() == [1, 2, 3, 4]
    assert curve.mean.tolist() == [0.25, 0.75, 1.0, 1.5]
    assert curve.final.tolist() == [1.0, 2.0]


def test_the_interval_is_that_of_the_mean_and_the_band_that_of_the_runs():
    rng = np.random.default_rng(1)
    curve = regret_curve(pulled(rng.integers(0, 2, (50, 400))))

    assert curve.ci95[-1] == pytest.approx(1.96 * curve.final.std(ddof=1) / math.sqrt(400))
    assert np.mean(curve.final < curve.low[-1]) < 0.06
    assert np.mean(curve.final > curve.high[-1]) < 0.06
    assert np.mean((curve.final >= curve.low[-1]) & (curve.final <= curve.high[-1])) > 0.89


def test_one_run_has_no_interval():
    assert np.isnan(regret_curve(pulled([[1], [0]])).ci95).all()


def test_a_long_trace_is_read_in_parts(monkeypatch: pytest.MonkeyPatch):
    trace = pulled(np.random.default_rng(1).integers(0, 3, (997, 3)), problem("N1"))
    whole = regret_curve(trace, points=50)

    monkeypatch.setattr(regret, "_AT_ONCE", 30)
    parts = regret_curve(trace, points=50)

    assert len(whole.rounds) == 50
    assert whole.rounds[-1] == 997
    np.testing.assert_allclose(parts.mean, whole.mean)
    np.testing.assert_allclose(parts.final, whole.final)


def test_where_arms_shift_regret_is_against_the_best_of_the_round():
    always_first = np.zeros((10_000, 1))

    assert regret_curve(pulled(always_first, problem("N1"))).final[0] == pytest.approx(0.4 * 2000)


def test_fractions_are_shares_of_all_pulls():
    fractions = pull_fractions(pulled([[0, 1], [0, 0]], Bernoulli([0.9, 0.8, 0.7])))

    assert fractions.tolist() == [0.75, 0.25, 0.0]


@pytest.mark.parametrize(("right_from", "back"), [(100, 0), (110, 0), (140, 30), (209, 99)])
def test_a_run_is_back_where_nine_in_ten_pulls_that_follow_are_right(right_from: int, back: int):
    """From round 100 on arm 1 is the best, and from round 300 on it is not."""
    assert recovery_rounds(turned(right_from), 100).tolist() == [back]


def test_a_run_that_the_next_shift_overtakes_was_never_back():
    assert np.isnan(recovery_rounds(turned(211), 100)).all()


def turned(right_from: int) -> Trace:
    environment = Bernoulli([0.9, 0.1], later=[(100, [0.1, 0.9]), (300, [0.9, 0.1])])
    return pulled((np.arange(500) >= right_from)[:, None], environment)


def test_a_run_that_is_right_now_and_then_is_not_back():
    environment = Bernoulli([0.9, 0.1], later=[(100, [0.1, 0.9])])
    arms = np.arange(800)[:, None] % 2

    assert np.isnan(recovery_rounds(pulled(arms, environment), 100)).all()
    assert np.isnan(recovery_rounds(pulled(arms[:150], environment), 100)).all()


@pytest.mark.parametrize(
    ("name", "bound"),
    [("A", 20.7), ("B", 91.9), ("C", 190.3), ("D", 160.7), ("E", 69.2), ("F", 191.9)],
)
def test_the_lower_bound_is_that_of_lai_and_robbins(name: str, bound: float):
    assert lai_robbins(problem(name).means[0]) * math.log(10_000) == pytest.approx(bound, abs=0.05)


def test_arms_that_never_win_or_always_do_have_a_bound_too():
    assert lai_robbins([0.5, 0.0]) == pytest.approx(0.5 / math.log(2))
    assert lai_robbins([1.0, 0.5]) == 0.0
    assert lai_robbins([0.5, 0.5]) == 0.0
