"""One engine's process, from its start to its end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, cast

import anyio
from pydantic import SecretStr

from orchestrator.core.errors import ProcessError
from orchestrator.core.ports import Endpoint
from orchestrator.lifecycle.exit_codes import describe_exit
from orchestrator.lifecycle.process_log import ProcessLog

__all__ = ["EngineProcess"]

_STDIN: Final = 0
_STDOUT: Final = 1
_LONGEST_ADDRESS: Final = 4096
_QUOTED_LINES: Final = 3
# A killed process is gone at once unless the kernel holds it in a call; then nobody can help.
_KILL_WAIT_S: Final = 5.0


class EngineProcess(asyncio.SubprocessProtocol):
    """One engine, from its start to its end.

    A protocol rather than streams with tasks that read them: its pipes are drained as long as the
    event loop runs, and there is no task to lose.

    Args:
        name: Of its resident.
        key: What it demands.
        address: Where it is going to serve, under a guard; None: it says so itself.
        log: Takes down what it writes.

    Attributes:
        pid: Of the process, or of its guard.
        killed_because: Why we killed it while it served, or None.
        settled: Set once it is clear whether it serves.
        watch: Runs while somebody waits for its end, and kills it where that has to be.
    """

    pid: int

    def __init__(
        self, name: str, key: SecretStr, address: Endpoint | None, log: ProcessLog
    ) -> None:
        self.killed_because: str | None = None
        self.settled = anyio.Event()
        self.watch: Callable[[], Coroutine[Any, Any, None]] | None = None
        self._name = name
        self._guarded = address is not None
        self._address = address or Endpoint("", key)
        self._first_line = b""
        self._failure: ProcessError | None = None
        self._log = log
        self._exit_code = 0
        self._exited = anyio.Event()

    @property
    def address(self) -> Endpoint:
        """Where it serves, or is going to."""
        return self._address

    @property
    def endpoint(self) -> Endpoint:
        """Where it serves."""
        assert self._address.base_url, "the launcher returns processes that are ready"
        return self._address

    @property
    def output(self) -> str:
        """The last lines it wrote."""
        return self._log.text.strip()

    async def become_ready(self) -> None:
        """Wait until it serves.

        Raises:
            ProcessError: It ended, or wrote something else than its address.
        """
        await self.settled.wait()
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
        """Wait until it ends and return its exit code (negative: the signal).

        Whoever waits first also has it watched, as long as he waits.
        """
        watch, self.watch = self.watch, None
        async with anyio.create_task_group() as watching:
            if watch is not None:
                watching.start_soon(watch)
            await self._exited.wait()
            watching.cancel_scope.cancel()
        return self._exit_code

    async def stop(self, grace_s: float = 5.0) -> int:
        """Ask it to end, kill it after ``grace_s`` or when cancelled; return its exit code."""
        try:
            self._send(signal.SIGTERM)
            with anyio.move_on_after(grace_s):
                await self._exited.wait()
        finally:
            self._kill()
        with anyio.move_on_after(_KILL_WAIT_S):
            await self._exited.wait()
            return self._exit_code
        self._send(signal.SIGKILL)  # the guard, if it is that which does not move
        return -signal.SIGKILL

    def kill(self, why: str) -> None:
        """End it at once for a reason."""
        if not self._exited.is_set():
            self.killed_because = why
            self._kill()

    def _kill(self) -> None:
        if not self._guarded:
            self._send(signal.SIGKILL)
        elif not self._exited.is_set():
            # The guard kills the whole group once its input ends; it may have been stopped itself.
            self._send(signal.SIGCONT)
            guards_input = self._transport.get_pipe_transport(_STDIN)
            if guards_input is not None:
                guards_input.close()

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
        self._log.begin(self.pid)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == _STDOUT and not self._guarded and not self.settled.is_set():
            self._first_line += data
            if b"\n" in data or len(self._first_line) > _LONGEST_ADDRESS:
                self._read_address()
        else:
            self._log.add(data)

    def process_exited(self) -> None:
        self._exit_code = self._transport.get_returncode() or 0
        self._exited.set()

    def connection_lost(self, exc: Exception | None) -> None:
        # Comes after the exit and the end of all pipes, so that the output is complete.
        self._transport.close()
        how = describe_exit(self._exit_code)
        if not self.settled.is_set():
            self.settle(self.failure(f"ended with {how} before it was ready"))
        self._log.close(f"--- process {self.pid} ended: {self.killed_because or how}")

    def _read_address(self) -> None:
        line, _, rest = self._first_line.partition(b"\n")
        try:
            self._address = replace(self._address, base_url=str(json.loads(line)["base_url"]))
        except (ValueError, TypeError, KeyError):
            self._log.add(self._first_line)
            self.settle(self.failure("wrote something else where its address was expected"))
        else:
            self._log.add(rest)
            self.settle()

    def settle(self, failure: ProcessError | None = None) -> None:
        """Say that it serves, or that it does not; the first word holds."""
        if not self.settled.is_set():
            self._failure = failure
            self.settled.set()
