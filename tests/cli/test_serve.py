from __future__ import annotations

import asyncio
import json
import shutil
import signal
import socket
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from orchestrator.testing.provider_server import ProviderServer
from tests.cli.command import command, configured, process
from tests.config.files import share_model_files, written
from tests.conftest import require
from tests.integrations.real_engine import smollm2_file
from tests.integrations.tiny_gguf import gguf

HELLO = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}


async def announced(running: asyncio.subprocess.Process) -> dict[str, Any]:
    """Read the object with which ``serve --json`` says that it is reached."""
    assert running.stdout is not None
    text = await running.stdout.readuntil(b"\n}\n")
    found: dict[str, Any] = json.loads(text)
    return found


async def ended(running: asyncio.subprocess.Process) -> str:
    """Wait for the end, and return what it wrote to standard error."""
    _, told = await running.communicate()
    return told.decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_serves_until_a_signal_ends_it_in_order(tmp_path: Path, number: signal.Signals):
    async with ProviderServer() as provider:
        configured(tmp_path, provider.base_url)
        async with process("serve", "--port", "0", "--json") as running:
            url = (await announced(running))["url"]
            async with (
                aiohttp.ClientSession() as client,
                client.post(f"{url}/v1/chat/completions", json=HELLO) as answer,
            ):
                said = (await answer.json())["choices"][0]["message"]["content"]
            running.send_signal(number)
            told = await ended(running)

    assert said == "Hello"
    assert running.returncode == 0
    assert told.splitlines()[-1] == "stopped"
    assert "configuration: orchestrator.toml" in told


async def test_the_curl_line_that_it_prints_can_be_pasted(tmp_path: Path):
    require(shutil.which("curl") is not None, "curl")
    async with ProviderServer() as provider:
        configured(tmp_path, provider.base_url)
        async with process("serve", "--port", "0", ORCHESTRATOR_API_KEY="gateway-key") as running:
            assert running.stdout is not None
            printed = (await running.stdout.readuntil(b"}'\n")).decode()
            address, line = printed.split("\n", 1)
            curl = await asyncio.create_subprocess_shell(
                line,
                stdout=asyncio.subprocess.PIPE,
                env={"ORCHESTRATOR_API_KEY": "gateway-key", "PATH": "/usr/bin:/bin"},
            )
            answer, _ = await curl.communicate()

    assert address.startswith("serving at http://127.0.0.1:")
    assert json.loads(answer)["choices"][0]["message"]["content"].startswith("What is the capital")


def test_a_port_in_use_is_an_error_that_says_so(tmp_path: Path):
    configured(tmp_path, "http://127.0.0.1:9/v1")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = command("serve", "--port", str(port))

    assert ran.code == 2
    assert f"port {port} of 127.0.0.1 is in use" in ran.stderr


def test_an_address_open_to_others_needs_a_key(tmp_path: Path):
    configured(tmp_path, "http://127.0.0.1:9/v1")

    ran = command("serve", "--host", "0.0.0.0")

    assert ran.code == 2
    assert "set ORCHESTRATOR_API_KEY" in ran.stderr


async def test_keys_in_the_environment_are_listed_but_not_used(tmp_path: Path):
    async with ProviderServer() as provider:
        path = configured(tmp_path, provider.base_url)
        path.write_text(f"discover = true\n{path.read_text('utf-8')}")
        key = {"OPENAI_API_KEY": "sk-canary"}
        async with process("serve", "--port", "0", "--json", **key) as running:
            without = await announced(running)
            running.terminate()
            told = await ended(running)
        async with process("serve", "--port", "0", "--json", "--paid", **key) as running:
            paid = await announced(running)
            running.terminate()
            told_paid = await ended(running)

    assert without["models"] == ["loop:echo"]
    assert "OPENAI_API_KEY is set: with --paid, openai:gpt-4o-mini" in told
    assert "openai:gpt-4o-mini" in paid["models"]
    assert "at most 1 USD are spent per UTC day" in told_paid
    assert "1 USD weighs as much as " in told_paid
    assert "canary" not in told + told_paid


async def test_a_local_model_that_does_not_load_is_told_and_the_others_serve(tmp_path: Path):
    require("xllamacpp", "the engine: pip install 'orchestrator[embedded]'")
    (tmp_path / "broken.gguf").write_bytes(gguf())
    async with ProviderServer() as provider:
        text = configured(tmp_path, provider.base_url).read_text("utf-8")
        written(
            tmp_path,
            f'{text}\n[[models]]\nkey = "embedded:broken"\n'
            '[residents.broken]\nfile = "broken.gguf"\ncontext = 512\n',
        )
        async with process("serve", "--port", "0", "--json") as running:
            found = await announced(running)
            running.terminate()
            told = await ended(running)

    assert found["models"] == ["loop:echo", "embedded:broken"]
    assert "warning: broken could not be loaded" in told
    assert running.returncode == 0


async def test_nobody_is_evicted_to_load_all_at_the_start(tmp_path: Path):
    share_model_files(tmp_path)
    smollm2_file()
    resident = '[residents.{0}]\nfile = "smollm2"\ncontext = 512\nslots = 1\nthreads = 1\n'
    model = '[[models]]\nname = "{0}"\nresident = "{0}"\n'
    parts = "".join((resident + model).format(name) for name in ("first", "second"))
    written(tmp_path, "[lifecycle]\nmax_loaded_models = 1\n" + parts)

    async with process("serve", "--port", "0", "--json") as running:
        await announced(running)
        running.terminate()
        told = await ended(running)

    assert "loaded first in" in told
    assert "second waits for its first request: there is no room" in told
    assert "loading second" not in told
