from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.config import read_configuration
from orchestrator.config.store import configured_store
from orchestrator.core.errors import ConfigurationError
from tests.config.files import written


def path_of(folder: Path, text: str) -> Path | None:
    store = configured_store(read_configuration(written(folder, text)))
    return None if store is None else store.path


def test_nothing_is_kept_unless_that_is_asked_for(tmp_path: Path):
    assert path_of(tmp_path, "") is None


def test_a_relative_file_lies_in_the_data_folder(tmp_path: Path):
    found = path_of(tmp_path, '[store]\nurl = "sqlite:///logs/decisions.db"\n')

    assert found == tmp_path / "data" / "logs" / "decisions.db"
    assert not found.parent.exists()


def test_an_absolute_file_is_taken_as_it_is(tmp_path: Path):
    assert path_of(tmp_path, '[store]\nurl = "sqlite:////var/log.db"\n') == Path("/var/log.db")


def test_the_environment_can_name_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ORCHESTRATOR_STORE__URL", "sqlite:///other.db")

    assert path_of(tmp_path, '[store]\nurl = "sqlite:///one.db"\n') == tmp_path / "data/other.db"


def test_a_url_of_something_else_is_refused_at_its_place(tmp_path: Path):
    with pytest.raises(ConfigurationError) as refused:
        path_of(tmp_path, '[store]\nurl = "redis://host"\n')

    assert refused.value.message.replace(f"{tmp_path}{os.sep}", "") == (
        "orchestrator.toml: store.url: a log is kept in SQLite, not at 'redis://host'"
    )
    assert refused.value.hint == "sqlite:///FILE"
