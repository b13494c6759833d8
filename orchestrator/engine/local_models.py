"""Which models are in memory, and which one is current."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Self

import anyio
import numpy as np

from orchestrator.core.errors import InvalidRequestError, OrchestratorError
from orchestrator.core.events import ModelSwitched
from orchestrator.engine.engine import Engine
from orchestrator.lifecycle.forecast import SetPlan
from orchestrator.lifecycle.manager import Switch
from orchestrator.lifecycle.policy import MemoryBudget
from orchestrator.lifecycle.snapshot import LifecycleSnapshot
from orchestrator.lifecycle.state import Status
from orchestrator.routing.auto_switch import AutoSwitchPolicy, scores

__all__ = ["LocalModels"]

_log = logging.getLogger("orchestrator.engine")


class LocalModels(Engine):
    """Brings models into memory and takes them out, by the names they have in the pool.

    Models that run elsewhere are always there: to load one does nothing, and it can be current.
    Several models may share one resident, and so come and go together.
    """

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        tasks = self._running()
        if self._load_first:
            tasks.start_soon(self._load_at_start)
        if self._auto_switch is not None:
            tasks.start_soon(self._keep_switching, self._auto_switch)
        return self

    async def load_model(
        self, name: str, *, priority: int = 0, wait_limit_s: float | None = None
    ) -> None:
        """Bring a model into memory now rather than with its first request.

        Args:
            name: Its key, alias or bare name.
            priority: Higher is loaded first where several wait.
            wait_limit_s: How long to wait at most; None is as the policy says.

        Raises:
            ModelNotFoundError: There is none of this name, or several.
            ModelLoadError: It could not be loaded, or rests after a failure.
            ModelDoesNotFitError: It can never be loaded; nobody was evicted.
            OverloadedError: Too many wait already, or it took too long.
        """
        resident = self.registry.get_model(name).spec.resident
        if resident is not None:
            self._running()
            await self._residency.load(resident, priority=priority, wait_limit_s=wait_limit_s)

    def cancel_load(self, name: str) -> None:
        """End a load; whoever waits for it is refused.

        Raises:
            ModelNotFoundError: There is none of this name, or several.
            InvalidRequestError: It is not being loaded.
        """
        self._residency.cancel_load(self._resident(name))

    async def unload_model(self, name: str, *, force: bool = False) -> None:
        """Take a model out of memory once its calls have ended; the next one loads it anew.

        Args:
            name: Its key, alias or bare name.
            force: Do not wait for its calls.

        Raises:
            ModelNotFoundError: There is none of this name, or several.
            InvalidRequestError: It is not loaded, is pinned, or runs elsewhere.
        """
        await self._residency.unload(self._resident(name), force=force)

    def plan_set(self, names: Iterable[str]) -> SetPlan:
        """Return what `load_set` would do, by residents, without doing it; errors as there."""
        return self._residency.plan_set(self._residents(names))

    async def load_set(self, names: Iterable[str]) -> SetPlan:
        """Bring several models into memory together; none is evicted for another of them.

        Raises:
            ModelNotFoundError: There is none of a name, or several.
            ModelDoesNotFitError: They do not fit together; nothing was loaded.
            ExceptionGroup: Those that could not be loaded; the others are.
        """
        self._running()
        return await self._residency.load_set(self._residents(names))

    def pin_model(self, name: str, *, pinned: bool = True) -> None:
        """Keep a model in memory once it is there, or (``pinned=False``) let it be evicted again.

        Raises:
            ModelNotFoundError: There is none of this name, or several.
            InvalidRequestError: It runs elsewhere.
        """
        resident = self._resident(name)
        if pinned:
            self._residency.pin(resident)
        else:
            self._residency.unpin(resident)

    def set_memory_budget(self, budget: MemoryBudget) -> None:
        """Change what local models may hold; those that are too many leave, the idlest first.

        Raises:
            ModelDoesNotFitError: What is pinned or current holds more.
        """
        self._residency.set_budget(budget)

    # -- the current one -----------------------------------------------------------------------

    async def switch_model(
        self, name: str, reason: str = "requested", *, evict_previous: bool = False
    ) -> Switch:
        """Let the name ``current`` lead to this model, without anybody noticing.

        It is loaded first if it is cold; requests in flight finish on the one before. Whatever
        fails leaves that one current.

        Args:
            name: Its key, alias or bare name.
            reason: Told in `ModelSwitched`.
            evict_previous: Take the one before out of memory once its calls have ended.

        Raises:
            As `load_model`.
        """
        model = self.registry.get_model(name)
        previous, resident = self.current_model, model.spec.resident
        if resident is not None:
            self._running()
            await self._residency.switch_model(resident, reason, evict_previous=evict_previous)
        self._current = model.key.text
        self._changed()
        if resident is None:
            self._say_if_wanted(
                ModelSwitched, previous=previous, current=model.key.text, reason=reason
            )
        return Switch(previous, model.key.text, reason, self._clock.wall())

    async def switch_if_poor(self, policy: AutoSwitchPolicy) -> Switch | None:
        """Switch to the best model in memory if the current one does badly; None if not."""
        self._parts.chooser.keep_up()
        pool, seen = self.registry.pool, self._recorder.base.total
        current = self.current_model
        if current is None or current not in pool.index:
            return None
        here = np.array([m.spec.resident in self._residency.loaded for m in pool.models])
        here[pool.index[current]] = True
        judged = here & (seen.trials >= policy.min_calls)
        found = scores(np.where(judged, 1.0 - seen.p_fail, np.nan), seen.speed, seen.seconds)
        best = policy.choose(pool.index[current], found)
        if best is None:
            return None
        return await self.switch_model(pool.keys[best], "the current one does badly")

    async def _load_at_start(self) -> None:
        try:
            await self.load_set(self._load_first)
        except* OrchestratorError as errors:
            for error in errors.exceptions:
                _log.warning("a model that was to be loaded at the start is not: %s", error)

    async def _keep_switching(self, policy: AutoSwitchPolicy) -> None:
        while True:
            await anyio.sleep(policy.every_s)
            await self.switch_if_poor(policy)

    # -- what there is -------------------------------------------------------------------------

    @property
    def loaded(self) -> frozenset[str]:
        """Names of the residents that are in memory."""
        return self._residency.loaded

    def memory(self) -> LifecycleSnapshot:
        """Return every resident, and what is taken of the budget, at this moment."""
        return self._residency.snapshot()

    def model_status(self, name: str) -> Status:
        """Return what a model is; one that runs elsewhere is always loaded.

        Raises:
            ModelNotFoundError: There is none of this name, or several.
        """
        resident = self.registry.get_model(name).spec.resident
        return Status.LOADED if resident is None else self._residency.statuses()[resident]

    def _resident(self, name: str) -> str:
        model = self.registry.get_model(name)
        if model.spec.resident is None:
            raise InvalidRequestError(
                f"{model.key} runs elsewhere", param="model", hint="name a local model"
            )
        return model.spec.resident

    def _residents(self, names: Iterable[str]) -> list[str]:
        found = (self.registry.get_model(name).spec.resident for name in names)
        return list(dict.fromkeys(r for r in found if r is not None))
