"""The processes of residents: started, warmed up, measured, watched and stopped.

Whatever becomes of one is told to the run loop; nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Final, TypeAlias

import anyio

from orchestrator.core.bus import EventBus
from orchestrator.core.clock import Clock
from orchestrator.core.errors import (
    ModelDoesNotFitError,
    ModelLoadError,
    OrchestratorError,
    ProcessError,
)
from orchestrator.core.events import (
    Event,
    LoadProgress,
    ModelUnloadFailed,
    ModelWarmedUp,
    ProcessExited,
)
from orchestrator.core.ports import ChildProcess, Endpoint, MemoryProbe, ProcessLauncher
from orchestrator.lifecycle import forecast, happenings
from orchestrator.lifecycle.book import Book, Resident
from orchestrator.lifecycle.exit_codes import describe_exit
from orchestrator.lifecycle.footprint import total_bytes
from orchestrator.lifecycle.happenings import Happening
from orchestrator.lifecycle.state import Status

__all__ = ["Processes", "WarmUp"]

WarmUp: TypeAlias = Callable[[Endpoint], Awaitable[None]]
"""Makes a process that is ready produce its first real token; raises `ModelError` if it cannot."""

# A launcher keeps to its limit by itself; this is for one that hangs.
_LAUNCHER_GRACE_S: Final = 5.0
_STOPS: Final = 10
# Without an answer by then the estimate stands.
_PROBE_LIMIT_S: Final = 5.0


@dataclass(slots=True, eq=False)
class _Load:
    """A load under way."""

    scope: anyio.CancelScope
    phase: str = "starting"
    said_at: float = -inf


class Processes:
    """All processes of one manager.

    Args:
        book: Read only.
        launcher: Starts them.
        bus: Learns how loads go on.
        clock: Time.
        warm_up: None takes a process's word that it is ready.
        probe: Without it nothing is measured.
        tell: Takes what becomes of them.
    """

    def __init__(
        self,
        book: Book,
        launcher: ProcessLauncher,
        bus: EventBus,
        clock: Clock,
        *,
        warm_up: WarmUp | None,
        probe: MemoryProbe | None,
        tell: Callable[[Happening], None],
    ) -> None:
        self._book = book
        self._launcher = launcher
        self._bus = bus
        self._clock = clock
        self._warm_up = warm_up
        self._probe = probe
        self._tell = tell
        self._loads: dict[str, _Load] = {}
        self._running: dict[str, ChildProcess] = {}

    def prepare(self, name: str) -> None:
        """Say that `live` is about to run, so that its load can be cancelled before it does."""
        self._loads[name] = _Load(anyio.CancelScope())

    def cancel_load(self, name: str) -> None:
        """End a load, unless it has just ended and that is about to be told."""
        if name in self._loads:
            self._loads[name].scope.cancel()

    async def live(self, resident: Resident) -> None:
        """Load a process and stay with it until it ends."""
        name, began = resident.name, self._clock.monotonic()
        load = self._loads[name]
        started: tuple[ChildProcess, dict[str, int]] | None = None
        try:
            with load.scope:
                started = await self._start(resident, load)
            if started is not None and load.scope.cancel_called:
                await self._end(name, started[0])
                started = None
        except OrchestratorError as error:
            del self._loads[name]
            holds = error.needs if isinstance(error, ModelDoesNotFitError) else {}
            self._tell(happenings.LoadFailed(name, error, holds))
            return
        except BaseException:
            # Everything ends, perhaps because of this.
            self._tell(happenings.Closed())
            del self._loads[name]
            self._tell(happenings.LoadCancelled(name))
            raise
        del self._loads[name]
        if started is None:
            self._tell(happenings.LoadCancelled(name))
            return
        process, holds = started
        self._running[name] = process
        load_s = self._clock.monotonic() - began
        self._tell(happenings.Loaded(name, process.endpoint, process.pid, load_s, holds))
        await self._watch(name, process)

    async def stop(self, name: str) -> None:
        """Stop a process whose end `live` sees."""
        try:
            await self._running[name].stop()
        except OrchestratorError as error:
            self._tell(happenings.StopFailed(name, error))

    def say_progress(self, now: float) -> float:
        """Say how loads go on, and return when to say so again."""
        if not self._loads or not self._bus.wants(LoadProgress):
            return inf
        every_s = self._book.policy.progress_every_s
        for name, load in list(self._loads.items()):
            if load.said_at + every_s <= now:
                self._say_phase(name, load, load.phase)
        return min(load.said_at for load in self._loads.values()) + every_s

    async def _start(self, resident: Resident, load: _Load) -> tuple[ChildProcess, dict[str, int]]:
        """Return a process that has produced a token, and what it holds."""
        name, spec = resident.name, resident.spec
        by_size_s = total_bytes(resident.needs) / self._book.policy.slowest_load_bytes_s
        limit_s = spec.ready_timeout_s + by_size_s
        try:
            with anyio.fail_after(limit_s + _LAUNCHER_GRACE_S):
                process = await self._launcher.start(replace(spec, ready_timeout_s=limit_s))
        except TimeoutError:
            raise ModelLoadError(f"{name} was not ready within {limit_s:g} s") from None
        try:
            self._say_phase(name, load, "warming_up")
            ready_at = self._clock.monotonic()
            if self._warm_up is not None:
                try:
                    with anyio.fail_after(limit_s):
                        await self._warm_up(process.endpoint)
                except TimeoutError:
                    raise ModelLoadError(f"it produced no token within {limit_s:g} s") from None
                warm_up_s = self._clock.monotonic() - ready_at
                self._publish(ModelWarmedUp, resident=name, warm_up_s=warm_up_s)
            holds = await self._measured(process.pid)
            error = forecast.oversized(self._book, resident, holds)
            if error is not None:
                raise error
        except BaseException:
            await self._end(name, process)
            raise
        return process, holds

    async def _watch(self, name: str, process: ChildProcess) -> None:
        try:
            code = await process.wait()
        except BaseException:
            # Everything ends, perhaps because another of our tasks broke.
            self._tell(happenings.Closed())
            with anyio.CancelScope(shield=True):
                code = await self._stopped(name, process)
                self._tell(self._ended(name, process, code, 0))
            raise
        left = 0
        if self._book.residents[name].status is Status.EVICTING:
            with anyio.CancelScope(shield=True):  # bounded by `_measured`
                left = total_bytes(await self._measured(process.pid))
        self._tell(self._ended(name, process, code, left))

    def _ended(self, name: str, process: ChildProcess, code: int, left: int) -> Happening:
        why = process.killed_because or f"its process ended with {describe_exit(code)}"
        error = ProcessError(why, exit_code=code)
        return happenings.ProcessEnded(name, process.pid, code, error, left)

    async def _end(self, name: str, process: ChildProcess) -> None:
        """Stop a process that never served."""
        with anyio.CancelScope(shield=True):
            code = await self._stopped(name, process)
            facts = {"resident": name, "pid": process.pid, "exit_code": code}
            self._publish(ProcessExited, **facts, expected=True)

    async def _stopped(self, name: str, process: ChildProcess) -> int:
        """Stop it, however often that takes; each attempt is bounded, since it kills in the end."""
        again_s = self._book.policy.unload_retry_s
        for _ in range(_STOPS - 1):
            try:
                return await process.stop()
            except OrchestratorError as error:
                self._publish(
                    ModelUnloadFailed, resident=name, reason=str(error), retry_in_s=again_s
                )
                await anyio.sleep(again_s)
        return await process.stop()

    async def _measured(self, pid: int) -> dict[str, int]:
        if self._probe is not None:
            with anyio.move_on_after(_PROBE_LIMIT_S):
                return dict(await self._probe.measure(pid))
        return {}

    def _say_phase(self, name: str, load: _Load, phase: str) -> None:
        load.phase, load.said_at = phase, self._clock.monotonic()
        resident = self._book.residents[name]
        elapsed_s = load.said_at - resident.load_began
        expected_s = forecast.expected_load_s(self._book, resident, load.said_at) + elapsed_s
        self._publish(
            LoadProgress, resident=name, phase=phase, elapsed_s=elapsed_s, expected_s=expected_s
        )

    def _publish(self, kind: type[Event], **facts: Any) -> None:
        clock = self._clock
        self._bus.publish(kind(at=clock.monotonic(), wall=clock.wall(), **facts))
