"""The kinds of work a model may be asked for."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

__all__ = ["TEXT_TYPES", "ModelType", "types_served_by"]


class ModelType(StrEnum):
    """A kind of work with typed parameters and a typed result.

    Strings beyond these are welcome wherever a model type is: register a handler under
    ``"video:generation"`` and call it by that name.
    """

    TEXT_SMALL = "text:small"
    TEXT_MEDIUM = "text:medium"
    TEXT_LARGE = "text:large"
    TEXT_EMBEDDING = "text:embedding"
    IMAGE_GENERATION = "image:generation"
    IMAGE_ANALYSIS = "image:analysis"
    SPEECH_TO_TEXT = "speech:to:text"
    TEXT_TO_SPEECH = "text:to:speech"
    CODE_GENERATION = "code:generation"
    CLASSIFICATION = "classification"
    RERANK = "rerank"


TEXT_TYPES: Final = (ModelType.TEXT_SMALL, ModelType.TEXT_MEDIUM, ModelType.TEXT_LARGE)

_BY_CAPABILITY: Final[dict[str, tuple[ModelType, ...]]] = {
    "text_generation": TEXT_TYPES,
    "chat_completion": TEXT_TYPES,
    "code_generation": (ModelType.CODE_GENERATION,),
    "embeddings": (ModelType.TEXT_EMBEDDING,),
    "image_generation": (ModelType.IMAGE_GENERATION,),
    "vision": (ModelType.IMAGE_ANALYSIS,),
    "speech_to_text": (ModelType.SPEECH_TO_TEXT,),
    "text_to_speech": (ModelType.TEXT_TO_SPEECH,),
    "classification": (ModelType.CLASSIFICATION,),
    "rerank": (ModelType.RERANK,),
}


def types_served_by(capabilities: frozenset[str]) -> frozenset[str]:
    """Return the types a model serves when its owner names none.

    The size in ``text:small`` is the owner's word; a text model without one serves all three.
    """
    return frozenset(t.value for name in capabilities for t in _BY_CAPABILITY.get(name, ()))
