"""``/healthz`` and ``/api/v1/health``: the server answers, and what speaks against its models."""

from __future__ import annotations

from aiohttp import web

from orchestrator.engine import Orchestrator
from orchestrator.engine.health import ModelHealth
from orchestrator.server.body import json_response
from orchestrator.server.model_answers import HealthOfAll, HealthOfOne, answered

__all__ = ["Health"]


class Health:
    """Says how the server and its models are."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator

    async def check(self, request: web.Request) -> web.Response:
        """Answer 200 whatever is wrong with the models: no restart of ours would mend them."""
        found = await self._all()
        issues = [
            {
                "model": health.model,
                "breaker": health.breaker,
                "issues": health.issues,
                "back_in_s": health.back_in_s,
            }
            for health in found
            if not health.healthy
        ]
        body = {
            "status": "ok",
            "models": len(found),
            "healthy": len(found) - len(issues),
            "issues": issues,
        }
        return json_response(body)

    async def report(self, request: web.Request) -> web.Response:
        """``GET /api/v1/health``: every model, with what was seen of it."""
        found = await self._all()
        return answered(
            HealthOfAll(
                models=[health.to_dict() for health in found],
                count=len(found),
                healthy=sum(health.healthy for health in found),
            )
        )

    async def of_one(self, request: web.Request) -> web.Response:
        """``GET /api/v1/health/{key}``: one model."""
        health = await self._orchestrator.get_model_health(request.match_info["key"])
        return answered(HealthOfOne(health=health.to_dict()))

    async def _all(self) -> list[ModelHealth]:
        keys = self._orchestrator.registry.list_models()
        return [await self._orchestrator.get_model_health(key) for key in keys]
