from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.files import bare


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare(monkeypatch, tmp_path)
    # No gateway that happens to run on this machine is asked.
    monkeypatch.setattr("orchestrator.cli.gateway.DEFAULT_URL", "http://127.0.0.1:9")
