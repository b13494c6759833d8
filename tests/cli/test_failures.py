"""What a command that cannot do its work says, and the exit code it leaves."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from orchestrator import cli
from orchestrator.testing.faults import FaultPlan, failure
from orchestrator.testing.provider_server import ProviderServer
from tests.cli.command import command, command_beside, configured
from tests.config.files import written


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("ask",), "Missing argument"),
        (("ask", "hi", "--bogus"), "No such option: --bogus"),
        (("bogus",), "No such command 'bogus'"),
        (("ask", "hi", "--max-cost", "much"), "Invalid value for '--max-cost'"),
        (("models", "get", "bogus"), "there is no model file 'bogus'"),
        (("ask", "hi", "--config", "gone.toml"), "there is no configuration file gone.toml"),
    ],
)
def test_a_wrong_command_ends_with_two_and_says_what_to_try(words: tuple[str, ...], message: str):
    ran = command(*words)

    assert ran.code == 2
    assert ran.stdout == ""
    assert ran.stderr.startswith(f"error: {message}")
    assert len(ran.stderr.splitlines()) <= 3
    assert "Traceback" not in ran.stderr


def test_with_json_an_error_is_the_one_object():
    ran = command("ask", "hi", "--json", "--config", "gone.toml")

    assert ran.code == 2
    assert ran.json["error"]["code"] == "configuration_error"
    assert "gone.toml" in ran.json["error"]["message"]
    assert "gone.toml" in ran.stderr


def test_a_mistake_in_the_configuration_is_told_in_a_line(tmp_path: Path):
    written(tmp_path, "[engine]\ndeadlin_s = 3\n")

    ran = command("config", "check")

    assert (ran.code, ran.stderr) == (
        2,
        "error: orchestrator.toml: engine.deadlin_s is no setting\n"
        "hint: did you mean 'deadline_s'?\n",
    )


def test_without_any_model_the_hint_says_where_they_come_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert "orchestrator models get smollm2" in command("ask", "hi").stderr

    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-test")
    assert "OPENAI_API_KEY is set: add --paid" in command("ask", "hi").stderr

    written(tmp_path, "")
    assert "orchestrator.toml has no [[models]]" in command("ask", "hi").stderr


async def test_a_request_that_nobody_may_serve_ends_with_one(tmp_path: Path):
    async with ProviderServer() as server:
        configured(tmp_path, server.base_url)
        ran = await command_beside("ask", "hi", "--capability", "vision")

    assert ran.code == 1
    assert "it lacks vision" in ran.stderr


async def test_a_demand_that_is_none_ends_with_two(tmp_path: Path):
    async with ProviderServer() as server:
        configured(tmp_path, server.base_url)
        ran = await command_beside("ask", "hi", "--capability", "vison")

    assert ran.code == 2
    assert "did you mean 'vision'?" in ran.stderr


async def test_a_provider_that_fails_ends_with_one(tmp_path: Path):
    faults = FaultPlan([(failure(401), 1.0)])
    async with ProviderServer(faults=faults) as server:
        configured(tmp_path, server.base_url)
        ran = await command_beside("ask", "hi", "--json")

    assert ran.code == 1
    assert ran.json["error"]["code"] == "attempts_exhausted"
    assert "Traceback" not in ran.stderr


def test_an_interrupt_ends_quietly_with_130(monkeypatch: pytest.MonkeyPatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("orchestrator.config.schema.json_schema", interrupted)

    ran = command("config", "schema")

    assert (ran.code, ran.stdout, ran.stderr) == (130, "", "")


def test_where_memory_runs_out_it_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch):
    def large(*_: object) -> None:
        raise MemoryError("Unable to allocate 2 TiB")

    monkeypatch.setattr("orchestrator.config.schema.json_schema", large)

    ran = command("config", "schema", "--json")

    told = "there is not enough memory: Unable to allocate 2 TiB"
    assert (ran.code, ran.json["error"]["message"]) == (1, told)
    assert ran.stderr == f"error: {told}\nhint: ask for less at once\n"


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_its_extra_the_command_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], missing: str
):
    monkeypatch.setattr(cli, "find_spec", lambda name: None if name == missing else name)

    with pytest.raises(SystemExit) as left:
        cli.main()

    assert left.value.code == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines() == [
        "error: the command line needs an extra",
        "hint: pip install 'orchestrator[cli]'",
    ]


def test_the_program_leaves_with_the_commands_code(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["orchestrator", "config", "check", "--config", "gone.toml"])

    with pytest.raises(SystemExit) as left:
        cli.main()

    assert left.value.code == 2
