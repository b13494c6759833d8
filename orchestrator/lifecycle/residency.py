"""Leases on models that have to be in memory, and the residents behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

import anyio
from anyio.abc import TaskGroup

from orchestrator.core.bus import EventBus
from orchestrator.core.clock import Clock
from orchestrator.core.errors import ConfigurationError, EngineClosedError
from orchestrator.core.ports import Endpoint, ProcessLauncher, ResidentSpec
from orchestrator.lifecycle.resident import Resident, Surroundings, WarmUp
from orchestrator.lifecycle.restart import RestartPolicy

__all__ = ["Lease", "ProcessResidency"]


class Lease:
    """The right to use a loaded model while the context is open.

    A class rather than a generator, since every call to a local model passes here.
    """

    __slots__ = ("_resident",)

    def __init__(self, resident: Resident) -> None:
        self._resident = resident

    async def __aenter__(self) -> Endpoint:
        return await self._resident.acquire()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._resident.release()


class ProcessResidency:
    """Keeps residents in processes of their own: ``async with ProcessResidency(...)``.

    Leaving the context stops every process and resolves everybody who waits for one; open leases
    do not hold it up.

    Args:
        specs: The residents it starts out with; nothing is loaded before its first lease.
        launcher: Starts their processes.
        bus: Learns of loads, ends and crashes.
        clock: Stamps the events and times the waits between restarts.
        warm_up: Awaited with the endpoint of a process that has just become ready; it counts as
            loaded once this returns. None takes the process's word.
        restart: How long a resident rests after a failure.
    """

    def __init__(
        self,
        specs: Iterable[ResidentSpec],
        launcher: ProcessLauncher,
        bus: EventBus,
        clock: Clock,
        *,
        warm_up: WarmUp | None = None,
        restart: RestartPolicy | None = None,
    ) -> None:
        self._surroundings = Surroundings(
            launcher=launcher,
            bus=bus,
            clock=clock,
            spawn=self._spawn,
            warm_up=warm_up,
            restart=restart or RestartPolicy(),
        )
        self._tasks: TaskGroup | None = None
        self._residents: dict[str, Resident] = {}
        for spec in specs:
            self.register(spec)

    async def __aenter__(self) -> ProcessResidency:
        self._tasks = await anyio.create_task_group().__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        tasks, self._tasks = self._tasks, None
        assert tasks is not None, "it was entered"
        tasks.cancel_scope.cancel()
        # Without the error, which would come back wrapped in a group.
        await tasks.__aexit__(None, None, None)

    @property
    def loaded(self) -> frozenset[str]:
        """Names of the residents that serve."""
        return frozenset(name for name, r in self._residents.items() if r.endpoint is not None)

    def register(self, spec: ResidentSpec) -> None:
        """Make a resident known; the same again changes nothing, since several models share it.

        Raises:
            ConfigurationError: Another resident has this name.
        """
        known = self._residents.get(spec.name)
        if known is None:
            self._residents[spec.name] = Resident(spec, self._surroundings)
        elif known.spec != spec:
            raise ConfigurationError(f"two different residents are called {spec.name!r}")

    def lease(self, resident: str) -> Lease:
        """Hold it loaded while the context is open; entering raises as `Resident.acquire` does.

        Raises:
            ConfigurationError: There is no such resident.
        """
        return Lease(self._named(resident))

    async def unload(self, resident: str) -> None:
        """Take it out of memory once its leases are given back; the next lease loads it anew.

        Raises:
            ConfigurationError: There is no such resident.
            InvalidRequestError: It is not loaded, or is being unloaded already.
        """
        await self._named(resident).unload()

    def _named(self, resident: str) -> Resident:
        try:
            return self._residents[resident]
        except KeyError:
            known = ", ".join(sorted(self._residents)) or "none"
            raise ConfigurationError(
                f"there is no resident {resident!r}", hint=f"known: {known}"
            ) from None

    def _spawn(self, function: Callable[..., Any], *args: Any) -> None:
        if self._tasks is None:
            raise EngineClosedError("local models are not in service", hint="use `async with`")
        self._tasks.start_soon(function, *args)
