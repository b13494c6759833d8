"""What a monitor is told by the engine that it watches, and what it may ask of it."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Protocol

from orchestrator.core.clock import Clock
from orchestrator.core.model import Model
from orchestrator.routing.availability import Availability, Notice

__all__ = ["Subject"]


class Subject(Protocol):
    """An engine, as far as a monitor sees it."""

    @property
    def availability(self) -> Availability:
        """The service state of its models."""
        ...

    @property
    def clock(self) -> Clock: ...

    @property
    def rng(self) -> Random:
        """Draws the jitter."""
        ...

    def models(self) -> Sequence[Model]:
        """Return its pool; `availability` knows each of them."""
        ...

    def price(self, model: Model) -> float | None:
        """Return what the smallest question costs in USD at most.

        None if it cannot be asked one now: it does no such work, it is not in memory, its price is
        unknown, or the engine's budget is spent.
        """
        ...

    async def ask(self, model: Model) -> float:
        """Put the smallest question to a model and return what the answer cost in USD.

        It enters neither statistics nor decisions.

        Raises:
            Exception: Whatever the model raised.
        """
        ...

    def tell(self, notice: Notice) -> None:
        """Let subscribers know what became of a model."""
        ...
