from __future__ import annotations

import math
from collections.abc import Iterable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from orchestrator.core.errors import InvalidRequestError
from orchestrator.core.statistics import (
    COLUMNS,
    DAY,
    HOUR,
    MAX_SEGMENTS,
    MINUTE,
    MONTH,
    OTHER_SEGMENT,
    RESERVED,
    Column,
    MergeRow,
    Outcome,
    RowId,
    Statistics,
    minute_of,
)

START = 29_000_000 // MONTH * MONTH
NOTHING = [0.0] * len(COLUMNS)
CALL = [(Column.CALLS, 1.0)]
KIND = RESERVED + "pairs"

outcomes = st.builds(
    Outcome,
    ok=st.booleans(),
    cost_usd=st.floats(0, 10),
    tokens_in=st.integers(0, 10_000),
    tokens_out=st.integers(0, 10_000),
    seconds=st.floats(0, 100),
    first_token_s=st.none() | st.floats(0, 100),
)
Sums = dict[tuple[str, str], list[float]]


def rows_of(statistics: Statistics) -> dict[RowId, tuple[int, list[float]]]:
    return {row_id: (row.version, list(row.sums)) for row_id, row in statistics.rows()}


def snapshot(statistics: Statistics) -> list[MergeRow]:
    return [(row_id, row.version, row.sums.copy()) for row_id, row in statistics.rows()]


def all_totals(statistics: Statistics) -> Sums:
    """The sums of every row by (segment or kind, model)."""
    found: Sums = {}
    for row_id, row in statistics.rows():
        known = found.setdefault((row_id.segment, row_id.model), [0.0] * len(row.sums))
        known[:] = [a + b for a, b in zip(known, row.sums, strict=True)]
    return found


def nothing_of(segment: str) -> list[float]:
    return [0.0] * (2 if segment == KIND else len(COLUMNS))


class Tally(dict[tuple[str, str], list[float]]):
    """Sums that begin with nothing."""

    def __missing__(self, place: tuple[str, str]) -> list[float]:
        return self.setdefault(place, nothing_of(place[0]))


def calls_at(statistics: Statistics) -> dict[tuple[int, int], float]:
    """The calls by start and width of their row."""
    return {(r.start, r.width): row.sums[Column.CALLS] for r, row in statistics.rows()}


def same(a: Sums, b: Sums) -> bool:
    """Counts to the last one, sums to 1e-9."""
    return {k for k, v in a.items() if any(v)} == {k for k, v in b.items() if any(v)} and all(
        math.isclose(x, y, rel_tol=1e-9, abs_tol=1e-9)
        for key in a
        for x, y in zip(a[key], b.get(key, [0.0] * len(a[key])), strict=True)
    )


# -- what is written ---------------------------------------------------------------------------


def test_a_minute_is_sixty_seconds():
    assert [minute_of(s) for s in (0.0, 59.999, 60.0, 1_740_000_000.5)] == [0, 0, 1, 29_000_000]


def test_every_column_has_a_name_at_its_position():
    positions = {
        name.lower(): position for name, position in vars(Column).items() if name.isupper()
    }

    assert sorted(positions, key=lambda name: positions[name]) == list(COLUMNS)


def test_a_failed_call_counts_itself_and_its_cost():
    assert dict(Outcome(False, 0.5, 10, 20, 3.0, 1.0).deltas()) == {
        Column.CALLS: 1,
        Column.CLOSED: 1,
        Column.COST: 0.5,
    }


def test_an_answer_counts_tokens_seconds_and_their_moments():
    deltas = dict(Outcome(True, 0.5, 10, 20, math.e, math.e**2).deltas())

    assert deltas == pytest.approx(
        {
            Column.CALLS: 1,
            Column.CLOSED: 1,
            Column.OK: 1,
            Column.COST: 0.5,
            Column.TOKENS_IN: 10,
            Column.TOKENS_OUT: 20,
            Column.TOKENS_OUT_SQ: 400,
            Column.SECONDS: math.e,
            Column.LOG_SECONDS: 1,
            Column.LOG_SECONDS_SQ: 1,
            Column.N_FIRST: 1,
            Column.LOG_FIRST: 2,
            Column.LOG_FIRST_SQ: 4,
        }
    )


@given(outcomes)
def test_no_outcome_writes_what_is_not_a_number(outcome: Outcome):
    assert all(math.isfinite(delta) for _, delta in outcome.deltas())


def test_a_row_exists_only_where_something_happened():
    statistics = Statistics("n")
    assert len(statistics) == 0

    statistics.add(START, "all", "a:m", CALL)

    assert rows_of(statistics) == {
        RowId("n", START, MINUTE, "all", "a:m"): (1, [1.0, *NOTHING[1:]])
    }


def test_only_so_many_segments_are_kept_apart():
    statistics = Statistics("n")
    names = [f"s{i}" for i in range(MAX_SEGMENTS + 5)]

    assert [statistics.segment(name) for name in names] == [
        *names[:MAX_SEGMENTS],
        *[OTHER_SEGMENT] * 5,
    ]
    assert statistics.segment("s0") == "s0"


def test_no_segment_is_named_as_another_kind_of_rows():
    statistics = Statistics("n")
    statistics.merge([(RowId("w", START, HOUR, KIND, "a:m"), 1, np.ones(2))])

    for name in (KIND, RESERVED, f"{RESERVED}regression-32"):
        with pytest.raises(InvalidRequestError, match="begins with '~'") as refused:
            statistics.segment(name)
        assert refused.value.param == "context.task"
    assert statistics.segment(f"re{KIND}") == f"re{KIND}"


# -- folding -----------------------------------------------------------------------------------


def test_a_minutes_row_lasts_an_hour_an_hours_two_days_and_a_days_ninety():
    statistics = Statistics("n")
    statistics.add(START, "all", "a:m", CALL)

    for last_moment, width in (
        (2 * HOUR - 1, MINUTE),
        (DAY + 2 * DAY - 1, HOUR),
        (MONTH + 90 * DAY - 1, DAY),
        (10 * MONTH, MONTH),
    ):
        statistics.compact(START + last_moment)
        assert calls_at(statistics) == {(START, width): 1.0}


def test_late_feedback_finds_the_row_its_decision_was_folded_into():
    statistics = Statistics("n")
    statistics.add(START + 5, "all", "a:m", CALL)
    statistics.compact(START + 4 * DAY)

    statistics.add(START + 5, "all", "a:m", [(Column.N_QUALITY, 1.0), (Column.QUALITY, 0.9)])

    (row_id, (version, sums)), *others = rows_of(statistics).items()
    assert not others
    assert (row_id.start, row_id.width, version) == (START, DAY, 2)
    assert (sums[Column.CALLS], sums[Column.QUALITY]) == (1.0, 0.9)


def test_a_row_of_another_kind_begins_with_an_hours_and_lasts_as_long_as_others_of_that_width():
    statistics = Statistics("n")
    statistics.add_array(START + 5, KIND, "a:m", np.array([1.0, 2.0]))
    for last_moment, width in (
        (0, HOUR),
        (DAY + 2 * DAY - 1, HOUR),
        (MONTH + 90 * DAY - 1, DAY),
        (10 * MONTH, MONTH),
    ):
        statistics.compact(START + last_moment)
        statistics.add_array(START + 59, KIND, "a:m", np.array([0.5, 0.0]))  # as late feedback does
        ((row_id, row),) = statistics.rows()
        assert (row_id.start, row_id.width) == (START, width)

    assert list(row.sums) == [3.0, 2.0]


def test_late_feedback_makes_no_row_beside_another_minutes():
    statistics = Statistics("n")
    statistics.advance(START + 9)
    statistics.add(START + 9, "all", "a:m", CALL)

    statistics.add(START + 5, "all", "a:m", [(Column.QUALITY, 0.9)])

    assert {(r.start, tuple(s)) for r, (_, s) in rows_of(statistics).items()} == {
        (START + 9, (1.0, *NOTHING[1:])),
        (START + 5, tuple(0.9 if c == Column.QUALITY else 0.0 for c in range(len(COLUMNS)))),
    }


def test_rows_of_other_nodes_are_theirs_to_fold():
    reader = Statistics("reader")
    reader.merge([(RowId("writer", START, MINUTE, "all", "a:m"), 1, list(NOTHING))])

    reader.compact(START + 10 * DAY)

    assert {row_id.width for row_id, _ in reader.rows()} == {MINUTE}


# -- merging -----------------------------------------------------------------------------------


def test_a_row_is_replaced_by_a_higher_version_only():
    reader = Statistics("reader")
    row_id = RowId("writer", START, MINUTE, "all", "a:m")
    two, one = [2.0, *NOTHING[1:]], [1.0, *NOTHING[1:]]

    assert reader.merge([(row_id, 2, two)]) == [(row_id, two)]
    assert reader.merge([(row_id, 1, one)]) == []
    assert reader.merge([(row_id, 2, two)]) == []
    assert reader.merge([(row_id, 3, [5.0, *NOTHING[1:]])]) == [(row_id, [3.0, *NOTHING[1:]])]


def test_a_folded_row_replaces_the_finer_ones_in_it_and_adds_what_they_lacked():
    reader = Statistics("reader")
    minute = RowId("writer", START + 3, MINUTE, "all", "a:m")
    hour = RowId("writer", START, HOUR, "all", "a:m")
    reader.merge([(minute, 1, [1.0, *NOTHING[1:]])])

    changes = reader.merge([(hour, 1, [4.0, *NOTHING[1:]])])

    assert changes == [(hour, [3.0, *NOTHING[1:]])]
    assert reader.merge([(minute, 7, [9.0, *NOTHING[1:]])]) == []
    assert calls_at(reader) == {(START, HOUR): 4.0}


@pytest.mark.parametrize("turned", [False, True])
def test_rows_that_cover_each_other_may_come_together(turned: bool):
    reader = Statistics("reader")
    one = [1.0, *NOTHING[1:]]
    reader.merge([(RowId("writer", START + 3, MINUTE, "all", "a:m"), 1, one)])
    rows = [
        (RowId("writer", START, HOUR, "all", "a:m"), 1, [4.0, *NOTHING[1:]]),
        (RowId("writer", START, DAY, "all", "a:m"), 1, [9.0, *NOTHING[1:]]),
    ]

    changes = reader.merge(reversed(rows) if turned else rows)

    assert calls_at(reader) == {(START, DAY): 9.0}
    assert sum(sums[Column.CALLS] for _, sums in changes) == 8.0


class Sharing(RuleBasedStateMachine):
    """Two writers, and readers that hear from them late, twice, in any order, or not at all."""

    def __init__(self) -> None:
        super().__init__()
        self.minute = START
        self.writers = {name: Statistics(name) for name in ("w1", "w2")}
        self.readers = [Statistics("r1"), Statistics("r2")]
        self.heard: list[Sums] = [Tally() for _ in self.readers]
        self.truth: dict[str, Sums] = {name: Tally() for name in self.writers}
        self.minutes: dict[str, list[int]] = {name: [START] for name in self.writers}
        self.posted: list[MergeRow] = []

    @initialize()
    def begin(self) -> None:
        for writer in self.writers.values():
            writer.advance(self.minute)

    def write(self, name: str, minute: int, segment: str, model: str, deltas: Any) -> None:
        self.writers[name].add(minute, segment, model, deltas)
        for column, delta in deltas:
            self.truth[name][segment, model][column] += delta

    @rule(
        name=st.sampled_from(["w1", "w2"]),
        segment=st.sampled_from(["all", "code"]),
        model=st.sampled_from(["a:m", "b:m"]),
        outcome=outcomes,
    )
    def call(self, name: str, segment: str, model: str, outcome: Outcome) -> None:
        self.write(name, self.minute, segment, model, outcome.deltas())
        self.minutes[name].append(self.minute)

    @rule(name=st.sampled_from(["w1", "w2"]), quality=st.floats(0, 1), data=st.data())
    def feedback(self, name: str, quality: float, data: Any) -> None:
        minute = data.draw(st.sampled_from(self.minutes[name]))
        deltas = [(Column.N_QUALITY, 1.0), (Column.QUALITY, quality)]
        self.write(name, minute, "all", "a:m", deltas)

    @rule(
        name=st.sampled_from(["w1", "w2"]),
        model=st.sampled_from(["a:m", "b:m"]),
        added=st.tuples(st.floats(-5, 5), st.floats(-5, 5)).map(np.array),
        data=st.data(),
    )
    def write_another_kind(self, name: str, model: str, added: Any, data: Any) -> None:
        """Of a pull of now, or of one long ago whose feedback comes late."""
        minute = data.draw(st.sampled_from([self.minute, *self.minutes[name]]))
        self.writers[name].add_array(minute, KIND, model, added)
        sums = self.truth[name][KIND, model]
        sums[:] = [a + b for a, b in zip(sums, added, strict=True)]

    @rule(step=st.sampled_from([0, 1, 7, HOUR, 3 * HOUR, DAY, 3 * DAY, 40 * DAY]))
    def time_passes(self, step: int) -> None:
        self.minute += step

    @rule(name=st.sampled_from(["w1", "w2"]), advances=st.booleans())
    def compact(self, name: str, advances: bool) -> None:
        if advances:
            self.writers[name].advance(self.minute)
        self.writers[name].compact(self.minute)

    @rule(name=st.sampled_from(["w1", "w2"]), data=st.data())
    def post(self, name: str, data: Any) -> None:
        rows = snapshot(self.writers[name])
        self.posted += data.draw(st.lists(st.sampled_from(rows), max_size=5)) if rows else []

    @rule(reader=st.sampled_from([0, 1]), data=st.data())
    def hear(self, reader: int, data: Any) -> None:
        if self.posted:
            self.tell(reader, data.draw(st.lists(st.sampled_from(self.posted), max_size=8)))

    @rule(reader=st.sampled_from([0, 1]))
    def a_reader_compacts(self, reader: int) -> None:
        self.readers[reader].compact(self.minute)

    def tell(self, reader: int, rows: Iterable[MergeRow]) -> None:
        for row_id, sums in self.readers[reader].merge(rows):
            for column, delta in enumerate(sums):
                self.heard[reader][row_id.segment, row_id.model][column] += delta

    @invariant()
    def each_writer_holds_what_happened(self) -> None:
        for name, writer in self.writers.items():
            assert same(all_totals(writer), self.truth[name])

    @invariant()
    def totals_are_of_calls_alone(self) -> None:
        for statistics in (*self.writers.values(), *self.readers):
            held = all_totals(statistics)
            assert same(statistics.totals(), {k: v for k, v in held.items() if k[0] != KIND})

    @invariant()
    def rows_never_cover_each_other(self) -> None:
        for statistics in (*self.writers.values(), *self.readers):
            rows = list(rows_of(statistics))
            assert not any(
                a != b
                and (a.node, a.segment, a.model) == (b.node, b.segment, b.model)
                and a.start <= b.start < a.start + a.width
                for a in rows
                for b in rows
            )

    @invariant()
    def what_a_reader_was_told_is_what_it_holds(self) -> None:
        for reader, heard in zip(self.readers, self.heard, strict=True):
            assert same(all_totals(reader), heard)

    def teardown(self) -> None:
        """Whoever hears everything in the end knows everything, whatever came before."""
        everything = [row for writer in self.writers.values() for row in snapshot(writer)]
        truth: Sums = Tally()
        for sums in self.truth.values():
            for key, values in sums.items():
                truth[key] = [a + b for a, b in zip(truth[key], values, strict=True)]
        self.tell(0, everything)
        self.tell(1, [*reversed(everything), *self.posted, *everything])
        for reader in self.readers:
            assert same(all_totals(reader), truth)
        again = [rows_of(reader) for reader in self.readers]
        self.tell(0, [*self.posted, *everything])
        assert rows_of(self.readers[0]) == again[0] == again[1]


TestSharing = Sharing.TestCase
TestSharing.settings = settings(max_examples=60, stateful_step_count=30)


@given(st.permutations(range(6)), st.integers(0, 6))
def test_however_rows_are_grouped_the_result_is_the_same(order: list[int], cut: int):
    writer = Statistics("w")
    rows = []
    for n in range(3):
        writer.add(START + n, "all", "a:m", Outcome(True, 0.1 * n, n, n, n).deltas())
        rows += deepcopy(snapshot(writer)[-1:])
        writer.add(START, "all", "a:m", CALL)
        rows += deepcopy(snapshot(writer)[:1])
    once, piecemeal = Statistics("r"), Statistics("r")

    once.merge(rows)
    piecemeal.merge(rows[i] for i in order[:cut])
    piecemeal.merge(rows[i] for i in order[cut:])

    assert rows_of(once) == rows_of(piecemeal) == rows_of(writer)


def test_what_a_row_was_told_as_is_its_tellers_to_change():
    writer, reader = Statistics("w"), Statistics("r")
    added = np.array([1.0, 2.0])
    writer.add_array(START, KIND, "a:m", added)
    told = snapshot(writer)
    ((_, change),) = reader.merge(told)

    for array in added, change, told[0][2]:
        array[0] = 9.0

    for statistics in (writer, reader):
        assert all_totals(statistics) == {(KIND, "a:m"): [1.0, 2.0]}


# -- reading and forgetting --------------------------------------------------------------------


def test_totals_may_leave_out_what_ended_before_a_minute():
    statistics = Statistics("n")
    for minute in range(3):
        statistics.add(START + minute, "all", "a:m", CALL)

    assert statistics.totals(since=START + 2)["all", "a:m"][Column.CALLS] == 1
    assert statistics.totals()["all", "a:m"][Column.CALLS] == 3


def test_forgetting_leaves_open_pulls_open():
    statistics = Statistics("n")
    opened = [(Column.OPENED, 1.0)]
    statistics.add(START, "all", "a:m", [*opened, *Outcome(True, 1.0).deltas()])
    statistics.add(START, "all", "a:m", opened)

    statistics.forget()
    statistics.add(START, "all", "a:m", Outcome(True).deltas())

    sums = statistics.totals()["all", "a:m"]
    assert (sums[Column.CALLS], sums[Column.COST]) == (1.0, 0.0)
    assert sums[Column.OPENED] - sums[Column.CLOSED] == 0.0


def test_who_forgets_outranks_what_it_said_before():
    writer, reader = Statistics("w"), Statistics("r")
    writer.add(START, "all", "a:m", CALL)
    writer.add_array(START, KIND, "a:m", np.ones(2))
    reader.merge(snapshot(writer))

    writer.forget()
    reader.merge(snapshot(writer))

    assert all_totals(reader) == {("all", "a:m"): NOTHING, (KIND, "a:m"): [0.0, 0.0]}
