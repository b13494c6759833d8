from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.estimates import Estimates, FloatArray
from orchestrator.core.views import Evidence, View
from orchestrator.selectors import (
    LinTSSelector,
    NIGThompsonSelector,
    SamplingSelector,
    ThompsonSelector,
)
from tests.selectors.arms import calls, candidates, evidence_of, sums_of

# Exact chances that a Beta draw is the largest, each computed apart from this code: the parameters
# of every arm, and the chances.
GOLDEN = [
    ([(91, 11), (81, 21)], [0.975173, 0.024827]),
    ([(91, 11), (81, 21), (6, 6)], [0.974314, 0.024746, 0.00094]),
    ([(3, 1), (1, 3)], [0.95, 0.05]),
    (
        [(501, 101), (451, 151), (41, 11), (1, 1)],
        [0.638168, 7.6e-05, 0.200761, 0.160995],
    ),
]


def odds_of(selector: SamplingSelector, evidence: Evidence, **arms: Any) -> FloatArray:
    known = candidates(evidence.total.mean.shape[-1], **arms)
    return selector.odds(evidence, known)()


def beta_odds(*wins_and_losses: tuple[int, int], **arms: Any) -> FloatArray:
    """Return odds of Beta beliefs after so many of each."""
    sums = sums_of(*[calls(won + lost, won) for won, lost in wins_and_losses])
    return odds_of(ThompsonSelector(), evidence_of(sums), **arms)


@pytest.mark.parametrize(("arms", "chances"), GOLDEN)
def test_the_odds_of_beta_beliefs_are_exact(arms: list[tuple[int, int]], chances: list[float]):
    found = beta_odds(*[(alpha - 1, beta - 1) for alpha, beta in arms])

    assert found == pytest.approx(np.array(chances), abs=1e-6)


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.5, 0.99, 1.0])
def test_of_two_arms_never_tried_the_dearer_is_better_as_often_as_geometry_says(shift: float):
    """Of two uniform draws the second exceeds the first by more than the shift."""
    found = beta_odds((0, 0), (0, 0), penalty=[0.0, shift])

    assert found[1] == pytest.approx((1 - shift) ** 2 / 2, abs=1e-6)


def test_an_arm_that_cannot_reach_the_others_is_never_the_best():
    found = beta_odds((0, 0), (0, 0), penalty=[0.0, 1.5])

    assert found.tolist() == pytest.approx([1.0, 0.0])


@given(st.integers(1, 40), st.integers(0, 50), st.integers(0, 50))
def test_arms_that_are_alike_are_equally_likely(n_arms: int, won: int, lost: int):
    assert beta_odds(*[(won, lost)] * n_arms) == pytest.approx(np.full(n_arms, 1 / n_arms))


@given(st.integers(1, 10**7), st.floats(0, 1), st.floats(0, 0.01))
def test_an_arm_known_to_the_last_digit_is_compared_by_the_others_distribution(
    n: int, mean: float, penalty: float
):
    """With the other arm untried: the chance of a uniform draw below what is known."""
    won = round(mean * n)

    found = beta_odds((won, n - won), (0, 0), penalty=[penalty, 0.0])

    # E[X - penalty, where above 0]; the penalty is small beside what may be cut at 0.
    expected = (won + 1) / (n + 2) - penalty
    assert found[0] == pytest.approx(expected, abs=1e-6 + penalty)


def test_two_gaussian_beliefs_compare_as_their_difference():
    selector = LinTSSelector(1, exploration=0.5)
    view = View(selector.memory, ["a:m", "b:m"], n_extra=selector.n_extra)
    for key, n in ("a:m", 20), ("b:m", 3):
        view.add(0, "all", key, calls(n, n // 2))
    evidence = view.evidence("all")
    assert evidence.extra is not None
    mean, squared = evidence.extra.predict(None)
    away = (mean[0] - mean[1]) / (0.5 * math.sqrt(squared.sum()))

    found = odds_of(selector, evidence)

    assert found[0] == pytest.approx(0.5 * (1 + math.erf(away / math.sqrt(2))), abs=1e-6)


def test_a_student_belief_with_many_calls_compares_as_a_gaussian_one():
    sums = sums_of(calls(100_000, 60_000), calls(100_000, 59_800))
    spread = math.sqrt((0.6 * 0.4 + 0.598 * 0.402) / 100_000)

    found = odds_of(NIGThompsonSelector(), evidence_of(sums))

    expected = 0.5 * (1 + math.erf(0.002 / spread / math.sqrt(2)))
    assert found[0] == pytest.approx(expected, abs=1e-4)


def test_heavy_tails_are_not_cut():
    """Two arms never tried: a Student-t of two degrees of freedom, alike but for a shift."""
    cold = Evidence(Estimates(2))
    rng, n = np.random.default_rng(5), 400_000
    draws = rng.standard_t(2.0, (n, 2)) * math.sqrt(0.1) + 0.5 - np.array([0.0, 0.4])
    share = float((draws[:, 1] > draws[:, 0]).mean())

    found = odds_of(NIGThompsonSelector(), cold, penalty=[0.0, 0.4])

    # Five standard deviations of the share that was drawn.
    assert found[1] == pytest.approx(share, abs=5 * math.sqrt(share / n))


@pytest.mark.parametrize("selector", [ThompsonSelector(), NIGThompsonSelector()])
def test_a_thousand_arms_of_every_size_have_odds(selector: SamplingSelector):
    rng = np.random.default_rng(2)
    n = (10 ** rng.uniform(0, 5, 1000)).astype(int)
    sums = sums_of(*[calls(int(k), int(rng.binomial(k, 0.7))) for k in n])
    penalty = rng.uniform(0, 0.2, 1000)

    found = odds_of(selector, evidence_of(sums), penalty=penalty)

    assert found.sum() == pytest.approx(1.0)
    assert np.isfinite(found).all()
    assert (found > 0).sum() > 1
