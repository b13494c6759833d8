"""A view that adapts: what an arm was before it changed is believed no longer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import ConfigurationError
from orchestrator.core.statistics import COLUMNS, Column, Outcome, Statistics
from orchestrator.core.views import Memory, View
from orchestrator.core.watch import revision

ADAPTIVE = Memory(adaptive=True)
KEYS = ("a:one", "b:two")


def rate(view: View, minute: int, segment: str, arm: int, quality: float) -> None:
    view.open(minute, segment, arm)
    rating = [(Column.N_QUALITY, 1.0), (Column.QUALITY, quality), (Column.QUALITY_SQ, quality**2)]
    view.add(minute, segment, KEYS[arm], [*Outcome(True, seconds=1.0).deltas(), *rating])


def play(view: View, mean: float, minutes: range, seed: int, segment: str = "all") -> None:
    rng = np.random.default_rng(seed)
    for minute in minutes:
        view.advance(minute)
        rate(view, minute, segment, 0, float(rng.random() < mean))
    view.advance(minutes.stop)


def test_an_arm_that_regressed_is_believed_what_it_is_now():
    view = View(ADAPTIVE, KEYS, segmented=True)
    play(view, 0.9, range(1, 1001), 1)
    play(view, 0.4, range(1001, 1101), 2)

    evidence = view.evidence("all")

    assert evidence.segment is not None
    assert evidence.total.mean[0] == pytest.approx(0.4, abs=0.15)
    assert evidence.segment.mean[0] == pytest.approx(evidence.total.mean[0])
    assert evidence.total.n[0] < 150


def test_an_arm_that_stands_still_is_remembered_whole():
    view = View(ADAPTIVE, KEYS)
    play(view, 0.7, range(1, 1501), 3)

    assert view.total.n[0] == 1500


def test_success_is_watched_where_nothing_is_rated():
    view = View(ADAPTIVE, KEYS)
    for minute in range(1, 401):
        view.advance(minute)
        view.open(minute, "all", 0)
        view.add(minute, "all", KEYS[0], Outcome(minute <= 300, seconds=2.0).deltas())

    assert view.total.p_fail[0] > 0.85
    assert view.total.seconds[0] == pytest.approx(2.0)


def test_segments_keep_their_distance_when_their_arm_moves():
    view = View(ADAPTIVE, KEYS, segmented=True)
    rng = np.random.default_rng(4)
    for minute in range(1, 1200):
        view.advance(minute)
        segment, mean = (("easy", 0.9), ("hard", 0.6))[minute % 2]
        mean -= 0.5 if minute > 1000 else 0.0
        rate(view, minute, segment, 0, float(rng.random() < mean))

    easy, hard = (view.evidence(name).segment for name in ("easy", "hard"))

    assert easy is not None
    assert hard is not None
    assert easy.mean[0] == pytest.approx(0.4, abs=0.15)
    assert hard.mean[0] == pytest.approx(0.1, abs=0.15)
    assert view.total.n[0] == pytest.approx(easy.n[0] + hard.n[0])


def test_other_requests_than_before_are_not_a_change():
    view = View(ADAPTIVE, KEYS, segmented=True)
    play(view, 0.9, range(1, 501), 5, "easy")
    play(view, 0.2, range(501, 1001), 6, "hard")

    assert view.total.n[0] == 1000


def test_a_restart_remembers_the_change_too():
    statistics, live = Statistics("node"), View(ADAPTIVE, KEYS)
    rng = np.random.default_rng(7)
    for minute in range(1, 501):
        live.advance(minute)
        won = float(rng.random() < (0.9 if minute <= 400 else 0.2))
        one = [(Column.OPENED, 1.0), *Outcome(True, seconds=1.0).deltas()]
        deltas = [*one, (Column.N_QUALITY, 1.0), (Column.QUALITY, won), (Column.QUALITY_SQ, won)]
        statistics.add(minute, "all", KEYS[0], deltas)
        live.add(minute, "all", KEYS[0], deltas)
    live.advance(501)

    again = View(ADAPTIVE, KEYS)
    again.advance(501)
    again.replay([(row_id, row.sums) for row_id, row in reversed(list(statistics.rows()))])
    again.advance(502)

    assert live.total.mean[0] < 0.4
    assert again.total.mean[0] == pytest.approx(live.total.mean[0])
    assert again.total.n[0] == pytest.approx(live.total.n[0])


def test_arms_that_move_are_still_watched():
    view = View(ADAPTIVE, KEYS)
    play(view, 0.95, range(1, 501), 8)

    moved = view.rearrange(("c:new", "a:one"))
    for minute in range(501, 561):
        moved.advance(minute)
        moved.open(minute, "all", 1)
        rating = [(Column.N_QUALITY, 1.0), (Column.QUALITY, 0.0)]
        moved.add(minute, "all", "a:one", [*Outcome(True).deltas(), *rating])
    moved.advance(561)

    assert moved.total.mean[1] < 0.2


def test_what_was_cleared_is_not_watched_against():
    view = View(ADAPTIVE, KEYS)
    play(view, 0.95, range(1, 501), 9)
    view.clear()
    play(view, 0.1, range(501, 701), 10)

    assert view.total.n[0] == 200


def test_a_memory_forgets_in_one_way():
    with pytest.raises(ConfigurationError, match="one of them"):
        Memory(window_s=3600, adaptive=True)


@given(
    n=st.integers(1, 10_000),
    won=st.floats(0, 1),
    spread=st.floats(0, 1),
    share=st.floats(0, 1),
    shift=st.floats(-1, 1),
    rated=st.booleans(),
)
def test_revised_sums_are_sums_of_rewards(
    n: int, won: float, spread: float, share: float, shift: float, rated: bool
):
    sums = [0.0] * len(COLUMNS)
    sums[Column.CALLS], sums[Column.OK] = n, n * won
    sums[Column.N_QUALITY], sums[Column.QUALITY] = n, n * won
    sums[Column.QUALITY_SQ] = n * (won * won + spread * (won - won * won))
    sums[Column.OPENED] = sums[Column.CLOSED] = n

    for column, delta in revision(sums, rated, share, shift):
        sums[column] += delta

    slack = 1e-6 * n
    assert -slack <= sums[Column.OK] <= sums[Column.CALLS] + slack
    squares, total, count = (sums[c] for c in (Column.QUALITY_SQ, Column.QUALITY, Column.N_QUALITY))
    assert -slack <= squares <= total + slack
    assert total <= count + slack
    assert total * total <= squares * count + slack * n
    assert sums[Column.OPENED] == sums[Column.CLOSED] == n
