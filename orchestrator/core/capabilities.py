"""What a model can do: a set of names outside, a bit mask inside."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Final

from orchestrator.core.errors import UnknownCapabilityError

__all__ = ["CAPABILITIES", "ModelCapabilities", "capability_mask", "capability_names"]

CAPABILITIES: Final = (
    "text_generation",
    "chat_completion",
    "streaming",
    "function_calling",
    "json_mode",
    "json_schema",
    "vision",
    "audio",
    "code_generation",
    "embeddings",
    "image_generation",
    "speech_to_text",
    "text_to_speech",
    "rerank",
    "moderation",
    "classification",
)
"""Every capability, in the order of its bit."""

_BITS: Final = {name: 1 << position for position, name in enumerate(CAPABILITIES)}


def capability_mask(names: Iterable[str]) -> int:
    """Return the bits of these capabilities.

    Raises:
        UnknownCapabilityError: A name is none of :data:`CAPABILITIES`.
    """
    if isinstance(names, str):
        raise UnknownCapabilityError(f"capabilities are a list of names, not {names!r}")
    mask = 0
    for name in names:
        try:
            mask |= _BITS[name]
        except (KeyError, TypeError):
            near = difflib.get_close_matches(str(name), CAPABILITIES, n=1)
            raise UnknownCapabilityError(
                f"there is no capability {name!r}",
                hint=f"did you mean {near[0]!r}?" if near else f"known: {', '.join(CAPABILITIES)}",
            ) from None
    return mask


def capability_names(mask: int) -> frozenset[str]:
    """Return the names whose bits are set."""
    return frozenset(name for name, bit in _BITS.items() if mask & bit)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCapabilities:
    """What a model declares of itself, as keywords.

    ``max_tokens`` is the most output tokens of one answer; the other fields are capabilities,
    ``supports_streaming`` being the one named ``streaming`` elsewhere.
    """

    text_generation: bool = False
    chat_completion: bool = False
    supports_streaming: bool = False
    function_calling: bool = False
    json_mode: bool = False
    json_schema: bool = False
    vision: bool = False
    audio: bool = False
    code_generation: bool = False
    embeddings: bool = False
    image_generation: bool = False
    speech_to_text: bool = False
    text_to_speech: bool = False
    rerank: bool = False
    moderation: bool = False
    classification: bool = False
    max_tokens: int | None = None

    @classmethod
    def of(cls, names: Iterable[str], max_tokens: int | None = None) -> ModelCapabilities:
        """Build from capability names; raises `UnknownCapabilityError`."""
        known = capability_names(capability_mask(names))
        flags = {"supports_streaming" if n == "streaming" else n: True for n in known}
        return cls(max_tokens=max_tokens, **flags)

    @property
    def mask(self) -> int:
        """The bits of the capabilities that are set."""
        return capability_mask(self.names)

    @property
    def names(self) -> frozenset[str]:
        """The names of the capabilities that are set."""
        return frozenset(
            "streaming" if f.name == "supports_streaming" else f.name
            for f in fields(self)
            if f.name != "max_tokens" and getattr(self, f.name)
        )
