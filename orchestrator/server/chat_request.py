"""OpenAI's chat completion request, read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from orchestrator.core.errors import InvalidRequestError
from orchestrator.core.params import TextGenerationParams, validated
from orchestrator.engine.streaming import OnInterrupt
from orchestrator.server.demands import FIELD, read_demands, route_of

__all__ = ["ChatRequest", "read_chat_request"]


class ChatRequest(NamedTuple):
    """What was asked.

    Attributes:
        params: What the model gets.
        options: How to route it and what it demands, as `Orchestrator.generate` takes them.
        stream: Whether to answer in pieces.
        include_usage: Whether a stream ends with its usage.
        on_interrupt: What a stream does when its model breaks off.
    """

    params: TextGenerationParams
    options: dict[str, Any]
    stream: bool
    include_usage: bool
    on_interrupt: OnInterrupt


_OURS: Final = ("model", "stream", "stream_options", FIELD)
_FIELDS: Final = {
    "messages": "messages",
    "temperature": "temperature",
    "max_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "top_p": "top_p",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "stop": "stop_sequences",
    "seed": "seed",
    "tools": "tools",
    "tool_choice": "tool_choice",
    "parallel_tool_calls": "parallel_tool_calls",
    "response_format": "response_format",
}
"""Their fields and ours."""
_NEWER_NAME: Final = "max_completion_tokens"
"""It holds where both are given."""
_ONLY: Final[dict[str, tuple[Any, str]]] = {
    "n": (1, "ask again for another answer"),
    "logprobs": (False, "leave it out"),
    "top_logprobs": (0, "leave it out"),
    "modalities": (["text"], "leave it out"),
    "audio": (None, "leave it out"),
    "functions": (None, "use tools"),
    "function_call": (None, "use tool_choice"),
}
"""Fields whose answer we could not give: the one value that changes nothing, and what to do."""
_FORMATS: Final = ("text", "json_object", "json_schema")


def read_chat_request(data: Mapping[str, Any], headers: Mapping[str, str]) -> ChatRequest:
    """Read a request. What neither it nor OpenAI knows goes to the provider as it is.

    Raises:
        InvalidRequestError: A field is missing, of the wrong type, out of range, or asks for
            what is not supported.
    """
    demands = read_demands(headers, data.get(FIELD))
    stream, options = data.get("stream") or False, data.get("stream_options") or {}
    if not isinstance(stream, bool):
        raise InvalidRequestError(f"stream is true or false, not {stream!r}", param="stream")
    if not isinstance(options, dict):
        raise InvalidRequestError("stream_options must be an object", param="stream_options")
    on_interrupt = demands.pop("on_interrupt", "error")
    demands |= route_of(data.get("model"), demands.pop("route", None))
    return ChatRequest(
        _params(data), demands, stream, bool(options.get("include_usage")), on_interrupt
    )


def _params(data: Mapping[str, Any]) -> TextGenerationParams:
    values: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for name, value in data.items():
        if value is not None:
            ours = _FIELDS.get(name)
            if ours is not None:
                values[ours] = value
            elif name not in _OURS:
                extra[name] = value
    newest = data.get(_NEWER_NAME)
    if newest is not None:
        values["max_tokens"] = newest
    if "messages" not in values:
        raise InvalidRequestError("messages is missing", param="messages")
    stop = values.get("stop_sequences")
    if isinstance(stop, str):
        values["stop_sequences"] = [stop]
    if "response_format" in values:
        _check_format(values["response_format"])
    if extra:
        _refuse_unsupported(extra)
        values["extra"] = extra
    try:
        params: TextGenerationParams = validated(TextGenerationParams, values)
    except InvalidRequestError as error:
        raise _in_their_words(error, data) from error
    return params


def _refuse_unsupported(extra: dict[str, Any]) -> None:
    for name, (harmless, hint) in _ONLY.items():
        if name in extra and extra.pop(name) != harmless:
            raise InvalidRequestError(f"{name} is not supported", param=name, hint=hint)


def _check_format(response_format: Any) -> None:
    kind = response_format.get("type") if isinstance(response_format, dict) else None
    if kind not in _FORMATS:
        raise InvalidRequestError(
            "response_format must be an object with a known type",
            param="response_format",
            hint=f"one of {', '.join(_FORMATS)}",
        )


def _in_their_words(error: InvalidRequestError, data: Mapping[str, Any]) -> InvalidRequestError:
    """Return an error about one of our fields as one about the field that was sent."""
    if error.param is None:
        return InvalidRequestError(error.message, param="messages", hint=error.hint)
    field = re.split(r"[.\[]", error.param, maxsplit=1)[0]
    sent = {ours: theirs for theirs, ours in _FIELDS.items() if data.get(theirs) is not None}
    return InvalidRequestError(
        error.message.replace(field, sent[field], 1),
        param=error.param.replace(field, sent[field], 1),
        hint=error.hint,
    )
