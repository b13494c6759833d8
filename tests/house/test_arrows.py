"""The import contracts hold for the tree we mean to have, and break for each way to turn it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.project import ROOT

PACKAGES = [
    "analysis",
    "cache",
    "cli",
    "core",
    "engine",
    "integrations",
    "integrations/http",
    "lifecycle",
    "monitoring",
    "routing",
    "selectors",
    "server",
    "store",
    "testing",
]
MODULES = [
    "config",
    "integrations.http.connection",
    *(f"lifecycle.{path.stem}" for path in (ROOT / "orchestrator/lifecycle").glob("[!_]*.py")),
]

ALLOWED = [
    ("cli", "server"),
    ("server", "engine"),
    ("testing", "engine"),
    ("analysis", "selectors"),
    ("engine", "config"),
    ("engine", "integrations"),
    ("lifecycle.process", "lifecycle.state"),
    ("lifecycle.plan", "lifecycle.state"),
    ("integrations", "core"),
    ("integrations.http.connection", "httptools"),
    ("routing", "core"),
]
TURNED = [
    ("core", "selectors"),
    ("core", "scipy"),
    ("selectors", "routing"),
    ("selectors", "anyio"),
    ("routing", "selectors"),
    ("routing", "integrations"),
    ("routing", "time"),
    ("lifecycle.plan", "lifecycle.process"),
    ("lifecycle.state", "integrations"),
    ("lifecycle.restart", "asyncio"),
    ("integrations", "lifecycle"),
    ("integrations", "aiohttp"),
    ("integrations", "httptools"),
    ("lifecycle", "integrations"),
    ("store", "cache"),
    ("monitoring", "engine"),
    ("config", "engine"),
    ("analysis", "engine"),
    ("analysis", "routing"),
    ("analysis", "asyncio"),
    ("engine", "server"),
    ("server", "testing"),
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with the whole tree of the package, empty, and the project's contracts."""
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    for package in ["", *PACKAGES]:
        (tmp_path / "orchestrator" / package).mkdir()
        (tmp_path / "orchestrator" / package / "__init__.py").touch()
    for module in MODULES:
        file_of(tmp_path, module).touch()
    return tmp_path


def test_the_project_keeps_its_contracts():
    result = lint(ROOT)

    assert result.returncode == 0, result.stdout


def test_the_arrows_we_mean_are_allowed(tree: Path):
    for importer, imported in ALLOWED:
        add_import(tree, importer, imported)

    result = lint(tree)

    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(("importer", "imported"), TURNED)
def test_an_arrow_that_turns_round_is_refused(tree: Path, importer: str, imported: str):
    add_import(tree, importer, imported)

    result = lint(tree)

    assert result.returncode == 1
    assert " 1 broken." in result.stdout


@pytest.mark.parametrize("part", ["utils", "lifecycle.utils"])
def test_a_new_part_must_be_given_its_layer(tree: Path, part: str):
    file_of(tree, part).touch()

    result = lint(tree)

    assert result.returncode == 1
    assert f"- orchestrator.{part}" in result.stdout


def add_import(tree: Path, importer: str, imported: str) -> None:
    internal = imported.partition(".")[0] in {*PACKAGES, "config"}
    with file_of(tree, importer).open("a") as source:
        source.write(f"import {'orchestrator.' if internal else ''}{imported}\n")


def file_of(tree: Path, module: str) -> Path:
    base = tree.joinpath("orchestrator", *module.split("."))
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [command, "--no-cache", "--no-logo"], cwd=folder, capture_output=True, text=True
    )
