"""Selectors by name: ours, and those that packages register as entry points."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import entry_points
from typing import Any, Final, TypeAlias

from orchestrator.core.errors import ConfigurationError
from orchestrator.core.selector import Selector
from orchestrator.core.views import Memory
from orchestrator.selectors.cost import CostBasedSelector
from orchestrator.selectors.epsilon_greedy import EpsilonGreedySelector
from orchestrator.selectors.hierarchical import HierarchicalSelector
from orchestrator.selectors.lin_ts import LinTSSelector
from orchestrator.selectors.lin_ucb import LinUCBSelector
from orchestrator.selectors.nig import NIGThompsonSelector
from orchestrator.selectors.performance import PerformanceSelector
from orchestrator.selectors.priority import PrioritySelector
from orchestrator.selectors.round_robin import RoundRobinSelector
from orchestrator.selectors.thompson import ThompsonSelector
from orchestrator.selectors.ucb import UCBModelSelector
from orchestrator.selectors.uniform import RandomSelector

__all__ = ["ENTRY_POINTS", "make_selector", "selector_names"]

ENTRY_POINTS: Final = "orchestrator.selectors"

_Build: TypeAlias = Callable[..., Selector]
_LEARNING: Final[dict[str, _Build]] = {
    "epsilon-greedy": EpsilonGreedySelector,
    "ucb-tuned": UCBModelSelector,
    "ucb1": partial(UCBModelSelector, index="ucb1"),
    "kl-ucb": partial(UCBModelSelector, index="kl"),
    "thompson": ThompsonSelector,
    "nig-thompson": NIGThompsonSelector,
    "lin-ucb": LinUCBSelector,
    "lin-ts": LinTSSelector,
}
_WINDOW: Final = Memory(window_s=86_400)
"""Long enough to see every hour of the day once."""
_FADING: Final = Memory(half_life_s=43_200)
"""Remembers about as many calls as the window: 12 h / ln 2 is 17 h."""
_OURS: Final[dict[str, _Build]] = {
    "default": HierarchicalSelector,
    "hierarchical": HierarchicalSelector,
    "cost": CostBasedSelector,
    "performance": PerformanceSelector,
    "priority": PrioritySelector,
    "random": RandomSelector,
    "round-robin": RoundRobinSelector,
    "ucb": UCBModelSelector,
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
