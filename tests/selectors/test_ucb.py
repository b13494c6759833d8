from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import ConfigurationError
from orchestrator.core.statistics import Column
from orchestrator.selectors import UCBModelSelector
from orchestrator.selectors.ucb import kl_ucb, ucb1, ucb_tuned
from tests.selectors.arms import (
    best,
    calls,
    candidates,
    evidence_of,
    one_arm,
    rated,
    score,
    sums_of,
)
from tests.selectors.play import played

# Each computed apart from this code from the formula of its paper: mean, n, t, and the indices.
GOLDEN = [
    (0.5, 10, 100, 1.459705, 0.839307, 0.88790876),
    (0.9, 100, 1000, 1.271692, 1.031413, 0.9757914),
    (0.0, 5, 50, 1.250923, 0.442268, 0.54269495),
    (1.0, 5, 50, 2.250923, 1.442268, 1.0),
    (0.1, 1000, 10_000, 0.235723, 0.145596, 0.14555598),
    (0.75, 20, 10_000, 1.709705, 1.089307, 0.98236802),
]
LOTS = 10**6


def scores_of(selector: UCBModelSelector, *arms: list[tuple[int, float]]) -> list[float]:
    evidence = evidence_of(sums_of(*arms))
    return score(selector, evidence, candidates(len(arms))).tolist()  # type: ignore[no-any-return]


# -- indices -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("mean", "n", "t", "of_ucb1", "of_tuned", "of_kl"), GOLDEN)
def test_each_index_is_what_its_paper_says(
    mean: float, n: int, t: int, of_ucb1: float, of_tuned: float, of_kl: float
):
    estimates, root_log = one_arm(mean, n), math.sqrt(2 * math.log(t))

    assert ucb1(estimates, root_log).item() == pytest.approx(of_ucb1, abs=1e-6)
    assert ucb_tuned(estimates, root_log).item() == pytest.approx(of_tuned, abs=1e-6)
    assert kl_ucb(estimates, root_log).item() == pytest.approx(of_kl, abs=1e-8)


@pytest.mark.parametrize("index", ["ucb1", "tuned", "kl"])
def test_a_selector_scores_with_its_index(index: Any):
    selector = UCBModelSelector(index=index, min_trials=0)
    of = {"ucb1": 3, "tuned": 4, "kl": 5}[index]

    found = scores_of(selector, rated(0.5, 10), rated(0.1, 90))

    assert found[0] == pytest.approx(GOLDEN[0][of], abs=1e-6)


@given(st.floats(0, 1), st.integers(1, 1000), st.integers(1, 10**6))
def test_every_index_lies_above_the_mean_and_sinks_with_every_pull(mean: float, n: int, t: int):
    root_log = math.sqrt(2 * math.log(max(t, n)))
    for index in (ucb1, ucb_tuned, kl_ucb):
        before = index(one_arm(mean, n), root_log).item()
        after = index(one_arm(mean, n + 1), root_log).item()

        assert mean - 1e-9 <= after <= before + 1e-9


@given(st.floats(0, 1), st.integers(1, 1000), st.integers(2, 10**6))
def test_the_kullback_leibler_bound_is_the_tightest_of_the_classic_two(mean: float, n: int, t: int):
    """By Pinsker's inequality it lies below the bound with half of UCB1's ln t / n."""
    root_log = math.sqrt(2 * math.log(t))

    tight = kl_ucb(one_arm(mean, n), root_log).item()

    assert tight <= min(mean + math.sqrt(math.log(t) / (2 * n)), 1.0) + 1e-8


# -- exploring ---------------------------------------------------------------------------------


def test_no_exploration_is_greedy():
    greedy = UCBModelSelector(0.0, min_trials=0)

    assert scores_of(greedy, rated(0.5, 1), rated(0.6, LOTS), calls(0)) == [0.5, 0.6, 0.5]


def test_the_more_exploration_the_more_a_little_known_arm_gains():
    arms = rated(0.5, 10), rated(0.6, 1000)
    gains = [
        UCBModelSelector(factor, min_trials=0, index="ucb1") for factor in (0.0, 0.5, 2.0, 8.0)
    ]

    leads = [(lambda s: s[0] - s[1])(scores_of(selector, *arms)) for selector in gains]

    assert leads == sorted(leads)
    assert leads[0] < 0 < leads[-1]


def test_arms_with_too_few_trials_come_first_the_least_tried_before_all():
    selector = UCBModelSelector(min_trials=5)
    arms = calls(100), calls(3, 0), calls(1, 0), calls(5, 0)

    order = np.argsort([-s for s in scores_of(selector, *arms)], kind="stable")

    assert order.tolist() == [2, 1, 0, 3]


def test_a_pull_that_is_pending_is_a_trial():
    selector = UCBModelSelector(min_trials=2)

    assert best(selector, evidence_of(sums_of(calls(0, pending=2), calls(1)))) == 1
    assert best(selector, evidence_of(sums_of(calls(0, pending=1), calls(2)))) == 0


@pytest.mark.parametrize("index", ["ucb1", "tuned", "kl"])
def test_pending_pulls_make_an_arm_less_tempting(index: Any):
    selector = UCBModelSelector(index=index, min_trials=0)
    evidence = evidence_of(sums_of(calls(20, 10, pending=30), calls(20, 10)))

    assert best(selector, evidence) == 1


def test_many_arms_are_not_all_forced():
    """Ten thousand arms at five trials each would be fifty thousand forced calls."""
    selector = UCBModelSelector(min_trials=5, exploration_cap=1000)
    tried = sums_of(*[calls(1)] * 999, *[calls(0)] * 9001)
    forced = score(selector, evidence_of(tried), candidates(10_000)).max()
    tried[:, 999] = tried[:, 0]

    free = score(selector, evidence_of(tried), candidates(10_000)).max()

    assert forced > 1e8
    assert free < 10


def test_ratings_do_not_begin_the_forced_calls_anew():
    selector = UCBModelSelector(min_trials=5, exploration_cap=100)
    sums = sums_of(calls(150), calls(0))
    sums[[Column.N_QUALITY, Column.QUALITY, Column.QUALITY_SQ], 0] = 1.0

    assert score(selector, evidence_of(sums), candidates(2)).max() < 10


def test_the_penalty_is_subtracted_from_the_index_but_not_from_forced_trials():
    selector = UCBModelSelector(0.0, min_trials=1)
    evidence = evidence_of(sums_of(rated(0.9, 10), rated(0.7, 10), calls(0)))

    found = score(selector, evidence, candidates(3, penalty=[0.3, 0.0, 5.0]))

    assert found[:2].tolist() == pytest.approx([0.6, 0.7])
    assert found[2] > 1e8


# -- intervals ---------------------------------------------------------------------------------


def test_an_interval_is_as_wide_as_hoeffding_says():
    evidence = evidence_of(sums_of(rated(0.5, 200)))
    width = math.sqrt(math.log(2 / 0.05) / 400)

    low, high = UCBModelSelector(confidence_level=0.95).interval(evidence)

    assert (low.item(), high.item()) == pytest.approx((0.5 - width, 0.5 + width))


def test_an_interval_of_what_was_never_tried_is_everything():
    low, high = UCBModelSelector().interval(evidence_of(sums_of(calls(0))))

    assert (low.item(), high.item()) == (0.0, 1.0)


@pytest.mark.parametrize(("p", "n"), [(0.5, 30), (0.9, 100), (0.05, 10)])
def test_intervals_hold_the_truth_as_often_as_they_claim(p: float, n: int):
    runs = 4000
    won = np.random.default_rng(3).binomial(n, p, runs)
    evidence = evidence_of(sums_of(*[rated(w / n, n) for w in won]))

    low, high = UCBModelSelector(confidence_level=0.9).interval(evidence)

    covered = np.mean((low <= p) & (p <= high))
    # Hoeffding promises at least this; three standard deviations of chance are allowed for.
    assert covered >= 0.9 - 3 * math.sqrt(0.09 / runs)


# -- learning ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("index", "reference"), [("tuned", 41.7), ("kl", 59.4), ("ucb1", 110.2)])
def test_the_best_of_five_arms_is_found_about_as_fast_as_others_report(
    index: Any, reference: float
):
    """Regret after 2,000 rounds on arms of .50 to .30; choosing at random costs 200.

    The references are means of 1,000 runs of other implementations of the same papers, with a
    spread of at most 50 between runs.
    """
    runs = 150
    selector = UCBModelSelector(index=index, min_trials=1, floor=0.0)

    regret = played(selector, (0.5, 0.45, 0.4, 0.35, 0.3), 2000, runs).mean()

    assert regret == pytest.approx(reference, abs=4 * 50 / math.sqrt(runs))
    assert regret < 200 - 4 * 50 / math.sqrt(runs)


# -- settings ----------------------------------------------------------------------------------


def test_the_settings_that_users_know_are_the_defaults():
    selector = UCBModelSelector(exploration_factor=2.0, min_trials=5, confidence_level=0.95)

    assert vars(selector) == vars(UCBModelSelector())


@pytest.mark.parametrize(
    "bad",
    [
        {"exploration_factor": -1},
        {"exploration_factor": math.nan},
        {"exploration_factor": math.inf},
        {"min_trials": -1},
        {"confidence_level": 0},
        {"confidence_level": 1},
        {"confidence_level": math.nan},
        {"exploration_cap": -1},
        {"floor": -0.1},
        {"floor": 1.1},
        {"index": "ucb2"},
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(bad: dict[str, Any]):
    with pytest.raises(ConfigurationError, match=next(iter(bad))):
        UCBModelSelector(**bad)
