"""The OpenAI wire format, from the provider's side: request and reply in, bytes out.

Nothing depends on a clock or on chance: the same request and reply give the same bytes.

Source:
    OpenAI's API reference (chat completions, embeddings, models, errors) as the official client
    types it; the chunks of a stream are those of llama.cpp's server too.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

__all__ = [
    "DEFAULT_DIMENSIONS",
    "Reply",
    "Request",
    "ToolCall",
    "embedding",
    "embedding_inputs",
    "embeddings_body",
    "error_body",
    "includes_usage",
    "models_body",
    "prompt_text",
    "reply_tokens",
    "sse_frames",
    "tokens_of",
    "unary_body",
    "usage",
]

Request = Mapping[str, Any]

DEFAULT_DIMENSIONS = 64
_CREATED = 1_700_000_000  # any moment does; a clock would make answers differ
_TOKENS_PER_MESSAGE = 4  # what chat formats add for the role and the separators
_END_OF_STREAM = b"data: [DONE]\n\n"

# Type and code of an error, by status; what is not here is the server's fault.
_ERRORS: dict[int, tuple[str, str | None]] = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", None),
    404: ("invalid_request_error", None),
    405: ("invalid_request_error", None),
    413: ("invalid_request_error", None),
    429: ("requests", "rate_limit_exceeded"),
}


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model asks for; `arguments` is JSON text, as a model writes it."""

    name: str
    arguments: str = "{}"


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model says.

    Attributes:
        prompt_tokens, completion_tokens: As reported; counted as words where None.
        finish_reason: By default `tool_calls`, `length` or `stop`, whichever is true.
    """

    text: str = ""
    tool_calls: Sequence[ToolCall] = ()
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    finish_reason: str | None = None


def tokens_of(text: str) -> list[str]:
    """Cut `text` into words, each with the space behind it; joined they are `text` again."""
    return re.findall(r"\S+\s*|\s+", text)


def reply_tokens(request: Request, reply: Reply) -> list[str]:
    """Return the tokens of the reply's text that fit into the request's max_tokens."""
    limit = request.get("max_completion_tokens") or request.get("max_tokens")
    return tokens_of(reply.text)[:limit]


def unary_body(request: Request, reply: Reply) -> bytes:
    """Return the body of a chat completion that is not streamed."""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(reply_tokens(request, reply)) or (None if reply.tool_calls else ""),
        "refusal": None,
    }
    if reply.tool_calls:
        message["tool_calls"] = _tool_calls(request, reply)
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": _finish_reason(request, reply),
    }
    return orjson.dumps(
        {
            **_common(request, "chat.completion"),
            "choices": [choice],
            "usage": usage(request, reply),
        }
    )


def sse_frames(request: Request, reply: Reply) -> list[bytes]:
    """Return the frames of a streamed chat completion, one for each write.

    They are the role, then a frame per token, then (if any) the tool calls, the finish reason,
    the usage with no choices if `stream_options.include_usage` asks for it, and the end mark.
    """
    with_usage = includes_usage(request)
    common = _common(request, "chat.completion.chunk")

    def frame(choices: list[dict[str, Any]], counts: dict[str, int] | None = None) -> bytes:
        chunk = {**common, "choices": choices}
        if with_usage:
            chunk["usage"] = counts
        return b"data: " + orjson.dumps(chunk) + b"\n\n"

    def delta(content: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": content, "logprobs": None, "finish_reason": finish_reason}
        return frame([choice])

    opening = "" if reply.text else None
    frames = [delta({"role": "assistant", "content": opening, "refusal": None})]
    frames += [delta({"content": token}) for token in reply_tokens(request, reply)]
    for index, call in enumerate(_tool_calls(request, reply)):
        function = call["function"]
        opened = {**call, "index": index, "function": {**function, "arguments": ""}}
        frames.append(delta({"tool_calls": [opened]}))
        frames += [
            delta({"tool_calls": [{"index": index, "function": {"arguments": token}}]})
            for token in tokens_of(function["arguments"])
        ]
    frames.append(delta({}, _finish_reason(request, reply)))
    if with_usage:
        frames.append(frame([], usage(request, reply)))
    frames.append(_END_OF_STREAM)
    return frames


def includes_usage(request: Request) -> bool:
    """Whether a stream shall end with its usage."""
    return bool((request.get("stream_options") or {}).get("include_usage"))


def usage(request: Request, reply: Reply) -> dict[str, int]:
    """Return the tokens that the answer reports."""
    prompt = reply.prompt_tokens
    if prompt is None:
        prompt = sum(
            _TOKENS_PER_MESSAGE + len(tokens_of(prompt_text(message)))
            for message in request.get("messages", ())
        )
    completion = reply.completion_tokens
    if completion is None:
        calls = " ".join(f"{call.name} {call.arguments}" for call in reply.tool_calls)
        completion = len(reply_tokens(request, reply)) + len(tokens_of(calls))
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def models_body(models: Sequence[str], *, owner: str = "orchestrator") -> bytes:
    data = [
        {"id": model, "object": "model", "created": _CREATED, "owned_by": owner} for model in models
    ]
    return orjson.dumps({"object": "list", "data": data})


def embeddings_body(request: Request) -> bytes:
    """Return the embeddings of the request's `input`: a text, a list of texts, or token ids."""
    inputs = embedding_inputs(request)
    dimensions = request.get("dimensions") or DEFAULT_DIMENSIONS
    encode = _base64 if request.get("encoding_format") == "base64" else list
    data = [
        {"object": "embedding", "index": index, "embedding": encode(embedding(text, dimensions))}
        for index, text in enumerate(inputs)
    ]
    tokens = sum(len(tokens_of(text)) for text in inputs)
    return orjson.dumps(
        {
            "object": "list",
            "data": data,
            "model": request.get("model"),
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
    )


def embedding_inputs(request: Request) -> list[str]:
    """Return the texts to embed; token ids stand for themselves, as words."""
    given = request.get("input")
    if isinstance(given, str):
        return [given]
    items = list(given or ())
    if items and all(isinstance(item, int) for item in items):
        items = [items]
    return [item if isinstance(item, str) else " ".join(map(str, item)) for item in items]


def embedding(text: str, dimensions: int) -> list[float]:
    """Return a unit vector: the sum of one fixed vector per word.

    Texts that share words are therefore near each other, in any process and on any machine.
    """
    total = [0.0] * dimensions
    for word in text.lower().split() or [""]:
        digest = hashlib.shake_256(word.encode()).digest(4 * dimensions)
        for i, number in enumerate(struct.unpack(f"<{dimensions}i", digest)):
            total[i] += number
    length = math.hypot(*total)
    return [component / length for component in total]


def error_body(
    status: int,
    message: str,
    type: str | None = None,
    code: str | None = None,
    param: str | None = None,
) -> bytes:
    """Return the body of an error; type and code are by default what belongs to the status."""
    usual_type, usual_code = _ERRORS.get(status, ("server_error", None))
    error = {
        "message": message,
        "type": type or usual_type,
        "param": param,
        "code": code or usual_code,
    }
    return orjson.dumps({"error": error})


def prompt_text(message: Mapping[str, Any]) -> str:
    """Return the text of a message, whose content may be a string or a list of parts."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "") for part in content)


def _common(request: Request, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{_digest(request)}",
        "object": kind,
        "created": _CREATED,
        "model": request.get("model"),
    }


def _digest(request: Request) -> str:
    canonical = orjson.dumps(request, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(canonical, digest_size=12).hexdigest()


def _tool_calls(request: Request, reply: Reply) -> list[dict[str, Any]]:
    digest = _digest(request)
    return [
        {
            "id": f"call_{digest}_{index}",
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for index, call in enumerate(reply.tool_calls)
    ]


def _finish_reason(request: Request, reply: Reply) -> str:
    if reply.finish_reason:
        return reply.finish_reason
    if reply.tool_calls:
        return "tool_calls"
    cut = len(reply_tokens(request, reply)) < len(tokens_of(reply.text))
    return "length" if cut else "stop"


def _base64(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
