"""What the planner is told, one frozen class per thing that happens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from orchestrator.core.ports import Endpoint
from orchestrator.lifecycle.policy import MemoryBudget

if TYPE_CHECKING:
    from orchestrator.core.saved_state import SavedState

__all__ = [
    "Asked",
    "BudgetSet",
    "Closed",
    "Happening",
    "KeepRequested",
    "Left",
    "LoadAbandoned",
    "LoadCancelled",
    "LoadFailed",
    "Loaded",
    "Pinned",
    "ProcessEnded",
    "Recalled",
    "StopFailed",
    "Switched",
    "Tick",
    "UnloadRequested",
    "Waiter",
]


@dataclass(slots=True, eq=False)
class Waiter:
    """A caller who waits for a lease.

    Attributes:
        priority: Higher goes first.
        granted: The life of the resident on which it was given a lease, or None so far.
    """

    resident: str
    asked_at: float
    limit_at: float
    priority: int = 0
    granted: int | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A caller wants a lease of what is not loaded."""

    waiter: Waiter


@dataclass(frozen=True, slots=True)
class Left:
    """A caller gave up, perhaps just after its lease was granted."""

    waiter: Waiter


@dataclass(frozen=True, slots=True)
class Loaded:
    """A process has produced its first token.

    Attributes:
        holds: Measured bytes by device, empty where nothing can be measured.
    """

    resident: str
    endpoint: Endpoint
    pid: int
    load_s: float
    holds: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """A load ended without a process; it may have been measured before that."""

    resident: str
    error: Exception
    holds: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LoadAbandoned:
    """Somebody wants a load to end."""

    resident: str


@dataclass(frozen=True, slots=True)
class LoadCancelled:
    """A load was cancelled, and its process is gone."""

    resident: str


@dataclass(frozen=True, slots=True)
class ProcessEnded:
    """The process of a resident that was loaded is gone.

    Attributes:
        error: What to tell those who ask while it rests, if it was not asked to end.
        left_bytes: What was still measured of it afterwards.
    """

    resident: str
    pid: int
    exit_code: int
    error: Exception
    left_bytes: int = 0


@dataclass(frozen=True, slots=True)
class StopFailed:
    """A process could not be stopped."""

    resident: str
    error: Exception


@dataclass(frozen=True, slots=True)
class UnloadRequested:
    """Somebody wants a loaded resident out of memory; ``force`` breaks its leases off."""

    resident: str
    force: bool = False


@dataclass(frozen=True, slots=True)
class KeepRequested:
    """Whoever requested an unload no longer does."""

    resident: str


@dataclass(frozen=True, slots=True)
class Switched:
    """A loaded resident becomes the current one.

    Attributes:
        evict_previous: Whether the one before is to leave memory; else it may stay.
    """

    resident: str
    reason: str
    evict_previous: bool = False


@dataclass(frozen=True, slots=True)
class Pinned:
    """A resident is, or is no longer, to stay in memory."""

    resident: str
    pinned: bool


@dataclass(frozen=True, slots=True)
class Recalled:
    """What an earlier manager knew of some residents; ``current`` is to be the current one."""

    state: SavedState
    current: str | None


@dataclass(frozen=True, slots=True)
class BudgetSet:
    """There is more memory, or less."""

    budget: MemoryBudget


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed, or a lease was given back."""


@dataclass(frozen=True, slots=True)
class Closed:
    """Everything is to end."""


Happening: TypeAlias = (
    Asked
    | Left
    | Loaded
    | LoadFailed
    | LoadAbandoned
    | LoadCancelled
    | ProcessEnded
    | StopFailed
    | UnloadRequested
    | KeepRequested
    | Switched
    | Pinned
    | Recalled
    | BudgetSet
    | Tick
    | Closed
)
