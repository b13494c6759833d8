from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.testing.provider_server import ProviderServer
from tests.cli.command import command, command_beside, configured

TABLE = ("select", "--explain")


@pytest.fixture(autouse=True)
def _two_models(tmp_path: Path) -> None:
    configured(tmp_path, "http://127.0.0.1:9/v1", names=("cheap", "dear"))


def test_the_chosen_model_alone_is_written():
    assert command("select", "--model", "dear").stdout == "loop:dear\n"


def test_the_table_says_how_each_model_scored_or_why_it_was_refused():
    ran = command(*TABLE, "--exclude", "dear", "--prompt", "Hello")

    lines = ran.stdout.splitlines()
    assert ran.code == 0
    assert any(line.startswith("loop:cheap") and "untried" in line for line in lines)
    assert any(line.startswith("loop:dear") and "the request excludes it" in line for line in lines)
    assert lines[-1] == "selector hierarchical, segment all: loop:cheap"


def test_the_table_says_where_each_requirement_came_from():
    ran = command(*TABLE, "--tools", "--stream", "--max-cost", "0.01", "--prompt", "Hello")

    told = {tuple(line.split()) for line in ran.stdout.splitlines()}
    assert ("function_calling", "request:", "tools") in told
    assert ("streaming", "request:", "stream") in told
    assert ("max_cost", "0.01", "caller") in told


def test_the_model_that_a_limit_refuses_is_told_its_cost():
    ran = command(*TABLE, "--max-cost", "0", "--json")

    models = {model["key"]: model for model in ran.json["models"]}
    assert models["loop:dear"]["refused"] == "max_cost"
    assert models["loop:dear"]["cost_usd"] == pytest.approx(0.001)
    assert ran.json["chosen"] == "loop:cheap"


@pytest.mark.parametrize("form", [(), ("--explain",), ("--json",)])
def test_when_nobody_may_serve_the_command_fails(form: tuple[str, ...]):
    ran = command("select", *form, "--capability", "vision")

    assert ran.code == 1
    assert "error: no model may serve this request" in ran.stderr
    assert ("hint: --explain says why" in ran.stderr) == (not form)
    if form:
        assert "it lacks vision" in ran.stdout


async def test_calls_that_a_decision_log_knows_count(tmp_path: Path):
    async with ProviderServer() as server:
        path = configured(tmp_path, server.base_url)
        path.write_text(path.read_text("utf-8") + '[store]\nurl = "sqlite:///decisions.db"\n')
        before = await command_beside(*TABLE)
        asked = await command_beside("ask", "hi")
        after = await command_beside(*TABLE)

    assert asked.code == 0, asked.stderr
    cells = [ran.stdout.splitlines()[1].split()[:4] for ran in (before, after)]
    assert [row[1] for row in cells] == ["untried", "trial"]
    assert [row[3] for row in cells] == ["0", "1"]


def test_routes_can_be_asked_about(tmp_path: Path):
    path = tmp_path / "orchestrator.toml"
    path.write_text(
        path.read_text("utf-8") + '[routes.good]\nmodels = ["dear"]\nselector = "cost"\n'
    )

    assert command("select", "--route", "good").stdout == "loop:dear\n"
