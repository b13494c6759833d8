"""What a request implies: the requirements nobody had to write down."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, NamedTuple

from orchestrator.core.capabilities import capability_mask
from orchestrator.core.params import EmbeddingParams, Message, Params, TextGenerationParams
from orchestrator.core.requirements import ANYTHING, Requirements
from orchestrator.core.tokens import estimate_message_tokens, estimate_tokens

__all__ = ["DEFAULT_OUTPUT_TOKENS", "DEFAULT_PROMPT_TOKENS", "Size", "derived", "size_of"]

DEFAULT_PROMPT_TOKENS: Final = 750
"""Assumed where the prompt is not known. With the next, flat prices per 1K mean what they say."""
DEFAULT_OUTPUT_TOKENS: Final = 250
"""Assumed where neither the request nor experience bounds the answer."""

_COUNTED: Final = "request: prompt"
_COUNTED_WITH_OUTPUT: Final = "request: prompt + max_tokens"


class Size(NamedTuple):
    """How large a request is, in tokens.

    Attributes:
        prompt: All that goes in.
        output: The most that may come out, or None where the request sets no limit.
        longest: The longest text that has to fit a window by itself; 0 where it is not known.
        origin: Where these numbers come from.
    """

    prompt: int = DEFAULT_PROMPT_TOKENS
    output: int | None = None
    longest: int = 0
    origin: str = "default"

    @property
    def window(self) -> int:
        """Tokens that a window must hold; 0 where that is not known."""
        return self.longest + (self.output or 0)


def size_of(params: Params) -> Size:
    """Estimate how large a request is."""
    if isinstance(params, TextGenerationParams):
        prompt = estimate_message_tokens(params.conversation(), params.tools or ())
        origin = _COUNTED if params.max_tokens is None else _COUNTED_WITH_OUTPUT
        return Size(prompt, params.max_tokens, prompt, origin)
    if isinstance(params, EmbeddingParams):
        lengths = [estimate_tokens(text) for text in params.texts]
        return Size(sum(lengths), 0, max(lengths), _COUNTED)
    return Size()


def derived(params: Params, *, stream: bool = False) -> Requirements:
    """Return what a request demands by its content, whatever its size."""
    if isinstance(params, TextGenerationParams):
        messages = params.messages
        return _text_shape(
            bool(params.tools) and params.tool_choice != "none",
            None if params.response_format is None else params.response_format.get("type"),
            messages is not None and _has_part(messages, "image_url"),
            messages is not None and _has_part(messages, "input_audio"),
            stream,
        )
    return _EMBEDDINGS if isinstance(params, EmbeddingParams) else ANYTHING


def _has_part(messages: list[Message], kind: str) -> bool:
    for message in messages:
        content = message.get("content")
        if content.__class__ is list and any(_kind(part) == kind for part in content or ()):
            return True
    return False


def _kind(part: Any) -> str | None:
    return part.get("type") if isinstance(part, dict) else None


@lru_cache(maxsize=256)
def _text_shape(
    tools: bool, response_format: str | None, image: bool, audio: bool, stream: bool
) -> Requirements:
    found = [("text_generation", "request: text")]
    if tools:
        found.append(("function_calling", "request: tools"))
    if response_format in ("json_object", "json_schema"):
        name = "json_mode" if response_format == "json_object" else "json_schema"
        found.append((name, f"request: response_format {response_format}"))
    if image:
        found.append(("vision", "request: image part"))
    if audio:
        found.append(("audio", "request: audio part"))
    if stream:
        found.append(("streaming", "request: stream"))
    return _shape(tuple(found))


def _shape(origins: tuple[tuple[str, str], ...]) -> Requirements:
    return Requirements(capabilities=capability_mask(n for n, _ in origins), origins=origins)


_EMBEDDINGS: Final = _shape((("embeddings", "request: embeddings"),))
