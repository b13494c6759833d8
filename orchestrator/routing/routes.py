"""Named policies: who may serve, what is demanded, what is worth how much, who comes next."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from orchestrator.core.errors import ConfigurationError, ModelNotFoundError
from orchestrator.core.objective import Objective
from orchestrator.core.requirements import ANYTHING, Requirements
from orchestrator.core.selector import Selector, demand_selector
from orchestrator.routing.registry import ModelRegistry

__all__ = ["AFFINITY_S", "AUTO", "BY_PRIORITY", "CURRENT", "Route", "Routes"]

AUTO = "auto"
"""The route taken where none is named."""
BY_PRIORITY = "priority"
"""The route on which `use_model` tries providers in the order of their priority."""
CURRENT = "current"
"""The name that stands for whichever model is current, where no route or model is called so."""
AFFINITY_S = 1800.0
"""Seconds for which a session stays with the model that answered it, where a route says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A policy that may stand wherever a model is named.

    Attributes:
        name: How requests call it.
        models: Keys, aliases, bare names or patterns such as ``openai:*``; None is every model.
        exclude: The same, taken away again.
        requirements: Joined with each request's.
        selector: Who chooses; None is the engine's own selector.
        objective: What is worth how much; None is the engine's own.
        fallback: Routes or models to go on with, in order, when none of ``models`` is eligible.
        affinity_s: Seconds after an answer for which its session stays with the model that gave
            it; 0 lets no session stay. Requests that name no session are not concerned.

    Raises:
        ConfigurationError: The selector is none.
    """

    name: str
    models: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    requirements: Requirements = ANYTHING
    selector: Selector | None = None
    objective: Objective | None = None
    fallback: tuple[str, ...] = ()
    affinity_s: float = AFFINITY_S

    def __post_init__(self) -> None:
        if self.selector is not None:
            demand_selector(self.selector)


@dataclass(slots=True)
class Routes:
    """The routes of one engine and the names they answer to."""

    registry: ModelRegistry
    current: Callable[[], str | None] = lambda: None
    """Gives the key of the model that is current."""
    routes: dict[str, Route] = field(default_factory=dict)
    version: int = 0
    """Counts the changes."""
    _candidates: dict[tuple[int, str], tuple[str, ...] | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.routes.setdefault(AUTO, Route(name=AUTO))

    def add(self, routes: Sequence[Route]) -> None:
        """Add routes, all or none.

        Raises:
            ConfigurationError: Fallbacks go in a circle.
        """
        joined = {**self.routes, **{r.name: r for r in routes}}
        for route in joined.values():
            _check_fallbacks(route, joined)
        self.routes = joined
        self.version += 1
        self._candidates.clear()

    def chain(self, name: str) -> list[Route]:
        """Return the route of this name, then what it falls back to, in order.

        A model's key, alias or bare name is a route to that model alone, and ``current`` to the one
        that is. A fallback that has left the pool serves nobody.

        Raises:
            ModelNotFoundError: Neither a route nor a model has this name.
        """
        route = self.routes.get(name)
        if route is None:
            # One model alone needs no affinity.
            current = self._current(name)
            if current is not None:  # another one next time, so it goes by that one's name
                return [Route(name=current, models=(current,), affinity_s=0.0)]
            try:
                key = self.registry.resolve(name)
            except ModelNotFoundError as error:
                if not self.registry.matches(name):
                    error.message = f"there is no model or route {name!r}"
                error.hint = f"{error.hint}; routes: {', '.join(self.routes)}"
                raise
            return [Route(name=name, models=(key,), affinity_s=0.0)]
        return list(self._expanded(route)) if route.fallback else [route]

    def _current(self, name: str) -> str | None:
        if name != CURRENT:
            return None
        key = self.current()
        if key is None:
            raise ModelNotFoundError("no model is current", hint="switch_model makes one so")
        return key

    def _expanded(self, route: Route) -> Iterator[Route]:
        yield route
        for name in route.fallback:
            yield from self._expanded(self.routes.get(name) or Route(name=name, models=(name,)))

    def candidates(self, route: Route) -> tuple[str, ...] | None:
        """Return the keys a route chooses among, or None for every model."""
        if route.models is None and not route.exclude:
            return None
        pool = self.registry.pool
        cached = (pool.version, route.name)
        if cached not in self._candidates:
            if len(self._candidates) > 1024:
                self._candidates.clear()
            wanted = pool.keys if route.models is None else self._keys(route.models)
            unwanted = set(self._keys(route.exclude))
            self._candidates[cached] = tuple(key for key in wanted if key not in unwanted)
        return self._candidates[cached]

    def _keys(self, patterns: Sequence[str]) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for pattern in patterns:
            keys = self.registry.matches(pattern) or [
                key for key in self.registry.pool.keys if fnmatchcase(key, pattern)
            ]
            found.update(dict.fromkeys(keys))
        return tuple(found)


def _check_fallbacks(
    route: Route, routes: Mapping[str, Route], above: tuple[str, ...] = ()
) -> None:
    if route.name in above:
        circle = " -> ".join((*above[above.index(route.name) :], route.name))
        raise ConfigurationError(f"the fallbacks of route {route.name!r} go in a circle: {circle}")
    for name in route.fallback:
        if name in routes:
            _check_fallbacks(routes[name], routes, (*above, route.name))
