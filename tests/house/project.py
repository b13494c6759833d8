"""The project's own files, as the tests of the house read them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
PYPROJECT: Final[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
CORE_REQUIREMENTS: Final[list[str]] = PYPROJECT["project"]["dependencies"]
EXTRAS: Final[dict[str, list[str]]] = PYPROJECT["project"]["optional-dependencies"]


def sources() -> dict[str, Path]:
    """Return the file of every module of the package, by the module's name."""
    files = (path.relative_to(ROOT) for path in sorted((ROOT / "orchestrator").rglob("*.py")))
    return {".".join(file.with_suffix("").parts).removesuffix(".__init__"): file for file in files}


def distribution(requirement: str) -> str:
    """Return the normalised name that a requirement begins with."""
    name = re.match(r"[\w.-]+", requirement)
    assert name is not None, requirement
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def modules_of(requirements: Iterable[str]) -> set[str]:
    """Return the top-level modules that the installed distributions of these bring."""
    wanted = {distribution(requirement) for requirement in requirements}
    return {
        module
        for module, owners in packages_distributions().items()
        if wanted & {distribution(owner) for owner in owners}
    }
