from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.store import MemoryStore, Store
from orchestrator.store.sql import SqliteStore


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Every kind of store, not opened yet; whoever opens it closes it."""
    if request.param == "memory":
        return MemoryStore()
    return SqliteStore(tmp_path / "folder" / "log.db")
