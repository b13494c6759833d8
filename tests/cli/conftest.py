from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.files import bare


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare(monkeypatch, tmp_path)
