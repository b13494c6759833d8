"""Chat completions as OpenAI's clients read them, whole and in pieces. Pure: bytes come out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import orjson

from orchestrator.core.decisions import Decision
from orchestrator.core.results import TextChunk, TextResult, ToolCallDelta, Usage
from orchestrator.server.demands import FIELD
from orchestrator.server.outcome import outcome

__all__ = ["CompletionChunks", "completion"]

_DONE: Final = b"data: [DONE]\n\n"
_OPENING: Final = (
    b',"choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},'
    b'"logprobs":null,"finish_reason":null}]'
)
_CLOSING: Final = b',"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":'


def completion(result: TextResult, created: int) -> bytes:
    """Return the body of a whole answer; ``created`` is in seconds since 1970."""
    answer = result.answer
    message: dict[str, Any] = {
        "role": "assistant",
        "content": answer.text or (None if answer.tool_calls or answer.refusal else ""),
        "refusal": answer.refusal,
    }
    if answer.reasoning:
        message["reasoning_content"] = answer.reasoning
    if answer.tool_calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in answer.tool_calls
        ]
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": answer.finish_reason,
    }
    return orjson.dumps(
        {
            "id": _id(result.decision),
            "object": "chat.completion",
            "created": created,
            "model": result.model,
            "choices": [choice],
            "usage": _usage(result.usage),
            FIELD: _outcome(result),
        }
    )


class CompletionChunks:
    """Writes the server-sent events of one streamed answer.

    A chunk is a few joined bytes: everything that does not change is written once.

    Args:
        decision: Who is answering.
        created: When, in seconds since 1970.
        include_usage: Whether a chunk with the usage ends the stream.
    """

    __slots__ = ("_created", "_head", "_include_usage", "_tail", "_text_head", "_text_tail")

    def __init__(self, decision: Decision, created: int, *, include_usage: bool) -> None:
        self._created = created
        self._include_usage = include_usage
        self._tail = b',"usage":null}\n\n' if include_usage else b"}\n\n"
        self._text_tail = b'},"logprobs":null,"finish_reason":null}]' + self._tail
        self._answered_by(decision)

    def _answered_by(self, decision: Decision) -> None:
        known = {
            "id": _id(decision),
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": decision.key,
        }
        self._head = b"data: " + orjson.dumps(known)[:-1]
        self._text_head = self._head + b',"choices":[{"index":0,"delta":{"content":'

    def opening(self) -> bytes:
        """Return the chunk that begins the answer."""
        return self._head + _OPENING + self._tail

    def restart(self, decision: Decision) -> bytes:
        """Return the chunk that begins the answer anew, by whoever this decision chose."""
        self._answered_by(decision)
        note = {"restarted": True, "decision_id": decision.id, "model": decision.key}
        opening = self.opening().removesuffix(b"}\n\n")
        return b'%b,"%b":%b}\n\n' % (opening, FIELD.encode(), orjson.dumps(note))

    def piece(self, chunk: TextChunk) -> bytes:
        """Return the chunk for a piece of content, nothing if there is none in it."""
        text = b""
        if chunk.text:
            text = self._text_head + orjson.dumps(chunk.text) + self._text_tail
        if not (chunk.tool_calls or chunk.reasoning or chunk.refusal):
            return text
        delta: dict[str, Any] = {}
        if chunk.reasoning:
            delta["reasoning_content"] = chunk.reasoning
        if chunk.refusal:
            delta["refusal"] = chunk.refusal
        if chunk.tool_calls:
            delta["tool_calls"] = _tool_deltas(chunk.tool_calls)
        return text + self._delta(delta)

    def end(self, result: TextResult) -> bytes:
        """Return what follows the last piece, up to the end mark."""
        reason = orjson.dumps(result.answer.finish_reason)
        parts = [b"%b%b%b}]%b" % (self._head, _CLOSING, reason, self._tail)]
        if self._include_usage:
            last = {"choices": [], "usage": _usage(result.usage), FIELD: _outcome(result)}
            parts.append(b"%b,%b\n\n" % (self._head, orjson.dumps(last)[1:]))
        else:
            # A comment: clients that know nothing of it pass over it.
            parts.append(b": %b %b\n\n" % (FIELD.encode(), orjson.dumps(_outcome(result))))
        parts.append(_DONE)
        return b"".join(parts)

    def _delta(self, delta: dict[str, Any]) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
        return b'%b,"choices":[%b]%b' % (self._head, orjson.dumps(choice), self._tail)


def _id(decision: Decision) -> str:
    return f"chatcmpl-{decision.request_id}"


def _outcome(result: TextResult) -> dict[str, Any]:
    answer = result.answer
    return outcome(
        result,
        first_token_s=result.first_token_s and round(result.first_token_s, 6),
        provider_model=answer.model_version,
        usage_estimated=result.usage.estimated,
        warnings=answer.warnings,
    )


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def _tool_deltas(deltas: Iterable[ToolCallDelta]) -> list[dict[str, Any]]:
    found = []
    for delta in deltas:
        function = {"arguments": delta.arguments}
        piece: dict[str, Any] = {"index": delta.index, "function": function}
        if delta.name is not None:
            piece |= {"id": delta.id, "type": "function"}
            function["name"] = delta.name
        found.append(piece)
    return found
