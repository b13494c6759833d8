"""``POST /v1/chat/completions``: one answer, whole or as server-sent events."""

from __future__ import annotations

import time

from aiohttp import web

from orchestrator.engine import Orchestrator
from orchestrator.server.body import read_json
from orchestrator.server.chat_request import ChatRequest, read_chat_request
from orchestrator.server.completion import CompletionChunks, completion
from orchestrator.server.failure import told
from orchestrator.server.outcome import decision_headers, outcome_headers
from orchestrator.server.sse import EVENT_STREAM, NOT_CACHED

__all__ = ["ChatCompletions"]


class ChatCompletions:
    """Answers with the model that the engine chooses."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator

    async def create(self, request: web.Request) -> web.StreamResponse:
        """Serve a request; if its client leaves, the call to the provider ends with it."""
        asked = read_chat_request(await read_json(request), request.headers)
        if asked.stream:
            return await self._stream(request, asked)
        result = await self._orchestrator.generate(asked.params, **asked.options)
        return web.Response(
            body=completion(result, int(time.time())), headers=outcome_headers(result)
        )

    async def _stream(self, request: web.Request, asked: ChatRequest) -> web.StreamResponse:
        opened = self._orchestrator.stream(
            asked.params, on_interrupt=asked.on_interrupt, **asked.options
        )
        async with opened as stream:
            decision = stream.chosen.decision
            chunks = CompletionChunks(decision, int(time.time()), include_usage=asked.include_usage)
            response = _Events(headers=decision_headers(decision, EVENT_STREAM) | NOT_CACHED)
            await response.prepare(request)
            data = chunks.opening()
            try:
                async for chunk in stream:
                    if chunk.restarted:
                        data += chunks.restart(stream.chosen.decision)
                    data += chunks.piece(chunk)
                    if data and not stream.ready:  # what came together goes out together
                        await response.write(data)
                        data = b""
                last = data + chunks.end(stream.result)
            except Exception as error:  # noqa: BLE001 - the status is out: the stream has to say it
                last = data + b"data: %b\n\n" % told(request, error).body
            await response.write_eof(last)
        return response


class _Events(web.StreamResponse):
    """An answer whose first piece is there before its headers go out, so both go out together."""

    _send_headers_immediately = False
