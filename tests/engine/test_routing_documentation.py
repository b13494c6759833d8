"""The examples of docs/routing.md run and print what the page shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestrator import Orchestrator
from orchestrator.routing.affinity import Affinity
from orchestrator.routing.routes import AFFINITY_S
from tests.config.files import written
from tests.house.project import ROOT

PAGE = (ROOT / "docs" / "routing.md").read_text("utf-8")
EXAMPLES = re.findall(
    r"^```python\n(.*?)^```\n\n```text\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE
)


@pytest.mark.parametrize(("program", "printed"), EXAMPLES)
def test_an_example_prints_what_the_page_shows(
    program: str, printed: str, capsys: pytest.CaptureFixture[str]
):
    exec(compile(program, "routing.md", "exec"), {"__name__": "__main__"})

    assert capsys.readouterr().out == printed


def test_every_example_shows_what_it_prints():
    assert len(EXAMPLES) == PAGE.count("```python") > 0


def test_the_file_of_the_page_configures_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-a-key")
    (file,) = re.findall(r"^```toml\n(.*?)^```", PAGE, re.S | re.M)

    orchestrator = Orchestrator.from_config(written(tmp_path, file))

    assert [*orchestrator.experiments] == ["bigger"]


def test_the_page_says_how_long_and_how_many_sessions_stay():
    assert "half an hour" in PAGE
    assert AFFINITY_S == 1800
    assert f"{Affinity()._limit:,} sessions" in PAGE
