"""The examples of docs/selection-context.md run, in their order."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from orchestrator import Orchestrator
from orchestrator.routing.segments import ByCentroid, ByEmbedding
from orchestrator.testing.provider_server import ProviderServer
from tests.cli.command import command, command_beside
from tests.config.files import bare, built, written
from tests.house.project import ROOT

PAGE = (ROOT / "docs" / "selection-context.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
SHOWN = [text for kind, text in BLOCKS if kind == "console"]
FILES = [text for kind, text in BLOCKS if kind == "toml"]


def prompts(folder: Path) -> None:
    rows = "".join(f"{n},question {n} about topic {n % 4}\n" for n in range(40))
    written(folder, f"id,text\n{rows}", "prompts.csv")


def test_what_is_trained_is_what_the_configuration_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    bare(monkeypatch, tmp_path)
    prompts(tmp_path)

    assert command(*shlex.split(SHOWN[0])[2:]).code == 0
    arguments = built(tmp_path, FILES[0])

    assert isinstance(arguments["segmenter"], ByCentroid)
    Orchestrator(**arguments)


async def test_what_is_trained_by_an_embedding_model_is_what_its_configuration_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    bare(monkeypatch, tmp_path)
    prompts(tmp_path)
    async with ProviderServer(models=("e5",)) as server:
        written(tmp_path, FILES[1].replace("http://10.0.0.7:8000/v1", server.base_url))
        ran = await command_beside(*shlex.split(SHOWN[1])[2:])
    arguments = built(tmp_path, FILES[1])

    assert ran.code == 0, ran.stderr
    assert isinstance(arguments["segmenter"], ByEmbedding)
    assert arguments["embed_within_s"] == 0.1
    Orchestrator(**arguments)


def test_the_program_of_the_page_runs(capsys: pytest.CaptureFixture[str]):
    (program,) = (text for kind, text in BLOCKS if kind == "python")

    exec(compile(program, "selection-context.md", "exec"), {})

    found, named = capsys.readouterr().out.split()
    assert found.startswith("text-1.8:")
    assert named == "translation"


def test_the_command_line_shows_the_same_commands():
    page = (ROOT / "docs" / "cli.md").read_text("utf-8")

    assert len(SHOWN) == len(FILES) == 2
    assert all(command in page for command in SHOWN)
