"""Who is in the pool, and what comes and goes with a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack

from orchestrator.core.errors import DuplicateModelError, ModelNotFoundError
from orchestrator.core.events import ModelRegistered, ModelUnregistered
from orchestrator.core.handlers import Plugin
from orchestrator.core.keys import ModelKey
from orchestrator.core.model import Model
from orchestrator.core.ports import Transport
from orchestrator.engine.parts import Places
from orchestrator.lifecycle.manager import ModelManager
from orchestrator.routing.registry import ModelRegistry

__all__ = ["Membership"]


class Membership:
    """Lets models in and out of one engine's pool.

    Args:
        registry: The models and their names.
        places: Where each is called.
        residency: The processes of local models.
        transport: Sends HTTP; None opens one of our own when a model first needs it.
        runtime: The engine, for handlers that call further models.
        say: Publishes an event of a kind with these facts, if anybody wants it.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        places: Places,
        residency: ModelManager,
        transport: Transport | None,
        runtime: object,
        say: Callable[..., None],
    ) -> None:
        self._registry = registry
        self._places = places
        self._residency = residency
        self._transport = transport
        self._owns_transport = transport is None
        self._runtime = runtime
        self._say = say
        self._plugins: dict[str, list[str]] = {}
        self._left: list[Model] = []
        """Models that have left the pool, and may have a call in flight until the end."""

    @property
    def transport(self) -> Transport:
        """Sends the requests of every model."""
        if self._transport is None:
            from orchestrator.integrations.http.transport import HttpTransport

            self._transport = HttpTransport()
        return self._transport

    def add(self, models: Iterable[Model], *, replace: bool = False) -> None:
        """Add several models, or none; errors as `Orchestrator.register_models`."""
        models = list(models)
        for model in models:
            if model.resident is not None:
                self._residency.register(model.resident)
        before = {model.key.text: model for model in self._registry.pool.models}
        self._registry.register_models(models, replace=replace)
        for model in models:
            replaced = before.get(model.key.text)
            if replaced is not None:
                self._left.append(replaced)
            model.bind(self.transport, self._runtime)
            self._places.add(model)
            self._say(ModelRegistered, model=model.key.text, replaced=replaced is not None)

    def add_plugin(self, plugin: Plugin) -> list[ModelKey]:
        """Add a plugin's models, or none; errors as `Orchestrator.register_plugin`."""
        if plugin.name in self._plugins:
            raise DuplicateModelError(f"the plugin {plugin.name!r} is registered already")
        models = plugin.built()
        self.add(models)
        self._plugins[plugin.name] = [model.key.text for model in models]
        return [model.key for model in models]

    def remove(self, name: str, provider: str = "") -> None:
        """Remove a model; errors as `Orchestrator.unregister_model`."""
        model = self._registry.unregister_model(name, provider)
        self._left.append(model)
        self._places.remove(model.key.text)
        self._say(ModelUnregistered, model=model.key.text)

    def remove_plugin(self, name: str) -> None:
        """Remove a plugin's models; errors as `Orchestrator.unregister_plugin`."""
        if name not in self._plugins:
            known = ", ".join(self._plugins) or "none"
            raise ModelNotFoundError(f"there is no plugin {name!r}", hint=f"registered: {known}")
        for key in self._plugins.pop(name):
            if key in self._registry:
                self.remove(key)

    async def aclose(self) -> None:
        """Let every model release what it holds, those that have left too; close our transport."""
        models = {id(model): model for model in (*self._registry.pool.models, *self._left)}
        self._left.clear()
        async with AsyncExitStack() as closing:  # one that fails keeps none from being closed
            if self._owns_transport and self._transport is not None:
                closing.push_async_callback(self._transport.aclose)
            for model in models.values():
                closing.push_async_callback(model.cleanup)
