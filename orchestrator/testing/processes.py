"""Engine processes without processes: they load, serve, refuse and die when they are told to."""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Final

import anyio
from pydantic import SecretStr

from orchestrator.core.errors import ProcessError
from orchestrator.core.ports import Endpoint, ResidentSpec
from orchestrator.testing.openai_provider import OpenAIProvider
from orchestrator.testing.simulated_server import SimulatedServer
from orchestrator.testing.transport import SimulatedTransport

__all__ = ["ProcessScript", "SimulatedLauncher", "SimulatedProbe", "SimulatedProcess"]

_FIRST_PORT: Final = 49_152


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessScript:
    """What becomes of one start.

    Attributes:
        load_s: Seconds until it is ready; None is as the launcher says.
        failure: What the start raises then, or None.
        hangs: It is never ready, and the launcher does not notice.
        memory: Bytes by device that it holds while it lives.
        stop_s: Seconds it takes to end when it is asked to.
        stop_failures: So many attempts to stop it fail.
    """

    load_s: float | None = None
    failure: ProcessError | None = None
    hangs: bool = False
    memory: Mapping[str, int] = field(default_factory=dict)
    stop_s: float = 0.0
    stop_failures: int = 0


class SimulatedProcess:
    """Implements `orchestrator.core.ports.ChildProcess`.

    Attributes:
        server: What it serves, until it dies.
        memory: Bytes by device that it holds while it lives.
        resident: Name of the resident it was started for.
        exit_code: None while it lives.
    """

    def __init__(
        self, pid: int, resident: str, endpoint: Endpoint, server: SimulatedServer
    ) -> None:
        self.pid = pid
        self.resident = resident
        self.endpoint = endpoint
        self.server = server
        self.exit_code: int | None = None
        self.killed_because: str | None = None
        self.memory: Mapping[str, int] = {}
        self.stop_s = 0.0
        """Seconds it takes to end when it is asked to."""
        self.stop_failures = 0
        """So many attempts to stop it fail."""
        self.stops = 0
        """How often it was asked to end."""
        self._exited = anyio.Event()

    def die(self, exit_code: int = -signal.SIGKILL) -> None:
        """End at once: every request it is answering breaks off."""
        if self.exit_code is None:
            self.exit_code = exit_code
            self.server.kill()
            self._exited.set()

    async def wait(self) -> int:
        """Wait until it ends and return its exit code."""
        await self._exited.wait()
        assert self.exit_code is not None
        return self.exit_code

    async def stop(self, grace_s: float = 5.0) -> int:
        """Ask it to end, kill it after ``grace_s`` or when cancelled; return its exit code."""
        self.stops += 1
        if self.stop_failures and self.exit_code is None:
            self.stop_failures -= 1
            raise ProcessError(f"{self.resident} cannot be stopped")
        try:
            with anyio.move_on_after(min(self.stop_s, grace_s)):
                return await self.wait()
            self.die(-signal.SIGTERM if self.stop_s <= grace_s else -signal.SIGKILL)
        finally:
            self.die()
        return await self.wait()


class _AnyName(tuple[str, ...]):
    """The names of an engine's model, which goes by whatever it is called."""

    __slots__ = ()

    def __contains__(self, name: object) -> bool:
        return True


class SimulatedLauncher:
    """Implements `orchestrator.core.ports.ProcessLauncher` on a simulated transport.

    Args:
        transport: Where its processes serve, each at a port and with a key of its own.
        provider_for: Returns what a process of this resident answers, under any model's name and
            its own key.
        load_s: Seconds from the start until a process is ready.
        script_for: Returns what becomes of each start of a resident; None is that all go well.

    Attributes:
        failures: What the next starts raise, in order; None for a start that goes well.
        processes: Every process that became ready, in order.
        measuring_s: Seconds that a `SimulatedProbe` takes.
    """

    def __init__(
        self,
        transport: SimulatedTransport,
        provider_for: Callable[[ResidentSpec], OpenAIProvider] | None = None,
        *,
        load_s: float = 0.0,
        script_for: Callable[[ResidentSpec], ProcessScript] | None = None,
    ) -> None:
        self._transport = transport
        self._provider_for = provider_for or (lambda spec: OpenAIProvider())
        self.load_s = load_s
        self._script_for = script_for or (lambda spec: ProcessScript())
        self.failures: deque[ProcessError | None] = deque()
        self.processes: list[SimulatedProcess] = []
        self.measuring_s = 0.0
        self._numbers = count()

    async def start(self, spec: ResidentSpec) -> SimulatedProcess:
        """Start it and wait until it is ready; raises `ProcessError` where that fails."""
        number = next(self._numbers)
        script = self._script_for(spec)
        failure = self.failures.popleft() if self.failures else script.failure
        load_s = self.load_s if script.load_s is None else script.load_s
        if script.hangs:
            await anyio.sleep_forever()
        if load_s > spec.ready_timeout_s:
            await asyncio.sleep(spec.ready_timeout_s)
            raise ProcessError(f"{spec.name} was not ready in time and was killed")
        await asyncio.sleep(load_s)
        if failure is not None:
            raise failure
        key = f"simulated-key-{number}"
        provider = self._provider_for(spec)
        provider.api_key = key
        provider.models = _AnyName((spec.name,))
        url = f"http://127.0.0.1:{_FIRST_PORT + number}/v1"
        server = self._transport.serve(url, SimulatedServer(provider))
        process = SimulatedProcess(1_000 + number, spec.name, Endpoint(url, SecretStr(key)), server)
        process.memory = script.memory
        process.stop_s = script.stop_s
        process.stop_failures = script.stop_failures
        self.processes.append(process)
        return process

    def alive(self, resident: str | None = None) -> list[SimulatedProcess]:
        """Return the processes that have not ended, all or one resident's."""
        return [
            process
            for process in self.processes
            if process.exit_code is None and resident in (None, process.resident)
        ]


class SimulatedProbe:
    """Implements `orchestrator.core.ports.MemoryProbe` for the processes of a launcher."""

    def __init__(self, launcher: SimulatedLauncher) -> None:
        self._launcher = launcher

    async def measure(self, pid: int) -> dict[str, int]:
        """Return what its script says it holds, empty once it is gone."""
        await asyncio.sleep(self._launcher.measuring_s)
        alive = {process.pid: process for process in self._launcher.alive()}
        return dict(alive[pid].memory) if pid in alive else {}
