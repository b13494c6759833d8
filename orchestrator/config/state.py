"""What is remembered from one process to the next, as it is configured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestrator.config.configuration import Configuration
from orchestrator.core.data_folder import data_folder

__all__ = ["configured_state"]


def configured_state(configuration: Configuration) -> dict[str, Any]:
    """Return the arguments of an `Orchestrator` that concern the state file."""
    section = configuration.settings.state
    path = None if section.path is None else data_folder() / Path(section.path).expanduser()
    return {
        "state": path,
        "auto_save_s": section.auto_save_s,
        "restore_loaded": section.restore_loaded,
    }
