"""The models and routes, as OpenAI's clients list them and as the management API does."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Final

from aiohttp import web

from orchestrator.core.capabilities import capability_mask, capability_names
from orchestrator.core.errors import InvalidRequestError
from orchestrator.core.keys import canonical_provider
from orchestrator.core.model import Model
from orchestrator.engine import Orchestrator
from orchestrator.server.body import json_response

__all__ = ["Models"]

_STATUSES: Final = ("available", "loading", "loaded", "failed", "unloaded")
"""What may become of a model in memory; one that is hosted elsewhere is always available."""


class Models:
    """Lists what requests may name."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator
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
            status = _known_status(query["status"])
            models = [model for model in models if self._status(model) == status]
        found = [self._description(model) for model in models]
        return json_response({"success": True, "models": found, "count": len(found)})

    def _description(self, model: Model) -> dict[str, Any]:
        spec = model.spec
        return {
            "id": spec.key.name,
            "name": spec.key.name,
            "key": spec.key.text,
            "provider": spec.key.provider,
            "contextWindow": spec.context_window,
            "maxTokens": spec.max_output_tokens,
            "capabilities": sorted(capability_names(spec.capabilities)),
            "status": self._status(model),
        }

    def _status(self, model: Model) -> str:
        return "loaded" if model.spec.resident in self._orchestrator.loaded else "available"

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


def _known_status(name: str) -> str:
    if name not in _STATUSES:
        raise InvalidRequestError(
            f"there is no status {name!r}", param="status", hint=f"known: {', '.join(_STATUSES)}"
        )
    return name
