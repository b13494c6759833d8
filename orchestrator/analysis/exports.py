"""Reads the files that ``orchestrator log export`` writes."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, Final

from orchestrator.analysis.decisions import READ, DecisionLog, DecisionLogError, Gathered
from orchestrator.analysis.ope import PropensityError
from orchestrator.core.errors import MissingExtraError
from orchestrator.store.entries import COLUMNS

__all__ = ["read_export"]

_PAGE: Final = 2_000


def read_export(
    path: str | Path, on_rows: Callable[[int], object] = lambda rows: None
) -> DecisionLog:
    """Read what ``orchestrator log export`` wrote, Parquet or CSV, by its content.

    Args:
        path: The file.
        on_rows: Told after some decisions how many have been read.

    Raises:
        MissingExtraError: Parquet needs a library.
        PropensityError: A choice had no probability.
        DecisionLogError: It is no export, or of an older version, or a value cannot be true; the
            message names file and decision.
    """
    path, gathered = Path(path), Gathered()
    try:
        with path.open("rb") as file:
            parquet = file.read(4) == b"PAR1"
        for page in (_parquet if parquet else _csv)(path):
            gathered.add(page)
            on_rows(len(gathered))
        return gathered.log()
    except (OSError, ValueError, csv.Error) as error:
        raise DecisionLogError(f"{path} is no export of decisions: {error}") from error
    except (DecisionLogError, PropensityError) as error:
        error.message = f"{path}: {error.message}"
        raise


def _parquet(path: Path) -> Iterator[list[dict[str, Any]]]:
    if find_spec("pyarrow") is None:
        raise MissingExtraError("Parquet", "analysis")
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as file:
        _check_columns(file.schema_arrow.names)
        for batch in file.iter_batches(_PAGE, columns=list(READ)):
            yield batch.to_pylist()


def _csv(path: Path) -> Iterator[list[dict[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file, strict=True)
        _check_columns(rows.fieldnames or ())
        first = 1
        while page := list(islice(rows, _PAGE)):
            yield [_parsed(row, first + n) for n, row in enumerate(page)]
            first += len(page)


def _parsed(row: Mapping[str, str | None], number: int) -> dict[str, Any]:
    """Return a row of a CSV file with the types of its columns."""
    found: dict[str, Any] = {}
    for name in READ:
        text, kind = row[name], COLUMNS[name]
        if text is None:
            raise DecisionLogError("it has fewer values than there are columns", row=number)
        if kind is bool:
            if text not in ("True", "False", ""):
                raise DecisionLogError(f"{name} is neither True nor False: {text!r}", row=number)
            found[name] = text == "True" if text else None
        elif kind is str:
            found[name] = text
        else:
            found[name] = text or None
    return found


def _check_columns(names: Iterable[str]) -> None:
    there = set(names)
    missing = [name for name in READ if name not in there]
    if missing:
        raise DecisionLogError(
            f"there is no column {', '.join(missing)}",
            hint="it is no export, or of an older version: orchestrator log export writes anew",
        )
