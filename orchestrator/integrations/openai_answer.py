"""OpenAI's answer bodies, read: whole completions, embeddings, and the pieces streams share."""

from __future__ import annotations

import base64
from typing import Any, Final

import numpy as np
import orjson

from orchestrator.core.errors import ErrorClass, ModelResponseError
from orchestrator.core.params import EmbeddingParams
from orchestrator.core.results import (
    EmbeddingAnswer,
    FinishReason,
    TextAnswer,
    ToolCall,
    Usage,
)
from orchestrator.integrations.openai_dialect import WireRequest
from orchestrator.integrations.provider_errors import error_from_event, excerpt

__all__ = [
    "FINISH_REASONS",
    "SHAPE_ERRORS",
    "misshapen",
    "read_completion",
    "read_embeddings",
    "read_text",
    "read_usage",
    "refuse_empty",
]

FINISH_REASONS: Final[dict[str, FinishReason]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "function_call": "tool_calls",  # before tools, OpenAI had functions
    "model_length": "length",  # Mistral
    "max_tokens": "length",
}
"""Theirs and ours; every other reason (``eos``, ``end_turn``, ``stop_sequence``) is a stop."""

SHAPE_ERRORS: Final = (LookupError, TypeError, ValueError, AttributeError)
"""What reading a field that is missing or misshapen raises."""


def read_completion(body: bytes, request: WireRequest, provider: str) -> TextAnswer:
    """Read a chat completion.

    Raises:
        ModelResponseError: It is not one, or it is empty.
        ModelError: It is an error in spite of its status.
    """
    data = _json_object(body, provider)
    try:
        choice = data["choices"][0]
        reason = choice.get("finish_reason")
        if reason == "error":
            raise error_from_event(choice.get("error") or data.get("error"), provider=provider)
        message = choice["message"]
        text = read_text(message.get("content"))
        calls = _tool_calls(message)
        finish_reason = FINISH_REASONS.get(reason, "tool_calls" if calls else "stop")
        refusal = read_text(message.get("refusal"))
        reasoning = read_text(message.get("reasoning_content") or message.get("reasoning"))
        usage = read_usage(data.get("usage"))
    except SHAPE_ERRORS as error:
        raise misshapen("chat completion", body, provider, error) from error
    if request.emulation is not None:
        reply = request.emulation.read(text, finish_reason)
        text, calls, finish_reason = reply.text, reply.tool_calls, reply.finish_reason
    if not (text or calls or refusal):
        refuse_empty(finish_reason, request, provider)
    return TextAnswer(
        text=text,
        tool_calls=calls,
        finish_reason=finish_reason,
        usage=usage,
        model_version=data.get("model"),
        reasoning=reasoning or None,
        refusal=refusal or None,
        warnings=request.warnings,
    )


def read_embeddings(body: bytes, params: EmbeddingParams, provider: str) -> EmbeddingAnswer:
    """Read the vectors, one per text and in the texts' order.

    Raises:
        ModelResponseError: They are not that, or not of the dimensions that were asked for.
        ModelError: It is an error in spite of its status.
    """
    data = _json_object(body, provider)
    try:
        rows = {row["index"]: _vector(row["embedding"]) for row in data["data"]}
        expected = len(params.texts)
        if len(data["data"]) != expected:
            raise ValueError(f"{len(data['data'])} vectors for {expected} texts")
        vectors = [rows[index] for index in range(expected)]
        usage = read_usage(data.get("usage"))
    except SHAPE_ERRORS as error:
        raise misshapen("list of embeddings", body, provider, error) from error
    lengths = {len(vector) for vector in vectors}
    if len(lengths) > 1 or lengths == {0}:
        raise ModelResponseError(f"{provider} answered vectors of {sorted(lengths)} dimensions")
    if params.dimensions not in (None, *lengths):
        raise ModelResponseError(
            f"{provider} answered vectors of {lengths.pop()} dimensions, not {params.dimensions}",
            classification=ErrorClass.UNSUPPORTED,
            hint="this model cannot shorten its vectors; leave dimensions out",
        )
    return EmbeddingAnswer(vectors=vectors, usage=usage, model_version=data.get("model"))


def misshapen(what: str, body: bytes, provider: str, error: Exception) -> ModelResponseError:
    """Return the error for a body in which one of `SHAPE_ERRORS` was met."""
    if isinstance(error, orjson.JSONDecodeError):
        return ModelResponseError(
            f"{provider} answered what is not JSON ({error}): {excerpt(body)}"
        )
    fault = f"no {error}" if isinstance(error, KeyError) else str(error)
    return ModelResponseError(f"{provider} answered no {what} ({fault}): {excerpt(body)}")


def refuse_empty(finish_reason: FinishReason, request: WireRequest, provider: str) -> None:
    """Raise for an answer without any content, unless it is what was asked for.

    It is where ``max_tokens`` ended the answer before its first word (while a model was
    reasoning, say) or a stop sequence may have.
    """
    if finish_reason == "content_filter":
        raise ModelResponseError(
            f"{provider} withheld the whole answer: content filter",
            classification=ErrorClass.CONTENT_FILTER,
        )
    if finish_reason != "length" and not request.may_be_empty:
        raise ModelResponseError(
            f"{provider} answered neither text nor a tool call",
            classification=ErrorClass.EMPTY_COMPLETION,
        )


def read_text(content: Any) -> str:
    """Return a message's text; some servers send it as a list of parts."""
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if isinstance(content, list):
        return "".join(part["text"] for part in content if part["type"] == "text")
    raise TypeError(f"a text is of type {type(content).__name__}")


def read_usage(usage: Any) -> Usage | None:
    """Return the tokens of an answer, or None where the server does not say."""
    if not usage:
        return None
    prompt_details = usage.get("prompt_tokens_details") or {}
    completion_details = usage.get("completion_tokens_details") or {}
    return Usage(
        _count(usage, "prompt_tokens"),
        _count(usage, "completion_tokens"),
        _count(prompt_details, "cached_tokens"),
        _count(completion_details, "reasoning_tokens"),
    )


def _count(counts: dict[str, Any], name: str) -> int:
    count = counts.get(name) or 0
    if not isinstance(count, int):
        raise TypeError(f"{name} is {count!r}")
    return count


def _tool_calls(message: dict[str, Any]) -> tuple[ToolCall, ...]:
    if calls := message.get("tool_calls"):
        return tuple(
            _tool_call(call.get("id") or f"call_{position}", call["function"])
            for position, call in enumerate(calls)
        )
    if legacy := message.get("function_call"):
        return (_tool_call("call_0", legacy),)
    return ()


def _tool_call(call_id: str, function: dict[str, Any]) -> ToolCall:
    arguments = function.get("arguments") or "{}"
    if not isinstance(arguments, str):  # some servers parse what they should pass on
        arguments = orjson.dumps(arguments).decode()
    return ToolCall(call_id, read_text(function["name"]), arguments)


def _vector(embedding: Any) -> list[float]:
    if isinstance(embedding, str):
        raw = np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4")
        decoded: list[float] = raw.astype(np.float64).tolist()
        return decoded
    if not isinstance(embedding, list) or not {float, int}.issuperset(map(type, embedding)):
        raise TypeError("an embedding is not a list of numbers")
    return embedding


def _json_object(body: bytes, provider: str) -> dict[str, Any]:
    try:
        data: dict[str, Any] = orjson.loads(body)
        error = data.get("error")
    except SHAPE_ERRORS as fault:
        raise misshapen("JSON object", body, provider, fault) from fault
    if error:
        raise error_from_event(error, provider=provider)
    return data
