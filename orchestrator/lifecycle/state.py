"""What a model in our own memory can be, and the one table of how it becomes something else.

`diagram` draws it; every other way is illegal, and `next_status` says so.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from orchestrator.core.errors import InternalError

__all__ = ["OCCUPYING", "TRANSITIONS", "Cause", "Status", "diagram", "next_status"]


class Status(StrEnum):
    """What a resident is."""

    AVAILABLE = "available"
    """Known, never loaded."""
    LOADING = "loading"
    LOADED = "loaded"
    """It serves; the only status that gives leases."""
    DRAINING = "draining"
    """It finishes what it has begun and takes nothing new."""
    EVICTING = "evicting"
    """Its process is being stopped. There is no way back from here."""
    UNLOADED = "unloaded"
    """It was loaded once, and is no longer."""
    FAILED = "failed"
    """Its last load failed."""


class Cause(StrEnum):
    """Why a status changes."""

    LOAD = "load"
    READY = "ready"
    LOAD_FAILED = "load failed"
    LOAD_CANCELLED = "load cancelled"
    DRAIN = "drain"
    KEEP = "keep"
    """Whoever asked for the drain has changed his mind."""
    EVICT = "evict"
    UNLOADED = "unloaded"
    CRASHED = "crashed"


TRANSITIONS: Final[dict[tuple[Status, Cause], Status]] = {
    (Status.AVAILABLE, Cause.LOAD): Status.LOADING,
    (Status.UNLOADED, Cause.LOAD): Status.LOADING,
    (Status.FAILED, Cause.LOAD): Status.LOADING,
    (Status.LOADING, Cause.READY): Status.LOADED,
    (Status.LOADING, Cause.LOAD_FAILED): Status.FAILED,
    (Status.LOADING, Cause.LOAD_CANCELLED): Status.AVAILABLE,
    (Status.LOADED, Cause.DRAIN): Status.DRAINING,
    (Status.LOADED, Cause.EVICT): Status.EVICTING,
    (Status.LOADED, Cause.CRASHED): Status.UNLOADED,
    (Status.DRAINING, Cause.KEEP): Status.LOADED,
    (Status.DRAINING, Cause.EVICT): Status.EVICTING,
    (Status.DRAINING, Cause.CRASHED): Status.UNLOADED,
    (Status.EVICTING, Cause.UNLOADED): Status.UNLOADED,
}
"""Every legal change."""

OCCUPYING: Final = frozenset((Status.LOADING, Status.LOADED, Status.DRAINING, Status.EVICTING))
"""What holds memory."""


def next_status(status: Status, cause: Cause) -> Status:
    """Return what it becomes.

    Raises:
        InternalError: The table knows no such way.
    """
    try:
        return TRANSITIONS[status, cause]
    except KeyError:
        raise InternalError(f"what is {status} cannot change by {cause!s}") from None


def diagram() -> str:
    """Draw the table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {Status.AVAILABLE}"]
    lines += [f"    {was} --> {now}: {cause}" for (was, cause), now in TRANSITIONS.items()]
    return "\n".join(lines)
