"""``POST /v1/embeddings``: texts in, vectors out."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import orjson
from aiohttp import web

from orchestrator.core.errors import InvalidRequestError
from orchestrator.core.results import EmbeddingResult
from orchestrator.engine import Orchestrator
from orchestrator.server.body import read_json
from orchestrator.server.demands import FIELD, read_demands, route_of
from orchestrator.server.outcome import outcome, outcome_headers

__all__ = ["Embeddings", "EmbeddingsRequest", "embeddings_body", "read_embeddings_request"]

_FIELDS: Final = ("input", "model", "encoding_format", "dimensions", "user", FIELD)


class EmbeddingsRequest(NamedTuple):
    """What was asked.

    Attributes:
        input: A text or texts.
        options: How to route it, what it demands and the dimensions, for `Orchestrator.embed`.
        encode: Whether vectors go out in base64.
        ignored: Fields that nobody knows.
    """

    input: Any
    options: dict[str, Any]
    encode: bool
    ignored: tuple[str, ...]


class Embeddings:
    """Embeds with the model that the engine chooses."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator

    async def create(self, request: web.Request) -> web.Response:
        """Serve a request; if its client leaves, the call to the provider ends with it."""
        asked = read_embeddings_request(await read_json(request), request.headers)
        result = await self._orchestrator.embed(asked.input, **asked.options)
        return web.Response(body=embeddings_body(result, asked), headers=outcome_headers(result))


def read_embeddings_request(
    data: Mapping[str, Any], headers: Mapping[str, str]
) -> EmbeddingsRequest:
    """Read a request.

    Raises:
        InvalidRequestError: A field is missing, of the wrong type, or asks for what is not
            supported.
    """
    options = read_demands(headers, data.get(FIELD))
    options.pop("on_interrupt", None)  # there is nothing to interrupt
    options |= route_of(data.get("model"), options.pop("route", None))
    if data.get("dimensions") is not None:
        options["dimensions"] = data["dimensions"]
    texts = data.get("input")
    if texts is None:
        raise InvalidRequestError("input is missing", param="input")
    if isinstance(texts, list) and any(isinstance(item, int | list) for item in texts):
        raise InvalidRequestError(
            "input holds token ids, which mean something to one model only",
            param="input",
            hint="send the text itself",
        )
    encoding = data.get("encoding_format") or "float"
    if encoding not in ("float", "base64"):
        raise InvalidRequestError(
            f"encoding_format cannot be {encoding!r}",
            param="encoding_format",
            hint="float or base64",
        )
    ignored = tuple(name for name in data if name not in _FIELDS)
    return EmbeddingsRequest(texts, options, encoding == "base64", ignored)


def embeddings_body(result: EmbeddingResult, asked: EmbeddingsRequest) -> bytes:
    """Return the body of the answer."""
    encode = _base64 if asked.encode else list
    tokens = result.usage.prompt_tokens
    warnings = [f"{name} is not known and was left out" for name in asked.ignored]
    return orjson.dumps(
        {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": encode(vector)}
                for index, vector in enumerate(result.vectors)
            ],
            "model": result.model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
            FIELD: outcome(
                result,
                provider_model=result.answer.model_version,
                usage_estimated=result.usage.estimated,
                warnings=[*result.answer.warnings, *warnings],
            ),
        }
    )


def _base64(vector: Sequence[float]) -> str:
    """Return a vector as OpenAI encodes it: little-endian floats of 32 bits."""
    return base64.b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode()
