"""The examples of docs/state.md hold."""

from __future__ import annotations

import dataclasses
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestrator.config import read_configuration
from orchestrator.config.sections import StateSection
from orchestrator.config.state import configured_state
from orchestrator.core.saved_state import (
    MeasuredResident,
    SavedModel,
    SavedResident,
    SavedState,
    parsed,
)
from orchestrator.engine import state
from tests.config.files import bare, written
from tests.house.project import ROOT

PAGE = (ROOT / "docs" / "state.md").read_text("utf-8")
BLOCKS = dict(re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))


def test_the_page_leads_from_a_configuration_to_what_is_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    bare(monkeypatch, tmp_path)
    found = configured_state(read_configuration(written(tmp_path, BLOCKS["toml"])))
    assert found["state"] == tmp_path / "data" / "state.json"
    assert found["restore_loaded"]

    written(tmp_path, BLOCKS["json"], "state.json")
    exec(compile(BLOCKS["python"], "state.md", "exec"), {})

    assert capsys.readouterr().out == "smollm2: pinned True, 152 MB, current embedded:smollm2\n"


def test_the_page_names_every_setting_and_every_key():
    for name in StateSection.model_fields:
        assert f"| `{name}` |" in PAGE
    for kind in (SavedState, SavedResident, MeasuredResident, SavedModel):
        for field in dataclasses.fields(kind):
            assert f"`{field.name}`" in PAGE


def test_the_page_says_how_long_everything_takes():
    assert state._TOGETHER_S == 1 / 2
    assert state._CLOSE_WITHIN_S == 2
    assert (state._RETRY_S, state._RETRY_AT_MOST_S) == (1, 60)
    assert "after 1, 2, 4, ... 60 seconds" in PAGE


def test_the_page_shows_names_and_dates_as_they_are_written():
    shown = parsed(BLOCKS["json"].encode())

    assert datetime.fromisoformat(shown.saved_at).tzinfo == UTC
    for kind in ("corrupt", "newer"):
        assert (
            f"`state.json.{kind}-{datetime.fromisoformat(shown.saved_at):%Y%m%dT%H%M%SZ}`" in PAGE
        )
