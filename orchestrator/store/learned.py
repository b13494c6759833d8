"""Statistics between a process and a store: what is new in one, and what the other held."""

from __future__ import annotations

from typing import Final

import numpy as np

from orchestrator.core.regressions import n_columns_of
from orchestrator.core.statistics import (
    COLUMNS,
    DAY,
    RESERVED,
    Column,
    MergeRow,
    RowId,
    Statistics,
    Sums,
)
from orchestrator.store.records import Kept

__all__ = ["Learned", "folded", "is_known", "kept_row", "merge_row"]

_PACKED: Final = np.dtype("<f8")
_SILENT_FOR: Final = 2 * DAY
"""A node that has written nothing for so many minutes has ended, and folds its rows no more."""


class Learned:
    """Which rows of statistics a store holds, and at which version.

    Args:
        statistics: Of this process; may hold rows of others.
    """

    def __init__(self, statistics: Statistics) -> None:
        self._statistics = statistics
        self._versions: dict[RowId, int] = {}
        self._forgotten: set[RowId] = set()

    def known(self, rows: list[Kept]) -> None:
        """The store holds these."""
        self._versions.update((row.row_id, row.version) for row in rows)

    def forget(self) -> None:
        """The process forgets what others have learned; the store is to do likewise.

        Our own rows carry that in their versions; those of others only their nodes may raise.
        """
        node = self._statistics.node
        others = {row_id for row_id in self._versions if row_id.node != node}
        self._forgotten |= others
        for row_id in others:
            del self._versions[row_id]

    def changes(self) -> tuple[list[Kept], list[RowId]]:
        """Return which rows the store has not seen, and which are no more."""
        rows = dict(self._statistics.rows())
        new = [
            kept_row(row_id, row.version, row.sums)
            for row_id, row in rows.items()
            if self._versions.get(row_id, -1) < row.version
        ]
        gone = [row_id for row_id in self._versions if row_id not in rows]
        return new, [*gone, *self._forgotten]

    def stored(self, new: list[Kept], gone: list[RowId]) -> None:
        """The store has taken these changes."""
        self._forgotten.difference_update(gone)
        for row_id in gone:
            self._versions.pop(row_id, None)
        self.known(new)


def folded(rows: list[Kept], minute: int) -> tuple[list[Kept], list[RowId]]:
    """Fold the old rows of nodes that have ended, as they would have done themselves.

    Args:
        rows: Of any nodes.
        minute: The present.

    Returns:
        Wider rows that take the place of finer ones, and the finer ones.
    """
    by_node: dict[str, list[Kept]] = {}
    for row in rows:
        by_node.setdefault(row.row_id.node, []).append(row)
    new: list[Kept] = []
    gone: list[RowId] = []
    for node, own in by_node.items():
        if max(r.row_id.start + r.row_id.width for r in own) > minute - _SILENT_FOR:
            continue
        theirs = Statistics(node)
        theirs.merge(map(merge_row, own))
        theirs.compact(minute)
        left = dict(theirs.rows())
        before = {row.row_id for row in own}
        new += [kept_row(i, row.version, row.sums) for i, row in left.items() if i not in before]
        gone += before - left.keys()
    return new, gone


def is_known(row: Kept) -> bool:
    """Return whether `merge_row` can read a row; others are kinds of another version's."""
    kind, packed = row.row_id.segment, row.packed
    if not kind.startswith(RESERVED):
        return packed is None
    columns = n_columns_of(kind)
    return columns is not None and packed is not None and len(packed) == columns * _PACKED.itemsize


def kept_row(row_id: RowId, version: int, sums: Sums) -> Kept:
    """Return a row as a store keeps it."""
    if isinstance(sums, list):
        return Kept(row_id, version, {c: v for c, v in zip(COLUMNS, sums, strict=True) if v})
    return Kept(row_id, version, {}, sums.astype(_PACKED, copy=False).tobytes())


def merge_row(row: Kept) -> MergeRow:
    """Return a row as `Statistics.merge` takes it, without columns that we do not know.

    Pulls that were open are left out too: whoever made them is not heard from again, and an open
    pull counts in every optimism bonus.
    """
    if row.packed is not None:
        return row.row_id, row.version, np.frombuffer(row.packed, _PACKED).astype(np.float64)
    sums = [row.sums.get(column, 0.0) for column in COLUMNS]
    sums[Column.OPENED] = sums[Column.CLOSED] + sums[Column.EXPIRED]
    return row.row_id, row.version, sums
