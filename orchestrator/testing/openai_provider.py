"""A provider without a connection: an OpenAI request in, the answer with its pace out.

The provider server puts these answers on a socket, and the simulated world on none.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import orjson

from orchestrator.testing.answer import Answer, Piece, whole
from orchestrator.testing.echo import echo
from orchestrator.testing.openai_wire import (
    Reply,
    Request,
    embedding_inputs,
    embeddings_body,
    error_body,
    includes_usage,
    models_body,
    sse_frames,
    unary_body,
    usage,
)

__all__ = ["OpenAIProvider", "Responder"]

Responder = Callable[[Request], Reply | Awaitable[Reply]]

_STREAM_HEADERS = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}


@dataclass(slots=True)
class OpenAIProvider:
    """What a provider serves, and how fast; every field may change between requests.

    Attributes:
        responder: What the model says to a request, at once or after awaiting.
        models: The names that `/v1/models` lists; others are not found.
        api_key: What a request must present, if set. `/health` never asks for it.
        first_token_s: Seconds from the reply to its first token.
        tokens_per_s: How fast the other completion tokens follow; a unary answer comes when a
            stream would end.
    """

    responder: Responder = echo
    models: Sequence[str] = ("echo",)
    api_key: str | None = None
    first_token_s: float = 0.0
    tokens_per_s: float = math.inf

    async def answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        """Return the answer; what the request gets wrong is an answer too, with its status."""
        try:
            return await self._answer(method, path, headers, body)
        except _RequestError as error:
            return whole(
                error_body(error.status, str(error), code=error.code, param=error.param),
                status=error.status,
            )

    async def _answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        if path == "/health":
            return whole(b'{"status":"ok"}')
        self._check_key(headers)
        match method, path:
            case "GET", "/v1/models":
                return whole(models_body(self.models))
            case "POST", "/v1/chat/completions":
                return await self._complete(self._parse(body))
            case "POST", "/v1/embeddings":
                return self._embed(self._parse(body))
            case _:
                raise _RequestError(404, f"Unknown request URL: {method} {path}")

    def _check_key(self, headers: Mapping[str, str]) -> None:
        if self.api_key is None:
            return
        presented = {name.lower(): value for name, value in headers.items()}.get("authorization")
        if presented != f"Bearer {self.api_key}":
            raise _RequestError(401, "Incorrect API key provided.")

    def _parse(self, body: bytes) -> Request:
        try:
            request = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise _RequestError(
                400, f"The body of the request is not valid JSON: {error}"
            ) from error
        if not isinstance(request, dict):
            raise _RequestError(400, "The body of the request is not a JSON object.")
        model = request.get("model")
        if not isinstance(model, str):
            raise _RequestError(400, "You must provide a model parameter.", param="model")
        if model not in self.models:
            raise _RequestError(404, f"The model `{model}` does not exist.", code="model_not_found")
        return request

    async def _complete(self, request: Request) -> Answer:
        messages = request.get("messages")
        if not (isinstance(messages, list) and messages):
            raise _RequestError(400, "[] is too short - 'messages'", param="messages")
        reply = self.responder(request)
        if inspect.isawaitable(reply):
            reply = await reply
        generation_s = max(0, usage(request, reply)["completion_tokens"] - 1) / self.tokens_per_s
        if request.get("stream"):
            return self._stream(request, reply, generation_s)
        return whole(unary_body(request, reply), after_s=self.first_token_s + generation_s)

    def _stream(self, request: Request, reply: Reply, generation_s: float) -> Answer:
        """Return the stream: the role and the first token together, the others evenly after."""
        frames = sse_frames(request, reply)
        n_tail = 3 if includes_usage(request) else 2  # finish reason, usage, end mark
        n_gaps = max(1, len(frames) - n_tail - 2)
        waits = [self.first_token_s, 0.0, *[generation_s / n_gaps] * n_gaps]
        waits += [0.0] * (len(frames) - len(waits))
        pieces = (Piece(frame, wait) for frame, wait in zip(frames, waits, strict=True))
        return Answer(tuple(pieces), headers=_STREAM_HEADERS)

    def _embed(self, request: Request) -> Answer:
        inputs = embedding_inputs(request)
        if not all(inputs) or not inputs:
            raise _RequestError(
                400, "'input' must hold at least one text, none empty", param="input"
            )
        return whole(embeddings_body(request), after_s=self.first_token_s)


class _RequestError(Exception):
    """The request is at fault."""

    def __init__(
        self, status: int, message: str, *, code: str | None = None, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
