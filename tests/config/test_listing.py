from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.config import read_configuration
from orchestrator.config.listing import Setting, listing
from tests.config.files import OPENAI, written


def test_each_setting_is_listed_with_its_value_and_origin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ORCHESTRATOR_PORT", "8080")
    text = '[engine]\nselector = "cost"\n[[models]]\nkey = "openai:gpt-4o"\naliases = ["a", "b"]\n'

    found = listing(read_configuration(written(tmp_path, text), paid=True))

    assert Setting("engine.deadline_s", 120.0, "default") in found
    assert Setting("engine.selector.name", "cost", "file") in found
    assert Setting("models[0].aliases", ["a", "b"], "file") in found
    assert Setting("server.port", 8080, "environment") in found
    assert Setting("paid", True, "argument") in found


def test_no_secret_is_in_the_listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-1")
    monkeypatch.setenv("ORCHESTRATOR_API_KEY", "canary-2")
    text = f'{OPENAI}headers = {{ Authorization = "Bearer canary-3" }}\n'

    configuration = read_configuration(written(tmp_path, text))
    found = {setting.path: setting.value for setting in listing(configuration)}

    assert found["providers.openai.api_key"] == found["server.api_key"] == "**********"
    assert "canary" not in json.dumps(found) + repr(configuration.settings)
