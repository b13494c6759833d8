"""A tally that follows pull by pull is what `Estimates.of` derives from whole sums."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.analysis.tally import Tally
from orchestrator.core.estimates import Estimates, FloatArray
from orchestrator.core.statistics import COLUMNS, Column

GROUPS, ARMS, RUNS = 2, 3, 4
_NO_ARRAYS = ("prior", "rates_quality", "any_failed", "version", "kept")
READ = [
    name
    for name in (*Estimates.__slots__, "seconds", "speed")
    if not name.startswith("_") and name not in _NO_ARRAYS
]
"""Every array that a selector may read; tokens, which a simulation has none of, stay unknown."""

lanes = st.lists(
    st.tuples(st.integers(0, GROUPS - 1), st.integers(0, ARMS - 1), st.floats(0, 1)),
    min_size=RUNS,
    max_size=RUNS,
)
pulls = st.tuples(lanes, st.integers(0, 3))
histories = st.lists(pulls, max_size=12)


def columns(history: list[Any], fading: float) -> tuple[Tally, Tally, FloatArray]:
    """Play a history; return the tally of all rounds, the one by group, and whole sums.

    Of each round's pulls: 0 are open, 1 closed, 2 forgotten, 3 forgotten while open.
    """
    total, grouped = Tally(1, ARMS, RUNS), Tally(GROUPS, ARMS, RUNS)
    sums = np.zeros((len(COLUMNS), GROUPS, RUNS, ARMS))
    for pulled, fate in history:
        groups, arms, rewards = (np.array(values) for values in zip(*pulled, strict=True))
        for tally, group in ((total, None), (grouped, groups)):
            tally.fade(fading)
            tally.open(arms, group)
            if fate in (1, 2):
                tally.close(arms, group, rewards)
            if fate == 2:
                tally.close(arms, group, rewards, -1.0)
            if fate in (2, 3):
                tally.open(arms, group, -1.0)
        sums *= fading
        for run, (group, arm, reward) in enumerate(pulled):
            if fate <= 1:
                sums[Column.OPENED, group, run, arm] += 1.0
            if fate == 1:
                for column in (Column.CLOSED, Column.CALLS, Column.OK, Column.N_QUALITY):
                    sums[column, group, run, arm] += 1.0
                sums[Column.QUALITY, group, run, arm] += reward
                sums[Column.QUALITY_SQ, group, run, arm] += reward**2
    return total, grouped, sums


def assert_alike(found: Estimates, wanted: Estimates) -> None:
    for name in READ:
        one, other = getattr(found, name), getattr(wanted, name)
        assert one.shape == other.shape, name
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-7, err_msg=name)
    assert found.any_failed == wanted.any_failed
    assert found.rates_quality


@given(histories, st.sampled_from([1.0, 0.9]))
def test_pull_by_pull_equals_all_at_once(history: list[Any], fading: float):
    total, _, sums = columns(history, fading)

    assert_alike(total.first, Estimates.of(sums.sum(axis=1)))


@given(histories, st.sampled_from([1.0, 0.9]), st.lists(st.integers(0, GROUPS - 1), min_size=RUNS))
def test_each_run_reads_the_group_it_asks_for(history: list[Any], fading: float, asked: list[int]):
    _, grouped, sums = columns(history, fading)

    groups = np.array(asked[:RUNS])
    assert_alike(grouped.of(groups), Estimates.of(sums[:, groups, np.arange(RUNS)]))


def test_what_is_known_beforehand_counts_like_pulls_that_have_ended():
    known = np.array([[2.0, 0.0, 1.0]])
    tally = Tally(1, ARMS, RUNS)
    tally.add(known, known * 0.5, known * 0.25)

    for _, arm, times in ((0, 0, 2), (0, 2, 1)):
        for _ in range(times):
            other = np.full(RUNS, arm)
            assert tally.first.n[0, arm] == times
            tally.close(other, None, np.full(RUNS, 0.5), -1.0)
            tally.open(other, None, -1.0)
            times -= 1
    assert_alike(tally.first, Tally(1, ARMS, RUNS).first)


def test_a_revised_arm_has_fewer_rewards_and_no_fewer_trials():
    tally, kept = Tally(1, ARMS, RUNS, adapts=True), Tally(1, ARMS, RUNS, adapts=True)
    rewards = np.tile([0.8, 0.4, 0.6, 0.6], (40, 1))
    for t, reward in enumerate(rewards):
        for one in (tally, kept):
            one.open(np.full(RUNS, t % 2), None)
            one.close(np.full(RUNS, t % 2), None, reward)

    arm, lane = np.array([1]), np.array([2])
    added = tally.revise(arm, lane, np.array([0.5]), np.array([-0.25]))

    before, after = kept.first, tally.first
    assert after.n[2, 1] == before.n[2, 1] - 10
    assert after.mean[2, 1] == pytest.approx(before.mean[2, 1] - 0.25)
    assert after.variance[2, 1] == pytest.approx(before.variance[2, 1])
    assert after.root_inverse[2, 1] == pytest.approx(10**-0.5)
    assert after.pulls[2] == before.pulls[2] - 10
    assert added[:2, 0] == pytest.approx([-10, 10 * 0.35 - 20 * 0.6])
    assert np.array_equal(after.trials, before.trials)
    assert (after.begun == 40).all()
    others = np.arange(RUNS) != 2
    for name in READ:
        assert np.array_equal(getattr(after, name)[others], getattr(before, name)[others], True)
