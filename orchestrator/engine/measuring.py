"""What models can do and how well they do, found out by looking and by calling them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Self, cast

from orchestrator.engine.engine import Engine

if TYPE_CHECKING:
    from orchestrator.engine.detection import CapabilityReport, Detector
    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.engine.profiling import Profiler
    from orchestrator.lifecycle.profile import Profile, ProfileEstimate

__all__ = ["Measuring"]


class Measuring(Engine):
    """Profiles models and detects what they can do."""

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        if self._profiling is not None:
            self._running().start_soon(self._profiler.run, self._profiling)
        return self

    async def profile_model(
        self, name: str, n: int = 10, *, max_cost: float | None = None
    ) -> Profile:
        """Measure a model with real calls, one after the other.

        They count for budgets, health and statistics as other requests do, so that ``min_speed``
        and selectors know what they have shown.

        Args:
            name: Key, alias or name of a model that writes text.
            n: Calls, at least 1.
            max_cost: USD that all of them may cost, which then has to be known, or None.

        Raises:
            InvalidRequestError: A number is out of range.
            ModelNotFoundError: There is none of this name, or several.
            NoEligibleModelsError: Not even one call may be made; the message says why.
        """
        self._running()
        return await self._profiler.profile(name, n=n, max_cost=max_cost)

    def estimate_profile(self, name: str, n: int = 10) -> ProfileEstimate:
        """Return what `profile_model` would take, without a call; errors as there."""
        return self._profiler.estimate(name, n=n)

    @property
    def profiles(self) -> Mapping[str, Profile]:
        """The last profile of each model that has one, by key."""
        return self._profiler.profiles

    async def detect_capabilities(
        self,
        name: str,
        *,
        probe: bool | Collection[str] = False,
        max_cost: float | None = None,
        max_probes: int | None = None,
    ) -> CapabilityReport:
        """Find out what a model can do, and route requests by it from now on.

        What it declares, what its file or its server's list says, and earlier findings always
        take part; what its name suggests is reported, and changes nothing.

        Args:
            name: Key, alias or name of the model.
            probe: Call it to see for oneself: True for all that there are probes for, or names
                of capabilities.
            max_cost: USD that all probes together may cost, which then has to be known, or None.
            max_probes: Calls that may be made; None is one of each kind.

        Raises:
            ModelNotFoundError: There is none of this name, or several.
            UnknownCapabilityError: A name to probe for is none of a capability.
            InvalidRequestError: There is no probe for one, or a number is out of range.
            NoEligibleModelsError: Not even one probe may be made; the message says why.
        """
        self._running()
        model = self.registry.get_model(name)
        return await self._detector.detect(
            model.key.text,
            header=model.file_facts(),
            listing=await model.listing(),
            probe=probe,
            max_cost=max_cost,
            max_probes=max_probes,
        )

    # Imported and built when first asked for: serving needs neither.

    @cached_property
    def _profiler(self) -> Profiler:
        from orchestrator.engine.profiling import Profiler

        engine = cast("Orchestrator", self)
        return Profiler(engine, self._parts, self._asking, self._say_if_wanted, self._memory_of)

    @cached_property
    def _detector(self) -> Detector:
        from orchestrator.engine.detection import Detector

        engine = cast("Orchestrator", self)
        return Detector(engine, self._parts, self._asking, self._say_if_wanted)

    def _memory_of(self, key: str) -> int | None:
        resident = self.registry.get_model(key).spec.resident
        found = {r.name: r.memory_bytes for r in self._residency.snapshot().residents}
        return None if resident is None else found[resident]
