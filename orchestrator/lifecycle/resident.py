"""One resident: at most one process at a time, from its start to its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import anyio

from orchestrator.core.bus import EventBus
from orchestrator.core.clock import Clock
from orchestrator.core.errors import (
    EngineClosedError,
    InvalidRequestError,
    ModelLoadError,
    OrchestratorError,
    ProcessError,
)
from orchestrator.core.events import (
    Event,
    ModelLoaded,
    ModelLoadFailed,
    ModelLoading,
    ModelUnloaded,
    ModelUnloading,
    ProcessExited,
)
from orchestrator.core.ports import ChildProcess, Endpoint, ProcessLauncher, ResidentSpec
from orchestrator.lifecycle.exit_codes import describe_exit
from orchestrator.lifecycle.restart import RestartPolicy, RestartState

__all__ = ["Resident", "Surroundings", "WarmUp"]

WarmUp: TypeAlias = Callable[[Endpoint], Awaitable[None]]
"""Makes a process that is ready produce its first real token; raises `ModelError` if it cannot."""

_End: TypeAlias = Literal["crashed", "requested", "closed"]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What residents share.

    Attributes:
        spawn: Runs ``function(*args)`` in a task owned by whoever owns the residents; raises
            `EngineClosedError` where nobody does.
        warm_up: None takes a process's word that it is ready.
    """

    launcher: ProcessLauncher
    bus: EventBus
    clock: Clock
    spawn: Callable[..., None]
    warm_up: WarmUp | None
    restart: RestartPolicy


@dataclass(slots=True, eq=False)
class _Load:
    """One load, shared by all who wait for it."""

    finished: anyio.Event = field(default_factory=anyio.Event)
    error: Exception | None = None


class Resident:
    """A model that is brought into memory when it is first leased.

    ::

        cold --> loading --> loaded --> draining --> cold
                    |           |
                    +-----------+--> resting (failed or crashed: refuses leases) --> cold

    Attributes:
        endpoint: Where it serves, or None while it gives no lease at once. This one look is all
            that a lease on a loaded model costs.
    """

    def __init__(self, spec: ResidentSpec, surroundings: Surroundings) -> None:
        self.spec = spec
        self.endpoint: Endpoint | None = None
        self._around = surroundings
        self._leases = 0
        self._load: _Load | None = None
        self._process: ChildProcess | None = None
        self._end: _End = "crashed"
        self._drained: anyio.Event | None = None
        self._gone = anyio.Event()
        self._restart = RestartState()
        self._last_failure: Exception | None = None

    # -- leases --------------------------------------------------------------------------------

    async def acquire(self) -> Endpoint:
        """Count one more lease, loading first if it is cold.

        A load goes on although everybody who waited for it has left: whoever gave up waiting for
        a cold model finds it warm the next time.

        Raises:
            ModelLoadError: It could not be loaded, rests after a failure (``retry_after_s`` says
                how long), or is being unloaded. Nobody is kept waiting for a rest to end, so
                that the caller can turn to another model at once.
            EngineClosedError: It is not, or no longer, in service.
        """
        while self.endpoint is None:
            load = self._load or self._begin_load()
            await load.finished.wait()
            if load.error is not None:
                raise self._refusal("could not be loaded", load.error) from load.error
        self._leases += 1
        return self.endpoint

    def release(self) -> None:
        """Give one lease back."""
        self._leases -= 1
        if not self._leases and self._drained is not None:
            self._drained.set()

    async def unload(self) -> None:
        """End the process once every lease has been given back; new ones are refused meanwhile.

        Cancelling this before the last lease is back leaves it loaded.

        Raises:
            InvalidRequestError: It is not loaded, or is being unloaded already.
        """
        process = self._process
        if process is None or self.endpoint is None:
            raise InvalidRequestError(f"{self.spec.name} is not loaded", param="resident")
        endpoint, self.endpoint = self.endpoint, None
        gone, self._drained = self._gone, anyio.Event()
        try:
            if self._leases:
                await self._drained.wait()
        except BaseException:
            if self._process is process:
                self.endpoint = endpoint
            raise
        finally:
            self._drained = None
        if self._process is process:
            self._end = "requested"
            self._publish(ModelUnloading)
            # Not here: cancelling the caller shall not leave a process half stopped.
            self._around.spawn(process.stop)
        await gone.wait()

    # -- one process ---------------------------------------------------------------------------

    def _begin_load(self) -> _Load:
        if self._process is not None:
            raise ModelLoadError(f"{self.spec.name} is being unloaded")
        if self._last_failure is not None and self._rest_s > 0:
            raise self._refusal("is not in memory", self._last_failure) from self._last_failure
        load = self._load = _Load()
        try:
            self._around.spawn(self._run, load)
        except EngineClosedError:
            self._load = None
            raise
        return load

    async def _run(self, load: _Load) -> None:
        """Load a process and stay with it until it ends."""
        began = self._around.clock.monotonic()
        self._publish(ModelLoading)
        try:
            process = await self._start()
        except OrchestratorError as error:
            self._note_failure(error)
            load.error = error
            self._publish(ModelLoadFailed, reason=str(error))
            return
        except BaseException:
            load.error = EngineClosedError("closed during the load")
            self._publish(ModelLoadFailed, reason="closed during the load")
            raise
        else:
            now = self._around.clock.monotonic()
            self._restart = self._restart.after_ready(now)
            self._end, self._gone = "crashed", anyio.Event()
            self._process, self.endpoint = process, process.endpoint
            self._publish(ModelLoaded, load_s=now - began, pid=process.pid)
        finally:
            self._load = None
            load.finished.set()
        await self._watch(process)

    async def _start(self) -> ChildProcess:
        process = await self._around.launcher.start(self.spec)
        try:
            await self._warm_up(process.endpoint)
        except BaseException:
            with anyio.CancelScope(shield=True):  # bounded: `stop` kills after its grace
                code = await process.stop()
                self._publish(ProcessExited, pid=process.pid, exit_code=code, expected=True)
            raise
        return process

    async def _warm_up(self, endpoint: Endpoint) -> None:
        if self._around.warm_up is None:
            return
        limit_s = self.spec.ready_timeout_s
        try:
            with anyio.fail_after(limit_s):
                await self._around.warm_up(endpoint)
        except TimeoutError:
            raise ModelLoadError(f"it produced no token within {limit_s:g} s") from None

    async def _watch(self, process: ChildProcess) -> None:
        try:
            code = await process.wait()
        except BaseException:
            self.endpoint = None
            if self._end == "crashed":
                self._end = "closed"
                self._publish(ModelUnloading)
            with anyio.CancelScope(shield=True):
                self._finish(process, await process.stop())
            raise
        self._finish(process, code)

    def _finish(self, process: ChildProcess, code: int) -> None:
        self._process = self.endpoint = None
        if self._end == "crashed":
            self._note_failure(
                ProcessError(f"its process ended with {describe_exit(code)}", exit_code=code)
            )
        expected = self._end != "crashed"
        self._publish(ProcessExited, pid=process.pid, exit_code=code, expected=expected)
        self._publish(ModelUnloaded, reason=self._end)
        self._gone.set()
        if self._drained is not None:
            self._drained.set()

    # -- failures ------------------------------------------------------------------------------

    @property
    def _rest_s(self) -> float:
        return self._restart.wait_s(self._around.clock.monotonic())

    def _note_failure(self, error: Exception) -> None:
        self._last_failure = error
        self._restart = self._restart.after_failure(
            self._around.clock.monotonic(), self._around.restart
        )

    def _refusal(self, what: str, cause: Exception) -> OrchestratorError:
        """Build an error of its own for each waiter, since whoever catches it adds to it."""
        if isinstance(cause, EngineClosedError):
            return EngineClosedError(cause.message)
        return ModelLoadError(f"{self.spec.name} {what}: {cause}", retry_after_s=self._rest_s)

    def _publish(self, kind: Callable[..., Event], **facts: Any) -> None:
        clock = self._around.clock
        self._around.bus.publish(
            kind(at=clock.monotonic(), wall=clock.wall(), resident=self.spec.name, **facts)
        )
