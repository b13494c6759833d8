"""``GET /healthz``: the server answers, and what speaks against its models."""

from __future__ import annotations

from aiohttp import web

from orchestrator.engine import Orchestrator
from orchestrator.server.body import json_response

__all__ = ["Health"]


class Health:
    """Says how the server and its models are."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator

    async def check(self, request: web.Request) -> web.Response:
        """Answer 200 whatever is wrong with the models: no restart of ours would mend them."""
        keys = self._orchestrator.registry.list_models()
        found = [await self._orchestrator.get_model_health(key) for key in keys]
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
