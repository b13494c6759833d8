"""A streamed chat completion: bytes cut anywhere go in, text chunks come out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from orchestrator.core.errors import ErrorClass, ModelResponseError
from orchestrator.core.results import FinishReason, TextChunk, ToolCall, ToolCallDelta, Usage
from orchestrator.integrations.openai_answer import (
    FINISH_REASONS,
    SHAPE_ERRORS,
    misshapen,
    read_text,
    read_usage,
    refuse_empty,
)
from orchestrator.integrations.openai_dialect import WireRequest
from orchestrator.integrations.provider_errors import error_from_event
from orchestrator.integrations.sse import SseDecoder
from orchestrator.integrations.text_mold import TextMold

__all__ = ["ChatStreamDecoder", "whole_calls"]


class ChatStreamDecoder:
    """Decodes one stream.

    Pieces of text that arrive in one read become one chunk: they came at the same moment, so
    nothing is lost but the seams. Emulated tool calls are held back until they are whole.
    """

    __slots__ = (
        "_events",
        "_finish_reason",
        "_has_content",
        "_held",
        "_model_version",
        "_mold",
        "_provider",
        "_request",
        "_texts",
        "_usage",
        "done",
    )

    def __init__(self, request: WireRequest, provider: str) -> None:
        self._request = request
        self._provider = provider
        self._events = SseDecoder()
        self._texts: list[str] = []  # of this read
        self._held: list[str] = []  # of an emulated call
        self._mold: TextMold | None = None
        self._has_content = False
        self._finish_reason: FinishReason | None = None
        self._usage: Usage | None = None
        self._model_version: str | None = None
        self.done = False
        """The end mark has come; whatever follows is not part of the answer."""

    @property
    def complete(self) -> bool:
        """Whether the whole answer has come, though its usage may still follow."""
        return self._finish_reason is not None

    def feed(self, data: bytes) -> list[TextChunk]:
        """Take the next bytes and return the chunks they complete, or raise instead of them.

        Raises:
            ModelResponseError: They are not a streamed completion, or it is empty.
            ModelError: The provider reports an error.
        """
        return self._decode(self._events.feed(data))

    def finish(self) -> list[TextChunk]:
        """Take note of the body's end and return the chunks it completes.

        Raises:
            ModelResponseError: The answer is cut off (class ``partial_failure``) or empty.
            ModelError: The provider reports an error.
        """
        try:
            chunks = self._decode(self._events.flush())
        except ModelResponseError as error:
            if error.classification is ErrorClass.INVALID_RESPONSE:  # the cut went through it
                raise self._cut_off() from error
            raise
        if not self.complete:
            raise self._cut_off()
        return chunks

    def _decode(self, payloads: list[bytes]) -> list[TextChunk]:
        chunks: list[TextChunk] = []
        position = 0
        while position < len(payloads):
            if self._mold is not None:
                text, position = self._mold.read(payloads, position)
                if text:
                    self._texts.append(text)
                if position == len(payloads):
                    break
            if payloads[position] == b"[DONE]":
                self._end(chunks)
                break
            self._read(payloads[position], chunks)
            position += 1
        self._take_texts(chunks)
        return chunks

    def _read(self, payload: bytes, chunks: list[TextChunk]) -> None:
        try:
            event = orjson.loads(payload)
            if choices := event.get("choices"):
                self._read_choice(choices[0], event, chunks)
                if self._mold is None:
                    self._mold = TextMold.of(payload, event)
            elif not self.complete and (error := event.get("error")):
                raise error_from_event(error, provider=self._provider)
            if usage := event.get("usage"):
                self._usage = read_usage(usage)
                if self.complete:
                    chunks.append(TextChunk(usage=self._usage))
            elif choices is None:
                raise KeyError("choices")
        except SHAPE_ERRORS as error:
            if not self.complete:  # no junk behind an answer can spoil it
                raise misshapen("chunk of a completion", payload, self._provider, error) from error

    def _read_choice(
        self, choice: dict[str, Any], event: dict[str, Any], chunks: list[TextChunk]
    ) -> None:
        if choice.get("index"):  # more answers than one were asked for; ours is the first
            return
        delta = choice.get("delta") or {}
        if content := delta.get("content"):
            self._texts.append(content if content.__class__ is str else read_text(content))
        if len(delta) > 1 or "content" not in delta:
            self._read_beside_content(delta, chunks)
        reason = choice.get("finish_reason")
        if reason and not self.complete:
            if reason == "error":
                error = event.get("error") or choice.get("error")
                raise error_from_event(error, provider=self._provider)
            self._model_version = event.get("model")
            self._finish(FINISH_REASONS.get(reason, "stop"), chunks)

    def _read_beside_content(self, delta: dict[str, Any], chunks: list[TextChunk]) -> None:
        reasoning = read_text(delta.get("reasoning_content") or delta.get("reasoning"))
        refusal = read_text(delta.get("refusal"))
        calls = _call_deltas(delta)
        if reasoning or refusal or calls:
            self._take_texts(chunks)
            self._has_content |= bool(refusal or calls)
            chunks.append(TextChunk(reasoning=reasoning, refusal=refusal, tool_calls=calls))

    def _finish(self, reason: FinishReason, chunks: list[TextChunk]) -> None:
        self._take_texts(chunks)
        if self._request.emulation is not None:
            reply = self._request.emulation.read("".join(self._held), reason)
            reason = reply.finish_reason
            if reply.text or reply.tool_calls:
                self._has_content = True
                calls = whole_calls(reply.tool_calls)
                chunks.append(TextChunk(text=reply.text, tool_calls=calls))
        if not self._has_content:
            refuse_empty(reason, self._request, self._provider)
        self._finish_reason = reason
        chunks.append(
            TextChunk(
                finish_reason=reason,
                usage=self._usage,
                model_version=self._model_version,
                warnings=self._request.warnings,
            )
        )

    def _end(self, chunks: list[TextChunk]) -> None:
        self.done = True
        if not self.complete:  # some servers give no reason; the end mark says it is whole
            self._finish("stop", chunks)

    def _take_texts(self, chunks: list[TextChunk]) -> None:
        if not self._texts:
            return
        text = "".join(self._texts)
        self._texts.clear()
        if self._request.emulation is not None:
            self._held.append(text)
        else:
            self._has_content = True
            chunks.append(TextChunk(text=text))

    def _cut_off(self) -> ModelResponseError:
        return ModelResponseError(
            f"{self._provider} ended the stream before the answer was whole",
            classification=ErrorClass.PARTIAL_FAILURE,
        )


def whole_calls(calls: Iterable[ToolCall]) -> tuple[ToolCallDelta, ...]:
    """Return calls as pieces of a stream, each in one piece."""
    return tuple(
        ToolCallDelta(index, call.id, call.name, call.arguments) for index, call in enumerate(calls)
    )


def _call_deltas(delta: dict[str, Any]) -> tuple[ToolCallDelta, ...]:
    if legacy := delta.get("function_call"):
        return (_call_delta(0, {"function": legacy}),)
    pieces = delta.get("tool_calls") or ()
    return tuple(_call_delta(position, piece) for position, piece in enumerate(pieces))


def _call_delta(position: int, piece: dict[str, Any]) -> ToolCallDelta:
    index = piece.get("index")
    if index is None:  # Google's compatible endpoint sends each call whole, without an index
        index = position
    function = piece.get("function") or {}
    name = function.get("name") or None
    call_id = piece.get("id") or (f"call_{index}" if name else None)
    return ToolCallDelta(index, call_id, name, function.get("arguments") or "")
