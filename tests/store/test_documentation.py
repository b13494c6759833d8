"""The examples of docs/decision-log.md run, in their order."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from pathlib import Path

import pytest

from orchestrator.config import read_configuration
from orchestrator.config.store import configured_store
from orchestrator.store import writer
from orchestrator.store.entries import COLUMNS
from tests.cli.command import command
from tests.config.files import bare, written
from tests.house.project import ROOT
from tests.store.history import story

COMMANDS = (ROOT / "docs" / "cli.md").read_text("utf-8")
PAGE = (ROOT / "docs" / "decision-log.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_the_page_leads_from_a_configuration_to_a_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    bare(monkeypatch, tmp_path)
    (file,) = (text for kind, text in BLOCKS if kind == "toml")
    store = configured_store(read_configuration(written(tmp_path, file)))
    assert store is not None

    async def log() -> None:
        await store.open()
        await store.write(story())
        await store.aclose()

    asyncio.run(log())
    shown = re.findall(r"^\$ orchestrator (log .*)$", COMMANDS + PAGE, re.MULTILINE)
    assert len(shown) == 7
    for words in shown:
        ran = command(*shlex.split(words))
        assert ran.code == 0, ran.stderr
        if "--json" in words:
            assert json.loads(ran.stdout)["decisions"] == 3
    (program,) = (text for kind, text in BLOCKS if kind == "python")
    exec(compile(program, "decision-log.md", "exec"), {})

    assert capsys.readouterr().out.splitlines()[-1] == "a:y: 0.75"


def test_the_page_explains_every_column():
    rows = re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE)

    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(COLUMNS)


def test_the_page_says_how_much_waits_and_for_how_long():
    assert f"{writer._BATCH * writer._BATCHES_WAITING:,} rows wait" in PAGE
    assert f"more than {writer._ARMS_OF_A_SMALL_POOL} models" in PAGE
    assert writer._EVERY_S == 0.5
    assert (writer._CLOSE_WITHIN_S, writer._CLOSE_HANGING_WITHIN_S) == (2.0, 1 / 20)
