"""Writes decisions to a file that notebooks read: Parquet or CSV, a row each."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, aclosing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, cast

from orchestrator.core.errors import MissingExtraError
from orchestrator.store.entries import COLUMNS
from orchestrator.store.errors import StoreError
from orchestrator.store.records import Record, Store

__all__ = ["Format", "export"]

Format: TypeAlias = Literal["parquet", "csv"]
_Write: TypeAlias = Callable[[list[Record]], object]

_REPEATED: Final = ("model", "selector", "segment", "registry", "eligible", "shape", "demands")
"""Texts of which there are few: Parquet keeps each once."""


async def export(
    store: Store,
    path: Path,
    form: Format,
    since: float | None = None,
    progress: Callable[[int], object] = lambda rows: None,
) -> int:
    """Write the decisions of an open store, with what came of each; return how many.

    The file appears under its name only once it is whole.

    Args:
        store: What is read.
        path: The file; one that is there is replaced.
        form: Parquet, or CSV with a header.
        since: Wall-clock time before which decisions are left out.
        progress: Told of each number of rows that has been written.

    Raises:
        MissingExtraError: Parquet needs a library.
        StoreError: The file cannot be written.
        LogDataError: A row of the log cannot be true.
    """
    part = path.with_name(f"{path.name}.part")
    writing = _parquet if form == "parquet" else _csv
    total = 0
    try:
        with writing(part) as write:
            async with aclosing(cast("Any", store.entries(since))) as pages:
                async for page in pages:
                    write(page)
                    total += len(page)
                    progress(len(page))
        part.replace(path)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)
    return total


def _parquet(path: Path) -> AbstractContextManager[_Write]:
    if find_spec("pyarrow") is None:
        raise MissingExtraError("Parquet", "analysis")
    return _writing_parquet(path)


@contextmanager
def _writing_parquet(path: Path) -> Iterator[_Write]:
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    types = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    repeated = pa.dictionary(pa.int32(), pa.string())
    schema = pa.schema(
        (name, repeated if name in _REPEATED else types[kind]) for name, kind in COLUMNS.items()
    )
    with path.open("wb") as file, ParquetWriter(file, schema, compression="zstd") as writer:
        yield lambda rows: writer.write_table(pa.Table.from_pylist(rows, schema))


@contextmanager
def _csv(path: Path) -> Iterator[_Write]:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        yield writer.writerows
