"""A streamed answer, as far as it has come."""

from __future__ import annotations

from orchestrator.core.results import FinishReason, TextAnswer, TextChunk, ToolCall, Usage

__all__ = ["Collected"]


class Collected:
    """What has arrived of an answer."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._reasoning: list[str] = []
        self._refusal: list[str] = []
        self._warnings: dict[str, None] = {}
        self._calls: dict[int, tuple[str, str, list[str]]] = {}
        self.finish_reason: FinishReason | None = None
        self.usage: Usage | None = None
        self._version: str | None = None

    def add(self, chunk: TextChunk) -> None:
        """Take the next piece."""
        if chunk.text:
            self._texts.append(chunk.text)
        if chunk.reasoning:
            self._reasoning.append(chunk.reasoning)
        if chunk.refusal:
            self._refusal.append(chunk.refusal)
        if chunk.warnings:
            self._warnings.update(dict.fromkeys(chunk.warnings))
        for delta in chunk.tool_calls:
            known = self._calls.get(delta.index, ("", "", []))
            known[2].append(delta.arguments)
            call_id, name = known[0] or delta.id or "", known[1] or delta.name or ""
            self._calls[delta.index] = (call_id, name, known[2])
        self.finish_reason = chunk.finish_reason or self.finish_reason
        self.usage = chunk.usage or self.usage
        self._version = chunk.model_version or self._version

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._texts)

    def whole(self, usage: Usage) -> TextAnswer:
        """Return all of it as one answer that took these tokens."""
        return TextAnswer(
            text=self.text,
            tool_calls=tuple(
                ToolCall(call_id, name, "".join(arguments))
                for _, (call_id, name, arguments) in sorted(self._calls.items())
            ),
            finish_reason=self.finish_reason or "stop",
            usage=usage,
            model_version=self._version,
            reasoning="".join(self._reasoning) or None,
            refusal="".join(self._refusal) or None,
            warnings=tuple(self._warnings),
        )
