"""Every program and configuration of examples/ runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator import Orchestrator
from tests.config.files import share_model_files
from tests.house.project import ROOT
from tests.integrations.real_engine import smollm2_file

EXAMPLES = ROOT / "examples"
SAYS = {
    "quickstart.py": ["embedded:"],
    "own_model.py": ["custom:shouting says WHAT", "custom:database says Paris", "streams"],
    "events.py": ["custom:fickle -> custom:steady", "call-failed", "model-used custom:steady"],
    "streaming.py": ["embedded:", "first token after"],
    "failover.py": ["embedded:smollm2 failed", "custom:backup answered", "exit code -9"],
    "feedback.py": ["embedded:teacher: asked", "embedded:pirate: asked"],
}
"""What each program says when it does what it is there for."""


@pytest.fixture(autouse=True)
def _model_files(tmp_path: Path) -> None:
    share_model_files(tmp_path)


def test_no_example_is_left_out():
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(SAYS)


@pytest.mark.parametrize("name", SAYS)
def test_each_program_runs_and_says_what_it_should(name: str):
    if "smollm2" in (EXAMPLES / name).read_text("utf-8"):
        smollm2_file()

    ran = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / name], capture_output=True, text=True
    )

    assert (ran.returncode, ran.stderr) == (0, "")
    for said in SAYS[name]:
        assert said in ran.stdout


def test_the_quick_start_takes_twenty_lines():
    lines = (EXAMPLES / "quickstart.py").read_text("utf-8").splitlines()

    assert len([line for line in lines if line.strip()]) <= 20


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.name)
def test_each_configuration_builds_an_engine(path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-test")
    if "smollm2" in path.read_text("utf-8"):
        smollm2_file()

    orchestrator = Orchestrator.from_config(path)

    assert len(orchestrator.registry) == 3


def test_the_three_arms_share_one_engine():
    smollm2_file()

    models = Orchestrator.from_config(EXAMPLES / "smollm2.toml").registry.pool.models

    assert [model.name for model in models] == ["terse", "plain", "hot"]
    assert len({model.spec.resident for model in models}) == 1
