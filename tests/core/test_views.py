from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.errors import ConfigurationError
from orchestrator.core.estimates import Estimates, FloatArray, Prior
from orchestrator.core.regressions import Regressions, columns_added, kind_of, n_columns
from orchestrator.core.statistics import (
    COLUMNS,
    DAY,
    HOUR,
    MINUTE,
    MONTH,
    Column,
    Outcome,
    RowId,
    Statistics,
)
from orchestrator.core.views import ALL, Memory, View

KEYS = ("a:m", "b:m", "c:m")
START = 29_000_000 // MONTH * MONTH
SEEN = ("n", "mean", "variance", "root_inverse", "trials", "p_fail", "seconds", "pulls", "begun")
OPEN = [(Column.OPENED, 1.0)]

deltas = st.sampled_from(
    [
        OPEN,
        [(Column.EXPIRED, 1.0)],
        [*OPEN, *Outcome(True, 0.1, 5, 10, 2.0).deltas()],
        [*OPEN, *Outcome(False, 0.1).deltas()],
        [(Column.N_QUALITY, 1.0), (Column.QUALITY, 0.5), (Column.QUALITY_SQ, 0.25)],
    ]
)
MEMORIES = (
    ALL,
    Memory(),
    Memory(window_s=60),
    Memory(window_s=1800),
    Memory(window_s=3600),
    Memory(window_s=DAY * 60),
    Memory(window_s=7 * DAY * 60),
    Memory(half_life_s=600),
    Memory(half_life_s=DAY * 60),
)
memories = st.sampled_from(MEMORIES)
steps = st.lists(
    st.tuples(
        st.integers(0, 3 * HOUR) | st.sampled_from([0, 0, 0, DAY]),
        st.integers(0, 2 * HOUR),
        st.sampled_from(["all", "code"]),
        st.sampled_from([*KEYS, "gone:m"]),
        deltas,
    ),
    max_size=25,
)


def is_remembered(memory: Memory, minute: int, now: int, finest: int = MINUTE) -> bool:
    """By the letter of `Memory`: steps of the window begin on whole multiples of their width."""
    if memory.window_s is None:
        return True
    width = finest if memory.window_s <= 3600 else HOUR if memory.window_s <= 172_800 else DAY
    oldest = now - memory.window_s / 60 + 1
    return minute // width * width + width > oldest


def weight(memory: Memory, minute: int, now: int) -> float:
    if memory.half_life_s is None:
        return float(is_remembered(memory, minute, now))
    return float(0.5 ** ((now - minute) * 60 / memory.half_life_s))


def oracle(memory: Memory, told: list[Any], now: int, segment: str | None = None) -> FloatArray:
    sums = np.zeros((len(COLUMNS), len(KEYS)))
    for minute, where, key, changes in told:
        if key in KEYS and segment in (None, where):
            for column, delta in changes:
                sums[column, KEYS.index(key)] += delta * weight(memory, minute, now)
    return sums


def assert_alike(seen: Estimates, sums: FloatArray, rates_quality: bool) -> None:
    expected = Estimates.of(sums, rates_quality=rates_quality)
    for name in SEEN:
        np.testing.assert_allclose(
            getattr(seen, name), getattr(expected, name), rtol=1e-6, atol=1e-7, err_msg=name
        )


@pytest.mark.parametrize("memory", MEMORIES)
@settings(max_examples=30)
@given(
    steps=st.lists(
        st.tuples(
            st.floats(0, 0.7),
            st.just(0.0) | st.floats(0, 1.2),
            st.sampled_from(["all", "code"]),
            st.sampled_from([*KEYS, "gone:m"]),
            deltas,
        ),
        max_size=25,
    ),
    segmented=st.booleans(),
)
def test_a_view_holds_what_its_memory_says(memory: Memory, steps: list[Any], segmented: bool):
    """The times are shares of the window or the half-life."""
    view, now, told, rated = View(memory, KEYS, segmented=segmented), START, list[Any](), False
    span = int((memory.window_s or memory.half_life_s or 36_000) / 60)
    view.advance(now)
    for passes, age, segment, key, changes in steps:
        now += int(passes * span)
        view.advance(now)
        minute = now - int(age * span)
        if changes is OPEN and key in KEYS and not age:
            view.open(minute, segment, KEYS.index(key))
        else:
            view.add(minute, segment, key, changes)
        told.append((minute, segment, key, changes))
        seen_now = key in KEYS and is_remembered(memory, minute, now)
        rated = rated or (seen_now and changes[0][0] == Column.N_QUALITY)

    assert_alike(view.total, oracle(memory, told, now), rated)
    if segmented:
        for segment in ("all", "code"):
            found = view.evidence(segment)
            assert found.segment is not None
            assert_alike(found.segment, oracle(memory, told, now, segment), rated)
    else:
        assert view.evidence("all").segment is None


@given(memories, steps)
def test_pending_returns_to_nothing_when_every_pull_has_ended(memory: Memory, steps: list[Any]):
    view, now, open_pulls = View(memory, KEYS), START, list[tuple[int, int]]()
    view.advance(now)
    for passes, _, segment, key, _ in steps:
        now += passes
        view.advance(now)
        if key in KEYS:
            view.open(now, segment, KEYS.index(key))
            open_pulls.append((now, KEYS.index(key)))
    for minute, arm in open_pulls:
        view.add(minute, "all", KEYS[arm], [(Column.EXPIRED, 1.0)])

    np.testing.assert_allclose(view.total.trials, 0, atol=1e-9)
    np.testing.assert_allclose(view.total.pulls, 0, atol=1e-9)
    np.testing.assert_array_equal(view.total.root_inverse, 1.0)


@given(memories, steps, st.permutations([*KEYS, "new:m"]), st.integers(0, 4))
def test_arms_that_move_keep_what_is_known_and_what_will_be_forgotten(
    memory: Memory, steps: list[Any], order: list[str], at: int
):
    """Two views of one history; in the middle one of them is given its arms in another order."""
    still, moved, now = View(memory, KEYS), View(memory, KEYS), START
    for view in (still, moved):
        view.advance(now)
    for number, (passes, age, segment, key, changes) in enumerate(steps):
        now += passes
        if number == at:
            moved = moved.rearrange(order)
        for view in (still, moved):
            view.advance(now)
            view.add(now - age, segment, key, changes)

    for key in KEYS:
        a, b = KEYS.index(key), moved.keys.index(key)
        for name in ("n", "mean", "variance", "root_inverse", "trials"):
            assert getattr(still.total, name)[a] == pytest.approx(
                getattr(moved.total, name)[b], rel=1e-9, abs=1e-9
            ), name


def test_an_arm_that_leaves_and_returns_starts_without_what_the_view_knew():
    view = View(Memory(window_s=600), KEYS)
    view.add(0, "all", "a:m", [*OPEN, *Outcome(True).deltas()])

    back = view.rearrange(["b:m"]).rearrange(["b:m", "a:m"])
    back.advance(1000)

    assert back.total.n.tolist() == [0, 0]


def test_a_prior_follows_the_arms():
    view = View(ALL, KEYS).rearrange(["b:m"], Prior(np.array([2.0]), np.array([0.9])))

    assert view.total.mean[0] == 0.9
    view.clear()
    assert view.total.mean[0] == 0.9


# -- compaction and replay ---------------------------------------------------------------------


@given(
    st.sampled_from([Memory(window_s=s) for s in (600, 3600, 7200, 86_400, 172_800, 7 * 86_400)]),
    st.lists(
        st.tuples(st.integers(0, 2 * HOUR), st.sampled_from(KEYS), st.integers(0, 2 * DAY)),
        max_size=20,
    ),
)
def test_a_window_moves_no_finer_than_rows_that_old_are_kept(memory: Memory, calls: list[Any]):
    """A view that starts again from the rows sees what one that was there all along sees."""
    statistics, live, now = Statistics("n"), View(memory, KEYS, n_extra=n_columns(2)), START
    learned: list[tuple[int, int, FloatArray]] = []
    live.advance(now)
    for number, (passes, key, age) in enumerate(calls):
        now += passes
        statistics.compact(now)
        live.advance(now)
        changes, features = [*OPEN, *Outcome(True).deltas()], np.array([number, 1.0])
        columns = columns_added(changes, features, 2)
        assert columns is not None
        statistics.add(now - age, "all", key, changes)
        statistics.add_array(now - age, kind_of(2), key, columns)
        live.add(now - age, "all", key, changes, features)
        learned.append((now - age, KEYS.index(key), columns))
    statistics.compact(now)

    again = View(memory, KEYS, n_extra=n_columns(2))
    again.advance(now)
    again.replay((row_id, row.sums) for row_id, row in statistics.rows())

    np.testing.assert_array_equal(again.total.n, live.total.n)
    by_hour = Regressions((len(KEYS),), 2)
    for minute, arm, columns in learned:
        if is_remembered(memory, minute, now, HOUR):
            by_hour.add(arm, columns)
    by_hour.refresh()
    np.testing.assert_allclose(regressions_of(again).theta, by_hour.theta, atol=1e-9)
    if memory.step >= HOUR:
        np.testing.assert_allclose(regressions_of(live).theta, by_hour.theta, atol=1e-9)


@pytest.mark.parametrize(
    ("days", "step"), [(0.01, MINUTE), (1, HOUR), (2, HOUR), (3, DAY), (90, DAY), (91, MONTH)]
)
def test_the_longer_the_window_the_wider_its_step(days: float, step: int):
    assert Memory(window_s=days * 86_400).step == step


# -- regressions on features -------------------------------------------------------------------

X = np.array([0.5, -2.0])
REWARDS = st.sampled_from(
    [
        [*OPEN, *Outcome(True, 0.1, 5, 10, 2.0).deltas()],
        [*OPEN, *Outcome(False).deltas()],
        OPEN,
        [(Column.N_QUALITY, 1.0), (Column.QUALITY, 0.5), (Column.QUALITY_SQ, 0.25)],
        [(Column.N_QUALITY, 0.0), (Column.QUALITY, 0.25), (Column.QUALITY_SQ, 0.3)],
    ]
)


def regressions_of(view: View) -> Regressions:
    found = view.evidence("all").extra
    assert found is not None
    return found


@settings(max_examples=40)
@given(
    memory=memories,
    steps=st.lists(
        st.tuples(
            st.integers(0, 30),
            st.integers(0, 30),
            st.sampled_from([*KEYS, "gone:m"]),
            REWARDS,
            st.none() | st.tuples(st.floats(-2, 2), st.floats(-2, 2)).map(np.array),
        ),
        max_size=15,
    ),
    at=st.integers(0, 15),
)
def test_regressions_hold_what_the_memory_says_however_they_came_by_it(
    memory: Memory, steps: list[Any], at: int
):
    """Outcome by outcome, arms rearranged on the way, equals everything that counts at once."""
    view, now, told, rated = View(memory, KEYS, n_extra=n_columns(2)), START, list[Any](), False
    view.advance(now)
    for number, (passes, age, key, changes, features) in enumerate(steps):
        now += passes
        view.advance(now)
        if number == at:
            view = view.rearrange(KEYS[::-1]).rearrange(KEYS)
        view.add(now - age, "all", key, changes, features)
        told.append((now - age, key, changes, features))
        rated = rated or (
            key in KEYS
            and changes[0] == (Column.N_QUALITY, 1.0)
            and is_remembered(memory, now - age, now)
        )

    at_once = Regressions((len(KEYS),), 2)
    if rated:
        at_once.rate_quality()
    for minute, key, changes, features in told:
        added = columns_added(changes, features, 2)
        if key in KEYS and added is not None:
            at_once.add(KEYS.index(key), weight(memory, minute, now) * added)
    at_once.refresh()

    found = regressions_of(view)
    assert found.rates_quality == rated
    np.testing.assert_allclose(found.theta, at_once.theta, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found.inverse, at_once.inverse, rtol=1e-6, atol=1e-7)


def test_rows_of_regressions_go_to_their_arm_and_to_who_reads_so_many_features():
    view, live = (View(ALL, KEYS, segmented=True, n_extra=n_columns(2)) for _ in range(2))
    deltas = Outcome(True).deltas()
    columns = columns_added(deltas, X, 2)
    assert columns is not None
    live.add(START, "all", "b:m", deltas, X)
    row = RowId("n", START, HOUR, kind_of(2), "b:m")

    view.replay([(row, columns)])
    view.replay([(row._replace(model="gone:m"), columns)])
    view.replay([(row._replace(segment=kind_of(3)), np.ones(n_columns(3)))])
    view.replay([(row._replace(segment="~another-kind"), columns)])
    View(ALL, KEYS).replay([(row, columns)])

    assert not view.total.n.any()
    assert regressions_of(view).theta == pytest.approx(regressions_of(live).theta)
    assert regressions_of(view.rearrange(["b:m"])).theta == pytest.approx(
        regressions_of(live).theta[1:2]
    )


def test_a_row_of_regressions_leaves_a_window_once_all_of_it_is_past():
    live, told = (View(Memory(window_s=600), KEYS, n_extra=n_columns(2)) for _ in range(2))
    deltas = Outcome(False).deltas()
    columns = columns_added(deltas, X, 2)
    assert columns is not None
    for view in (live, told):
        view.advance(START + 15)
    live.add(START + 15, "all", "a:m", deltas, X)
    told.replay([(RowId("n", START, HOUR, kind_of(2), "a:m"), columns)])
    learned = regressions_of(live).theta.copy()
    assert regressions_of(told).theta == pytest.approx(learned)

    live, told = (view.rearrange(KEYS[::-1]) for view in (live, told))
    for view, minute in ((live, START + 25), (told, START + HOUR + 9)):
        view.advance(minute - 1)
        assert regressions_of(view).theta[::-1] == pytest.approx(learned)
        view.advance(minute)
        assert regressions_of(view).theta == pytest.approx(Regressions((3,), 2).theta)
    told.replay([(RowId("n", START, HOUR, kind_of(2), "a:m"), columns)])
    assert regressions_of(told).theta == pytest.approx(Regressions((3,), 2).theta)


def test_a_row_of_regressions_fades_from_the_beginning_of_its_hour():
    view, half = View(Memory(half_life_s=3600), KEYS, n_extra=n_columns(2)), Regressions((3,), 2)
    columns = columns_added(Outcome(False).deltas(), X, 2)
    assert columns is not None
    view.advance(START + HOUR)

    view.replay([(RowId("n", START, HOUR, kind_of(2), "a:m"), columns)])
    half.add(0, columns / 2)
    half.refresh()

    assert regressions_of(view).theta == pytest.approx(half.theta)


def test_what_is_pending_teaches_a_regression_nothing():
    view = View(Memory(window_s=600), KEYS, n_extra=n_columns(2))

    view.open(START, "all", 0)

    assert (regressions_of(view).theta == Regressions((3,), 2).theta).all()


# -- bounds ------------------------------------------------------------------------------------


def test_what_a_clock_ahead_of_ours_tells_counts_as_now():
    view = View(Memory(half_life_s=1), KEYS)
    view.advance(START)

    view.add(START + DAY, "all", "a:m", [*OPEN, *Outcome(True).deltas()])

    assert view.total.n[0] == 1.0


def test_time_does_not_run_backwards():
    view = View(Memory(half_life_s=60), KEYS)
    view.advance(START)
    view.add(START, "all", "a:m", [*OPEN, *Outcome(True).deltas()])

    view.advance(START - 5)

    assert view.total.n[0] == 1.0


@pytest.mark.parametrize(
    "bad",
    [
        {"window_s": 59},
        {"window_s": float("nan")},
        {"half_life_s": 0},
        {"half_life_s": float("nan")},
        {"window_s": 60, "half_life_s": 60},
    ],
)
def test_a_memory_out_of_range_is_refused(bad: dict[str, Any]):
    with pytest.raises(ConfigurationError):
        Memory(**bad)


def test_a_segment_nobody_called_knows_nothing_but_judges_alike():
    view = View(ALL, KEYS, segmented=True)
    view.evidence("quiet")
    view.add(START, "code", "a:m", [(Column.N_QUALITY, 1.0)])

    quiet = view.evidence("quiet").segment
    assert quiet is not None
    assert quiet.rates_quality
    assert view.evidence("never").segment.rates_quality  # type: ignore[union-attr]


def test_clearing_forgets_everything():
    view = View(Memory(window_s=600), KEYS, segmented=True, n_extra=n_columns(2))
    view.advance(START)
    view.add(START, "code", "a:m", [*OPEN, *Outcome(False).deltas()], X)

    view.clear()
    view.advance(START + 100)

    found = view.evidence("code")
    assert found.segment is not None
    assert found.extra is not None
    assert not found.total.n.any()
    assert not found.segment.n.any()
    assert (found.extra.theta == Regressions((3,), 2).theta).all()
