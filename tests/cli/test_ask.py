from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from orchestrator.testing.faults import FaultPlan, failure
from orchestrator.testing.provider_server import ProviderServer
from tests.cli.command import command_beside, configured


async def test_the_answer_goes_to_standard_output_and_nothing_else_does(tmp_path: Path):
    async with ProviderServer() as server:
        configured(tmp_path, server.base_url)
        ran = await command_beside("ask", "Hello there")

    assert (ran.code, ran.stdout) == (0, "Hello there\n")
    assert "loop:echo, $0.00" in ran.stderr
    assert "decision d-" in ran.stderr


async def test_a_streamed_answer_is_the_same(tmp_path: Path):
    async with ProviderServer() as server:
        configured(tmp_path, server.base_url)
        ran = await command_beside("ask", "Hello there", "--stream")

    assert ran.stdout == "Hello there\n"
    assert server.requests[-1].json["stream"] is True


@pytest.mark.parametrize("stream", ["--stream", "--no-stream"])
async def test_as_json_everything_about_the_answer_is_told(tmp_path: Path, stream: str):
    faults = FaultPlan(script=[failure(503)])
    async with ProviderServer(models=("a", "b"), faults=faults) as server:
        configured(tmp_path, server.base_url, names=("a", "b"))
        ran = await command_beside("ask", "Hello there", "--json", stream)

    answer = ran.json
    assert ran.code == 0
    assert answer["text"] == "Hello there"
    assert [attempt["error"] is None for attempt in answer["attempts"]] == [False, True]
    assert answer["model"] == answer["attempts"][-1]["model"]
    assert answer["usage"]["completion_tokens"] == 2
    assert answer["decision_id"].startswith("d-")


async def test_options_reach_the_request(tmp_path: Path):
    async with ProviderServer(models=("a", "b")) as server:
        configured(tmp_path, server.base_url, names=("a", "b"))
        await command_beside(
            *("ask", "one two three", "--model", "b", "--system", "Be brief."),
            *("--temperature", "0.5", "--max-tokens", "2", "--max-cost", "1"),
        )

    sent = server.requests[-1].json
    assert sent["model"] == "b"
    assert sent["temperature"] == 0.5
    assert sent["messages"][0] == {"role": "system", "content": "Be brief."}
    assert 2 in (sent.get("max_tokens"), sent.get("max_completion_tokens"))


async def test_a_dash_reads_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("from a pipe"))
    async with ProviderServer() as server:
        configured(tmp_path, server.base_url)
        ran = await command_beside("ask", "-")

    assert ran.stdout == "from a pipe\n"


async def test_a_limit_on_cost_leads_to_the_free_model(tmp_path: Path):
    async with ProviderServer(models=("free", "dear")) as server:
        configured(tmp_path, server.base_url, names=("free", "dear"))
        ran = await command_beside("ask", "Hello", "--max-cost", "0", "--json")

    assert ran.json["model"] == "loop:free"


async def test_a_literal_key_is_warned_of_on_standard_error(tmp_path: Path):
    async with ProviderServer(api_key="sk-literal") as server:
        path = configured(tmp_path, server.base_url)
        text = path.read_text("utf-8")
        path.write_text(text.replace("type =", 'api_key = "sk-literal"\ntype ='), "utf-8")
        ran = await command_beside("ask", "Hello")

    assert ran.stdout == "Hello\n"
    assert "warning: orchestrator.toml: providers.loop.api_key is a literal key" in ran.stderr
    assert "sk-literal" not in ran.stderr
