"""Watching real processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import psutil

_PARENT = """
import asyncio, sys
from orchestrator.core.ports import ResidentSpec
from orchestrator.lifecycle.process import SubprocessLauncher

async def main():
    process = await SubprocessLauncher().start(ResidentSpec("small", tuple(sys.argv[1:]), {}))
    print(process.pid, flush=True)
    await process.wait()

asyncio.run(main())
"""
_COMMANDS_PARENT = """
import asyncio, sys
from orchestrator.integrations.http.transport import HttpTransport
from orchestrator.lifecycle.command import command_resident
from orchestrator.lifecycle.process import SubprocessLauncher

async def main():
    transport = HttpTransport()
    spec = command_resident("served", sys.argv[1:])
    process = await SubprocessLauncher(lambda: transport).start(spec)
    print(process.pid, flush=True)
    await process.wait()

asyncio.run(main())
"""


def parent_of(*command: str) -> subprocess.Popen[str]:
    """Start a program that launches this command, prints its pid once it serves, and waits."""
    return _program(_PARENT, *command)


def parent_of_guarded(*command: str) -> subprocess.Popen[str]:
    """The same for a command that knows nothing of us; the pid is that of its guard."""
    return _program(_COMMANDS_PARENT, *command)


def _program(text: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", text, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def has_ended(process: psutil.Process) -> bool:
    """Whether it has, be it that whoever adopted it has not looked yet."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


async def until(condition: Callable[[], object], *, within_s: float = 30.0) -> None:
    """Wait for something that another process brings about."""
    with anyio.fail_after(within_s):
        while not condition():  # noqa: ASYNC110  # another process sets no event
            await anyio.sleep(0.005)
