from __future__ import annotations

import subprocess
import sys

from tests.conftest import require
from tests.house.project import ROOT

API = "tests/typing/api.py"


def test_the_api_is_typed_as_its_users_write_it():
    require("mypy", "mypy checks the API as its users write it")

    result = subprocess.run(
        [sys.executable, "-m", "mypy", API], cwd=ROOT, capture_output=True, text=True
    )

    assert result.returncode == 0, result.stdout
