"""Every command explains itself, quickly."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from orchestrator import __version__
from tests.cli.command import command

COMMANDS = (
    "serve",
    "ask",
    "select",
    "models list",
    "models get",
    "models show",
    "models load",
    "models unload",
    "models switch",
    "models pin",
    "models unpin",
    "models profile",
    "models discover",
    "health",
    "config check",
    "config show",
    "config schema",
    "evaluate",
    "replay",
    "ope",
    "log export",
    "log info",
    "log upgrade",
    "segments train",
    "events",
    "simulate",
    "warm-start",
    "demo",
)
SLOW = {
    *("aiohttp", "matplotlib", "pydantic_settings", "scipy"),
    *("orchestrator.analysis", "orchestrator.config", "orchestrator.server"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example_and_takes_json(name: str):
    ran = command(*name.split(), "--help")

    assert ran.code == 0
    assert f"Example: orchestrator {name}" in ran.stdout
    assert "--json" in ran.stdout


@pytest.mark.parametrize("words", [(), ("--help",)])
def test_the_program_lists_its_commands(words: tuple[str, ...]):
    ran = command(*words)

    assert ran.code == 0
    assert {name.split()[0] for name in COMMANDS} <= set(ran.stdout.split())
    assert "Exit codes: 0 done, 1 failed, 2" in ran.stdout


def test_a_group_without_a_command_shows_its_help():
    assert "check" in command("config").stdout


def test_the_version_is_told():
    assert command("--version").stdout == f"{__version__}\n"


def test_help_loads_nothing_that_is_slow():
    program = (
        "import sys, json; from orchestrator.cli.app import run; run(['--help']);"
        "print(json.dumps(list(sys.modules)), file=sys.stderr)"
    )

    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert SLOW & set(json.loads(ran.stderr)) == set()
