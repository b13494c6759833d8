from __future__ import annotations

import csv
from pathlib import Path

import orjson
import pytest

from orchestrator.core.params import TextGenerationParams
from orchestrator.core.requirements import ANYTHING
from orchestrator.routing.segments import ByCentroid
from tests.cli.command import Ran, command

CODE = [f"write a python function that returns {what}" for what in ("one", "two", "three", "four")]
TRAVEL = [f"when does the night train to {where} leave" for where in ("Rome", "Paris", "Oslo")]


def written(path: Path, texts: list[str], column: str = "text") -> str:
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", column])
        rows.writerows(enumerate(texts))
    return str(path)


def trained(folder: Path, *words: str, texts: list[str] | None = None) -> Ran:
    prompts = written(folder / "prompts.csv", texts or [*CODE, *TRAVEL])
    out = str(folder / "segments.json")
    return command("segments", "train", prompts, "--out", out, "--segments", "2", *words)


def test_what_is_trained_tells_new_prompts_apart(tmp_path: Path):
    assert trained(tmp_path).code == 0
    found = ByCentroid.from_dict(orjson.loads((tmp_path / "segments.json").read_bytes()))

    code, travel, again = (
        found.segment(TextGenerationParams(prompt=text), ANYTHING)
        for text in ("a python function, please", "the train to Bern", "night train tickets")
    )
    assert code != travel == again


def test_json_tells_what_was_found(tmp_path: Path):
    ran = trained(tmp_path, "--json", texts=[*CODE, *TRAVEL, "?!"])

    told = ran.json
    assert (told["prompts"], told["without_words"]) == (7, 1)
    assert sorted(segment["prompts"] for segment in told["segments"]) == [3, 4]
    assert {segment["example"] in CODE for segment in told["segments"]} == {True, False}
    assert all(s["segment"].startswith(f"{told['version']}:") for s in told["segments"])
    assert 0.5 < told["similarity"] < 1


def test_the_same_seed_finds_the_same_and_another_may_not(tmp_path: Path):
    texts = [f"{a} {b} {c}" for a in "abcde" for b in "fghij" for c in "klmno"]
    versions = [
        trained(tmp_path, "--segments", "9", "--seed", seed, "--json", texts=texts).json["version"]
        for seed in ("1", "1", "2")
    ]

    assert versions[0] == versions[1] != versions[2]


def test_the_table_shows_a_prompt_of_each_segment_as_it_is(tmp_path: Path):
    ran = trained(tmp_path, texts=["[bold]python function", *CODE, *(f"{t}\nx" for t in TRAVEL)])

    first, header, *rows = ran.stdout.splitlines()
    assert first == f"{tmp_path / 'segments.json'}: 2 segments of 8 prompts"
    assert header.split() == ["segment", "prompts", "nearest", "prompt"]
    assert [row.split()[1] for row in rows] == ["5", "3"]
    assert ran.stderr == "reading 8 prompts\nfinding segments\n"


def test_a_prompt_is_no_markup(tmp_path: Path):
    ran = trained(tmp_path, "--segments", "1", texts=["[bold]write[/bold] this"])

    assert "[bold]write[/bold] this" in ran.stdout


def test_a_byte_order_mark_and_empty_lines_are_left_alone(tmp_path: Path):
    path = tmp_path / "prompts.csv"
    lines = ["text", *CODE, "", *TRAVEL, ""]
    path.write_text("\ufeff" + "\n".join(lines) + "\n", "utf-8")

    words = (str(path), "--segments", "2", "--out", str(tmp_path / "segments.json"), "--json")
    ran = command("segments", "train", *words)

    assert (ran.code, ran.json.get("prompts")) == (0, 7), ran.stderr


def test_another_column_may_hold_the_prompts(tmp_path: Path):
    prompts = written(tmp_path / "prompts.csv", [*CODE, *TRAVEL], column="question")
    words = ("segments", "train", prompts, "--segments", "2", "--out", str(tmp_path / "s.json"))

    wrong = command(*words, "--json")
    right = command(*words, "--column", "question")

    assert (wrong.code, right.code) == (2, 0)
    assert "there is no column 'text'" in wrong.json["error"]["message"]
    assert "it has id, question" in wrong.json["error"]["hint"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "there is no column 'text'"),
        (b"text\n", "there is no prompt in it"),
        (b"text\n?\n", "there is no word in it"),
        (b"text\none\none\n", "1 different texts, too few for 2 segments"),
        (b"id,text\n1,one\n2\n", "row 2: it has fewer values than columns"),
        (b"text\n\xff\n", "cannot be read"),
        (b'text\n"one\n', "cannot be read"),
    ],
)
def test_what_holds_no_prompts_is_said(tmp_path: Path, content: bytes, told: str):
    prompts, out = tmp_path / "prompts.csv", tmp_path / "segments.json"
    prompts.write_bytes(content)

    ran = command(
        *("segments", "train", str(prompts), "--segments", "2", "--out", str(out), "--json")
    )

    assert ran.code == 2
    assert told in ran.json["error"]["message"]
    assert not out.exists()


def test_files_that_are_not_there_are_said(tmp_path: Path):
    prompts = written(tmp_path / "prompts.csv", CODE)
    nothing = command("segments", "train", str(tmp_path / "none.csv"))
    nowhere = command(
        *("segments", "train", prompts, "--segments", "2"),
        *("--out", str(tmp_path / "no" / "segments.json")),
    )

    assert (nothing.code, nowhere.code) == (2, 2)
    assert "none.csv cannot be read" in nothing.stderr
    assert "segments.json cannot be written" in nowhere.stderr
