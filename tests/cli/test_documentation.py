"""Every command that docs/cli.md shows runs, on the real model."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from pathlib import Path

import aiohttp
import pytest

from tests.cli.command import command, command_beside, process
from tests.cli.test_serve import announced, ended
from tests.config.files import share_model_files
from tests.house.project import ROOT
from tests.integrations.real_engine import smollm2_file

PAGE = (ROOT / "docs" / "cli.md").read_text("utf-8")
SHOWN = [tuple(shlex.split(line)) for line in re.findall(r"^\$ orchestrator (.*)$", PAGE, re.M)]
FAILS = ("select", "--explain", "--capability", "vision", "--json")
ELSEWHERE = ("serve", "events", "demo", "log", "warm-start", "segments")
MOVES = ("load", "switch", "pin", "unpin", "unload")
ON_A_GATEWAY = [w for w in SHOWN if w[1:2] and (w[1] in MOVES or "--register" in w)]
BY_ITSELF = [words for words in SHOWN if words[0] not in ELSEWHERE and words not in ON_A_GATEWAY]


@pytest.fixture(autouse=True)
def _the_examples_configuration(tmp_path: Path) -> None:
    share_model_files(tmp_path)
    smollm2_file()
    text = (ROOT / "examples" / "smollm2.toml").read_text("utf-8")
    (tmp_path / "orchestrator.toml").write_text(text)


@pytest.mark.parametrize("words", BY_ITSELF, ids=" ".join)
def test_each_command_runs_as_it_is_shown(words: tuple[str, ...]):
    ran = command(*words)

    assert ran.code == (words == FAILS), ran.stderr
    if "--json" in words:
        json.loads(ran.stdout)


async def test_serve_and_events_run_as_they_are_shown():
    (serve,) = (words for words in SHOWN if words[0] == "serve")
    async with process(*serve, "--json") as running:
        url = (await announced(running))["url"]
        async with aiohttp.ClientSession() as client, asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(ask_forever(client, url))
            for words in (words for words in SHOWN if words[0] == "events"):
                ran = await command_beside(*words, "--url", url)
                assert ran.code == 0, ran.stderr
            asking.cancel()
        running.terminate()
        await ended(running)

    assert running.returncode == 0


async def test_models_of_a_gateway_are_moved_as_it_is_shown():
    async with process("serve", "--port", "0", "--json") as running:
        url = (await announced(running))["url"]
        for words in ON_A_GATEWAY:
            ran = await command_beside(*words, "--url", url)
            assert ran.code == 0, ran.stderr
        running.terminate()
        await ended(running)

    assert len(ON_A_GATEWAY) == 7


async def ask_forever(client: aiohttp.ClientSession, url: str) -> None:
    question = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
    while True:
        async with client.post(f"{url}/v1/chat/completions", json=question) as answer:
            await answer.read()


@pytest.mark.long
async def test_the_demonstration_runs_as_it_is_shown():
    (demo,) = (words for words in SHOWN if words[0] == "demo")
    async with process(*demo) as running:
        stdout, stderr = await running.communicate()

    assert running.returncode == 0, stderr.decode()
    assert "120 questions asked, 120 answered, 0 lost" in stdout.decode()


def test_every_command_is_on_the_page():
    assert {words[0] for words in SHOWN} == {
        *("models", "ask", "select", "serve", "events", "config", "log", "simulate"),
        *("warm-start", "segments", "demo", "health"),
    }
