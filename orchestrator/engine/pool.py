"""Who is in an engine's pool, and the named policies over it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

from orchestrator.core.events import Event
from orchestrator.core.handlers import HandlerModel, ModelHandler, Plugin
from orchestrator.core.keys import ModelKey
from orchestrator.core.model import Model
from orchestrator.core.model_types import ModelType
from orchestrator.engine.engine import Engine
from orchestrator.routing.routes import Route
from orchestrator.selectors.experiment import Experiment

__all__ = ["Pool"]

_E = TypeVar("_E", bound=Event)


class Pool(Engine):
    """Lets models in and out, and names policies."""

    def register_model(self, model: Model, *, replace: bool = False) -> ModelKey:
        """Add a model; see `ModelRegistry.register_model`."""
        self.register_models([model], replace=replace)
        return model.key

    def register_models(self, models: Iterable[Model], *, replace: bool = False) -> None:
        """Add several models, or none if one of them cannot be added.

        Raises:
            DuplicateModelError: A key or an alias is taken.
            ConfigurationError: Two models name different residents alike.
        """
        self._membership.add(models, replace=replace)
        self._welcome()

    def register_handler(
        self,
        model_type: ModelType | str,
        handler: ModelHandler,
        provider: str,
        priority: int = 0,
        **facts: Any,
    ) -> ModelKey:
        """Add a function that serves one kind of work; see `HandlerModel`."""
        return self.register_model(HandlerModel(model_type, handler, provider, priority, **facts))

    def register_plugin(self, plugin: Plugin) -> list[ModelKey]:
        """Add the models of a plugin, or none if one of them cannot be added.

        Raises:
            DuplicateModelError: The plugin or one of its models is registered already.
        """
        keys = self._membership.add_plugin(plugin)
        self._welcome()
        return keys

    def unregister_model(self, name: str, provider: str = "") -> None:
        """Remove a model: it is never chosen again, and calls in flight finish.

        Raises:
            ModelNotFoundError: There is none of this name, or several.
        """
        self._membership.remove(name, provider)
        self._welcome()

    def unregister_plugin(self, name: str) -> None:
        """Remove a plugin's models.

        Raises:
            ModelNotFoundError: There is no such plugin.
        """
        self._membership.remove_plugin(name)
        self._welcome()

    def _welcome(self) -> None:
        if self._state is not None and self._tasks is not None:
            self._state.welcome()

    def add_routes(self, routes: Sequence[Route]) -> None:
        """Add named policies, all or none; one of a known name takes its place."""
        self._trials.check_free(route.name for route in routes)
        self._contexts.read_by(route.selector for route in routes)
        self._routes.add(routes)

    @property
    def routes(self) -> tuple[str, ...]:
        """Names of the routes, then of the experiments."""
        return (*self._routes.routes, *self._trials.experiments)

    @property
    def experiments(self) -> Mapping[str, Experiment]:
        """The experiments by name: ask one how it stands."""
        return MappingProxyType(self._trials.experiments)

    def get_model_providers(self, model_type: ModelType | str) -> list[str]:
        """Return who serves a kind of work, in the order of preference."""
        found = [m for m in self.registry.pool.models if str(model_type) in m.spec.types]
        ranked = sorted(found, key=lambda m: -m.spec.priority)
        return list(dict.fromkeys(m.provider for m in ranked))
