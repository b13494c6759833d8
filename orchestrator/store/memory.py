"""A store that ends with the process: for tests, and for worlds without files."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable
from typing import Final, TypeAlias

from orchestrator.core.ports import EarlierDecision, ExperimentShare
from orchestrator.core.statistics import RowId
from orchestrator.store.entries import Shared, earlier
from orchestrator.store.records import Batch, Kept, LogInfo, Record

__all__ = ["MemoryStore"]

_Key: TypeAlias = tuple[str, int, int]

_NO_OUTCOME: Final = dict.fromkeys(
    (
        *("wall", "ok", "counts", "cost_usd", "tokens_in", "tokens_out"),
        *("seconds", "first_token_s", "error"),
    )
)
_COUNTS: Final = {"counts": True}
_NO_QUALITY: Final = dict.fromkeys(("wall", "quality", "corrected"))


class MemoryStore:
    """Implements `Store` in dictionaries."""

    def __init__(self) -> None:
        self._registries: dict[str, Record] = {}
        self._sets: dict[str, Record] = {}
        self._shapes: dict[str, Record] = {}
        self._decisions: dict[_Key, Record] = {}
        self._outcomes: dict[_Key, Record] = {}
        self._qualities: dict[_Key, dict[int, Record]] = {}
        self._statistics: dict[RowId, Kept] = {}
        self._experiments: dict[tuple[str, str, str], ExperimentShare] = {}

    async def open(self, *, write: bool = True) -> None:
        """Nothing has to be made ready."""

    async def write(self, batch: Batch) -> None:
        """Keep a batch; see `Store`."""
        for shared, rows in (
            (self._registries, batch.registries),
            (self._sets, batch.eligible_sets),
            (self._shapes, batch.shapes),
        ):
            for row in rows:
                shared.setdefault(row["id"], row)
        for kept, rows in (
            (self._decisions, batch.decisions),
            (self._outcomes, batch.outcomes),
        ):
            for row in rows:
                kept.setdefault(_key(row), row)
        for row in batch.qualities:
            self._qualities.setdefault(_key(row), {}).setdefault(row["number"], row)

    async def entries(self, since: float | None = None) -> AsyncIterator[list[Record]]:
        """Read decisions; see `Store`."""
        shared = Shared(self._registries, self._sets, self._shapes)
        found = []
        for key, decision in sorted(self._decisions.items()):
            if since is not None and decision["wall"] < since:
                continue
            outcome = self._outcomes.get(key, _NO_OUTCOME)
            rated = self._qualities.get(key)
            quality = _NO_QUALITY if rated is None else rated[max(rated)]
            walls = {"ended_wall": outcome["wall"], "rated_wall": quality["wall"]}
            found.append(shared.entry({**quality, **outcome, **walls, **decision}))
        if found:
            yield found

    async def decision(self, node: str, bucket: int, sequence: int) -> EarlierDecision | None:
        """Find a decision; see `Store`."""
        key = node, bucket, sequence
        found, rated = self._decisions.get(key), self._qualities.get(key)
        if found is None or not self._outcomes.get(key, _COUNTS)["counts"]:
            return None
        quality = None if rated is None else rated[max(rated)]["quality"]
        return earlier(found, quality)

    async def info(self, since: float | None = None) -> LogInfo:
        """Count what there is; see `Store`."""
        rows = [r for r in self._decisions.values() if since is None or r["wall"] >= since]
        walls = [row["wall"] for row in rows]
        known = {_key(row) for row in rows}
        spans: dict[str, list[int]] = {}
        for node, _, sequence in known:
            spans.setdefault(node, []).append(sequence)
        return LogInfo(
            decisions=len(rows),
            outcomes=len(known & self._outcomes.keys()),
            qualities=sum(len(q) for key, q in self._qualities.items() if key in known),
            missing=sum(max(max(s) - min(s) + 1 - len(s), 0) for s in spans.values()),
            first=min(walls, default=None),
            last=max(walls, default=None),
            nodes=len(spans),
            models=dict(Counter(row["model"] for row in rows).most_common()),
        )

    async def statistics(self) -> list[Kept]:
        """Read every row of statistics."""
        return list(self._statistics.values())

    async def experiments(self) -> list[ExperimentShare]:
        """Read the shares of experiments."""
        return list(self._experiments.values())

    async def keep(
        self,
        rows: Iterable[Kept],
        gone: Iterable[RowId] = (),
        shares: Iterable[ExperimentShare] = (),
    ) -> None:
        """Keep what was learned; see `Store`."""
        for row_id in gone:
            self._statistics.pop(row_id, None)
        for row in rows:
            known = self._statistics.get(row.row_id)
            if known is None or known.version < row.version:
                self._statistics[row.row_id] = row
        self._experiments.update((share[:3], share) for share in shares)

    async def aclose(self) -> None:
        """Nothing has to be let go of."""


def _key(row: Record) -> _Key:
    return row["node"], row["bucket"], row["sequence"]
