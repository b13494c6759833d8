from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.estimates import Estimates, FloatArray, Prior
from orchestrator.core.statistics import COLUMNS, Column, Outcome

ARMS = 3
DERIVED = (
    "n",
    "mean",
    "variance",
    "root_inverse",
    "trials",
    "p_fail",
    "seconds",
    "speed",
    "tokens_out",
    "tokens_out_p95",
    "pulls",
    "begun",
)
OPEN = [(Column.OPENED, 1.0)]
EXPIRE = [(Column.EXPIRED, 1.0)]

outcomes = st.builds(
    Outcome,
    ok=st.booleans(),
    cost_usd=st.floats(0, 1),
    tokens_in=st.integers(0, 1000),
    tokens_out=st.integers(0, 1000),
    seconds=st.just(0.0) | st.floats(1e-6, 60),
)
ratings = st.floats(0, 1).map(
    lambda q: [(Column.N_QUALITY, 1.0), (Column.QUALITY, q), (Column.QUALITY_SQ, q * q)]
)
arms = st.integers(0, ARMS - 1)
steps = st.lists(
    st.tuples(st.just("open"), arms, st.just(OPEN))
    | st.tuples(st.just("add"), arms, outcomes.map(Outcome.deltas) | ratings | st.just(EXPIRE)),
    max_size=30,
)
unrated = st.lists(
    st.tuples(st.just("open"), arms, st.just(OPEN))
    | st.tuples(st.just("add"), arms, outcomes.map(Outcome.deltas)),
    max_size=20,
)
priors = st.none() | st.builds(
    Prior,
    st.lists(st.sampled_from([0.0, 1.0, 2.5]), min_size=ARMS, max_size=ARMS).map(np.array),
    st.lists(st.floats(0, 1), min_size=ARMS, max_size=ARMS).map(np.array),
)


def assert_alike(a: Estimates, b: Estimates) -> None:
    a.refresh()
    b.refresh()
    for name in DERIVED:
        np.testing.assert_allclose(
            getattr(a, name), getattr(b, name), rtol=1e-9, atol=1e-9, err_msg=name
        )
    assert a.any_failed >= bool(np.any(b.p_fail > 0))


def played(steps: Iterable[tuple[str, int, Any]], prior: Prior | None = None) -> Estimates:
    estimates = Estimates(ARMS, prior=prior)
    for what, arm, deltas in steps:
        if what == "open":
            estimates.open(arm)
        else:
            estimates.add(arm, deltas)
    estimates.refresh()
    return estimates


def sums_of(steps: Iterable[tuple[str, int, Any]]) -> FloatArray:
    sums = np.zeros((len(COLUMNS), ARMS))
    for _, arm, deltas in steps:
        for column, delta in deltas:
            sums[column, arm] += delta
    return sums


def rated(steps: Iterable[tuple[str, int, Any]]) -> bool:
    return bool(sums_of(steps)[Column.N_QUALITY].any())


# -- one by one is the same as all at once -----------------------------------------------------


@given(steps, priors)
def test_outcome_by_outcome_equals_all_at_once(steps: list[Any], prior: Prior | None):
    at_once = Estimates.of(sums_of(steps), rates_quality=rated(steps), prior=prior)

    assert_alike(played(steps, prior), at_once)


@given(steps, priors, st.randoms(use_true_random=False))
def test_the_order_of_outcomes_does_not_matter(steps: list[Any], prior: Prior | None, rng: Any):
    shuffled = rng.sample(steps, len(steps))

    assert_alike(played(steps, prior), played(shuffled, prior))


@given(unrated, steps, priors)
def test_judging_by_quality_begins_for_every_arm_at_once(
    before: list[Any], after: list[Any], prior: Prior | None
):
    estimates = played(before, prior)
    estimates.rate_quality()
    at_once = Estimates.of(sums_of(before), rates_quality=True, prior=prior)

    assert_alike(estimates, at_once)


@given(steps, priors)
def test_what_is_taken_away_again_leaves_nothing_behind(steps: list[Any], prior: Prior | None):
    counts_only = [(what, arm, [(c, 1.0) for c, _ in deltas]) for what, arm, deltas in steps]
    estimates = played(counts_only, prior)
    for _, arm, deltas in counts_only:
        estimates.add(arm, [(column, -delta) for column, delta in deltas])

    nothing = Estimates.of(np.zeros((len(COLUMNS), ARMS)), rates_quality=rated(steps), prior=prior)
    assert_alike(estimates, nothing)


@given(steps, priors, st.floats(0.01, 1))
def test_fading_multiplies_every_sum(steps: list[Any], prior: Prior | None, factor: float):
    estimates = played(steps, prior)
    estimates.scale(factor)

    at_once = Estimates.of(sums_of(steps) * factor, rates_quality=rated(steps), prior=prior)
    assert_alike(estimates, at_once)


@given(steps, priors)
def test_a_memory_that_has_faded_away_is_as_good_as_new(steps: list[Any], prior: Prior | None):
    estimates = played(steps, prior)
    for _ in range(60):
        estimates.scale(0.5)

    nothing = Estimates.of(np.zeros((len(COLUMNS), ARMS)), rates_quality=rated(steps), prior=prior)
    assert_alike(estimates, nothing)


@given(steps, priors)
def test_pending_pulls_count_until_they_end(steps: list[Any], prior: Prior | None):
    estimates = played(steps, prior)
    for _ in range(5):
        estimates.open(1)

    grown = played(steps, prior)
    assert estimates.trials[1] == pytest.approx(grown.trials[1] + 5)
    assert estimates.pulls == pytest.approx(grown.pulls + 5)
    assert estimates.begun == pytest.approx(grown.begun + 5)
    assert estimates.mean == pytest.approx(grown.mean)

    for _ in range(5):
        estimates.add(1, EXPIRE)
    assert_alike(estimates, grown)


@given(steps, priors)
def test_pulls_are_the_sum_of_what_each_arm_counts(steps: list[Any], prior: Prior | None):
    estimates, sums = played(steps, prior), sums_of(steps)
    pending = sums[Column.OPENED] - sums[Column.CLOSED] - sums[Column.EXPIRED]

    assert estimates.pulls.item() == pytest.approx((estimates.n + pending).sum())
    assert estimates.begun.item() == pytest.approx((sums[Column.CALLS] + pending).sum())


@given(steps, st.permutations([None, 0, 1, 2, None]), st.booleans())
def test_arms_that_move_keep_what_is_known_of_them(
    steps: list[Any], sources: list[int | None], with_prior: bool
):
    prior = Prior(np.arange(5.0), np.full(5, 0.3)) if with_prior else None
    sums = np.zeros((len(COLUMNS), 5))
    for now, was in enumerate(sources):
        if was is not None:
            sums[:, now] = sums_of(steps)[:, was]

    moved = played(steps).rearranged(sources, prior)

    assert_alike(moved, Estimates.of(sums, rates_quality=rated(steps), prior=prior))
    moved.add(0, Outcome(True, tokens_out=5, seconds=1.0).deltas())
    for column, delta in Outcome(True, tokens_out=5, seconds=1.0).deltas():
        sums[column, 0] += delta
    assert_alike(moved, Estimates.of(sums, rates_quality=rated(steps), prior=prior))


@given(st.lists(steps, min_size=1, max_size=4), priors, st.booleans())
def test_many_runs_at_once_are_as_many_single_ones(
    runs: list[Any], prior: Prior | None, rates_quality: bool
):
    sums = np.stack([sums_of(run) for run in runs], axis=1)

    together = Estimates.of(sums, rates_quality=rates_quality, prior=prior)

    for run in range(len(runs)):
        alone = Estimates.of(sums[:, run], rates_quality=rates_quality, prior=prior)
        for name in DERIVED:
            np.testing.assert_array_equal(getattr(together, name)[run], getattr(alone, name))


@given(steps, priors)
def test_a_reward_is_known_before_arrays_are_derived(steps: list[Any], prior: Prior | None):
    estimates = Estimates(ARMS, prior=prior)
    for what, arm, deltas in steps:
        if what == "add":
            estimates.add(arm, deltas)
    known = np.array([estimates.of_arm(arm) for arm in range(ARMS)]).T
    estimates.refresh()

    np.testing.assert_array_equal(known[:2], [estimates.n, estimates.mean])
    some = known[2] > 1e-9
    np.testing.assert_allclose(known[2][some] ** -0.5, estimates.root_inverse[some])


# -- what the numbers are ----------------------------------------------------------------------


def test_success_stands_in_for_quality_until_somebody_rates():
    estimates = Estimates(2)
    estimates.add(0, Outcome(True).deltas())
    estimates.add(0, Outcome(False).deltas())
    estimates.refresh()
    assert (estimates.mean[0], estimates.n[0], estimates.rates_quality) == (0.5, 2, False)

    estimates.add(1, [(Column.N_QUALITY, 1.0), (Column.QUALITY, 0.9), (Column.QUALITY_SQ, 0.81)])

    assert estimates.rates_quality
    assert (estimates.n[0], estimates.n[1]) == (0, 1)
    assert estimates.mean.tolist() == [0.5, 0.9]


def test_a_failed_call_is_no_bad_answer():
    estimates = Estimates(1)
    estimates.add(0, [(Column.N_QUALITY, 1.0), (Column.QUALITY, 0.9), (Column.QUALITY_SQ, 0.81)])
    estimates.add(0, Outcome(False).deltas())
    estimates.refresh()

    assert estimates.mean[0] == 0.9
    assert estimates.p_fail[0] == 1.0


def test_unknown_is_neither_good_nor_certain():
    estimates = Estimates(1)

    assert (estimates.n[0], estimates.mean[0], estimates.variance[0]) == (0.0, 0.5, 0.25)
    assert (estimates.root_inverse[0], estimates.p_fail[0], estimates.seconds[0]) == (1.0, 0.0, 0.0)
    assert math.isnan(estimates.speed[0])
    assert math.isnan(estimates.tokens_out_p95[0])


def test_a_prior_counts_as_so_many_pulls_that_were_won_or_lost():
    prior = Prior(np.array([4.0]), np.array([0.75]))
    believed = Estimates(1, prior=prior)
    seen = Estimates(1)
    for ok in (True, True, True, False):
        seen.add(0, Outcome(ok).deltas())
    seen.refresh()

    assert believed.n == seen.n
    assert believed.mean == seen.mean
    assert believed.variance == pytest.approx(seen.variance)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=20), st.floats(0.1, 10))
def test_speeds_and_token_counts_are_those_of_answers(tokens: list[int], seconds: float):
    estimates = Estimates(1)
    for n in tokens:
        estimates.add(0, Outcome(True, tokens_out=n, seconds=seconds).deltas())
    estimates.add(0, Outcome(False, tokens_out=10**6, seconds=10**6).deltas())
    estimates.refresh()

    assert estimates.tokens_out[0] == pytest.approx(np.mean(tokens))
    assert estimates.tokens_out_p95[0] == pytest.approx(
        np.mean(tokens) + 1.6448536 * np.std(tokens), rel=1e-6, abs=1e-3
    )
    assert estimates.seconds[0] == pytest.approx(seconds)
    if sum(tokens):
        assert estimates.speed[0] == pytest.approx(sum(tokens) / (seconds * len(tokens)))
    else:
        assert math.isnan(estimates.speed[0])


def test_what_rounding_leaves_of_ended_pulls_is_no_pull():
    estimates = Estimates(1)
    estimates.open(0, 0.1)
    estimates.open(0, 0.2)
    estimates.add(0, EXPIRE, 0.3)
    estimates.refresh()

    assert estimates.trials[0] != 0.0, "0.1 + 0.2 is not 0.3"
    assert estimates.root_inverse[0] == 1.0


def test_an_empty_pool_has_estimates_too():
    estimates = Estimates(0)

    assert estimates.pulls.item() == 0
    assert estimates.rearranged([]).mean.shape == (0,)
