from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from orchestrator.analysis.decisions import DecisionLogError, Gathered
from orchestrator.analysis.exports import read_export
from orchestrator.analysis.ope import PropensityError
from orchestrator.store import MemoryStore
from orchestrator.store.entries import COLUMNS
from orchestrator.store.export import Format, export
from tests.conftest import require
from tests.store.history import NOON, read, story


async def exported(path: Path, form: Format) -> Path:
    store = MemoryStore()
    await store.write(story())
    await export(store, path, form)
    return path


@pytest.mark.parametrize("form", ["parquet", "csv"])
async def test_an_export_is_read_as_the_store_has_it(form: Format, tmp_path: Path):
    if form == "parquet":
        require("pyarrow", "pip install 'orchestrator[analysis]'")
    store, stored = MemoryStore(), Gathered()
    await store.write(story())
    stored.add(await read(store))
    seen: list[int] = []

    log, direct = read_export(await exported(tmp_path / "log", form), seen.append), stored.log()

    assert seen == [3]
    # The third is another node's, which the store has first; it was made in the same moment.
    assert log.numbers["wall"].tolist() == [NOON, NOON + 1, NOON + 2]
    assert [log.models[arm] for arm in log.arm] == ["a:y"] * 3
    assert log.eligible_sets[log.eligible_set].tolist() == [[True, True]] * 3
    assert log.ok.tolist() == [True, False, False]
    assert log.counts.tolist() == [True, True, False]
    for name, values in log.numbers.items():
        assert np.array_equal(values, direct.numbers[name], equal_nan=True), name
    assert log.numbers["quality"].tolist()[0] == 0.75


def rewritten(path: Path, **changes: str | None) -> Path:
    """Change columns of the second row of a CSV file, or leave them out of all."""
    with path.open(newline="") as file:
        rows = [*csv.DictReader(file)]
    rows[1].update({name: text for name, text in changes.items() if text is not None})
    kept = [name for name in rows[0] if changes.get(name, "") is not None]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, kept, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"ok": "maybe"}, "log: decision 2: ok is neither True nor False: 'maybe'"),
        ({"quality": "nan"}, r"log: decision 2: quality must be in \[0, 1\], not 'nan'"),
        ({"propensity": "0.0"}, r"log: decision 2, d-.*: a propensity of 0.0"),
        ({"propensity": None}, "log: there is no column propensity"),
        ({"ok": None, "eligible": None}, "log: there is no column eligible, ok"),
    ],
)
async def test_what_is_wrong_with_a_file_is_told_with_its_name(
    changes: dict[str, str | None], told: str, tmp_path: Path
):
    path = rewritten(await exported(tmp_path / "log", "csv"), **changes)

    with pytest.raises((DecisionLogError, PropensityError), match=told):
        read_export(path)


async def test_an_older_export_is_told_how_to_be_made_anew(tmp_path: Path):
    require("pyarrow", "pip install 'orchestrator[analysis]'")
    import pyarrow.parquet as pq

    path = await exported(tmp_path / "log", "parquet")
    pq.write_table(pq.read_table(path).drop_columns(["counts"]), path)

    with pytest.raises(DecisionLogError, match="no column counts") as caught:
        read_export(path)
    assert caught.value.hint is not None
    assert "orchestrator log export" in caught.value.hint


@pytest.mark.parametrize(
    "content", [b"", b"PAR1 and no more", b"\xff\xfe\x00", b'decision_id\n"open', b"a,b\n1,2\n"]
)
def test_another_file_is_no_export(content: bytes, tmp_path: Path):
    (tmp_path / "log").write_bytes(content)

    with pytest.raises(DecisionLogError, match="log"):
        read_export(tmp_path / "log")


async def test_a_byte_order_mark_is_left_alone(tmp_path: Path):
    path = await exported(tmp_path / "log", "csv")
    path.write_text("\ufeff" + path.read_text("utf-8"), "utf-8")

    assert len(read_export(path)) == 3


def test_a_short_row_is_told(tmp_path: Path):
    (tmp_path / "log").write_text(",".join(COLUMNS) + "\nd-n-0-0\n")

    with pytest.raises(DecisionLogError, match="decision 1: it has fewer values"):
        read_export(tmp_path / "log")
