"""Processes that load, die and refuse as a test tells them to."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio
import pytest
from pydantic import SecretStr

from orchestrator.core.bus import EventBus
from orchestrator.core.errors import EngineClosedError, ProcessError
from orchestrator.core.events import Event, LoadProgress, ModelWarmedUp
from orchestrator.core.ports import Endpoint, ResidentSpec
from orchestrator.lifecycle.manager import ModelManager
from orchestrator.lifecycle.policy import LifecyclePolicy
from orchestrator.lifecycle.processes import WarmUp

SPEC = ResidentSpec("small", ("engine",), {})
OTHER = ResidentSpec("other", ("engine",), {})


class ManualClock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return 1e9 + self.now


class ScriptedProcess:
    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.endpoint = Endpoint(f"http://127.0.0.1:{pid}/v1", SecretStr("key"))
        self.stops = 0
        self.stubborn = False
        self.killed_because: str | None = None
        self._exit_code: int | None = None
        self._exited = anyio.Event()

    @property
    def alive(self) -> bool:
        return self._exit_code is None

    def die(self, code: int = -9) -> None:
        if self._exit_code is None:
            self._exit_code = code
            self._exited.set()

    async def wait(self) -> int:
        await self._exited.wait()
        assert self._exit_code is not None
        return self._exit_code

    async def stop(self, grace_s: float = 5.0) -> int:
        self.stops += 1
        if self.stubborn:
            await anyio.sleep(grace_s)
        self.die(-15)
        return await self.wait()


@dataclass
class ScriptedLauncher:
    """Each start waits while it is held, then serves, or does what is next in `script`."""

    held: bool = False
    script: deque[str] = field(default_factory=deque)
    processes: list[ScriptedProcess] = field(default_factory=list)
    starting: int = 0
    cancelled: int = 0

    async def start(self, spec: ResidentSpec) -> ScriptedProcess:
        self.starting += 1
        try:
            while self.held:
                await self._release.wait()
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            raise
        finally:
            self.starting -= 1
        match self.script.popleft() if self.script else "serve":
            case "fail":
                raise ProcessError(f"{spec.name} ended with exit code 1 before it was ready")
            case "break":
                raise ZeroDivisionError
        self.processes.append(ScriptedProcess(1000 + len(self.processes)))
        return self.processes[-1]

    def hold(self) -> None:
        self.held, self._release = True, anyio.Event()

    def let_go(self) -> None:
        self.held = False
        self._release.set()

    @property
    def last(self) -> ScriptedProcess:
        return self.processes[-1]

    @property
    def alive(self) -> int:
        return sum(process.alive for process in self.processes)


class World:
    """A manager of scripted processes, with all that it published but how loads go on."""

    def __init__(
        self,
        *specs: ResidentSpec,
        warm_up: WarmUp | None = None,
        policy: LifecyclePolicy | None = None,
    ) -> None:
        self.clock = ManualClock()
        self.launcher = ScriptedLauncher()
        self.refusals = 0
        self.events: list[Event] = []
        bus = EventBus(self.clock)
        bus.on(Event, self._note)
        self.residency = ModelManager(
            specs or (SPEC,), self.launcher, bus, self.clock, warm_up=warm_up, policy=policy
        )

    def _note(self, event: Event) -> None:
        if not isinstance(event, (LoadProgress, ModelWarmedUp)):
            self.events.append(event)

    @property
    def story(self) -> list[str]:
        return [event.name for event in self.events]

    async def load(self, name: str = "small") -> ScriptedProcess:
        async with self.residency.lease(name):
            return self.launcher.last

    async def refused(self) -> None:
        """Ask for a lease that only ends with the residency."""
        with pytest.raises(EngineClosedError):
            await self.load()
        self.refusals += 1

    async def until(self, condition: Callable[[], object]) -> None:
        """Let the other tasks go on until something holds; they never need more turns."""
        for _ in range(100):
            if condition():
                return
            await anyio.lowlevel.checkpoint()
        raise AssertionError(f"it never came to that; so far: {self.story}")
