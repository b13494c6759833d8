"""From a configuration to the arguments of an engine."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from orchestrator.config.configuration import Configuration, read_configuration
from orchestrator.config.learning import configured_evaluators, configured_warm_start
from orchestrator.config.lifecycle import configured_health, configured_lifecycle
from orchestrator.config.models import configured_models
from orchestrator.config.places import at
from orchestrator.config.routes import (
    configured_experiments,
    configured_routes,
    configured_selector,
)
from orchestrator.config.segments import configured_segmenter
from orchestrator.config.state import configured_state
from orchestrator.config.store import configured_store
from orchestrator.core.errors import ConfigurationError, DuplicateModelError
from orchestrator.core.model import Model
from orchestrator.routing.registry import ModelRegistry
from orchestrator.routing.routes import Route

__all__ = ["arguments_for", "build"]


def build(
    path: str | Path | None = None,
    *,
    models: Iterable[Model] = (),
    routes: Iterable[Route] = (),
    paid: bool | None = None,
    discover: bool | None = None,
    **overrides: Any,
) -> dict[str, Any]:
    """Return the arguments of an `Orchestrator` as a file and the environment have it.

    Args:
        path: The file; see `read_configuration`.
        models: Further models, which routes of the file may name.
        routes: Further routes; one of a name that the file has too takes its place.
        paid: The setting of this name.
        discover: The setting of this name.
        overrides: Arguments of `Orchestrator` that go before what is configured.

    Raises:
        ConfigurationError: The file or a value in it is wrong; the message says where.
    """
    settings = {"paid": paid, "discover": discover}
    said = {name: value for name, value in settings.items() if value is not None}
    configuration = read_configuration(path, **said)
    for warning in configuration.warnings:
        warnings.warn(warning, stacklevel=3)
    return {**arguments_for(configuration, models, routes), **overrides}


def arguments_for(
    configuration: Configuration, models: Iterable[Model] = (), routes: Iterable[Route] = ()
) -> dict[str, Any]:
    """Return the arguments of an `Orchestrator`; models and routes are added to those configured.

    Raises:
        ConfigurationError: Something cannot be built, or a route names what there is not.
    """
    settings, sources = configuration.settings, configuration.sources
    engine, selection = settings.engine, settings.selection
    pool = [*configured_models(configuration), *models]
    with at(sources.place(("models",))):
        try:
            registry = ModelRegistry(pool)
        except DuplicateModelError as error:  # whose own hint is for code
            raise ConfigurationError(error.message, hint="name each model once") from error
    further = {route.name: route for route in routes}
    named = configured_routes(configuration, registry, further)
    return {
        "models": pool,
        "routes": [*(route for route in named if route.name not in further), *further.values()],
        "experiments": configured_experiments(configuration, registry, further),
        "selector": configured_selector(engine.selector, sources.place(("engine", "selector"))),
        "segmenter": configured_segmenter(configuration, registry),
        "embed_within_s": selection.embed_within_s,
        "objective": engine.objective,
        "deadline_s": engine.deadline_s,
        "timeouts": engine.timeouts,
        "attempts": engine.attempts,
        "breaker": engine.breaker,
        "ejection": engine.ejection,
        "restart": engine.restart,
        "budget_usd_per_day": configuration.budget_usd_per_day,
        "pace_usd_per_day": settings.budget.pace_usd_per_day,
        "exploration_usd_per_day": selection.exploration_usd_per_day,
        "evaluators": configured_evaluators(configuration, registry),
        "warm_start": configured_warm_start(configuration, registry),
        "prior_weight": selection.prior_weight,
        "families": selection.families,
        "health_monitor": configured_health(configuration),
        **configured_lifecycle(configuration, pool),
        "seed": engine.seed,
        "store": configured_store(configuration),
        **configured_state(configuration),
    }
