"""Selectors by name: ours, and those that packages register as entry points."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any, Final

from orchestrator.core.errors import ConfigurationError
from orchestrator.core.selector import Selector
from orchestrator.selectors.cost import CostBasedSelector
from orchestrator.selectors.performance import PerformanceSelector
from orchestrator.selectors.priority import PrioritySelector
from orchestrator.selectors.ucb import UCBModelSelector

__all__ = ["ENTRY_POINTS", "make_selector", "selector_names"]

ENTRY_POINTS: Final = "orchestrator.selectors"

_OURS: Final[dict[str, Callable[..., Selector]]] = {
    "ucb": UCBModelSelector,
    "ucb-tuned": UCBModelSelector,
    "ucb1": lambda **o: UCBModelSelector(index="ucb1", **o),
    "kl-ucb": lambda **o: UCBModelSelector(index="kl", **o),
    "cost": CostBasedSelector,
    "performance": PerformanceSelector,
    "priority": PrioritySelector,
}


def selector_names() -> list[str]:
    """Return every name that `make_selector` knows."""
    return sorted({*_OURS, *(e.name for e in entry_points(group=ENTRY_POINTS))})


def make_selector(name: str, options: Mapping[str, Any] | None = None) -> Selector:
    """Build the selector of this name.

    Raises:
        ConfigurationError: There is no such selector, or it does not take these options.
    """
    build = _OURS.get(name)
    if build is None:
        found = [e for e in entry_points(group=ENTRY_POINTS) if e.name == name]
        if not found:
            known = ", ".join(selector_names())
            raise ConfigurationError(f"there is no selector {name!r}", hint=f"known: {known}")
        build = found[0].load()
    try:
        selector: Selector = build(**(options or {}))
    except TypeError as error:
        raise ConfigurationError(f"selector {name!r}: {error}") from error
    return selector
