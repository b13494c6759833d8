"""``orchestrator warm-start``: from a table of outcomes to what a pool begins with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from csv import DictReader
from csv import Error as CsvError
from gzip import open as open_gzip
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from orchestrator.cli.options import AsJson
from orchestrator.cli.output import console, table, write_json
from orchestrator.core.errors import InvalidRequestError
from orchestrator.core.warm_start import DEFAULT_WEIGHT

if TYPE_CHECKING:
    from orchestrator.core.warm_start import WarmStart

__all__ = ["EXAMPLE", "warm_start"]

EXAMPLE: Final = "Example: orchestrator warm-start outcomes.csv --out prior.json"

_SEGMENT: Final = "all"
"""The segment of requests whose context names no task."""
_PROMPTS: Final = ("prompts.csv.gz", "prompts.csv")


def warm_start(
    outcomes: Annotated[
        Path,
        typer.Argument(help="CSV, perhaps gzipped: a row per outcome, with model and quality."),
    ],
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("prior.json"),
    weight: Annotated[
        float,
        typer.Option(help="Pulls that a model's outcomes count for at most.", min=0),
    ] = DEFAULT_WEIGHT,
    as_json: AsJson = False,
) -> None:
    """Add up the outcomes of every model for [selection] prior = "prior.json".

    Outcomes are kept apart by the column task; without one, by the tasks that a prompts.csv
    beside the file gives each prompt_id; without that, not at all.
    """
    import orjson

    found = _read(outcomes, weight)
    data = found.to_dict()
    try:
        out.write_bytes(orjson.dumps(data, option=orjson.OPT_INDENT_2))
    except OSError as error:
        raise InvalidRequestError(f"{out} cannot be written: {error}") from error
    if as_json:
        write_json({"file": out, **data})
        return
    listed = table("model", "outcomes", "mean quality", right=("outcomes", "mean quality"))
    for model, segments in found.models.items():
        n = sum(seen.n for seen in segments.values())
        won = sum(seen.n * seen.mean for seen in segments.values())
        listed.add_row(model, f"{n:,.0f}", f"{won / n:.3f}")
    console().print(f"{out}: {len(found.models)} models", markup=False)
    console().print(listed)


def _read(path: Path, weight: float) -> WarmStart:
    """Add up a table's outcomes.

    Raises:
        OutcomeTableError: A file cannot be read, or a row is no outcome.
    """
    from orchestrator.analysis.tables import OutcomeTableError
    from orchestrator.core.warm_start import Seen, WarmStart

    tasks: dict[str, str] | None = None
    sums: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(lambda: [0.0, 0.0]))
    for number, row in enumerate(_rows(path, "model", "quality"), start=1):
        if not row["model"]:
            raise OutcomeTableError(path, "there is no model", row=number)
        try:
            quality = float(row["quality"])
        except ValueError:
            quality = -1.0
        if not 0 <= quality <= 1:
            raise OutcomeTableError(
                path, f"quality must be in [0, 1], not {row['quality']!r}", row=number
            )
        task = row.get("task")
        if task is None:
            if tasks is None:
                tasks = _tasks(path) if "prompt_id" in row else {}
            task = tasks.get(row.get("prompt_id", ""))
            if tasks and task is None:
                raise OutcomeTableError(path, "its prompt is not among the prompts", row=number)
        into = sums[row["model"]][task or _SEGMENT]
        into[0] += 1
        into[1] += quality
    if not sums:
        raise OutcomeTableError(path, "there is no outcome in it")
    return WarmStart(
        {
            model: {segment: Seen(n, won / n) for segment, (n, won) in sorted(segments.items())}
            for model, segments in sorted(sums.items())
        },
        weight,
    )


def _tasks(outcomes: Path) -> dict[str, str]:
    """Return each prompt's task, from the file of prompts that lies beside, if there is one."""
    files = (outcomes.parent / name for name in _PROMPTS)
    prompts = next((file for file in files if file.is_file()), None)
    if prompts is None:
        return {}
    return {row["prompt_id"]: row["task"] for row in _rows(prompts, "prompt_id", "task")}


def _rows(path: Path, *columns: str) -> Iterator[dict[str, str]]:
    """Read a CSV file row by row: tables are larger than what becomes of them."""
    from orchestrator.analysis.tables import OutcomeTableError

    try:
        opened = open_gzip if path.suffix == ".gz" else open
        with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
            reader = DictReader(file, strict=True)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                has = ", ".join(reader.fieldnames or ()) or "nothing"
                raise OutcomeTableError(
                    path, f"there is no column {', '.join(missing)}", hint=f"it has {has}"
                )
            for number, row in enumerate(reader, start=1):
                if None in row or None in row.values():  # which mark too many and too few
                    raise OutcomeTableError(path, "it has more or fewer values", row=number)
                yield row
    except (OSError, EOFError, UnicodeDecodeError, CsvError) as error:
        raise OutcomeTableError(path, f"it cannot be read: {error}") from error
