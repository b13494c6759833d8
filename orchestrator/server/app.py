"""The application: which address is served by what, and who is let in."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from pydantic import SecretStr

from orchestrator import __version__
from orchestrator.engine import Orchestrator
from orchestrator.server.access import Access
from orchestrator.server.api_docs import ApiDocs
from orchestrator.server.cors import allow_origins, is_preflight, preflight
from orchestrator.server.event_stream import EventStream
from orchestrator.server.failure import failed
from orchestrator.server.operations import operations

__all__ = ["MAX_BODY_BYTES", "build_app"]

MAX_BODY_BYTES: Final = 32 * 1024 * 1024
"""A dozen photographs in base64."""


def build_app(
    orchestrator: Orchestrator,
    *,
    api_key: SecretStr | None = None,
    allowed_hosts: Collection[str] = (),
    allowed_origins: Collection[str] = (),
    max_body_bytes: int = MAX_BODY_BYTES,
) -> web.Application:
    """Return the application in front of a running engine.

    Run it with ``handler_cancellation=True``, so that a client that leaves ends its request.

    Args:
        orchestrator: Answers.
        api_key: What every request has to present as a bearer token, or None.
        allowed_hosts: Values of ``Host`` besides the loopback ones.
        allowed_origins: Origins of web pages that may call.
        max_body_bytes: The largest body that is taken.

    Raises:
        ConfigurationError: An origin is not one.
    """
    access = Access(api_key, allowed_hosts, allowed_origins)
    app = web.Application(client_max_size=max_body_bytes, middlewares=[_door(access)])
    events = EventStream(orchestrator)
    docs = ApiDocs(operations(orchestrator, events), __version__)
    add = {"GET": web.get, "POST": web.post}
    app.add_routes([add[one.method](one.path, one.handler) for one in docs.operations])
    app.on_shutdown.append(events.close)
    if allowed_origins:
        allow_origins(app, access)
    return app


def _door(access: Access) -> Middleware:
    """Let in who may enter, and answer in the envelope whatever goes wrong inside."""

    @web.middleware
    async def enter(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            access.check_site(request.headers)
            if access.origins and is_preflight(request):
                return preflight(request)
            access.check_key(request.headers)
            return await handler(request)
        except Exception as error:  # noqa: BLE001 - the last stop: logged and answered
            return failed(request, error)

    return enter
