"""An arm that has changed is found out; one that has not is left alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.changes import (
    MIN_KNOWN,
    ChangeDetector,
    Changes,
    after_change,
    spread_after,
)


def feed(detector: ChangeDetector, stream: int, rewards: list[float], mean: float) -> Changes:
    """Add rewards one by one, up to the first change."""
    for reward in rewards:
        found = detector.add([stream], [1.0], [reward], [mean])
        if found.streams.size:
            return found
    return Changes(np.empty(0, dtype=int), np.empty(0), np.empty(0))


def coins(mean: float, n: int, seed: int) -> list[float]:
    rng = np.random.default_rng(seed)
    return [float(won) for won in rng.random(n) < mean]


@pytest.mark.parametrize("mean", [0.05, 0.5, 0.98])
def test_a_hundred_streams_that_stand_still_raise_no_alarm(mean: float):
    rng = np.random.default_rng(1)
    detector, streams = ChangeDetector(100), np.arange(100)

    for _ in range(2000):
        rewards = (rng.random(100) < mean).astype(float)
        found = detector.add(streams, np.ones(100), rewards, np.full(100, mean))

        assert not found.streams.size


def test_a_silent_regression_is_noticed_within_a_hundred_rewards():
    rng = np.random.default_rng(2)
    detector, streams = ChangeDetector(50), np.arange(50)
    one, usual = np.ones(50), np.full(50, 0.9)
    for _ in range(1000):
        detector.add(streams, one, (rng.random(50) < 0.9).astype(float), usual)

    found = [
        detector.add(streams, one, (rng.random(50) < 0.5).astype(float), usual) for _ in range(100)
    ]

    assert {int(stream) for change in found for stream in change.streams} == set(range(50))
    shift = np.concatenate([change.shift for change in found])
    assert shift.mean() == pytest.approx(-0.4, abs=0.1)
    assert np.median(np.concatenate([change.share for change in found])) < 0.1


def test_what_lay_before_a_change_no_longer_counts():
    detector = ChangeDetector(1)
    feed(detector, 0, [1.0] * 500, 1.0)
    assert feed(detector, 0, [0.0] * 50, 1.0).streams.size

    assert not feed(detector, 0, [0.0] * 500, 0.0).streams.size


def test_harder_requests_are_not_a_change():
    detector = ChangeDetector(2)
    feed(detector, 0, coins(0.9, 1000, 3), 0.9)
    feed(detector, 1, coins(0.9, 1000, 3), 0.9)

    expected = feed(detector, 0, coins(0.4, 300, 4), 0.4)
    unexpected = feed(detector, 1, coins(0.4, 300, 4), 0.9)

    assert not expected.streams.size
    assert unexpected.streams.size


def test_streams_know_nothing_of_each_other():
    rng = np.random.default_rng(5)
    rewards = (rng.random((400, 3)) < [0.9, 0.5, 0.2]).astype(float)
    rewards[200:, 1] = 1.0
    together = ChangeDetector(3)
    alone = [ChangeDetector(1) for _ in range(3)]

    for row in rewards:
        some = np.flatnonzero(rng.random(3) < 0.8)
        found = together.add(some, np.ones(some.size), row[some], np.full(some.size, 0.5))
        each = [alone[s].add([0], [1.0], [row[s]], [0.5]) for s in some]

        assert found.streams.tolist() == [
            s for s, one in zip(some, each, strict=True) if one.streams.size
        ]
        shifts = [shift for one in each for shift in one.shift]
        np.testing.assert_allclose(found.shift, shifts)


def test_streams_that_move_keep_what_they_held():
    detector = ChangeDetector(2)
    feed(detector, 1, [1.0] * 200, 1.0)

    moved = detector.rearranged([None, 1, 0])

    assert feed(moved, 1, [0.0] * 30, 1.0).streams.tolist() == [1]
    assert not feed(moved, 0, [0.0] * 30, 1.0).streams.size


@given(
    n=st.floats(0, 1e6),
    mean=st.floats(0, 1),
    share=st.floats(0, 1),
    shift=st.floats(-1, 1),
)
def test_a_change_leaves_no_more_evidence_than_there_was(
    n: float, mean: float, share: float, shift: float
):
    left, now = after_change(*map(np.asarray, (n, mean, share, shift)))

    assert min(n, MIN_KNOWN) <= left <= n
    assert 0 <= now <= 1


@given(before=st.floats(0.01, 0.99), after=st.floats(0, 1), share=st.floats(0, 1))
def test_rewards_stay_as_spread_out_as_their_mean_lets_them(
    before: float, after: float, share: float
):
    spread = share * before * (1 - before)

    now = spread_after(*map(np.asarray, (spread, before, after)))

    assert now == pytest.approx(share * after * (1 - after), abs=1e-12)


def test_rewards_that_were_all_alike_may_be_won_or_lost_from_now_on():
    assert spread_after(*map(np.asarray, (0.0, 1.0, 0.5))) == 0.25
