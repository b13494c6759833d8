"""The examples of docs/analysis.md run, in their order."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import command
from tests.config.files import bare
from tests.conftest import require
from tests.house.project import ROOT

PAGE = (ROOT / "docs" / "analysis.md").read_text("utf-8")
LOG_PAGE = (ROOT / "docs" / "decision-log.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(python|console)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_the_page_leads_from_tables_and_logs_to_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    require("pyarrow", "pip install 'orchestrator[analysis]'")
    bare(monkeypatch, tmp_path)
    names: dict[str, Any] = {}
    told: list[Any] = []
    for kind, text in BLOCKS:
        if kind == "python":
            exec(compile(text, "analysis.md", "exec"), names)
            continue
        for words in re.findall(r"^\$ orchestrator (.*)$", text, re.MULTILINE):
            ran = command(*shlex.split(words))
            assert ran.code == 0, ran.stderr
            if "--json" in words:
                told.append(json.loads(ran.stdout))
    evaluated, _, replayed, estimated = told

    assert evaluated["aiq"] > evaluated["static_mix_aiq"]
    assert Path("choices.budget.csv").is_file()
    assert replayed["decisions"] == estimated["decisions"] == 600
    assert estimated["ess"] > 50
    printed = capsys.readouterr().out
    assert "ParetoFigures(aiq=0." in printed
    assert "PolicyValue(method='dr', value=0." in printed

    # Whoever reads on from a log begins with these: the last sample, and that of another page.
    exec(compile(BLOCKS[-1][1], "analysis.md", "exec"), {})
    (program,) = re.findall(r"^```python\n(.*?)^```", LOG_PAGE, re.DOTALL | re.MULTILINE)
    exec(compile(program, "decision-log.md", "exec"), {})
    assert re.search(r"^\w+:text:large: 0\.\d\d$", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize("name", ["evaluate", "replay", "ope"])
def test_a_command_is_explained(name: str):
    ran = command(name, "--help")

    assert ran.code == 0
    assert f"Example: orchestrator {name}" in ran.stdout
    options = set(re.findall(r"--[a-z-]+", ran.stdout)) - {"--help", "--json", "--seed"}
    assert options <= set(re.findall(r"--[a-z-]+", PAGE))


def test_the_page_explains_every_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    bare(monkeypatch, tmp_path)
    exec(compile(BLOCKS[0][1], "analysis.md", "exec"), {})

    found = command("evaluate", "later", "--seeds", "1", "--json").json

    said = {"selector", "prompts", "seeds", "budget"}  # what was asked for
    rows = " ".join(re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE)) + PAGE
    assert set(found) - said <= set(re.findall(r"`(\w+)`", rows))
