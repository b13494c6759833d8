"""Where this library keeps files of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

__all__ = ["DATA_FOLDER_VARIABLE", "data_folder"]

DATA_FOLDER_VARIABLE: Final = "ORCHESTRATOR_DATA_DIR"


def data_folder() -> Path:
    """Return where this library keeps files: ``ORCHESTRATOR_DATA_DIR``, else the system's place."""
    if configured := os.environ.get(DATA_FOLDER_VARIABLE):
        return Path(configured).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "orchestrator"
    shared = Path(os.environ.get("XDG_DATA_HOME") or "")
    # The XDG specification has relative paths ignored.
    return (shared if shared.is_absolute() else Path.home() / ".local/share") / "orchestrator"
