"""Answers to browsers that ask whether a page of a configured origin may call."""

from __future__ import annotations

from typing import Final

from aiohttp import hdrs, web

from orchestrator.server.access import Access

__all__ = ["allow_origins", "is_preflight", "preflight"]

_EXPOSED: Final = ", ".join(
    (
        "X-Request-Id",
        "X-Orchestrator-Decision-Id",
        "X-Orchestrator-Model",
        "X-Orchestrator-Cost-Usd",
        "X-Orchestrator-Attempts",
        hdrs.RETRY_AFTER,
    )
)


def allow_origins(app: web.Application, access: Access) -> None:
    """Let browsers show our answers to the pages of the configured origins."""

    async def add(request: web.Request, response: web.StreamResponse) -> None:
        origin = request.headers.get(hdrs.ORIGIN)
        if origin in access.origins:
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
            response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = _EXPOSED
        response.headers[hdrs.VARY] = hdrs.ORIGIN

    app.on_response_prepare.append(add)


def is_preflight(request: web.Request) -> bool:
    """Whether a browser asks before it sends; such a request never carries the key."""
    return (
        request.method == hdrs.METH_OPTIONS
        and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
    )


def preflight(request: web.Request) -> web.Response:
    """Allow what it asks for; whether its origin may call has been checked."""
    return web.Response(
        status=204,
        headers={
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: "GET, POST",
            hdrs.ACCESS_CONTROL_ALLOW_HEADERS: request.headers.get(
                hdrs.ACCESS_CONTROL_REQUEST_HEADERS, ""
            ),
            hdrs.ACCESS_CONTROL_MAX_AGE: "600",
        },
    )
