"""Where this library keeps files of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["data_folder"]


def data_folder() -> Path:
    """Return where this library keeps files: ``ORCHESTRATOR_DATA_DIR``, else the system's place."""
    if configured := os.environ.get("ORCHESTRATOR_DATA_DIR"):
        return Path(configured).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "orchestrator"
    shared = Path(os.environ.get("XDG_DATA_HOME") or "")
    # The XDG specification has relative paths ignored.
    return (shared if shared.is_absolute() else Path.home() / ".local/share") / "orchestrator"
