"""``/api/v1/feedback`` and ``/api/v1/explain``: how good a decision was, and why it falls so."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from orchestrator.core.errors import InvalidRequestError
from orchestrator.engine import Orchestrator
from orchestrator.server.body import json_response, read_json
from orchestrator.server.chat_request import read_chat_request
from orchestrator.server.demands import FIELD, read_demands, route_of

__all__ = ["Decisions"]

_FIELDS: Final = ("decision_id", "quality")
"""Of feedback. A field that is none would be feedback that does not count."""


class Decisions:
    """Talks about decisions."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator

    async def feedback(self, request: web.Request) -> web.Response:
        """``POST {"decision_id": ..., "quality": ...}``: late is fine, twice changes nothing."""
        data = await read_json(request)
        for name in data:
            if name not in _FIELDS:
                raise InvalidRequestError(
                    f"there is no option {name!r}", param=name, hint=f"known: {', '.join(_FIELDS)}"
                )
        decision_id = data.get("decision_id")
        if not isinstance(decision_id, str):
            raise InvalidRequestError(
                "decision_id is missing or not a text",
                param="decision_id",
                hint="send the answer's X-Orchestrator-Decision-Id",
            )
        if "quality" not in data:
            raise InvalidRequestError("quality is missing", param="quality")
        await self._orchestrator.feedback(decision_id, quality=data["quality"])
        return json_response({"success": True})

    async def explain(self, request: web.Request) -> web.Response:
        """``POST`` a chat request, or only its ``model`` and ``orchestrator``; nobody is called."""
        data = await read_json(request)
        if "messages" in data:
            asked = read_chat_request(data, request.headers)
            found = self._orchestrator.explain(asked.params, stream=asked.stream, **asked.options)
        else:
            options = read_demands(request.headers, data.get(FIELD))
            options.pop("on_interrupt", None)  # it changes no choice
            options |= route_of(data.get("model"), options.pop("route", None))
            found = self._orchestrator.explain(**options)
        return json_response(found.to_dict())
