"""The rows of a store, and the promise of what keeps them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias

from orchestrator.core.ports import EarlierDecision, ExperimentShare
from orchestrator.core.statistics import RowId

__all__ = ["Batch", "Kept", "LogInfo", "Record", "Store"]

Record: TypeAlias = dict[str, Any]
"""A row by the names of its columns, which `orchestrator.store.tables` explains."""


@dataclass(slots=True)
class Batch:
    """Rows that are written together. What is known already, by its key, is not written again."""

    registries: list[Record] = field(default_factory=list)
    eligible_sets: list[Record] = field(default_factory=list)
    shapes: list[Record] = field(default_factory=list)
    decisions: list[Record] = field(default_factory=list)
    outcomes: list[Record] = field(default_factory=list)
    qualities: list[Record] = field(default_factory=list)


class Kept(NamedTuple):
    """A row of statistics as it is kept.

    Attributes:
        row_id: Whose sums it holds.
        version: Theirs.
        sums: By the names of their columns, zeros left out; empty in rows of another kind.
        packed: What rows of another kind hold instead, little-endian float64.
    """

    row_id: RowId
    version: int
    sums: dict[str, float]
    packed: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogInfo:
    """What a log holds.

    Attributes:
        decisions, outcomes, qualities: Rows of each.
        missing: Decisions that were made but not written, as far as the numbering shows.
        first, last: Wall-clock times of the first and the last decision, or None.
        nodes: Processes that have written.
        models: Decisions by chosen model, most first.
    """

    decisions: int
    outcomes: int
    qualities: int
    missing: int
    first: float | None
    last: float | None
    nodes: int
    models: dict[str, int]


class Store(Protocol):
    """Keeps rows. One writer at a time calls it."""

    async def open(self, *, write: bool = True) -> None:
        """Make it ready; ``write`` creates what there is not, and brings an older one up to date.

        Raises:
            StoreError: It cannot be opened.
            StoreSchemaError: It is of another version.
        """
        ...

    async def write(self, batch: Batch) -> None:
        """Keep a batch whole or not at all; the same batch again changes nothing.

        Raises:
            StoreError: It could not be written.
        """
        ...

    def entries(self, since: float | None = None) -> AsyncIterator[list[Record]]:
        """Read decisions in the order of each node, joined with outcome and latest quality.

        Args:
            since: Wall-clock time before which decisions are left out.

        Yields:
            Some rows at a time, with the columns of `orchestrator.store.entries`.

        Raises:
            LogDataError: A row cannot be true.
        """
        ...

    async def decision(self, node: str, bucket: int, sequence: int) -> EarlierDecision | None:
        """Find a decision by what its id says of it, unless it says nothing of its model."""
        ...

    async def info(self, since: float | None = None) -> LogInfo:
        """Count what there is."""
        ...

    async def statistics(self) -> list[Kept]:
        """Read every row of statistics."""
        ...

    async def experiments(self) -> list[ExperimentShare]:
        """Read what every process has seen of every experiment."""
        ...

    async def keep(
        self,
        rows: Iterable[Kept],
        gone: Iterable[RowId] = (),
        shares: Iterable[ExperimentShare] = (),
    ) -> None:
        """Keep what was learned, all of it or nothing.

        Args:
            rows: Rows of statistics, each to be kept unless a later version is known.
            gone: Others, to be removed.
            shares: Of experiments, each in the place of the one its process had.
        """
        ...

    async def aclose(self) -> None:
        """Let go of it."""
        ...
