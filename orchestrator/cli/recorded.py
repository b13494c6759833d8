"""Logged decisions, from whatever file holds them: an export, or the log itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias, cast

import typer

from orchestrator.core.errors import InvalidRequestError

if TYPE_CHECKING:
    from orchestrator.analysis.decisions import DecisionLog

__all__ = ["CostWeight", "LogFile", "read_log"]

LogFile: TypeAlias = Annotated[
    Path, typer.Argument(metavar="LOG", help="Parquet or CSV export, or the SQLite file itself.")
]
CostWeight: TypeAlias = Annotated[
    float | None,
    typer.Option(
        help="Points of quality per USD; else such that a mean call of the dearest model costs 0.2."
    ),
]
_SQLITE: Final = b"SQLite format 3\0"


def read_log(path: Path, on_rows: Callable[[int], None]) -> DecisionLog:
    """Read the decisions of a file, told by its content.

    Args:
        path: The file.
        on_rows: Told after some decisions how many have been read.

    Raises:
        InvalidRequestError: There is no such file.
        DecisionLogError, PropensityError: It holds no decisions, or some that cannot be true.
        StoreError: The log is of another version, or cannot be read.
        MissingExtraError: A library is needed to read it.
    """
    from orchestrator.analysis.exports import read_export

    try:
        with path.open("rb") as file:
            recorded = file.read(len(_SQLITE)) == _SQLITE
    except OSError as error:
        raise InvalidRequestError(
            f"{path} cannot be read: {error.strerror}",
            param="log",
            hint="orchestrator log export --out decisions.parquet writes one",
        ) from error
    return asyncio.run(_stored(path, on_rows)) if recorded else read_export(path, on_rows)


async def _stored(path: Path, on_rows: Callable[[int], None]) -> DecisionLog:
    from orchestrator.analysis.decisions import Gathered
    from orchestrator.store.sql import SqliteStore

    store, gathered = SqliteStore(path), Gathered()
    try:
        await store.open(write=False)
        async with aclosing(cast("Any", store.entries())) as pages:
            async for page in pages:
                gathered.add(page)
                on_rows(len(gathered))
    finally:
        await store.aclose()
    return gathered.log()
