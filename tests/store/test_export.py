from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from orchestrator.core.errors import MissingExtraError
from orchestrator.store import LogDataError, MemoryStore, StoreError
from orchestrator.store import export as exports
from orchestrator.store.entries import COLUMNS
from orchestrator.store.export import Format, export
from tests.store.history import NOON, batch, decision, read, story

FORMATS: tuple[Format, ...] = ("parquet", "csv")


async def told() -> MemoryStore:
    store = MemoryStore()
    await store.write(story())
    return store


async def test_parquet_holds_every_entry_as_it_is(tmp_path: Path):
    store = await told()

    assert await export(store, tmp_path / "log.parquet", "parquet") == 3

    table = pq.read_table(tmp_path / "log.parquet")
    assert table.column_names == [*COLUMNS]
    assert table.to_pylist() == await read(store)


async def test_csv_holds_every_entry_and_nothing_where_nothing_is_known(tmp_path: Path):
    store = await told()

    assert await export(store, tmp_path / "log.csv", "csv") == 3

    with open(tmp_path / "log.csv", encoding="utf-8", newline="") as file:  # noqa: ASYNC230 - small
        rows = [*csv.DictReader(file)]
    assert rows == [
        {name: "" if value is None else str(value) for name, value in entry.items()}
        for entry in await read(store)
    ]
    assert json.loads(rows[1]["scores"]) == {"a:y": 0.75, "a:x": 0.5}


@pytest.mark.parametrize("form", FORMATS)
async def test_an_empty_log_is_a_file_with_columns_alone(tmp_path: Path, form: Format):
    path = tmp_path / "log"

    assert await export(await told(), path, form, since=NOON + 100) == 0

    found = pq.read_table(path).column_names if form == "parquet" else header(path)
    assert found == [*COLUMNS]


def header(path: Path) -> list[str]:
    return path.read_text("utf-8").strip().split(",")


@pytest.mark.parametrize("form", FORMATS)
async def test_a_row_that_cannot_be_true_leaves_the_file_of_before(tmp_path: Path, form: Format):
    path = tmp_path / "log"
    path.write_text("of before")
    store, wrong = MemoryStore(), batch(decision(0))
    wrong.decisions[0]["propensity"] = 0.0
    await store.write(wrong)

    with pytest.raises(LogDataError, match="has the propensity"):
        await export(store, path, form)

    assert os.listdir(tmp_path) == ["log"]
    assert path.read_text() == "of before"


@pytest.mark.parametrize("form", FORMATS)
async def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, form: Format):
    with pytest.raises(StoreError, match="nowhere/log cannot be written: No such file"):
        await export(await told(), tmp_path / "nowhere" / "log", form)


async def test_progress_counts_what_is_written(tmp_path: Path):
    seen: list[int] = []

    await export(await told(), tmp_path / "log.csv", "csv", progress=seen.append)

    assert sum(seen) == 3


async def test_without_its_library_parquet_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(exports, "find_spec", lambda name: None)

    with pytest.raises(MissingExtraError) as missing:
        await export(await told(), tmp_path / "log", "parquet")

    assert missing.value.hint == "pip install 'orchestrator[analysis]'"
