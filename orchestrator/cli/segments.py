"""``orchestrator segments``: kinds of requests, found in prompts."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from orchestrator.cli.embedding import embedded
from orchestrator.cli.options import AsJson, ConfigFile, Paid
from orchestrator.cli.output import console, table, write_json
from orchestrator.cli.progress import progress
from orchestrator.core.errors import InvalidRequestError
from orchestrator.core.money import format_usd
from orchestrator.core.statistics import MAX_SEGMENTS

if TYPE_CHECKING:
    from orchestrator.core.estimates import FloatArray

__all__ = ["app", "train"]

app = typer.Typer(help="Tell kinds of requests apart by their text.")

_TRAIN_EXAMPLE: Final = (
    "Example: orchestrator segments train prompts.csv --segments 16 --out segments.json"
)
_SHOWN: Final = 60
"""Characters of an example."""


@app.callback(invoke_without_command=True)
def _of_segments(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command("train", epilog=_TRAIN_EXAMPLE)
def train(
    prompts: Annotated[Path, typer.Argument(help="CSV with a row per prompt.")],
    segments: Annotated[
        int, typer.Option(help="How many kinds to find.", min=1, max=MAX_SEGMENTS)
    ] = 16,
    seed: Annotated[int, typer.Option(help="The same seed, the same segments.", min=0)] = 1,
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("segments.json"),
    column: Annotated[str, typer.Option(help="The column that holds the prompts.")] = "text",
    embedding_model: Annotated[
        str | None, typer.Option(help="The model of the pool whose vectors tell prompts apart.")
    ] = None,
    config: ConfigFile = None,
    paid: Paid = False,
    as_json: AsJson = False,
) -> None:
    """Find kinds of requests in prompts, for [selection] segments = "segments.json".

    Prompts that share words come together; with an embedding model those that mean the same, as
    far as it can tell, and each request has its text embedded too. What was learned under other
    segments is kept, and counts in every model's mean, but these begin anew.
    """
    import numpy as np
    import orjson

    from orchestrator.analysis.clusters import MAX_ROUNDS, k_means
    from orchestrator.routing.segments import ByCentroid, ByEmbedding

    if embedding_model is None and (config is not None or paid):
        raise InvalidRequestError(
            "without an embedding model no pool is needed",
            param="embedding-model",
            hint="--embedding-model KEY, or leave out --config and --paid",
        )
    model, cost_usd = None, 0.0
    with progress(per_step=100 if embedding_model is None else 1) as watching:
        texts = _read(prompts, column)
        if embedding_model is None:
            vectors = _vectors(texts, watching(f"reading {len(texts):,} prompts", len(texts)))
        else:
            model, vectors, cost_usd = asyncio.run(
                embedded(texts, embedding_model, config, watching, paid=paid)
            )
        told = np.flatnonzero(vectors.any(axis=1))
        if not told.size:
            raise InvalidRequestError(f"{prompts}: there is no word in it", param="prompts")
        found = k_means(
            vectors[told],
            segments,
            np.random.default_rng(seed),
            watching("finding segments", MAX_ROUNDS),
        )
    segmenter = ByEmbedding(model, found.centroids) if model else ByCentroid(found.centroids)
    try:
        out.write_bytes(orjson.dumps(segmenter.to_dict()))
    except OSError as error:
        raise InvalidRequestError(f"{out} cannot be written: {error}", param="out") from error
    fit = np.vecdot(vectors[told], found.centroids[found.cluster])
    listed: list[dict[str, Any]] = []
    for number in range(segments):
        members = np.flatnonzero(found.cluster == number)
        example = texts[told[members[fit[members].argmax()]]] if members.size else None
        listed.append(
            {
                "segment": f"{segmenter.version}:{number}",
                "prompts": int(members.size),
                "example": example,
            }
        )
    if as_json:
        write_json(
            {
                "file": out,
                "version": segmenter.version,
                "embedding_model": model,
                "cost_usd": cost_usd,
                "prompts": len(told),
                "without_words": len(texts) - len(told),
                "similarity": found.similarity,
                "segments": listed,
            }
        )
        return
    shown = table("segment", "prompts", "nearest prompt", right=("prompts",))
    for row in sorted(listed, key=lambda row: -row["prompts"]):
        text = " ".join((row["example"] or "").split())
        cut = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
        shown.add_row(row["segment"], f"{row['prompts']:,}", cut)
    spent = f" for {format_usd(cost_usd)}" if cost_usd else ""
    console().print(f"{out}: {segments:,} segments of {len(told):,} prompts{spent}", markup=False)
    console().print(shown, markup=False)


def _vectors(texts: list[str], on_step: Callable[[int], None]) -> FloatArray:
    import numpy as np

    from orchestrator.routing.segments import N_FEATURES
    from orchestrator.routing.text_features import word_features

    vectors = np.empty((len(texts), N_FEATURES))
    for number, text in enumerate(texts):
        vectors[number] = word_features(text, N_FEATURES)
        on_step(number + 1)
    return vectors


def _read(path: Path, column: str) -> list[str]:
    """Return a column of a CSV file.

    Raises:
        InvalidRequestError: It cannot be read, or there is no such column or no row in it.
    """
    texts: list[str] = []
    number = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            columns = reader.fieldnames or ()
            if column not in columns:
                raise InvalidRequestError(
                    f"{path}: there is no column {column!r}",
                    param="column",
                    hint=f"--column NAME; it has {', '.join(columns) or 'nothing'}",
                )
            for number, row in enumerate(reader, start=1):
                text = row[column]
                if text is None:
                    raise InvalidRequestError(
                        f"{path}, row {number}: it has fewer values than columns", param="prompts"
                    )
                texts.append(text)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        after = f" after row {number}" if number else ""
        raise InvalidRequestError(
            f"{path}{after} cannot be read: {error}", param="prompts"
        ) from error
    if not texts:
        raise InvalidRequestError(f"{path}: there is no prompt in it", param="prompts")
    return texts
