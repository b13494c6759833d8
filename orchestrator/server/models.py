"""The models and routes, as OpenAI's clients list them and as the management API does."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from aiohttp import web

from orchestrator.core.capabilities import capability_mask, capability_names
from orchestrator.core.errors import InvalidRequestError, ModelNotFoundError
from orchestrator.core.keys import canonical_provider
from orchestrator.core.model import Model
from orchestrator.engine import Orchestrator
from orchestrator.lifecycle.state import Status
from orchestrator.server.body import json_response
from orchestrator.server.descriptions import Descriptions, Moment
from orchestrator.server.model_answers import (
    Listed,
    Loaded,
    OneModel,
    PoolStatistics,
    Statistics,
    answered,
)

__all__ = ["Models"]


class Models:
    """Lists what requests may name."""

    def __init__(self, orchestrator: Orchestrator, descriptions: Descriptions) -> None:
        self._orchestrator = orchestrator
        self._descriptions = descriptions
        self._since = int(time.time())

    # -- OpenAI's ------------------------------------------------------------------------------

    async def list(self, request: web.Request) -> web.Response:
        """``GET /v1/models``: routes and models."""
        routes = [self._route(name) for name in self._orchestrator.routes]
        models = [self._model(model) for model in self._orchestrator.registry.pool.models]
        return json_response({"object": "list", "data": [*routes, *models]})

    async def retrieve(self, request: web.Request) -> web.Response:
        """``GET /v1/models/{id}``: what a request that names this gets."""
        name = request.match_info["id"]
        if name in self._orchestrator.routes:
            return json_response(self._route(name))
        return json_response(self._model(self._orchestrator.registry.get_model(name)))

    def _route(self, name: str) -> dict[str, Any]:
        return self._entry(name, "orchestrator", {"kind": "route"})

    def _model(self, model: Model) -> dict[str, Any]:
        return self._entry(
            model.key.text, model.provider, {"kind": "model", **model.spec.to_dict()}
        )

    def _entry(self, name: str, owner: str, facts: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": name,
            "object": "model",
            "created": self._since,
            "owned_by": owner,
            "orchestrator": facts,
        }

    # -- ours ----------------------------------------------------------------------------------

    async def describe(self, request: web.Request) -> web.Response:
        """``GET /api/v1/models?provider=&capability=&status=``: the models that fit."""
        query = request.query
        models: Iterable[Model] = self._orchestrator.registry.pool.models
        if "provider" in query:
            provider = self._known_provider(query["provider"])
            models = [model for model in models if model.provider == provider]
        if "capability" in query:
            needed = capability_mask([query["capability"]])
            models = [model for model in models if model.spec.capabilities & needed]
        if "status" in query:
            wanted, now = _known_statuses(query["status"]), self._descriptions.now()
            models = [model for model in models if now.status(model) in wanted]
        return self._listed(models)

    async def loaded(self, request: web.Request) -> web.Response:
        """``GET /api/v1/models/loaded``: those in our own memory."""
        now = self._descriptions.now()
        found = [now.description(model) for model in self._in_memory(now)]
        return answered(Loaded(models=found, count=len(found), current_model=now.current()))

    async def current(self, request: web.Request) -> web.Response:
        """``GET /api/v1/models/current``: the one that the name ``current`` leads to."""
        key = self._orchestrator.current_model
        if key is None:
            raise ModelNotFoundError(
                "no model is current", hint="POST /api/v1/models/switch makes one so"
            )
        return self._one(key)

    async def named(self, request: web.Request) -> web.Response:
        """``GET /api/v1/models/{name}``: those of a provider, or one model."""
        name = request.match_info["name"]
        provider = canonical_provider(name)
        if provider in self._orchestrator.registry.list_providers():
            models = self._orchestrator.registry.pool.models
            return self._listed(model for model in models if model.provider == provider)
        return self._one(name)

    async def statistics(self, request: web.Request) -> web.Response:
        """``GET /api/v1/models/statistics``: the pool, counted."""
        engine, models = self._orchestrator, self._orchestrator.registry.pool.models
        memory, now = engine.memory(), self._descriptions.now()
        capabilities = Counter(n for m in models for n in capability_names(m.spec.capabilities))
        found = Statistics(
            total_models=len(models),
            loaded_models=len(self._in_memory(now)),
            current_model=engine.current_model,
            total_inferences=int(sum(s["calls"] for s in engine.get_model_statistics().values())),
            provider_counts=Counter(model.provider for model in models),
            capability_counts=dict(sorted(capabilities.items())),
            status_counts=Counter(now.status(model).value for model in models),
            memory_limits=dict(memory.limits),
            memory_reserved=dict(memory.reserved),
            waiting=memory.waiting,
        )
        return answered(PoolStatistics(statistics=found))

    def _in_memory(self, now: Moment) -> Sequence[Model]:
        pool = self._orchestrator.registry.pool
        return [model for model in pool.models if now.status(model) is Status.LOADED]

    def _listed(self, models: Iterable[Model]) -> web.Response:
        now = self._descriptions.now()
        found = [now.description(model) for model in models]
        return answered(Listed(models=found, count=len(found)))

    def _one(self, name: str) -> web.Response:
        model = self._orchestrator.registry.get_model(name)
        return answered(OneModel(model=self._descriptions.now().entry(model)))

    def _known_provider(self, name: str) -> str:
        provider = canonical_provider(name)
        known = self._orchestrator.registry.list_providers()
        if provider not in known:
            raise InvalidRequestError(
                f"there is no provider {name!r}",
                param="provider",
                hint=f"known: {', '.join(known) or 'none'}",
            )
        return provider


def _known_statuses(names: str) -> frozenset[Status]:
    """Read a status, or several separated by commas."""
    try:
        return frozenset(Status(name) for name in names.split(","))
    except ValueError:
        raise InvalidRequestError(
            f"there is no status {names!r}", param="status", hint=f"known: {', '.join(Status)}"
        ) from None
