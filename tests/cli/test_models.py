from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.integrations.model_files import KNOWN_FILES
from tests.cli.command import command, configured


@pytest.fixture(autouse=True)
def _two_models(tmp_path: Path) -> None:
    configured(tmp_path, "http://127.0.0.1:9/v1", names=("cheap", "dear"))


@pytest.mark.parametrize("words", [("models",), ("models", "list")])
def test_the_pool_is_listed_with_prices_and_routes(words: tuple[str, ...]):
    ran = command(*words)

    assert ran.code == 0
    assert [line.split()[0] for line in ran.stdout.splitlines()[1:3]] == ["loop:cheap", "loop:dear"]
    assert "free" in ran.stdout
    assert "$1 / $1" in ran.stdout
    assert "routes: auto" in ran.stdout


@pytest.mark.parametrize("words", [("models", "--json"), ("models", "list", "--json")])
def test_as_json_the_list_holds_what_each_model_declares(words: tuple[str, ...]):
    listed = command(*words).json

    assert [model["key"] for model in listed["models"]] == ["loop:cheap", "loop:dear"]
    assert listed["models"][1]["price"]["input_per_million"] == "1"
    assert listed["could_join"] == {}


def test_models_that_could_join_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-test")
    path = tmp_path / "orchestrator.toml"
    path.write_text(f"discover = true\n{path.read_text('utf-8')}")

    ran = command("models", "list")
    assert "openai:" not in ran.stdout
    assert "OPENAI_API_KEY is set: with --paid, openai:gpt-4o-mini" in ran.stderr

    listed = command("models", "list", "--paid", "--json").json
    assert "openai:gpt-4o-mini" in [model["key"] for model in listed["models"]]
    assert listed["could_join"] == {}


def test_a_model_file_is_fetched_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []

    def fetched(name: str, *, report: object) -> Path:
        asked.append(name)
        assert callable(report)
        report("a step")
        return tmp_path / "x.gguf"

    monkeypatch.setattr("orchestrator.integrations.model_files.get_model_file", fetched)

    ran = command("models", "get", "smollm2")
    assert (ran.code, ran.stdout, ran.stderr) == (0, f"{tmp_path / 'x.gguf'}\n", "a step\n")

    told = command("models", "get", "smollm2", "--json").json
    assert told["path"] == str(tmp_path / "x.gguf")
    assert told["size_bytes"] == KNOWN_FILES["smollm2"].size_bytes
    assert asked == ["smollm2", "smollm2"]
