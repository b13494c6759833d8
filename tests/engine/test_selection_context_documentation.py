"""The examples of docs/selection-context.md run, in their order."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from orchestrator import Orchestrator
from orchestrator.routing.segments import ByCentroid
from tests.cli.command import command
from tests.config.files import bare, built, written
from tests.house.project import ROOT

PAGE = (ROOT / "docs" / "selection-context.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
SHOWN = [text for kind, text in BLOCKS if kind == "console"]


def test_what_is_trained_is_what_the_configuration_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    bare(monkeypatch, tmp_path)
    prompts = "".join(f"{n},question {n} about topic {n % 4}\n" for n in range(40))
    written(tmp_path, f"id,text\n{prompts}", "prompts.csv")
    (train,) = SHOWN
    (file,) = (text for kind, text in BLOCKS if kind == "toml")

    assert command(*shlex.split(train)[2:]).code == 0
    arguments = built(tmp_path, file)

    assert isinstance(arguments["segmenter"], ByCentroid)
    Orchestrator(**arguments)


def test_the_program_of_the_page_runs(capsys: pytest.CaptureFixture[str]):
    (program,) = (text for kind, text in BLOCKS if kind == "python")

    exec(compile(program, "selection-context.md", "exec"), {})

    found, named = capsys.readouterr().out.split()
    assert found.startswith("text-1.8:")
    assert named == "translation"


def test_the_command_line_shows_the_same_command():
    assert SHOWN[0] in (ROOT / "docs" / "cli.md").read_text("utf-8")
