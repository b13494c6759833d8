from __future__ import annotations

import gzip
import json
import re
import shlex
from pathlib import Path

import pytest

from tests.cli.command import Ran, command
from tests.house.project import ROOT

OUTCOMES = """prompt_id,model,quality,cost_usd
1,openai:gpt-4o,1,0.02
2,openai:gpt-4o,0.5,0.02
3,openai:gpt-4o,0,0.02
1,llama,0,0
2,llama,1,0
"""
PROMPTS = "prompt_id,task\n1,code\n2,code\n3,chat\n"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("outcomes.csv").write_text(OUTCOMES)


def warmed(*words: str) -> Ran:
    return command("warm-start", *words)


def test_outcomes_are_added_up_by_model_and_task():
    Path("prompts.csv").write_text(PROMPTS)

    ran = warmed("outcomes.csv", "--json")

    assert ran.code == 0, ran.stderr
    expected = {
        "weight": 10,
        "models": {
            "llama": {"code": {"n": 2, "mean": 0.5}},
            "openai:gpt-4o": {"chat": {"n": 1, "mean": 0}, "code": {"n": 2, "mean": 0.75}},
        },
    }
    assert ran.json == {"file": "prior.json", **expected}
    assert json.loads(Path("prior.json").read_text()) == expected


def test_a_column_of_tasks_needs_no_file_of_prompts():
    Path("x.csv").write_text("model,task,quality\na,code,1\na,,0.5\n")

    assert warmed("x.csv", "--json").json["models"] == {
        "a": {"all": {"n": 1, "mean": 0.5}, "code": {"n": 1, "mean": 1}}
    }


def test_a_byte_order_mark_and_empty_lines_are_left_alone():
    Path("x.csv").write_text("\ufeffmodel,quality\na,1\n\na,0\n\n", "utf-8")

    assert warmed("x.csv", "--json").json["models"] == {"a": {"all": {"n": 2, "mean": 0.5}}}


def test_without_tasks_all_outcomes_are_of_one_kind_and_files_may_be_gzipped():
    Path("outcomes.csv.gz").write_bytes(gzip.compress(OUTCOMES.encode()))

    ran = warmed("outcomes.csv.gz", "--out", "p.json", "--weight", "3", "--json")

    assert ran.json["models"]["openai:gpt-4o"] == {"all": {"n": 3, "mean": 0.5}}
    assert (ran.json["file"], ran.json["weight"]) == ("p.json", 3)


def test_a_table_that_has_neither_tasks_nor_prompts_is_one_task():
    Path("x.csv").write_text("model,quality\na,1\na,0\n")

    assert warmed("x.csv", "--json").json["models"] == {"a": {"all": {"n": 2, "mean": 0.5}}}
    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    assert "a table that has neither counts as one task" in " ".join(page.split())


def test_an_engine_begins_with_what_was_written():
    Path("orchestrator.toml").write_text(
        '[providers.office]\ntype = "openai_compatible"\nbase_url = "http://127.0.0.1:9/v1"\n'
        '[[models]]\nkey = "office:other"\nprice = "free"\n'
        '[[models]]\nkey = "office:llama"\nprice = "free"\n'
        '[selection]\nprior = "prior.json"\n'
        '[engine]\nselector = { name = "ucb", min_trials = 0, exploration_factor = 0 }\n'
    )
    Path("outcomes.csv").write_text("model,quality\nllama,1\n")
    warmed("outcomes.csv")

    ran = command("select", "--explain", "--json")

    assert ran.code == 0, ran.stderr
    assert {row["key"]: row["mean"] for row in ran.json["models"]} == {
        "office:llama": 1.0,
        "office:other": 0.5,
    }


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "outcomes.csv: there is no column model, quality"),
        ("model,cost_usd\na,1\n", "there is no column quality\nhint: it has model, cost_usd"),
        ("model,quality\n", "there is no outcome in it"),
        (
            "model,quality\na,1\na,nan\n",
            "outcomes.csv, row 2: quality must be in [0, 1], not 'nan'",
        ),
        ("model,quality\na,2\n", "row 1: quality must be in [0, 1], not '2'"),
        ("model,quality\na,good\n", "not 'good'"),
        ("model,quality\n,1\n", "row 1: there is no model"),
        ("model,quality\na\n", "row 1: it has more or fewer values"),
        ("model,quality\na,1,2\n", "row 1: it has more or fewer values"),
        ('model,quality\n"a,1\n', "it cannot be read"),
        ("prompt_id,model,quality\n9,a,1\n", "row 1: its prompt is not among the prompts"),
    ],
)
def test_what_is_no_table_is_refused_with_its_row(text: str, why: str):
    Path("outcomes.csv").write_text(text)
    Path("prompts.csv").write_text(PROMPTS)

    ran = warmed("outcomes.csv")

    assert (ran.code, why in ran.stderr) == (2, True), ran.stderr
    assert not Path("prior.json").exists()


def test_files_that_cannot_be_read_or_written_are_told():
    assert "none.csv: it cannot be read" in warmed("none.csv").stderr
    Path("bad.csv.gz").write_bytes(b"plain")
    assert "bad.csv.gz: it cannot be read" in warmed("bad.csv.gz").stderr
    ran = warmed("outcomes.csv", "--out", "no/where.json")
    assert (ran.code, "no/where.json cannot be written" in ran.stderr) == (2, True)


def test_the_command_of_the_page_runs():
    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    (words,) = re.findall(r"^\$ orchestrator (warm-start .*)$", page, re.M)

    assert command(*shlex.split(words)).code == 0
