"""Selectors by name: ours, and those that packages register as entry points."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Final, TypeAlias

from orchestrator.core.errors import ConfigurationError
from orchestrator.core.selector import Selector
from orchestrator.core.views import Memory

__all__ = ["ENTRY_POINTS", "make_selector", "selector_names"]

ENTRY_POINTS: Final = "orchestrator.selectors"

_Build: TypeAlias = Callable[..., Selector]


def _ours(class_name: str, /, **options: Any) -> Selector:
    """Build one of our selectors; its module is imported no sooner."""
    selector: Selector = getattr(import_module(__package__), class_name)(**options)
    return selector


_LEARNING: Final[dict[str, _Build]] = {
    "epsilon-greedy": partial(_ours, "EpsilonGreedySelector"),
    "ucb-tuned": partial(_ours, "UCBModelSelector"),
    "ucb1": partial(_ours, "UCBModelSelector", index="ucb1"),
    "kl-ucb": partial(_ours, "UCBModelSelector", index="kl"),
    "thompson": partial(_ours, "ThompsonSelector"),
    "nig-thompson": partial(_ours, "NIGThompsonSelector"),
    "lin-ucb": partial(_ours, "LinUCBSelector"),
    "lin-ts": partial(_ours, "LinTSSelector"),
}
_WINDOW: Final = Memory(window_s=86_400)
"""Long enough to see every hour of the day once."""
_FADING: Final = Memory(half_life_s=43_200)
"""Remembers about as many calls as the window: 12 h / ln 2 is 17 h."""
_OURS: Final[dict[str, _Build]] = {
    "default": partial(_ours, "HierarchicalSelector"),
    "hierarchical": partial(_ours, "HierarchicalSelector"),
    "cost": partial(_ours, "CostBasedSelector"),
    "performance": partial(_ours, "PerformanceSelector"),
    "priority": partial(_ours, "PrioritySelector"),
    "random": partial(_ours, "RandomSelector"),
    "round-robin": partial(_ours, "RoundRobinSelector"),
    "ucb": partial(_ours, "UCBModelSelector"),
    **_LEARNING,
    **{f"sw-{name}": partial(build, memory=_WINDOW) for name, build in _LEARNING.items()},
    **{f"d-{name}": partial(build, memory=_FADING) for name, build in _LEARNING.items()},
}
"""``sw-`` has a sliding window, ``d-`` discounts; the option ``memory`` sets another."""


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
