"""The command line as tests run it: in this process, or in one of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import anyio.to_thread

from orchestrator.cli.app import run
from tests.config.files import written

__all__ = ["Ran", "command", "command_beside", "configured", "process"]


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """Its standard output, which is one JSON object and nothing else."""
        return json.loads(self.stdout)


def command(*words: str) -> Ran:
    """Run a command in this process."""
    stdout, stderr = StringIO(), StringIO()
    with redirect_stdout(stdout), redirect_stderr(stderr):
        code = run(words)
    return Ran(code, stdout.getvalue(), stderr.getvalue())


async def command_beside(*words: str) -> Ran:
    """Run a command in a thread, while the test's own servers answer."""
    return await anyio.to_thread.run_sync(lambda: command(*words))


def configured(folder: Path, base_url: str, *, names: tuple[str, ...] = ("echo",)) -> Path:
    """Write a configuration with models of a loopback provider; each costs more than the last."""
    models = "".join(
        f'[[models]]\nkey = "loop:{name}"\nprice = {{ input = {n}, output = {n} }}\n'
        for n, name in enumerate(names)
    )
    provider = f'[providers.loop]\ntype = "openai_compatible"\nbase_url = "{base_url}"\n'
    return written(folder, provider + models)


@asynccontextmanager
async def process(*words: str, **variables: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a command in a process of its own; it is ended with the context."""
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        "-m",
        "orchestrator",
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **variables},
    )
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.communicate()
