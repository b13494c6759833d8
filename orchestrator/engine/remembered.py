"""What an engine has the state file remember."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

from orchestrator.core.errors import ModelLoadError
from orchestrator.core.saved_state import Known, SavedState
from orchestrator.routing.registry import ModelRegistry

__all__ = ["Remembered", "RemembersResidents"]


class RemembersResidents(Protocol):
    """A manager of local models, as far as it is remembered; see `lifecycle.remembering`."""

    def fingerprints(self) -> Mapping[str, str]: ...
    def remembered(self) -> SavedState: ...
    def recall(self, state: SavedState, current: str | None = None) -> None: ...
    def would_evict(self, resident: str) -> tuple[str, ...]: ...
    async def load(self, resident: str) -> None: ...


class Remembered:
    """Implements `orchestrator.engine.state.StateSource` over a registry and a manager.

    Args:
        registry: The models.
        manager: Those in our own memory.
        current: Returns the key of the current model, or None.
        make_current: Takes one that nobody has called yet.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        manager: RemembersResidents,
        current: Callable[[], str | None],
        make_current: Callable[[str], None],
    ) -> None:
        self._registry = registry
        self._manager = manager
        self._current = current
        self._make_current = make_current

    @property
    def known(self) -> Known:
        """Whom it has."""
        return Known(self._manager.fingerprints(), self._registry)

    def capture(self) -> SavedState:
        """Return what is to be remembered now."""
        return replace(self._manager.remembered(), current=self._current())

    def restore(self, state: SavedState) -> None:
        """Take what was remembered of some of whom it has."""
        key, resident = state.current, None
        if key is not None and self._current() is None:
            resident = self._registry.get_model(key).spec.resident
            self._make_current(key)
        self._manager.recall(state, resident)

    async def load(self, resident: str) -> None:
        """Bring one into memory if nobody has to go for it; errors as `ModelManager.load`."""
        if in_the_way := self._manager.would_evict(resident):
            raise ModelLoadError(f"there is no room for it beside {', '.join(in_the_way)}")
        await self._manager.load(resident)
