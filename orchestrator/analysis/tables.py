"""Outcome tables: what every model made of every prompt, so that any policy can be scored exactly.

A table is a folder of CSV files, plain or gzipped:

- ``outcomes.csv[.gz]``: ``prompt_id``, ``model``, ``quality`` (0 to 1), ``cost_usd``, and perhaps
  ``latency_ms``; a row for every prompt and model.
- ``prompts.csv[.gz]``: ``prompt_id``, ``task``; a row per prompt.
- ``features.csv[.gz]``, if there are any: ``prompt_id`` and a column per feature.

Further columns are left alone, and so are empty lines and a byte order mark.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from orchestrator.core.errors import RequestError
from orchestrator.core.estimates import FloatArray

__all__ = ["OutcomeTable", "OutcomeTableError", "read_table", "write_table"]

_IntArray: TypeAlias = npt.NDArray[np.intp]


class OutcomeTableError(RequestError):
    """A folder does not hold an outcome table.

    Attributes:
        path: The file, or the folder, that is wrong.
        row: Which of its rows, the first after the header being 1; None if it is not one row.
    """

    code = "bad_outcome_table"

    def __init__(
        self, path: Path, problem: str, *, row: int | None = None, hint: str | None = None
    ) -> None:
        super().__init__(f"{path}{'' if row is None else f', row {row}'}: {problem}", hint=hint)
        self.path = path
        self.row = row


@dataclass(frozen=True, slots=True)
class OutcomeTable:
    """What every model made of every prompt.

    Attributes:
        models: The arms, sorted by name.
        prompt_ids: The prompts, in the order of their file.
        tasks: Names of the segments, sorted.
        task: Each prompt's position in ``tasks``, shape ``(n_prompts,)``.
        quality: In [0, 1], shape ``(n_prompts, n_models)``.
        cost_usd: Of that one call, shape ``(n_prompts, n_models)``.
        latency_ms: Of that one call, shape ``(n_prompts, n_models)``, or None.
        features: Shape ``(n_prompts, n_features)``, or None.
    """

    models: tuple[str, ...]
    prompt_ids: tuple[str, ...]
    tasks: tuple[str, ...]
    task: _IntArray
    quality: FloatArray
    cost_usd: FloatArray
    latency_ms: FloatArray | None = None
    features: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.prompt_ids)

    def take(self, prompts: Sequence[int] | _IntArray) -> OutcomeTable:
        """Return the table of these prompts, by position; models and tasks stay as they are."""
        rows = np.asarray(prompts, dtype=np.intp)
        return replace(
            self,
            prompt_ids=tuple(self.prompt_ids[row] for row in rows),
            task=self.task[rows],
            quality=self.quality[rows],
            cost_usd=self.cost_usd[rows],
            latency_ms=None if self.latency_ms is None else self.latency_ms[rows],
            features=None if self.features is None else self.features[rows],
        )

    def halves(self, rng: np.random.Generator) -> tuple[OutcomeTable, OutcomeTable]:
        """Return two tables, each of a random half of the prompts."""
        order = rng.permutation(len(self))
        middle = len(self) // 2
        return self.take(np.sort(order[:middle])), self.take(np.sort(order[middle:]))


def read_table(folder: str | Path) -> OutcomeTable:
    """Read the outcome table of a folder.

    Raises:
        OutcomeTableError: A file or a column is missing, a prompt lacks a model's outcome, or a
            value is not what its column promises; the message names file and row.
    """
    folder = Path(folder)
    prompts = _File(folder, "prompts")
    task_of: dict[str, str] = {}
    for row, (prompt, task) in prompts.rows("prompt_id", "task"):
        if prompt in task_of:
            raise prompts.error(f"prompt {prompt!r} is there twice", row)
        task_of[prompt] = task
    if not task_of:
        raise prompts.error("there is no prompt in it")
    prompt_ids, tasks = tuple(task_of), tuple(sorted(set(task_of.values())))
    position = {prompt: n for n, prompt in enumerate(prompt_ids)}
    number = {task: n for n, task in enumerate(tasks)}
    models, quality, cost_usd, latency_ms = _outcomes(_File(folder, "outcomes"), position)
    return OutcomeTable(
        models,
        prompt_ids,
        tasks,
        np.array([number[task] for task in task_of.values()], dtype=np.intp),
        quality,
        cost_usd,
        latency_ms,
        _features(_File(folder, "features"), position) if _find(folder, "features") else None,
    )


def write_table(table: OutcomeTable, folder: str | Path) -> None:
    """Write a table as gzipped files, from which `read_table` makes the same one again."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    timed = table.latency_ms is not None
    values = [v for v in (table.quality, table.cost_usd, table.latency_ms) if v is not None]
    _write(
        folder / "prompts.csv.gz",
        ("prompt_id", "task"),
        ((p, table.tasks[t]) for p, t in zip(table.prompt_ids, table.task, strict=True)),
    )
    _write(
        folder / "outcomes.csv.gz",
        ("prompt_id", "model", "quality", "cost_usd", *(("latency_ms",) if timed else ())),
        (
            (prompt, model, *(float(value[row, arm]) for value in values))
            for row, prompt in enumerate(table.prompt_ids)
            for arm, model in enumerate(table.models)
        ),
    )
    if table.features is not None:
        _write(
            folder / "features.csv.gz",
            ("prompt_id", *(f"f{n:02}" for n in range(table.features.shape[1]))),
            (
                (prompt, *vector)
                for prompt, vector in zip(table.prompt_ids, table.features.tolist(), strict=True)
            ),
        )


# -- reading -----------------------------------------------------------------------------------


def _find(folder: Path, name: str) -> Path | None:
    found = (folder / f"{name}{ending}" for ending in (".csv.gz", ".csv"))
    return next((path for path in found if path.is_file()), None)


class _File:
    """One of a table's files, whole, whose errors name it."""

    def __init__(self, folder: Path, name: str) -> None:
        path = _find(folder, name)
        if not folder.is_dir():
            raise OutcomeTableError(folder, "there is no such folder")
        if path is None:
            raise OutcomeTableError(folder, f"there is no {name}.csv.gz and no {name}.csv")
        self.path = path
        try:
            data = path.read_bytes()
            text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
            self.header, *self._records = csv.reader(io.StringIO(text, newline=""), strict=True)
        except (OSError, EOFError, ValueError, csv.Error) as error:
            raise self.error(f"it is not a CSV file: {error}") from error

    def error(self, problem: str, row: int | None = None, hint: str | None = None) -> Exception:
        return OutcomeTableError(self.path, problem, row=row, hint=hint)

    def rows(self, *columns: str) -> Iterator[tuple[int, list[str]]]:
        """Iterate over the rows, numbered from 1, with the values of these columns."""
        missing = [column for column in columns if column not in self.header]
        if missing:
            raise self.error(
                f"there is no column {', '.join(missing)}", hint=f"it has {', '.join(self.header)}"
            )
        places = [self.header.index(column) for column in columns]
        for row, record in enumerate(self._records, start=1):
            if not record:  # an empty line
                continue
            if len(record) != len(self.header):
                raise self.error(f"{len(record)} values for {len(self.header)} columns", row)
            yield row, [record[place] for place in places]

    def number(self, text: str, row: int, column: str, high: float) -> float:
        """Return a number in [0, high]; nan lies in no interval."""
        try:
            value = float(text)
        except ValueError:
            value = np.nan
        if not 0.0 <= value <= high:
            bounds = "in [0, 1]" if high == 1.0 else "a finite number of at least 0"
            raise self.error(f"{column} must be {bounds}, not {text!r}", row)
        return value


_LIMITS: Mapping[str, float] = {
    "quality": 1.0,
    "cost_usd": float(np.finfo(float).max),
    "latency_ms": float(np.finfo(float).max),
}


def _outcomes(
    file: _File, position: Mapping[str, int]
) -> tuple[tuple[str, ...], FloatArray, FloatArray, FloatArray | None]:
    wanted = [c for c in _LIMITS if c != "latency_ms" or c in file.header]
    found: dict[str, dict[int, tuple[float, ...]]] = {}
    for row, (prompt, model, *texts) in file.rows("prompt_id", "model", *wanted):
        if prompt not in position:
            raise file.error(f"prompt {prompt!r} is not among the prompts", row)
        known = found.setdefault(model, {})
        if position[prompt] in known:
            raise file.error(f"model {model!r} has two outcomes for prompt {prompt!r}", row)
        known[position[prompt]] = tuple(
            file.number(text, row, column, _LIMITS[column])
            for text, column in zip(texts, wanted, strict=True)
        )
    if not found:
        raise file.error("there is no outcome in it")
    models = tuple(sorted(found))
    for model in models:
        lacking = [prompt for prompt, n in position.items() if n not in found[model]]
        if lacking:
            raise file.error(
                f"model {model!r} has no outcome for prompt {lacking[0]!r}"
                + (f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""),
                hint="every prompt needs an outcome of every model",
            )
    table = np.array([[found[model][n] for model in models] for n in range(len(position))])
    quality, cost_usd, *rest = np.moveaxis(table, -1, 0)
    return models, quality.copy(), cost_usd.copy(), rest[0].copy() if rest else None


def _features(file: _File, position: Mapping[str, int]) -> FloatArray:
    columns = [column for column in file.header if column != "prompt_id"]
    vectors = np.full((len(position), len(columns)), np.nan)
    for row, (prompt, *texts) in file.rows("prompt_id", *columns):
        if prompt not in position:
            raise file.error(f"prompt {prompt!r} is not among the prompts", row)
        try:
            vectors[position[prompt]] = [float(text) for text in texts]
        except ValueError as error:
            raise file.error(f"a feature is not a number: {error}", row) from error
        if not np.isfinite(vectors[position[prompt]]).all():
            raise file.error("a feature is not finite", row)
    for prompt, n in position.items():
        if columns and np.isnan(vectors[n, 0]):
            raise file.error(f"prompt {prompt!r} has no features")
    return vectors


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    # No time in the file: the same table is the same bytes.
    path.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))
