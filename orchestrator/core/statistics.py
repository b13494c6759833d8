"""What happened, as sums: rows that merge exactly, in any order, and any number of times.

A row holds the sums of one node, one stretch of time, one segment and one model, and exists only
where something happened. Only its own node writes it, raising its version; merging keeps the
higher version; reading adds rows. A minute's rows are folded into an hour's after an hour, into a
day's after two days, into thirty days' after ninety. A folded row replaces the finer ones it
covers, so a finer row that arrives late from elsewhere is known to be inside it.

Most rows hold the sums of `COLUMNS`. Rows of another kind, such as the regressions of
`orchestrator.core.regressions`, hold an array over all segments; in the place of the segment they
have the name of their kind. Arrays are long, so these rows begin with an hour's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import log
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from orchestrator.core.errors import InvalidRequestError
from orchestrator.core.records import record

__all__ = [
    "COLUMNS",
    "DAY",
    "HOUR",
    "MAX_SEGMENTS",
    "MINUTE",
    "MONTH",
    "OTHER_SEGMENT",
    "RESERVED",
    "Column",
    "MergeRow",
    "Outcome",
    "Row",
    "RowId",
    "Statistics",
    "Sums",
    "minute_of",
]

COLUMNS: Final = (
    "calls",
    "ok",
    "n_quality",
    "quality",
    "quality_sq",
    "cost",
    "tokens_in",
    "tokens_out",
    "tokens_out_sq",
    "seconds",
    "log_seconds",
    "log_seconds_sq",
    "n_first",
    "log_first",
    "log_first_sq",
    "opened",
    "closed",
    "expired",
)
"""The sums every row holds: counts, USD, tokens, seconds, and natural logarithms of seconds.

Tokens and seconds are those of successful calls; cost is of all.
"""


class Column:
    """Position of each sum in a row."""

    CALLS, OK, N_QUALITY, QUALITY, QUALITY_SQ, COST = range(6)
    TOKENS_IN, TOKENS_OUT, TOKENS_OUT_SQ = range(6, 9)
    SECONDS, LOG_SECONDS, LOG_SECONDS_SQ = range(9, 12)
    N_FIRST, LOG_FIRST, LOG_FIRST_SQ = range(12, 15)
    OPENED, CLOSED, EXPIRED = range(15, 18)


# Looked up with every outcome: a module's name is found in half the time of a class's.
_COST, _TOKENS_IN, _TOKENS_OUT, _TOKENS_OUT_SQ = range(Column.COST, Column.SECONDS)
_SECONDS, _LOG_SECONDS, _LOG_SECONDS_SQ = range(Column.SECONDS, Column.N_FIRST)
_LOG_FIRST, _LOG_FIRST_SQ = Column.LOG_FIRST, Column.LOG_FIRST_SQ
_ONE_CALL, _ONE_OK, _ONE_CLOSED, _ONE_FIRST = (
    (column, 1.0) for column in (Column.CALLS, Column.OK, Column.CLOSED, Column.N_FIRST)
)

OTHER_SEGMENT: Final = "other"
"""Shared by every segment past the first 1,024."""
RESERVED: Final = "~"
"""Begins the names of other kinds of rows, and so never that of a segment."""

MAX_SEGMENTS: Final = 1024
MINUTE, HOUR, DAY, MONTH = 1, 60, 1440, 43200
"""Widths of a bucket in minutes. Each divides the next, so a wider one covers whole finer ones."""
_WIDER: Final = {MINUTE: HOUR, HOUR: DAY, DAY: MONTH}
_KEEP_FOR: Final = {MINUTE: HOUR, HOUR: 2 * DAY, DAY: 90 * DAY}
_FASTEST_S: Final = 1e-6


def minute_of(wall: float) -> int:
    """Return the minute since 1970 in which a wall-clock time lies."""
    return int(wall // 60)


Sums: TypeAlias = list[float] | npt.NDArray[np.float64]
"""Of `COLUMNS` as a list, to which numbers are quickly added one by one; of another kind as an
array, to which they are added together."""


class RowId(NamedTuple):
    """Whose sums a row holds; ``start`` and ``width`` are in minutes.

    In rows of another kind, ``segment`` is the kind's name.
    """

    node: str
    start: int
    width: int
    segment: str
    model: str


MergeRow: TypeAlias = tuple[RowId, int, Sums]
"""A row as it is told to others: whose it is, its version, its sums."""


class Row:
    """Sums, and the version they are at."""

    __slots__ = ("sums", "version")

    def __init__(self, sums: Sums, version: int = 0) -> None:
        self.sums = sums
        self.version = version


@record()
class Outcome:
    """What came of one call."""

    ok: bool
    cost_usd: float = 0.0
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    first_token_s: float | None = None

    def deltas(self) -> list[tuple[int, float]]:
        """Return what it adds to each column."""
        if not self.ok:
            return [_ONE_CALL, _ONE_CLOSED, (_COST, self.cost_usd)]
        tokens, seconds = self.tokens_out, self.seconds
        logarithm = log(seconds if seconds > _FASTEST_S else _FASTEST_S)
        found = [
            _ONE_CALL,
            _ONE_OK,
            (_COST, self.cost_usd),
            (_TOKENS_IN, self.tokens_in),
            (_TOKENS_OUT, tokens),
            (_TOKENS_OUT_SQ, tokens * tokens),
            (_SECONDS, seconds),
            (_LOG_SECONDS, logarithm),
            (_LOG_SECONDS_SQ, logarithm * logarithm),
            _ONE_CLOSED,
        ]
        first_s = self.first_token_s
        if first_s is not None:
            log_first = log(first_s if first_s > _FASTEST_S else _FASTEST_S)
            found += _ONE_FIRST, (_LOG_FIRST, log_first), (_LOG_FIRST_SQ, log_first * log_first)
        return found


class Statistics:
    """The rows of one node and of all others it has heard from.

    Args:
        node: Name of this process, unique among those that share statistics.
    """

    def __init__(self, node: str) -> None:
        self.node = node
        self._rows: dict[RowId, Row] = {}
        self._segments: set[str] = set()
        self._hot: dict[tuple[str, str], Row] = {}
        self._hot_minute = -1
        self._compacted_hour = -1

    def __len__(self) -> int:
        return len(self._rows)

    def segment(self, name: str) -> str:
        """Return the segment under which this one is kept.

        Raises:
            InvalidRequestError: The name begins as those of other kinds of rows do.
        """
        if name in self._segments:
            return name
        if name.startswith(RESERVED):
            raise InvalidRequestError(
                f"no segment's name begins with {RESERVED!r}: {name!r}", param="context.task"
            )
        if len(self._segments) >= MAX_SEGMENTS:
            return OTHER_SEGMENT
        self._segments.add(name)
        return name

    def add(
        self, minute: int, segment: str, model: str, deltas: Iterable[tuple[int, float]]
    ) -> None:
        """Add to a row of our own: the minute's, or the one it has been folded into."""
        if minute == self._hot_minute:
            row = self._hot.get((segment, model))
            if row is None:
                row = self._hot[segment, model] = self._own_row(minute, segment, model)
        else:
            row = self._own_row(minute, segment, model)
        sums = row.sums
        for column, delta in deltas:
            sums[column] += delta
        row.version += 1

    def add_array(self, minute: int, kind: str, model: str, added: npt.NDArray[np.float64]) -> None:
        """Add to a row of another kind, our own: the hour's, or the one it has been folded into.

        Args:
            minute: When the pull began.
            kind: Its name, which begins with `RESERVED`.
            model: The model's key.
            added: As long as all of this kind.
        """
        row_id = RowId(self.node, minute // HOUR * HOUR, HOUR, kind, model)
        row = self._rows.get(row_id) or self._covering(row_id)
        if row is None:
            self._rows[row_id] = Row(added.copy(), 1)
        else:
            row.sums = _plus(row.sums, added)
            row.version += 1

    def advance(self, minute: int) -> None:
        """Let ``minute`` be the one that is written most."""
        if minute != self._hot_minute:
            self._hot_minute = minute
            self._hot = {}

    def rows(self) -> Iterator[tuple[RowId, Row]]:
        """Iterate over every row."""
        return iter(self._rows.items())

    def totals(self, since: int | None = None) -> dict[tuple[str, str], list[float]]:
        """Return the sums by (segment, model), of rows that end after minute ``since``.

        Rows of other kinds are not among them.
        """
        found: dict[tuple[str, str], list[float]] = {}
        for row_id, row in self._rows.items():
            if since is not None and row_id.start + row_id.width <= since:
                continue
            if isinstance(row.sums, list):
                sums = found.setdefault((row_id.segment, row_id.model), [0.0] * len(COLUMNS))
                for column, value in enumerate(row.sums):
                    sums[column] += value
        return found

    def forget(self) -> None:
        """Set every sum to nothing, but for pulls that are open: their ends are yet to come."""
        for row_id, row in self._rows.items():
            sums = row.sums
            if isinstance(sums, list):
                open_pulls = sums[Column.OPENED] - sums[Column.CLOSED] - sums[Column.EXPIRED]
                row.sums = [0.0] * len(COLUMNS)
                row.sums[Column.OPENED] = open_pulls
            else:
                row.sums = np.zeros_like(sums)
            if row_id.node == self.node:
                row.version += 1

    # -- sharing -------------------------------------------------------------------------------

    def merge(self, rows: Iterable[MergeRow]) -> list[tuple[RowId, Sums]]:
        """Take rows of other nodes, or our own from a store.

        Returns:
            What each changed row added, for whoever keeps totals. A row that replaces the finer
            ones it covers adds only what they did not hold.
        """
        news = [
            (row_id, version, sums)
            for row_id, version, sums in rows
            if self._is_news(row_id, version)
        ]
        # The widest first: a finer row that came along with it is inside it.
        news.sort(key=lambda row: -row[0].width)
        absorbed = self._absorb(
            {r for r, _, sums in news if r.width > (MINUTE if isinstance(sums, list) else HOUR)}
        )
        changes: list[tuple[RowId, Sums]] = []
        for row_id, version, sums in news:
            if not self._is_news(row_id, version):
                continue
            known = self._rows.get(row_id)
            before = absorbed.get(row_id) if known is None else known.sums
            self._rows[row_id] = Row(sums.copy(), version)
            if isinstance(sums, list):
                self._segments.add(row_id.segment)
            changes.append((row_id, sums.copy() if before is None else _minus(sums, before)))
        self._hot = {}
        return changes

    def compact(self, minute: int) -> None:
        """Fold our own rows into wider ones, once the whole wider bucket is old enough.

        Buckets become old enough on the hour, so within one nothing is looked at twice.
        """
        if minute // HOUR == self._compacted_hour:
            return
        self._compacted_hour = minute // HOUR
        for width, keep_for in _KEEP_FOR.items():
            targets = {
                wider
                for r in self._rows
                if r.node == self.node and r.width == width
                for wider in (_widened(r, _WIDER[width]),)
                if wider.start + wider.width + keep_for <= minute
            }
            for target, sums in self._absorb(targets).items():
                self._rows[target] = Row(sums, 1)
        self._hot = {}

    def _is_news(self, row_id: RowId, version: int) -> bool:
        known = self._rows.get(row_id)
        if known is not None:
            return version > known.version
        return self._covering(row_id) is None

    def _own_row(self, minute: int, segment: str, model: str) -> Row:
        row_id = RowId(self.node, minute, MINUTE, segment, model)
        row = self._rows.get(row_id) or self._covering(row_id)
        if row is None:
            row = self._rows[row_id] = Row([0.0] * len(COLUMNS))
        return row

    def _covering(self, row_id: RowId) -> Row | None:
        for width in _WIDER.values():
            if width > row_id.width:
                row = self._rows.get(_widened(row_id, width))
                if row is not None:
                    return row
        return None

    def _absorb(self, targets: set[RowId]) -> dict[RowId, Sums]:
        """Remove the finer rows that each target covers and return their sums."""
        absorbed: dict[RowId, Sums] = {}
        if not targets:
            return absorbed
        widths = sorted({t.width for t in targets}, reverse=True)
        for row_id in list(self._rows):
            for width in widths:
                target = _widened(row_id, width)
                if row_id.width < width and target in targets:
                    total, sums = absorbed.get(target), self._rows.pop(row_id).sums
                    absorbed[target] = sums if total is None else _plus(total, sums)
                    break
        return absorbed


def _widened(row_id: RowId, width: int) -> RowId:
    return row_id._replace(start=row_id.start // width * width, width=width)


def _plus(a: Sums, b: Sums) -> Sums:
    return [x + y for x, y in zip(a, b, strict=True)] if isinstance(a, list) else a + b


def _minus(a: Sums, b: Sums) -> Sums:
    return [x - y for x, y in zip(a, b, strict=True)] if isinstance(a, list) else a - b
