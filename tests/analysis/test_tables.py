from __future__ import annotations

import gzip
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from orchestrator.analysis.generator import generate_table
from orchestrator.analysis.tables import OutcomeTable, OutcomeTableError, read_table, write_table

PROMPTS = 'prompt_id,task,text\np1,math,"two\nlines"\np2,code,hello\n'
OUTCOMES = (
    "prompt_id,model,quality,cost_usd,n_tokens\n"
    "p1,small,0.5,0.001,3\np1,large,1,0.01,4\np2,large,0,0.02,5\np2,small,1.0,0.002,6\n"
)


def written(folder: Path, outcomes: str = OUTCOMES, prompts: str = PROMPTS) -> Path:
    (folder / "outcomes.csv").write_text(outcomes)
    (folder / "prompts.csv").write_text(prompts)
    return folder


def assert_same(one: OutcomeTable, other: OutcomeTable) -> None:
    for field in fields(OutcomeTable):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


def test_a_folder_is_read_whatever_the_order_of_its_rows(tmp_path: Path):
    table = read_table(written(tmp_path))

    assert (table.models, table.prompt_ids) == (("large", "small"), ("p1", "p2"))
    assert [table.tasks[task] for task in table.task] == ["math", "code"]
    assert table.quality.tolist() == [[1.0, 0.5], [0.0, 1.0]]
    assert table.cost_usd.tolist() == [[0.01, 0.001], [0.02, 0.002]]
    assert table.latency_ms is None
    assert table.features is None


def test_a_byte_order_mark_and_empty_lines_are_left_alone(tmp_path: Path):
    plain, marked = tmp_path / "plain", tmp_path / "marked"
    for folder in (plain, marked):
        folder.mkdir()

    written(marked, *(f"\ufeff{text}\n\n" for text in (OUTCOMES, PROMPTS)))

    assert_same(read_table(marked), read_table(written(plain)))


@pytest.mark.parametrize("features", [0, 3])
@pytest.mark.parametrize("timed", [True, False])
def test_what_is_written_is_read_again_to_the_last_digit(
    tmp_path: Path, features: int, timed: bool
):
    table = generate_table(1, prompts=40, features=features)
    if not timed:
        table = replace(table, latency_ms=None)

    write_table(table, tmp_path / "new" / "folder")

    assert_same(read_table(tmp_path / "new" / "folder"), table)


def test_the_same_table_is_the_same_bytes(tmp_path: Path):
    for folder in ("one", "other"):
        write_table(generate_table(7, prompts=10), tmp_path / folder)

    for name in ("prompts.csv.gz", "outcomes.csv.gz"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


@pytest.mark.parametrize(
    ("outcomes", "told"),
    [
        ("prompt_id,model,quality\np1,small,1\n", "outcomes.csv: there is no column cost_usd"),
        (OUTCOMES.replace("0.5,", "1.5,"), "row 1: quality must be in [0, 1], not '1.5'"),
        (OUTCOMES.replace("0.5,", "-0.5,"), "row 1: quality must be in [0, 1], not '-0.5'"),
        (OUTCOMES.replace("0.5,", "nan,"), "row 1: quality must be in [0, 1], not 'nan'"),
        (OUTCOMES.replace("0.5,", ","), "row 1: quality must be in [0, 1], not ''"),
        (OUTCOMES.replace("0.5,", "good,"), "row 1: quality must be in [0, 1], not 'good'"),
        (OUTCOMES.replace("0.02", "inf"), "row 3: cost_usd must be a finite number of at least 0"),
        (OUTCOMES.replace("0.02", "-1"), "row 3: cost_usd must be a finite number of at least 0"),
        (
            OUTCOMES.replace("p2,small", "p1,small"),
            "model 'small' has two outcomes for prompt 'p1'",
        ),
        (OUTCOMES.replace("p2,small", "p3,small"), "prompt 'p3' is not among the prompts"),
        (OUTCOMES.rsplit("p2", 1)[0], "model 'small' has no outcome for prompt 'p2'"),
        (OUTCOMES.splitlines()[0] + "\n", "there is no outcome in it"),
        (OUTCOMES + "p2,tiny\n", "row 5: 2 values for 5 columns"),
        (OUTCOMES + '"p2', "it is not a CSV file"),
        ("", "it is not a CSV file"),
    ],
)
def test_an_outcome_that_is_wrong_is_named_by_file_and_row(
    tmp_path: Path, outcomes: str, told: str
):
    with pytest.raises(OutcomeTableError) as failure:
        read_table(written(tmp_path, outcomes))

    assert told in failure.value.message
    assert failure.value.path == tmp_path / "outcomes.csv"


@pytest.mark.parametrize(
    ("prompts", "told"),
    [
        ("prompt_id\np1\np2\n", "there is no column task"),
        (PROMPTS + "p1,code,\n", "row 3: prompt 'p1' is there twice"),
        ("prompt_id,task\n", "there is no prompt in it"),
    ],
)
def test_a_prompt_that_is_wrong_is_named(tmp_path: Path, prompts: str, told: str):
    with pytest.raises(OutcomeTableError, match=told):
        read_table(written(tmp_path, prompts=prompts))


@pytest.mark.parametrize(
    ("features", "told"),
    [
        ("prompt_id,f0\np1,1\n", "prompt 'p2' has no features"),
        ("prompt_id,f0\np1,1\np2,nan\n", "row 2: a feature is not finite"),
        ("prompt_id,f0\np1,1\np2,long\n", "row 2: a feature is not a number"),
        ("prompt_id,f0\np1,1\np3,2\n", "prompt 'p3' is not among the prompts"),
    ],
)
def test_features_that_are_wrong_are_named(tmp_path: Path, features: str, told: str):
    (written(tmp_path) / "features.csv").write_text(features)

    with pytest.raises(OutcomeTableError, match=told):
        read_table(tmp_path)


def test_a_folder_without_a_table_is_told_what_it_lacks(tmp_path: Path):
    with pytest.raises(OutcomeTableError, match=r"there is no prompts.csv.gz and no prompts.csv"):
        read_table(tmp_path)


@pytest.mark.parametrize(
    "data",
    [
        b"not gzip",
        gzip.compress(b"prompt_id", mtime=0)[:-4],
        gzip.compress(b"\xff\xfe\x00", mtime=0),
    ],
)
def test_a_broken_archive_is_no_table(tmp_path: Path, data: bytes):
    (written(tmp_path) / "prompts.csv.gz").write_bytes(data)

    with pytest.raises(OutcomeTableError, match="it is not a CSV file"):
        read_table(tmp_path)


def test_halves_share_no_prompt_and_lose_none():
    table = generate_table(3, prompts=101, features=2)

    one, other = table.halves(np.random.default_rng(1))

    assert {*one.prompt_ids} | {*other.prompt_ids} == {*table.prompt_ids}
    assert len(one) + len(other) == 101
    assert abs(len(one) - len(other)) == 1
    row = table.prompt_ids.index(other.prompt_ids[5])
    assert other.features is not None
    assert table.features is not None
    assert other.quality[5].tolist() == table.quality[row].tolist()
    assert other.features[5].tolist() == table.features[row].tolist()
