"""``GET /api/v1/events``: what happens in the engine, as server-sent events."""

from __future__ import annotations

import asyncio
from typing import Final

import orjson
from aiohttp import hdrs, web

from orchestrator.core.bus import Subscription
from orchestrator.core.errors import InvalidRequestError
from orchestrator.core.events import Event, event_types
from orchestrator.engine import Orchestrator
from orchestrator.server.sse import EVENT_STREAM, NOT_CACHED

__all__ = ["EventStream"]

_HEARTBEAT: Final = b": still here\n\n"


class EventStream:
    """Sends events to whoever listens, until either side closes.

    Args:
        orchestrator: Whose events.
        heartbeat_s: How long it may be silent; proxies close what is silent for a minute.
        buffer: Events that may wait for a slow reader. It then loses the oldest, and is told.
    """

    def __init__(
        self, orchestrator: Orchestrator, *, heartbeat_s: float = 15.0, buffer: int = 1024
    ) -> None:
        self._bus = orchestrator.events
        self._heartbeat_s = heartbeat_s
        self._buffer = buffer
        self._open: set[Subscription[Event]] = set()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve one listener, who may name ``?types=model-used,call-failed``.

        Raises:
            InvalidRequestError: There is no such type.
        """
        kinds = _kinds(request.query.get("types", ""))
        response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: EVENT_STREAM} | NOT_CACHED)
        name = f"{request.path} for {request.remote}"
        with self._bus.subscribe(*kinds, buffer=self._buffer, name=name) as events:
            self._open.add(events)
            try:
                await response.prepare(request)
                await self._send(events, response)
            finally:
                self._open.discard(events)
        return response

    async def close(self, _: web.Application) -> None:
        """End every stream, since the server stops."""
        for events in self._open:
            events.close()

    async def _send(self, events: Subscription[Event], response: web.StreamResponse) -> None:
        dropped = 0
        while True:
            try:
                async with asyncio.timeout(self._heartbeat_s):
                    frame = _frame(await anext(events))
            except TimeoutError:
                frame = _HEARTBEAT
            except StopAsyncIteration:
                return
            if events.dropped > dropped:
                frame = b": %d events were dropped\n\n" % (events.dropped - dropped) + frame
                dropped = events.dropped
            await response.write(frame)


def _kinds(types: str) -> list[type[Event]]:
    known = event_types()
    names = [name.strip() for name in types.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise InvalidRequestError(
                f"there is no event type {name!r}", param="types", hint=f"known: {', '.join(known)}"
            )
    return [known[name] for name in names]


def _frame(event: Event) -> bytes:
    data = orjson.dumps(event.to_dict())
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (event.id, event.name.encode(), data)
