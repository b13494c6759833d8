"""Local models that come and go: what callers and operators do with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

import anyio

from orchestrator.core.bus import EventBus
from orchestrator.core.clock import Clock
from orchestrator.core.errors import (
    ConfigurationError,
    InvalidRequestError,
    ModelDoesNotFitError,
    OrchestratorError,
)
from orchestrator.core.ports import MemoryProbe, ProcessLauncher, ResidentSpec
from orchestrator.lifecycle import forecast, happenings
from orchestrator.lifecycle.book import Book
from orchestrator.lifecycle.footprint import room_for
from orchestrator.lifecycle.lease import Lease
from orchestrator.lifecycle.policy import LifecyclePolicy, MemoryBudget
from orchestrator.lifecycle.processes import Processes, WarmUp
from orchestrator.lifecycle.restart import RestartPolicy
from orchestrator.lifecycle.run_loop import RunLoop
from orchestrator.lifecycle.snapshot import LifecycleSnapshot, snapshot
from orchestrator.lifecycle.state import Status

if TYPE_CHECKING:
    from orchestrator.core.saved_state import SavedState

__all__ = ["ModelManager", "Switch"]


@dataclass(frozen=True, slots=True)
class Switch:
    """What a switch did.

    Attributes:
        previous: The resident that was current before, or None.
        at: When, in seconds since 1970-01-01 UTC.
    """

    previous: str | None
    current: str
    reason: str
    at: float


class ModelManager:
    """Brings residents into memory and takes them out: ``async with ModelManager(...)``.

    Whatever happens is told to the planner one thing after the other, and what it wants done is
    done before the next: nothing else changes a status. Only leases on what is loaded go past it.

    Leaving the context stops every process and resolves everybody who waits for one; open leases
    do not hold it up.

    Args:
        specs: The residents it starts out with; nothing is loaded before its first lease.
        launcher: Starts their processes.
        bus: Learns of every change.
        clock: Stamps the events and times all waits; its seconds are those of the event loop.
        policy: What may be in memory, and how patient everybody is.
        warm_up: Awaited with the endpoint of a process that has just become ready; it counts as
            loaded once this returns. None takes the process's word.
        restart: How long a resident rests after a failure.
        probe: Measures what processes hold; without it the estimates stand.
        on_change: Called after every change that an event tells of.
    """

    def __init__(
        self,
        specs: Iterable[ResidentSpec],
        launcher: ProcessLauncher,
        bus: EventBus,
        clock: Clock,
        *,
        policy: LifecyclePolicy | None = None,
        warm_up: WarmUp | None = None,
        restart: RestartPolicy | None = None,
        probe: MemoryProbe | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._clock = clock
        self._book = Book(policy or LifecyclePolicy(), restart or RestartPolicy())
        self._loop = RunLoop(
            self._book,
            bus,
            clock,
            lambda tell: Processes(
                self._book, launcher, bus, clock, warm_up=warm_up, probe=probe, tell=tell
            ),
            on_change,
        )
        for spec in specs:
            self.register(spec)

    async def __aenter__(self) -> ModelManager:
        await self._loop.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._loop.aclose()

    # -- what there is -------------------------------------------------------------------------

    def register(self, spec: ResidentSpec) -> None:
        """Make a resident known; the same again changes nothing, since several models share it.

        Raises:
            ConfigurationError: Another resident has this name, or keeps alive for less than 0 s.
        """
        known = self._book.residents.get(spec.name)
        if known is not None and known.spec != spec:
            raise ConfigurationError(f"two different residents are called {spec.name!r}")
        if spec.keep_alive_s is not None and not spec.keep_alive_s >= 0:
            raise ConfigurationError(
                f"keep_alive_s of resident {spec.name!r} is {spec.keep_alive_s!r}, not at least 0"
            )
        if known is None:
            self._book.register(spec)

    @property
    def loaded(self) -> frozenset[str]:
        """Names of the residents that serve."""
        return frozenset(self._book.loaded)

    @property
    def current(self) -> str | None:
        """The resident that serves whoever names none."""
        return self._book.current

    def statuses(self) -> dict[str, Status]:
        """Return what each resident is, by its name."""
        return {name: resident.status for name, resident in self._book.residents.items()}

    def snapshot(self) -> LifecycleSnapshot:
        """Return everything at one moment."""
        return snapshot(self._book, self._clock.monotonic())

    def expected_load_s(self, resident: str) -> float:
        """Return the seconds until it serves, were there room: measured, else by its size."""
        named = self._book.named(resident)
        return forecast.expected_load_s(self._book, named, self._clock.monotonic())

    def cold_start(self, resident: str) -> tuple[float, tuple[str, ...]]:
        """Return what a request for it would cost now: seconds, and who would have to make room.

        The seconds count the loads too that bring those back; inf if it can never be loaded.
        """
        named = self._book.named(resident)
        return forecast.cold_start(self._book, named, self._clock.monotonic())

    def would_evict(self, resident: str) -> tuple[str, ...]:
        """Return who would have to go if it were loaded now.

        Raises:
            ModelDoesNotFitError: It can never be loaded beside what is pinned and current.
        """
        return forecast.would_evict(self._book, self._book.named(resident))

    # -- what outlives it ----------------------------------------------------------------------

    def fingerprints(self) -> dict[str, str]:
        """See `remembering.fingerprints`."""
        from orchestrator.lifecycle import remembering  # only where it is remembered

        return remembering.fingerprints(self._book)

    def remembered(self) -> SavedState:
        """See `remembering.remembered`."""
        from orchestrator.lifecycle import remembering

        return remembering.remembered(self._book)

    def recall(self, state: SavedState, current: str | None = None) -> None:
        """See `recalling.recall`."""
        self._loop.tell(happenings.Recalled(state, current))

    # -- leases --------------------------------------------------------------------------------

    def lease(
        self, resident: str | None = None, *, priority: int = 0, wait_limit_s: float | None = None
    ) -> Lease:
        """Hold it loaded while the context is open, loading it first if it is cold.

        A load goes on although everybody who waited for it has left: whoever gave up waiting for
        a cold model finds it warm the next time.

        Args:
            resident: Its name; None is the current one at this moment.
            priority: Higher is loaded first, and keeps its place in a full queue.
            wait_limit_s: How long to wait at most; None is as the policy says.

        Raises:
            ConfigurationError: There is no such resident.
            InvalidRequestError: None is current, or the limit is not above 0.
            ModelLoadError: Entering: it could not be loaded, or rests after a failure
                (``retry_after_s`` says how long).
            ModelDoesNotFitError: Entering: it can never be loaded; nobody was evicted.
            OverloadedError: Entering: too many wait already, or it took too long.
            EngineClosedError: Entering: the manager is not, or no longer, in service.
        """
        name = self._book.current if resident is None else resident
        if name is None:
            raise InvalidRequestError("no resident is current", hint="switch_model makes one so")
        if wait_limit_s is not None and not wait_limit_s > 0:
            raise InvalidRequestError(
                f"wait_limit_s must be above 0, not {wait_limit_s!r}", param="wait_limit_s"
            )
        return Lease(
            self._book,
            self._book.named(name),
            priority,
            wait_limit_s,
            now=self._clock.monotonic,
            wait=self._loop.wait,
            nudge=self._loop.nudge,
        )

    # -- loading and unloading -----------------------------------------------------------------

    async def load(
        self, resident: str, *, priority: int = 0, wait_limit_s: float | None = None
    ) -> None:
        """Bring it into memory now; errors as `lease`."""
        async with self.lease(resident, priority=priority, wait_limit_s=wait_limit_s):
            return

    def cancel_load(self, resident: str) -> None:
        """End a load; whoever waits for it is refused.

        Raises:
            ConfigurationError: There is no such resident.
            InvalidRequestError: It is not being loaded.
        """
        if self._book.named(resident).status is not Status.LOADING:
            raise InvalidRequestError(f"{resident} is not being loaded", param="resident")
        self._loop.tell(happenings.LoadAbandoned(resident))

    async def unload(self, resident: str, *, force: bool = False) -> None:
        """Take it out of memory once its leases are given back; the next lease loads it anew.

        Cancelling this before the last lease is back leaves it loaded. If it is the current one,
        the most recently used of the others becomes that.

        Args:
            resident: Its name.
            force: Do not wait for leases.

        Raises:
            ConfigurationError: There is no such resident.
            InvalidRequestError: It is not loaded, is being unloaded already, or is pinned.
        """
        known = self._book.named(resident)
        if known.status is not Status.LOADED and not (force and known.status is Status.DRAINING):
            raise InvalidRequestError(f"{resident} is not loaded", param="resident")
        if resident in self._book.pins:
            raise InvalidRequestError(
                f"{resident} is pinned", param="resident", hint="unpin it first"
            )
        gone = self._loop.gone(resident)
        self._loop.tell(happenings.UnloadRequested(resident, force))
        try:
            await gone.wait()
        except BaseException:
            self._loop.tell(happenings.KeepRequested(resident))
            raise

    def plan_set(self, residents: Iterable[str]) -> forecast.SetPlan:
        """Return what `load_set` would do, without doing it.

        Raises:
            ConfigurationError: There is no resident of one of the names.
            ModelDoesNotFitError: They do not fit together beside what is pinned and current.
        """
        return forecast.plan_set(self._book, residents, self._clock.monotonic())

    async def load_set(self, residents: Iterable[str]) -> forecast.SetPlan:
        """Bring several into memory together, as many at once as the policy allows.

        None of them is evicted for another of them.

        Returns:
            The plan that was carried out.

        Raises:
            ExceptionGroup: Those of `lease` that could not be loaded; the others are.
            ConfigurationError, ModelDoesNotFitError: As `plan_set`; nothing was loaded.
        """
        names = list(dict.fromkeys(residents))
        planned = self.plan_set(names)
        errors: list[Exception] = []
        left = len(names)
        everybody = anyio.Event()

        async def hold(name: str) -> None:
            nonlocal left
            try:
                async with self.lease(name):
                    left -= 1
                    if left:
                        await everybody.wait()
            except OrchestratorError as error:
                errors.append(error)
                left -= 1
            if not left:
                everybody.set()

        async with anyio.create_task_group() as holders:
            for name in names:
                holders.start_soon(hold, name)
        if errors:
            raise ExceptionGroup("not all of the set could be loaded", errors)
        return planned

    # -- what stays ----------------------------------------------------------------------------

    async def switch_model(
        self, resident: str, reason: str = "requested", *, evict_previous: bool = False
    ) -> Switch:
        """Make it the one that serves whoever names none, without anybody noticing.

        It is loaded first if it is cold, beside the one before, which finishes what it has begun.
        Whatever fails leaves that one serving.

        Args:
            resident: Its name.
            reason: Told in the event.
            evict_previous: Take the one before out of memory once its leases are given back. Else
                it stays until its memory is wanted.

        Raises:
            As `lease`; `ModelDoesNotFitError` also where it does not fit beside the one before.
        """
        async with self.lease(resident):
            previous = self._book.current
            self._loop.tell(happenings.Switched(resident, reason, evict_previous))
        return Switch(previous, resident, reason, self._clock.wall())

    def pin(self, resident: str) -> None:
        """Keep it in memory once it is there, and bring it back after a crash.

        Whoever waits for what cannot be loaded beside it is refused.

        Raises:
            ConfigurationError: There is no such resident.
        """
        self._pin(resident, True)

    def unpin(self, resident: str) -> None:
        """Let it be evicted again; errors as `pin`."""
        self._pin(resident, False)

    def _pin(self, resident: str, pinned: bool) -> None:
        self._book.named(resident)
        if (resident in self._book.pins) is not pinned:
            self._loop.tell(happenings.Pinned(resident, pinned))

    def set_budget(self, budget: MemoryBudget) -> None:
        """Change what all may hold; who is too many then leaves, the least recently used first.

        Raises:
            ModelDoesNotFitError: What is pinned or current holds more.
        """
        limits = self._book.limits_of(budget)
        room = self._book.most_room(limits)
        short = {dimension: -left for dimension, left in room.items() if left < 0}
        if short:
            held = room_for(limits, room)
            raise ModelDoesNotFitError(
                "what is pinned and current holds more than that: "
                + ", ".join(f"{held[d]:,} of {d}" for d in short),
                needs=held,
                room=limits,
                hint="unpin or unload some of it first",
            )
        self._loop.tell(happenings.BudgetSet(budget))
