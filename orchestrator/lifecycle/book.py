"""What the planner knows: every resident, who waits for it, and what is taken of what is scarce."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from orchestrator.core.errors import ConfigurationError
from orchestrator.core.ports import Endpoint, ResidentSpec
from orchestrator.lifecycle.footprint import Amounts, estimate, group, room_for, shortage
from orchestrator.lifecycle.happenings import Waiter
from orchestrator.lifecycle.policy import LifecyclePolicy, MemoryBudget
from orchestrator.lifecycle.restart import RestartPolicy, RestartState
from orchestrator.lifecycle.state import OCCUPYING, Cause, Status, next_status

__all__ = ["Book", "Resident"]


@dataclass(slots=True, eq=False)
class Resident:
    """One resident.

    Attributes:
        needs: What it is expected to take: estimated, and once it was loaded, measured.
        holds: What is reserved for it now.
        address: Where its latest process serves, or served.
        endpoint: The same while it is LOADED, else None: this one look is all that a lease on a
            loaded model costs.
        life: Counts its loads, so that a lease on a process that is gone says nothing about the
            next.
        last_used: When a lease was last given or given back.
        load_s: How long its loads take, the latest counting half; None before the first.
        leaving: Why it is DRAINING or EVICTING.
        act_at: When a drain ends whatever happens, or a stop that failed is tried again.
        error: Its last failure, until a load goes well.
        waiters: Who waits for it, in the order of asking.
    """

    spec: ResidentSpec
    needs: Amounts
    name: str = field(init=False)
    holds: Amounts = field(default_factory=dict)
    status: Status = Status.AVAILABLE
    address: Endpoint | None = None
    endpoint: Endpoint | None = None
    life: int = 0
    leases: int = 0
    last_used: float = -inf
    loaded_at: float = -inf
    load_began: float = -inf
    load_s: float | None = None
    leaving: str = ""
    act_at: float = inf
    restart: RestartState = field(default_factory=RestartState)
    error: Exception | None = None
    waiters: dict[Waiter, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.name = self.spec.name  # not a property: a plan reads it thousands of times

    def give_back(self, life: int, now: float) -> bool:
        """Count one lease less, and return whether it was the last of this life."""
        if life != self.life:
            return False
        self.leases -= 1
        self.last_used = now
        return not self.leases


class Book:
    """All residents of one manager.

    Attributes:
        loaded: Those that are LOADED.
        leaving: Those that are DRAINING or EVICTING.
        loading: Those that are LOADING.
        reserved: What all three hold together; kept by `move` and `hold`.
        current: The one that serves whoever names none, or None.
        pins: Those that are to stay.
        waiting: Everybody who waits, in the order of asking.
        closing: Nothing is loaded any more.
    """

    def __init__(self, policy: LifecyclePolicy, restart: RestartPolicy) -> None:
        self.policy = policy
        self.restart = restart
        self.residents: dict[str, Resident] = {}
        self.loaded: dict[str, Resident] = {}
        self.leaving: dict[str, Resident] = {}
        self.loading: dict[str, Resident] = {}
        self.reserved: Amounts = {}
        self.current: str | None = None
        self.pins: dict[str, None] = {}
        self.waiting: dict[Waiter, None] = {}
        self.closing = False
        self._groups: set[str] = set()
        self.budget = policy.budget
        self.limits = policy.budget.limits

    def named(self, name: str) -> Resident:
        """Return a resident.

        Raises:
            ConfigurationError: There is none of this name.
        """
        try:
            return self.residents[name]
        except KeyError:
            known = ", ".join(sorted(self.residents)) or "none"
            raise ConfigurationError(
                f"there is no resident {name!r}", hint=f"known: {known}"
            ) from None

    def register(self, spec: ResidentSpec) -> None:
        """Make a resident known."""
        self.residents[spec.name] = Resident(spec, estimate(spec))
        self._groups.update(spec.groups)
        self.set_budget(self.budget)

    def set_budget(self, budget: MemoryBudget) -> None:
        """Change what all may hold."""
        self.budget = budget
        self.limits = self.limits_of(budget)

    def limits_of(self, budget: MemoryBudget) -> Amounts:
        """Return what all may hold under a budget: each group has room for one."""
        return budget.limits | {group(name): 1 for name in self._groups}

    # -- one resident --------------------------------------------------------------------------

    def move(self, resident: Resident, cause: Cause) -> None:
        """Change its status by the table, and what is reserved with it."""
        name = resident.name
        resident.status = next_status(resident.status, cause)
        resident.endpoint = resident.address if resident.status is Status.LOADED else None
        for status, those in (
            (Status.LOADING, self.loading),
            (Status.LOADED, self.loaded),
        ):
            if resident.status is status:
                those[name] = resident
            else:
                those.pop(name, None)
        if resident.status in (Status.DRAINING, Status.EVICTING):
            self.leaving[name] = resident
        else:
            self.leaving.pop(name, None)
        if resident.status not in OCCUPYING:
            self.hold(resident, {})

    def hold(self, resident: Resident, amounts: Mapping[str, int]) -> None:
        """Change what is reserved for it."""
        for dimension, amount in resident.holds.items():
            self.reserved[dimension] -= amount
        resident.holds = dict(amounts)
        for dimension, amount in amounts.items():
            self.reserved[dimension] = self.reserved.get(dimension, 0) + amount

    def rest_s(self, resident: Resident, now: float) -> float:
        """Return how long it rests after a failure before it may be loaded again."""
        return resident.restart.wait_s(now) if resident.error is not None else 0.0

    def idle_from(self, resident: Resident) -> float:
        """Return from when a resident without leases may be evicted for another."""
        stays_until = resident.loaded_at + self.policy.min_residence_s
        lingers_until = resident.last_used + self.policy.linger_s
        return stays_until if stays_until > lingers_until else lingers_until

    def unused_at(self, resident: Resident) -> float:
        """Return when it is unloaded unless it is used until then; inf is never."""
        keep_s = resident.spec.keep_alive_s
        if keep_s is None:
            keep_s = self.policy.keep_alive_s
        if keep_s is None or self.fixed(resident):
            return inf
        return resident.last_used + keep_s

    def fixed(self, resident: Resident) -> bool:
        """Whether it must not be evicted: it is pinned, or the current one."""
        return resident.name in self.pins or resident.name == self.current

    def to_restore(self) -> list[Resident]:
        """Return those that are to stay, and are not in memory since something failed."""
        return [
            resident
            for resident in self._to_stay()
            if resident.error is not None and resident.status not in OCCUPYING
        ]

    def _to_stay(self) -> list[Resident]:
        names = self.pins if self.current is None else {**self.pins, self.current: None}
        return [self.residents[name] for name in names]

    # -- what fits -----------------------------------------------------------------------------

    def most_room(self, limits: Mapping[str, int], besides: Resident | None = None) -> Amounts:
        """Return what there would be if all went that may."""
        stay = (resident for resident in self._to_stay() if resident is not besides)
        return room_for(
            limits,
            *(r.holds for r in stay if r.status in (Status.LOADING, Status.LOADED)),
        )

    def hopeless(self, resident: Resident) -> Amounts:
        """Return what it would still be short of if all went that may; empty if it can fit."""
        besides = resident if self.fixed(resident) else None
        return shortage(resident.needs, self.most_room(self.limits, besides))
