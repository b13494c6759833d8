"""What a model's name suggests that it can do: a guess, for models of which nobody says more."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from orchestrator.lifecycle.evidence import Evidence, Source

__all__ = ["FAMILIES", "SPECIALISTS", "NamePattern", "evidence_of_name"]


class NamePattern(NamedTuple):
    """A family of names and what its models have in common.

    ``pattern`` is searched for in the name in lower case, and begins where a word of it does.
    """

    pattern: str
    capabilities: tuple[str, ...]


_CHAT: Final = ("chat_completion", "streaming")
_TOOLS: Final = (*_CHAT, "function_calling", "json_mode")
_SCHEMA: Final = (*_TOOLS, "json_schema")

SPECIALISTS: Final = (
    NamePattern(r"rerank", ("rerank",)),
    NamePattern(r"embed|(bge|gte|e5|all-minilm|all-mpnet|voyage)-", ("embeddings",)),
    NamePattern(r"whisper|.*-transcribe", ("speech_to_text",)),
    NamePattern(r"tts-|.*-tts", ("text_to_speech",)),
    NamePattern(r"dall-e|gpt-image|stable-diffusion|sdxl|flux", ("image_generation",)),
    NamePattern(r"(omni|text)-moderation|llama-?guard|shieldgemma", ("moderation",)),
)
"""Models for one kind of work. The first that fits says all, since the rest of such a name
(``qwen3-embedding``) only tells what it was made from."""

FAMILIES: Final = (
    # Hosted ones.
    NamePattern(r"gpt-3\.5-turbo", _TOOLS),
    NamePattern(r"gpt-4(-\d{4})?$", (*_CHAT, "function_calling")),
    NamePattern(r"gpt-4-turbo", (*_TOOLS, "vision")),
    NamePattern(r"gpt-(4o|4\.1|5)", (*_SCHEMA, "vision")),
    NamePattern(r"o[134](-|$)", _SCHEMA),
    NamePattern(r"(o1|o1-pro|o3|o3-pro|o4-mini)(-\d|$)", ("vision",)),
    NamePattern(r"claude-", (*_CHAT, "function_calling", "vision")),
    NamePattern(r"gemini-", (*_SCHEMA, "vision", "audio")),
    NamePattern(r"mistral-(small|medium|large)|ministral", _SCHEMA),
    NamePattern(r"deepseek-(chat|v3)", _TOOLS),
    NamePattern(r"command-(r|a)\b", _TOOLS),
    # Open ones. A base model's name has no word for a tuned one in it, except where Ollama's
    # short names (``llama3.1:8b``) mean the tuned one.
    NamePattern(r"gpt-oss", _SCHEMA),
    NamePattern(r"llama-?(3\.[123]|4)(:|.*(instruct|vision))", (*_CHAT, "function_calling")),
    NamePattern(r"qwen-?(2\.5|3)(:|.*instruct)", (*_CHAT, "function_calling")),
    # What is added to a family's name.
    NamePattern(r".*(instruct|chat)\b|.*-it\b", _CHAT),
    NamePattern(r"llava|bakllava|pixtral|moondream|internvl|smolvlm", (*_CHAT, "vision")),
    NamePattern(r".*\d-?vl\b|.*-vision", (*_CHAT, "vision")),
    NamePattern(r".*coder|codestral|codellama|codegemma", ("code_generation",)),
)
"""Every line that fits adds what it has."""


def evidence_of_name(name: str, at: float) -> tuple[Evidence, ...]:
    """Return what a name suggests; nothing where it is of no family known here.

    Args:
        name: As its provider has it, such as ``meta-llama/Llama-3.2-11B-Vision-Instruct``.
        at: Now, in seconds since 1970.
    """
    lowered = name.lower()
    found: dict[str, NamePattern] = {}
    for fits, line in _SPECIALISTS:
        if fits.search(lowered):
            found = dict.fromkeys(line.capabilities, line)
            break
    else:
        for fits, line in _FAMILIES:
            if fits.search(lowered):
                found |= dict.fromkeys(line.capabilities, line)
    return tuple(
        Evidence(capability, True, Source.NAME, at, f"{name!r} is like {line.pattern!r}")
        for capability, line in found.items()
    )


def _compiled(lines: tuple[NamePattern, ...]) -> tuple[tuple[re.Pattern[str], NamePattern], ...]:
    return tuple((re.compile(rf"(?<![a-z0-9])(?:{line.pattern})"), line) for line in lines)


_SPECIALISTS: Final = _compiled(SPECIALISTS)
_FAMILIES: Final = _compiled(FAMILIES)
