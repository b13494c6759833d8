from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.regressions import kind_of, n_columns
from orchestrator.core.statistics import (
    COLUMNS,
    DAY,
    HOUR,
    Column,
    Outcome,
    RowId,
    Statistics,
)
from orchestrator.store import Kept
from orchestrator.store.learned import Learned, folded, is_known, kept_row, merge_row

NOW = 29_000_000
OPENED = [(Column.OPENED, 1.0)]
LEARNED = np.linspace(-1.0, 1.0, n_columns(2)) / 3


def history(node: str, minutes: list[int]) -> Statistics:
    """Return statistics with a finished call in each of these minutes, and what it taught."""
    statistics = Statistics(node)
    for minute in minutes:
        statistics.add(minute, "all", "a:x", OPENED)
        statistics.add(minute, "all", "a:x", Outcome(True, 0.5, 10, 20, 2.0, 0.5).deltas())
        statistics.add_array(minute, kind_of(2), "a:x", LEARNED)
    return statistics


def all_sums(statistics: Statistics) -> dict[tuple[str, str, int], float]:
    """Every sum of rows of any kind, by segment or kind, model, and position."""
    found: dict[tuple[str, str, int], float] = {}
    for row_id, row in statistics.rows():
        for position, value in enumerate(row.sums):
            place = row_id.segment, row_id.model, position
            found[place] = found.get(place, 0.0) + value
    return found


def kept(statistics: Statistics) -> list[Kept]:
    return [kept_row(row_id, row.version, row.sums) for row_id, row in statistics.rows()]


def test_what_is_kept_and_read_again_is_the_same():
    before, after = history("n", [NOW, NOW, NOW + 1]), Statistics("m")

    after.merge(map(merge_row, kept(before)))

    assert all_sums(after) == all_sums(before)
    assert after.totals() == before.totals()
    assert after.totals().keys() == {("all", "a:x")}


@pytest.mark.parametrize(
    ("kind", "sums", "packed"),
    [
        ("~fractals-2", {}, bytes(8 * n_columns(2))),
        ("~fractals-2", {"calls": 1.0}, None),
        (kind_of(2), {}, bytes(8 * n_columns(2) - 8)),
        (kind_of(2), {}, None),
        ("~regression-many", {}, bytes(8)),
        ("all", {}, bytes(8)),
    ],
)
def test_a_row_of_a_kind_that_is_not_known_is_passed_over(
    kind: str, sums: dict[str, float], packed: bytes | None
):
    assert not is_known(Kept(RowId("n", NOW, HOUR, kind, "a:x"), 1, sums, packed))


def test_rows_of_every_kind_that_is_written_are_known():
    assert all(map(is_known, kept(history("n", [NOW]))))


def test_a_column_of_another_version_is_left_out_and_one_it_did_not_know_is_nothing():
    row = Kept(RowId("n", NOW, 1, "all", "a:x"), 1, {"calls": 2.0, "smells": 3.0})

    _, _, sums = merge_row(row)

    assert dict(zip(COLUMNS, sums, strict=True)) == {**dict.fromkeys(COLUMNS, 0.0), "calls": 2.0}


def test_pulls_that_were_open_when_the_process_ended_are_not_waited_for():
    statistics = history("n", [NOW])
    statistics.add(NOW, "all", "a:x", OPENED)

    _, _, sums = merge_row(kept(statistics)[0])

    assert sums[Column.OPENED] - sums[Column.CLOSED] - sums[Column.EXPIRED] == 0


def test_only_what_is_new_is_written_again():
    statistics = history("n", [NOW, NOW + 1])
    learned = Learned(statistics)
    learned.stored(*learned.changes())
    statistics.add(NOW + 1, "all", "a:x", OPENED)

    new, gone = learned.changes()

    assert [(row.row_id.start, row.version) for row in new] == [(NOW + 1, 3)]
    assert gone == []

    statistics.add_array(NOW, kind_of(2), "a:x", LEARNED)

    assert {row.row_id.segment for row in learned.changes()[0]} == {"all", kind_of(2)}


def test_finer_rows_are_removed_once_they_are_folded():
    statistics = history("n", [NOW, NOW + 1])
    learned = Learned(statistics)
    learned.stored(*learned.changes())
    statistics.compact(NOW + 3 * HOUR)

    new, gone = learned.changes()
    learned.stored(new, gone)

    assert [(row.row_id.segment, row.row_id.width) for row in new] == [("all", HOUR)]
    assert {row_id.start for row_id in gone} == {NOW, NOW + 1}
    assert learned.changes() == ([], [])


@given(st.lists(st.integers(NOW - 200 * DAY, NOW), min_size=1, max_size=30))
def test_folding_the_rows_of_an_ended_node_loses_nothing(minutes: list[int]):
    rows = kept(history("old", minutes))

    new, gone = folded(rows, NOW)

    left = [row for row in rows if row.row_id not in set(gone)] + new
    after, before = Statistics("m"), Statistics("m")
    after.merge(map(merge_row, left))
    before.merge(map(merge_row, rows))
    assert all_sums(after) == pytest.approx(all_sums(before))
    assert folded(left, NOW) == ([], [])
    if max(minutes) < NOW - 3 * DAY:
        assert all(row.row_id.width > 1 for row in left)
    if max(minutes) < NOW - 5 * DAY:
        assert all(row.row_id.width > HOUR for row in left)


def test_a_node_that_has_just_written_folds_its_own_rows():
    assert folded(kept(history("busy", [NOW - 90 * DAY, NOW - 10])), NOW) == ([], [])
