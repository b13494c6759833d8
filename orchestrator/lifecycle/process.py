"""Starting an engine as a process of its own, and ending it.

A command that knows nothing of us is a `CommandResident`: it gets a port and a guard
(`lifecycle.guard`), and is ready once it answers. What any other process has to do, in any
language:

- Its first line on standard output is JSON with its address, ``{"base_url": "http://..."}``, once
  it serves.
- It demands the key in the variable `KEY_VARIABLE` from whoever calls that address.
- It ends when its standard input does. The write end is held here alone, and the kernel closes it
  however this process ends, so that no engine outlives it.

All else that either writes goes into its log (`lifecycle.process_log`).
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final, TypeAlias

import anyio
from pydantic import SecretStr

from orchestrator.core.errors import ConfigurationError, MissingExtraError, ProcessError
from orchestrator.core.ports import Endpoint, ResidentSpec, Timeouts, Transport
from orchestrator.lifecycle import readiness
from orchestrator.lifecycle.command import CommandResident
from orchestrator.lifecycle.engine_process import EngineProcess
from orchestrator.lifecycle.process_log import ProcessLog
from orchestrator.lifecycle.supervision import Ask, supervise

__all__ = ["KEY_VARIABLE", "FirstToken", "SubprocessLauncher"]

FirstToken: TypeAlias = Callable[[Endpoint], Awaitable[None]]
"""Has a process produce one token; raises `ModelError` where it does not."""

KEY_VARIABLE: Final = "ORCHESTRATOR_ENGINE_KEY"

_GUARD: Final = Path(__file__).with_name("guard.py")


class SubprocessLauncher:
    """Starts engines as child processes that end with this one.

    Args:
        transport: Returns what asks them over HTTP. Without it no `CommandResident` can be
            started, and nobody notices when a process hangs.
        first_token: The question by which one notices; None takes the server's list of models,
            which many answer although they hang.
        log_folder: Where ``RESIDENT.log`` is kept; None keeps the last lines in memory only.
        log_bytes: What the log of one resident holds at most.
        memory_every_s: How often the memory of a process with a limit is looked at.
    """

    def __init__(
        self,
        transport: Callable[[], Transport] | None = None,
        *,
        first_token: FirstToken | None = None,
        log_folder: Path | None = None,
        log_bytes: int = 4_000_000,
        memory_every_s: float = 2.0,
    ) -> None:
        self._transport = transport
        self._first_token = first_token
        self._log_folder = log_folder
        self._log_bytes = log_bytes
        self._memory_every_s = memory_every_s

    async def start(self, spec: ResidentSpec) -> EngineProcess:
        """Start it and wait until it is ready.

        Raises:
            ProcessError: It could not be started, ended, wrote something else than its address,
                refused its key, or was not ready in time. It has been killed by then.
            ConfigurationError: It is a command, and there is no transport to ask it.
            MissingExtraError: It is to be watched, and what that takes is not installed.
        """
        self._check(spec)
        process = await self._spawn(spec)
        try:
            with anyio.fail_after(spec.ready_timeout_s):
                if isinstance(spec, CommandResident):
                    await self._until_it_answers(process, spec)
                await process.become_ready()
        except BaseException as error:
            with anyio.CancelScope(shield=True):  # bounded by `stop` itself
                await process.stop(grace_s=0)
            if isinstance(error, TimeoutError):
                raise process.failure(
                    f"was not ready within {spec.ready_timeout_s:g} s and was killed"
                ) from None
            raise
        process.watch = partial(
            supervise,
            process,
            spec.bounds,
            self._question(process.endpoint, spec),
            memory_every_s=self._memory_every_s,
        )
        return process

    def _check(self, spec: ResidentSpec) -> None:
        if self._transport is None and isinstance(spec, CommandResident):
            raise ConfigurationError(
                f"{spec.name} is a command, and this launcher has no transport to ask it",
                hint="SubprocessLauncher(lambda: transport)",
            )
        asks = self._transport is not None and spec.bounds.liveness.every_s > 0
        if (asks or spec.bounds.memory_bytes is not None) and find_spec("psutil") is None:
            raise MissingExtraError(f"watching over {spec.name}", "local")

    async def _spawn(self, spec: ResidentSpec) -> EngineProcess:
        # No characters that could make it look like an option where it stands among arguments.
        key = secrets.token_hex(24)
        bounds = spec.bounds
        guarded = [sys.executable, "-I", "-S", str(_GUARD)]
        shares = [str(bounds.nice), ",".join(map(str, bounds.cores))]
        endpoint = cwd = None
        if isinstance(spec, CommandResident):
            port = readiness.free_port()
            command, env = spec.filled(port, key)
            arguments = [*guarded, *shares, *command]
            endpoint = Endpoint(f"http://127.0.0.1:{port}/v1", SecretStr(key), spec.served_name)
            cwd = spec.cwd
        else:
            arguments, env = list(spec.command), {**spec.env, KEY_VARIABLE: key}
            if bounds.nice or bounds.cores:
                arguments = [*guarded, "--stay-out", *shares, *arguments]
        log = ProcessLog(self._log_path(spec.name), limit_bytes=self._log_bytes, secret=key)
        try:
            # A matter of milliseconds; cancelled in between, the process would be killed, but not
            # waited for.
            with anyio.CancelScope(shield=True):
                _, process = await asyncio.get_running_loop().subprocess_exec(
                    lambda: EngineProcess(spec.name, SecretStr(key), endpoint, log),
                    *arguments,
                    env={**os.environ, **env},
                    cwd=cwd,
                    # Ctrl-C in a terminal reaches the whole session: the engine shall not end
                    # before its requests have.
                    start_new_session=True,
                )
        except OSError as error:
            raise ProcessError(f"{spec.name}: {spec.command[0]} does not start: {error}") from error
        return process

    def _log_path(self, name: str) -> Path | None:
        if self._log_folder is None:
            return None
        safe = re.sub(r"[^\w.-]", "_", name)
        return self._log_folder / f"{safe}.log"

    async def _until_it_answers(self, process: EngineProcess, spec: CommandResident) -> None:
        """Return once it is clear whether it serves; `become_ready` says what came of it."""
        assert self._transport is not None, "it was checked"
        transport = self._transport()

        async def look() -> None:
            try:
                await readiness.until_served(transport, process.address, spec.ready_paths)
            except ProcessError as error:
                process.settle(process.failure(error.message))
            else:
                process.settle()

        async with anyio.create_task_group() as looking:
            looking.start_soon(look)
            await process.settled.wait()
            looking.cancel_scope.cancel()

    def _question(self, endpoint: Endpoint, spec: ResidentSpec) -> Ask | None:
        liveness = spec.bounds.liveness
        if self._transport is None:
            return None
        if liveness.path is None and self._first_token is not None:
            return partial(self._first_token, endpoint)
        path = liveness.path or "/v1/models"
        seconds = liveness.answer_within_s
        patience = Timeouts(connect_s=seconds, first_token_s=seconds, idle_s=seconds)
        return partial(readiness.get, self._transport(), endpoint, path, patience)
