"""``/api/v1/models/{key}/profile`` and its like: what models are like is found out."""

from __future__ import annotations

import time

from aiohttp import web

from orchestrator.core.keys import ModelKey
from orchestrator.core.model import Model
from orchestrator.engine import Orchestrator
from orchestrator.integrations.discovery import ServerList, ask_servers
from orchestrator.lifecycle.name_patterns import evidence_of_name
from orchestrator.server.descriptions import metrics_of
from orchestrator.server.model_answers import (
    Capabilities,
    Discovered,
    Profiled,
    ProviderModels,
    answered,
)
from orchestrator.server.model_requests import Discover, Profile, read_body

__all__ = ["Measuring"]

_UNTIL_KNOWN = frozenset(("chat_completion", "streaming"))
"""What a model of a name that tells nothing is taken for."""


class Measuring:
    """Finds out which models there are, what they can do and how well they do."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator

    async def profile(self, request: web.Request) -> web.Response:
        """``POST /api/v1/models/{key}/profile``: it ends if the client leaves."""
        key = self._orchestrator.registry.resolve(request.match_info["key"])
        asked = await read_body(request, Profile)
        if asked.dry_run:
            estimate = self._orchestrator.estimate_profile(key, asked.test_count).to_dict()
            return answered(
                Profiled(
                    message="Nothing was called", metrics=None, profile=None, estimate=estimate
                )
            )
        profile = await self._orchestrator.profile_model(
            key, asked.test_count, max_cost=asked.max_cost
        )
        return answered(
            Profiled(
                message="Profiling completed",
                metrics=metrics_of(profile),
                profile=profile.to_dict(),
                estimate=None,
            )
        )

    async def capabilities(self, request: web.Request) -> web.Response:
        """``GET /api/v1/models/{key}/capabilities``: what is known without calling the model."""
        key = request.match_info["key"]
        found = await self._orchestrator.detect_capabilities(key)
        return answered(
            Capabilities(
                key=found.model,
                capabilities=sorted(found.capabilities),
                likely=sorted(found.likely),
                evidence=[one.to_dict() for one in found.evidence],
                context_window=found.context_window,
            )
        )

    async def discover(self, request: web.Request) -> web.Response:
        """``POST /api/v1/models/discover``: ask every server for its list."""
        asked = await read_body(request, Discover)
        found = await ask_servers(self._orchestrator.registry.pool.models)
        newcomers = {m.key.text: m for one in found for m in self._newcomers(one)}
        registered = []
        if asked.registers:
            self._orchestrator.register_models(newcomers.values())
            registered = [*newcomers]
        providers = _by_provider(found)
        return answered(
            Discovered(
                providers=providers,
                count=sum(one.found for one in providers.values()),
                new=[*newcomers],
                registered=registered,
            )
        )

    def _newcomers(self, found: ServerList) -> list[Model]:
        """Return those on a server's list that are not in the pool under any name."""
        registry, origin = self._orchestrator.registry, found.model
        known = {
            getattr(model, "wire_name", model.name)
            for model in registry.pool.models
            if model.provider == origin.provider
        }
        return [
            origin.sibling(name, capabilities=_capabilities(name))
            for name in found.names
            if name not in known and ModelKey(origin.provider, name) not in registry
        ]


def _capabilities(name: str) -> frozenset[str]:
    suggested = evidence_of_name(name, time.time())
    return frozenset(one.capability for one in suggested) or _UNTIL_KNOWN


def _by_provider(found: list[ServerList]) -> dict[str, ProviderModels]:
    """Join the servers of each provider; of errors the first is told."""
    providers: dict[str, ProviderModels] = {}
    for one in found:
        before = providers.get(one.model.provider)
        names = [*dict.fromkeys([*(before.models if before else ()), *one.names])]
        error = before.error if before else None
        if one.error is not None:
            error = error or str(one.error)
        providers[one.model.provider] = ProviderModels(found=len(names), models=names, error=error)
    return providers
