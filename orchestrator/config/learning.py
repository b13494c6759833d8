"""What learning begins with and rests on, as it is configured: a warm start, and evaluators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from orchestrator.config.configuration import Configuration
from orchestrator.config.faults import suggestion
from orchestrator.config.places import at
from orchestrator.core.errors import ConfigurationError
from orchestrator.core.warm_start import WarmStart
from orchestrator.routing.registry import ModelRegistry

__all__ = ["configured_evaluators", "configured_warm_start"]


def configured_warm_start(
    configuration: Configuration, registry: ModelRegistry
) -> WarmStart | None:
    """Read the outcomes to begin with, or return None.

    Raises:
        ConfigurationError: The file cannot be read, is something else, or knows no model of ours.
    """
    named = configuration.settings.selection.prior
    if named is None:
        return None
    folder = Path() if configuration.path is None else configuration.path.parent
    path = folder / Path(named).expanduser()
    with at(configuration.sources.place(("selection", "prior"))):
        try:
            data = orjson.loads(path.read_bytes())
        except (OSError, orjson.JSONDecodeError) as error:
            raise ConfigurationError(f"{path} cannot be read: {error}") from error
        found = WarmStart.from_dict(data)
        models = registry.pool.models
        if not any(m.key.text in found.models or m.name in found.models for m in models):
            raise ConfigurationError(
                f"{path} is about other models than those of the pool: {', '.join(found.models)}",
                hint="a model stands there under its key or its name",
            )
        return found


def configured_evaluators(
    configuration: Configuration, registry: ModelRegistry
) -> list[dict[str, Any]]:
    """Return the names and options of evaluators, as an engine takes them.

    Raises:
        ConfigurationError: There is no such judge.
    """
    found = []
    routes = configuration.settings.routes
    for position, section in enumerate(configuration.settings.quality.evaluators):
        judge = section.model
        if not (judge is None or judge in routes or registry.matches(judge)):
            place = configuration.sources.place(("quality", "evaluators", position, "model"))
            raise ConfigurationError(
                f"{place}: there is no model or route {judge!r}",
                hint=suggestion(judge, [*registry.pool.keys, *routes]),
            )
        found.append(section.model_dump(exclude_unset=True))
    return found
