"""Starting an engine as a process of its own, and ending it.

What the process has to do, in any language:

- Its first line on standard output is JSON with its address, ``{"base_url": "http://..."}``, once
  it serves. All it writes otherwise is kept only to explain its end.
- It demands the key in the variable `KEY_VARIABLE` from whoever calls that address.
- It ends when its standard input does. The write end is held here alone, and the kernel closes it
  however this process ends, so that no engine outlives it.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
from collections import deque
from contextlib import suppress
from typing import Final, cast

import anyio
from pydantic import SecretStr

from orchestrator.core.errors import ProcessError
from orchestrator.core.ports import Endpoint, ResidentSpec
from orchestrator.lifecycle.exit_codes import describe_exit

__all__ = ["KEY_VARIABLE", "EngineProcess", "SubprocessLauncher"]

KEY_VARIABLE: Final = "ORCHESTRATOR_ENGINE_KEY"

_STDOUT: Final = 1
_LONGEST_LINE: Final = 4096
_KEPT_LINES: Final = 100
_QUOTED_LINES: Final = 3
# A killed process is gone at once unless the kernel holds it in a call; then nobody can help.
_KILL_WAIT_S: Final = 5.0


class SubprocessLauncher:
    """Starts engines as child processes that end with this one."""

    async def start(self, spec: ResidentSpec) -> EngineProcess:
        """Start it and wait until it is ready.

        Raises:
            ProcessError: It could not be started, ended, wrote something else than its address,
                or was not ready in time. It has been killed by then.
        """
        process = await _spawn(spec)
        try:
            with anyio.fail_after(spec.ready_timeout_s):
                await process.become_ready()
        except BaseException as error:
            with anyio.CancelScope(shield=True):  # bounded by `stop` itself
                await process.stop(grace_s=0)
            if isinstance(error, TimeoutError):
                raise process.failure(
                    f"was not ready within {spec.ready_timeout_s:g} s and was killed"
                ) from None
            raise
        return process


async def _spawn(spec: ResidentSpec) -> EngineProcess:
    key = secrets.token_urlsafe(32)
    try:
        # A matter of milliseconds; cancelled in between, the process would be killed, but not
        # waited for.
        with anyio.CancelScope(shield=True):
            _, process = await asyncio.get_running_loop().subprocess_exec(
                lambda: EngineProcess(spec.name, key),
                *spec.command,
                env={**os.environ, **spec.env, KEY_VARIABLE: key},
                # Ctrl-C in a terminal reaches the whole session: the engine shall not end before
                # its requests have.
                start_new_session=True,
            )
    except OSError as error:
        raise ProcessError(f"{spec.name}: {spec.command[0]} does not start: {error}") from error
    return process


class EngineProcess(asyncio.SubprocessProtocol):
    """One engine, from its start to its end.

    A protocol rather than streams with tasks that read them: its pipes are drained as long as the
    event loop runs, and there is no task to lose.
    """

    pid: int

    def __init__(self, name: str, key: str) -> None:
        self._name = name
        self._credential = SecretStr(key)
        self._base_url: str | None = None
        self._first_line = b""
        self._failure: ProcessError | None = None
        self._settled = anyio.Event()
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._unfinished_line = b""
        self._exit_code = 0
        self._exited = anyio.Event()

    @property
    def endpoint(self) -> Endpoint:
        """Where it serves."""
        assert self._base_url is not None, "the launcher returns processes that are ready"
        return Endpoint(self._base_url, self._credential)

    @property
    def output(self) -> str:
        """The last lines it wrote."""
        return "\n".join([*self._lines, self._unfinished_line.decode(errors="replace")]).strip()

    async def become_ready(self) -> None:
        """Wait until it serves.

        Raises:
            ProcessError: It ended, or wrote something else than its address.
        """
        await self._settled.wait()
        if self._failure is not None:
            raise self._failure

    def failure(self, what: str) -> ProcessError:
        """Return the error that says what it did, with the last lines it wrote."""
        lines = self.output.splitlines()[-_QUOTED_LINES:]
        last_words = f"its last words: {' | '.join(lines)}" if lines else "it wrote nothing"
        code = self._exit_code if self._exited.is_set() else None
        return ProcessError(
            f"{self._name} {what}; {last_words}", exit_code=code, output=self.output
        )

    async def wait(self) -> int:
        """Wait until it ends and return its exit code (negative: the signal)."""
        await self._exited.wait()
        return self._exit_code

    async def stop(self, grace_s: float = 5.0) -> int:
        """Ask it to end, kill it after ``grace_s`` or when cancelled; return its exit code."""
        try:
            self._send(signal.SIGTERM)
            with anyio.move_on_after(grace_s):
                return await self.wait()
        finally:
            self._send(signal.SIGKILL)
        with anyio.move_on_after(_KILL_WAIT_S):
            return await self.wait()
        return -signal.SIGKILL

    def _send(self, number: signal.Signals) -> None:
        # Not through the transport: before Python 3.12.9 it reaps a child that has just died,
        # which loses the exit code.
        if not self._exited.is_set():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    # -- what asyncio calls --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)
        self.pid = self._transport.get_pid()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == _STDOUT and not self._settled.is_set():
            self._first_line += data
            if b"\n" in data or len(self._first_line) > _LONGEST_LINE:
                self._read_address()
        else:
            self._keep(data)

    def process_exited(self) -> None:
        self._exit_code = self._transport.get_returncode() or 0
        self._exited.set()

    def connection_lost(self, exc: Exception | None) -> None:
        # Comes after the exit and the end of all pipes, so that the output is complete.
        self._transport.close()
        if not self._settled.is_set():
            self._settle(
                self.failure(f"ended with {describe_exit(self._exit_code)} before it was ready")
            )

    def _read_address(self) -> None:
        line, _, rest = self._first_line.partition(b"\n")
        try:
            self._base_url = str(json.loads(line)["base_url"])
        except (ValueError, TypeError, KeyError):
            self._keep(self._first_line)
            self._settle(self.failure("wrote something else where its address was expected"))
        else:
            self._keep(rest)
            self._settle()

    def _settle(self, failure: ProcessError | None = None) -> None:
        self._failure = failure
        self._settled.set()

    def _keep(self, data: bytes) -> None:
        *lines, rest = (self._unfinished_line + data).split(b"\n")
        self._lines.extend(line[:_LONGEST_LINE].decode(errors="replace") for line in lines)
        self._unfinished_line = rest[:_LONGEST_LINE]
