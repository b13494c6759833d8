"""The wheel as a user meets it: built, installed into an empty environment, put to use."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.house.project import CORE_REQUIREMENTS, EXTRAS, ROOT, distribution

pytestmark = pytest.mark.packaging

CONSTRAINTS = str(ROOT / "constraints.txt")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source archive as a release is."""
    folder = tmp_path_factory.mktemp("dist")
    pinned = {"PIP_CONSTRAINT": CONSTRAINTS, "PIP_BUILD_CONSTRAINT": CONSTRAINTS}
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder, **pinned)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds the wheel and what it requires."""
    return environment(tmp_path_factory.mktemp("env"), wheel, "--constraint", CONSTRAINTS)


def test_the_wheel_holds_every_file_of_the_package_and_no_other(wheel: Path):
    shipped = {
        name
        for name in zipfile.ZipFile(wheel).namelist()
        if not name.partition("/")[0].endswith(".dist-info")
    }

    assert "orchestrator/py.typed" in shipped
    assert shipped == {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "orchestrator").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_carries_the_licence(wheel: Path):
    archive = zipfile.ZipFile(wheel)
    (licence,) = (name for name in archive.namelist() if name.endswith("licenses/LICENSE"))

    assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()


def test_a_plain_install_brings_no_extra(python: Path):
    listing = run(python, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check")
    installed = {distribution(line) for line in listing.stdout.splitlines()}
    optional = {distribution(line) for extra in EXTRAS.values() for line in extra}

    assert installed & optional == {"orchestrator"}


def test_the_first_example_of_the_readme_runs(python: Path, tmp_path: Path):
    run(python, "-I", "-W", "error", "-c", readme_example(), cwd=tmp_path)


def test_without_its_extra_the_command_says_what_to_install(python: Path):
    with pytest.raises(subprocess.CalledProcessError) as failure:
        run(python.with_name("orchestrator"), "--help")

    assert "orchestrator[cli]" in failure.value.stderr
    assert "Traceback" not in failure.value.stderr


@pytest.mark.long
def test_the_oldest_versions_we_allow_run_the_example(wheel: Path, tmp_path: Path):
    oldest = tmp_path / "oldest.txt"
    oldest.write_text("\n".join(CORE_REQUIREMENTS).replace(">=", "=="))
    python = environment(tmp_path / "env", wheel, "--constraint", oldest)

    run(python, "-I", "-c", readme_example(), cwd=tmp_path)


def readme_example() -> str:
    """Return the first Python block of the README."""
    example = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert example is not None, "README.md has no Python example"
    return example[1]


def environment(folder: Path, *requirements: str | Path) -> Path:
    """Make a virtual environment, install the requirements; return its interpreter."""
    run(sys.executable, "-m", "venv", folder)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    run(python, "-m", "pip", "install", "--disable-pip-version-check", *requirements)
    return python


def run(
    *command: str | Path, cwd: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and return what it wrote.

    Raises:
        subprocess.CalledProcessError: It failed; a note carries its output.
    """
    try:
        return subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, **variables},
            check=True,
            capture_output=True,
            text=True,
        )
    except subprocess.CalledProcessError as failure:
        failure.add_note(f"{failure.stdout}\n{failure.stderr}")
        raise
