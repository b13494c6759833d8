from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.config import read_configuration
from orchestrator.config.state import configured_state
from tests.config.files import refusal, written


def state_of(folder: Path, text: str) -> dict[str, Any]:
    return configured_state(read_configuration(written(folder, text)))


def test_nothing_is_remembered_unless_that_is_asked_for(tmp_path: Path):
    assert state_of(tmp_path, "") == {"state": None, "auto_save_s": 60.0, "restore_loaded": False}


def test_a_relative_file_lies_in_the_data_folder_and_an_absolute_one_where_it_says(tmp_path: Path):
    relative = state_of(tmp_path, '[state]\npath = "one/state.json"\n')
    absolute = state_of(tmp_path, '[state]\npath = "/var/state.json"\n')

    assert relative["state"] == tmp_path / "data" / "one" / "state.json"
    assert absolute["state"] == Path("/var/state.json")
    assert not relative["state"].parent.exists()


def test_a_file_of_the_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/home/of-the-test")

    found = state_of(tmp_path, '[state]\npath = "~/state.json"\n')["state"]

    assert found == Path("/home/of-the-test/state.json")


def test_the_variable_of_other_model_managers_names_a_file_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MODEL_MANAGER_PERSISTENCE_PATH", "./data/model-manager-state.json")

    found = state_of(tmp_path, '[state]\npath = "one.json"\nrestore_loaded = true\n')

    assert found["state"] == tmp_path / "data" / "model-manager-state.json"
    assert found["restore_loaded"]


def test_our_own_variable_goes_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MODEL_MANAGER_PERSISTENCE_PATH", "theirs.json")
    monkeypatch.setenv("ORCHESTRATOR_STATE__PATH", "ours.json")

    assert state_of(tmp_path, "")["state"] == tmp_path / "data" / "ours.json"


def test_an_interval_below_zero_is_refused_at_its_place(tmp_path: Path):
    assert refusal(tmp_path, "[state]\nauto_save_s = -1\n") == (
        "orchestrator.toml: state.auto_save_s should be greater than or equal to 0, not -1"
    )
