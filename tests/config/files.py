"""Configuration files as tests write them, and an environment that holds nothing of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from orchestrator.config import build
from orchestrator.core.data_folder import data_folder
from orchestrator.core.errors import ConfigurationError

__all__ = ["OPENAI", "bare", "built", "refusal", "share_model_files", "written"]

_DATA = data_folder()
OPENAI = '[providers.openai]\napi_key = "${OPENAI_API_KEY}"\n'


def bare(monkeypatch: pytest.MonkeyPatch, folder: Path, **variables: str) -> None:
    """Leave nothing of this machine's environment that could configure anything."""
    for name in list(os.environ):
        ours = name.startswith(("ORCHESTRATOR_", "MODEL_MANAGER_"))
        if ours or name.endswith(("_API_KEY", "_BASE_URL")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ORCHESTRATOR_DATA_DIR", str(folder / "data"))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(folder)


def share_model_files(folder: Path) -> None:
    """Let a folder made `bare` find this machine's model files, and leave all else there alone."""
    (folder / "data").mkdir(exist_ok=True)
    (folder / "data" / "models").symlink_to(_DATA / "models")


def written(folder: Path, text: str, name: str = "orchestrator.toml") -> Path:
    """Write a configuration file and return its path."""
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def built(folder: Path, text: str, **overrides: Any) -> dict[str, Any]:
    """Return the arguments of an engine as this text has them."""
    return build(written(folder, text), **overrides)


def refusal(folder: Path, text: str) -> str:
    """Return what is wrong with this text, without the folder's name."""
    with pytest.raises(ConfigurationError) as refused:
        built(folder, text)
    return str(refused.value).replace(f"{folder}{os.sep}", "")
