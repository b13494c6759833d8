"""From the sections of a file to routes, experiments, selectors, each name in them checked."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase

from orchestrator.config.configuration import Configuration
from orchestrator.config.faults import suggestion
from orchestrator.config.places import at
from orchestrator.config.pool import RouteSection
from orchestrator.config.sections import SelectorSection
from orchestrator.core.errors import ConfigurationError
from orchestrator.core.requirements import Requirements
from orchestrator.core.selector import Selector
from orchestrator.core.views import Memory
from orchestrator.routing.registry import ModelRegistry
from orchestrator.routing.routes import AUTO, Route
from orchestrator.selectors import make_selector
from orchestrator.selectors.experiment import ExperimentPlan

__all__ = ["configured_experiments", "configured_routes", "configured_selector"]


def configured_routes(
    configuration: Configuration, registry: ModelRegistry, further: Collection[str] = ()
) -> list[Route]:
    """Build every route of a configuration.

    Args:
        configuration: Where they are described.
        registry: The models that they may name.
        further: Names of routes that there are besides.

    Raises:
        ConfigurationError: A route names a model or a route that there is not, or a demand,
            selector or objective of it is wrong.
    """
    sections = configuration.settings.routes
    names = {AUTO, *sections, *further}
    routes = []
    for name, section in sections.items():
        place = configuration.sources.place(("routes", name))
        for position, model in enumerate(section.models or ()):
            _demand(model, registry, (), f"{place}.models[{position}]")
        for position, model in enumerate(section.exclude):
            _demand(model, registry, (), f"{place}.exclude[{position}]")
        for position, following in enumerate(section.fallback):
            _demand(following, registry, names, f"{place}.fallback[{position}]")
        routes.append(_route(name, section, place))
    return routes


def configured_experiments(
    configuration: Configuration, registry: ModelRegistry, further: Collection[str] = ()
) -> list[ExperimentPlan]:
    """Build every experiment of a configuration; arguments as for `configured_routes`.

    Raises:
        ConfigurationError: One has a route's name, compares what there is not, or cannot be
            carried out.
    """
    settings = configuration.settings
    routes = {AUTO, *settings.routes, *further}
    plans = []
    for name, section in settings.experiments.items():
        place = configuration.sources.place(("experiments", name))
        if name in routes:
            raise ConfigurationError(f"{place}: there is a route {name!r} already")
        for position, variant in enumerate(section.variants):
            if variant not in routes:
                with at(f"{place}.variants[{position}]"):
                    registry.resolve(variant)
        with at(place):
            plans.append(ExperimentPlan(name=name, **dict(section)))
    return plans


def configured_selector(section: SelectorSection, place: str) -> Selector:
    """Build a selector.

    Raises:
        ConfigurationError: There is none of this name, or it does not take these options.
    """
    options = section.options
    with at(place):
        memory = options.get("memory")
        if isinstance(memory, Mapping):
            options["memory"] = _memory(memory)
        return make_selector(section.name, options)


def _route(name: str, section: RouteSection, place: str) -> Route:
    demands = section.requirements.model_dump(exclude_unset=True)
    with at(f"{place}.requirements"):
        requirements = Requirements.of(demands, origin=f"route {name}")
    selector = None
    if section.selector is not None:
        selector = configured_selector(section.selector, f"{place}.selector")
    return Route(
        name=name,
        models=section.models,
        exclude=section.exclude,
        requirements=requirements,
        selector=selector,
        objective=section.objective,
        fallback=section.fallback,
        affinity_s=section.affinity_s,
    )


def _demand(name: str, registry: ModelRegistry, routes: Collection[str], place: str) -> None:
    """Raise unless a name means a model, several by a pattern, or one of the routes."""
    keys = registry.pool.keys
    if name in routes or registry.matches(name) or any(fnmatchcase(key, name) for key in keys):
        return
    what = "model or route" if routes else "model"
    raise ConfigurationError(
        f"{place}: there is no {what} {name!r}",
        hint=suggestion(name, [*keys, *(model.name for model in registry.pool.models), *routes]),
    )


def _memory(options: Mapping[str, object]) -> Memory:
    try:
        return Memory(**options)  # type: ignore[arg-type]
    except TypeError as error:
        raise ConfigurationError(
            f"memory: {error}", hint="it takes window_s or half_life_s, a number of seconds"
        ) from error
