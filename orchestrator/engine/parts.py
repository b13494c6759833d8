"""What the requests of one engine share, and how a model is reached."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from orchestrator.core.bus import EventBus
from orchestrator.core.clock import Clock
from orchestrator.core.model import Call, Model
from orchestrator.core.ports import Residency, Timeouts
from orchestrator.core.tokens import TokenEstimator
from orchestrator.engine.admission import Admission
from orchestrator.engine.chooser import Chooser
from orchestrator.engine.deadlines import Deadlines
from orchestrator.engine.settlement import Settlement
from orchestrator.engine.trials import Trials
from orchestrator.routing.attempts import AttemptPolicy
from orchestrator.routing.retry_budget import RetryBudget

if TYPE_CHECKING:
    from orchestrator.engine.embedded_segments import EmbeddedSegments
    from orchestrator.engine.evaluation import Evaluations

__all__ = ["Parts", "Places", "process_of"]


@dataclass(slots=True)
class Parts:
    """The deciders and edges that every request of one engine uses."""

    chooser: Chooser
    settlement: Settlement
    trials: Trials
    places: Places
    bus: EventBus
    clock: Clock
    rng: random.Random
    estimator: TokenEstimator
    timeouts: Timeouts
    evaluations: Evaluations | None = None
    segments: EmbeddedSegments | None = None
    deadlines: Deadlines = field(default_factory=Deadlines)
    attempts: AttemptPolicy = field(default_factory=AttemptPolicy)
    retry_budget: RetryBudget = field(default_factory=RetryBudget)


class Places:
    """Where a call is made: a model that is initialised, in memory, and has a place free.

    Args:
        clock: Time, for limits per minute.
        timeouts: Handed to every call.
        residency: Brings models into memory.
    """

    def __init__(self, clock: Clock, timeouts: Timeouts, residency: Residency) -> None:
        self._clock = clock
        self._residency = residency
        self._plain = {True: Call(None, timeouts), False: Call(None, timeouts.in_whole())}
        self._admissions: dict[str, Admission] = {}
        self._uninitialised: dict[str, asyncio.Lock] = {}

    def add(self, model: Model) -> None:
        """Prepare for the calls of a model that joined the pool."""
        key, limits = model.key.text, model.spec.constraints
        self.remove(key)
        if limits.max_concurrent_requests is not None or limits.max_requests_per_minute is not None:
            self._admissions[key] = Admission(key, limits, self._clock)
        if type(model).initialize is not Model.initialize:
            self._uninitialised[key] = asyncio.Lock()

    def remove(self, key: str) -> None:
        """Forget a model that left the pool; who is inside leaves as usual."""
        self._admissions.pop(key, None)
        self._uninitialised.pop(key, None)

    def free(self, model: Model, *, stream: bool) -> Call | None:
        """Return how to call a model that needs no preparation at all, or None for `take`."""
        key = model.spec.key.text
        if key in self._admissions or key in self._uninitialised or model.spec.resident:
            return None
        return self._plain[stream]

    @asynccontextmanager
    async def take(self, model: Model, patience_s: float, *, stream: bool) -> AsyncIterator[Call]:
        """Hold a place with the model for one call.

        Args:
            model: What is called.
            patience_s: How long to wait for a place.
            stream: Whether the answer comes in pieces.

        Raises:
            OverloadedError: There is none, or none in time.
            ModelLoadError: It could not be brought into memory.
        """
        # Now, since it may leave the pool during the load, and its limits hold all the same.
        admission = self._admissions.get(model.spec.key.text)
        if model.spec.resident is not None:
            async with (
                self._residency.lease(model.spec.resident) as endpoint,
                _admitted(admission, patience_s),
            ):
                yield replace(self._plain[stream], endpoint=endpoint)
            return
        async with _admitted(admission, patience_s):
            await self._initialise(model)
            yield self._plain[stream]

    async def _initialise(self, model: Model) -> None:
        key = model.spec.key.text
        lock = self._uninitialised.get(key)
        if lock is None:
            return
        async with lock:
            if self._uninitialised.get(key) is lock:
                await model.initialize()
            # Unless another model took its place meanwhile, which has yet to be initialised.
            if self._uninitialised.get(key) is lock:
                del self._uninitialised[key]


@asynccontextmanager
async def _admitted(admission: Admission | None, patience_s: float) -> AsyncIterator[None]:
    if admission is None:
        yield
        return
    await admission.enter(patience_s)
    try:
        yield
    finally:
        admission.leave()


def process_of(call: Call) -> str | None:
    """Return what identifies the process behind a leased endpoint, also after a restart."""
    endpoint = call.endpoint
    # Each start draws another key, so even a port that comes again is told apart.
    return None if endpoint is None else f"{endpoint.base_url}#{hash(endpoint.credential)}"
