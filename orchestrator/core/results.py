"""What comes back: a model's answer, and the result that says how it came about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from orchestrator.core.records import record

if TYPE_CHECKING:
    from orchestrator.core.decisions import Decision

__all__ = [
    "Attempt",
    "EmbeddingAnswer",
    "EmbeddingResult",
    "FinishReason",
    "HandlerAnswer",
    "HandlerResult",
    "Result",
    "TextAnswer",
    "TextChunk",
    "TextResult",
    "ToolCall",
    "ToolCallDelta",
    "Usage",
]

FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter"]


@record()
class Usage:
    """Tokens of one answer. ``estimated`` where the provider did not say."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens


@record()
class ToolCall:
    """A function the model wants called; ``arguments`` is JSON text as the model wrote it."""

    id: str
    name: str
    arguments: str


@record()
class ToolCallDelta:
    """A piece of the tool call at ``index``; id and name come with its first piece."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


@record(kw_only=True)
class TextAnswer:
    """One model's whole answer in text."""

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason = "stop"
    usage: Usage | None = None
    model_version: str | None = None
    """The model name that the provider reported."""
    reasoning: str | None = None
    refusal: str | None = None
    """Why the model declined, in its own words, where it says so apart from the text."""
    warnings: tuple[str, ...] = ()
    """Parameters the provider could not honour, a sentence each."""


@record(kw_only=True)
class TextChunk:
    """A piece of a streamed answer; usage and finish reason come with the last ones."""

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    model_version: str | None = None
    warnings: tuple[str, ...] = ()
    """As in `TextAnswer`; with the finish reason."""
    restarted: bool = False
    """The answer starts over from here, with another model: drop what came before."""

    @property
    def has_content(self) -> bool:
        """Whether a caller has seen part of the answer once this was handed over."""
        return bool(self.text or self.tool_calls or self.reasoning or self.refusal)


@record(kw_only=True)
class EmbeddingAnswer:
    """Vectors in the order of the texts."""

    vectors: list[list[float]]
    usage: Usage | None = None
    model_version: str | None = None
    warnings: tuple[str, ...] = ()


@record(kw_only=True)
class HandlerAnswer:
    """What a plain handler or a model type of the user's own returned."""

    value: Any
    usage: Usage | None = None
    warnings: tuple[str, ...] = ()


@record(kw_only=True)
class Attempt:
    """One try at one model within a request."""

    decision: Decision
    started_s: float
    """Seconds after the request began."""
    latency_s: float
    cost_usd: float
    error: Exception | None = None

    @property
    def model(self) -> str:
        """Key of the model that was tried."""
        return self.decision.key

    @property
    def decision_id(self) -> str:
        """Id of the decision that chose it."""
        return self.decision.id


@record(kw_only=True)
class Result:
    """How a request was answered; the answer itself is in the subclasses."""

    request_id: str
    decision: Decision
    attempts: tuple[Attempt, ...]
    """Every attempt in order; the last one answered."""
    cost_usd: float
    """USD of all attempts together."""
    latency_s: float
    """Seconds from the call to the whole answer, failed attempts included."""
    first_token_s: float | None = None
    """Seconds from the call to the first content token, where it is known."""

    @property
    def model(self) -> str:
        """Key of the model that answered."""
        return self.decision.key

    @property
    def decision_id(self) -> str:
        """Id of the decision that answered; give it to `feedback`."""
        return self.decision.id


@record(kw_only=True)
class TextResult(Result):
    """Text, and how it came about."""

    answer: TextAnswer

    @property
    def text(self) -> str:
        """The answer's text."""
        return self.answer.text

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The functions the model wants called."""
        return self.answer.tool_calls

    @property
    def usage(self) -> Usage:
        """Tokens of the answer."""
        return self.answer.usage or Usage(estimated=True)

    def __str__(self) -> str:
        return self.answer.text


@record(kw_only=True)
class EmbeddingResult(Result):
    """Vectors, and how they came about."""

    answer: EmbeddingAnswer

    @property
    def vectors(self) -> list[list[float]]:
        """One vector per text, in the order of the texts."""
        return self.answer.vectors

    @property
    def usage(self) -> Usage:
        """Tokens of the texts."""
        return self.answer.usage or Usage(estimated=True)


@record(kw_only=True)
class HandlerResult(Result):
    """What a plain handler returned, and how it came about."""

    answer: HandlerAnswer
