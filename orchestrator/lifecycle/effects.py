"""What the planner wants done, in this order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from orchestrator.core.errors import OrchestratorError
from orchestrator.core.events import Event
from orchestrator.lifecycle.happenings import Waiter

__all__ = ["CancelLoad", "Effect", "Gone", "Grant", "Refuse", "Say", "StartLoad", "Stop"]


@dataclass(frozen=True, slots=True)
class StartLoad:
    """Start its process; its memory is reserved."""

    resident: str


@dataclass(frozen=True, slots=True)
class CancelLoad:
    """End its load."""

    resident: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop its process."""

    resident: str


@dataclass(frozen=True, slots=True)
class Grant:
    """Tell a caller that its lease is counted."""

    waiter: Waiter


@dataclass(frozen=True, slots=True)
class Refuse:
    """Tell a caller that there is none; the error is its own."""

    waiter: Waiter
    error: OrchestratorError


@dataclass(frozen=True, slots=True)
class Gone:
    """Tell those who wait for its end that it is out of memory."""

    resident: str


@dataclass(frozen=True, slots=True)
class Say:
    """Publish an event of this kind with these facts."""

    kind: type[Event]
    facts: Mapping[str, Any]


Effect: TypeAlias = StartLoad | CancelLoad | Stop | Grant | Refuse | Gone | Say
