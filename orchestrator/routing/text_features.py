"""What a request's text says of it, as numbers: hashed words, so that no model is needed."""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Any, Final
from zlib import crc32

import numpy as np

from orchestrator.core.errors import ConfigurationError
from orchestrator.core.estimates import FloatArray
from orchestrator.core.params import EmbeddingParams, OwnParams, Params, TextGenerationParams
from orchestrator.core.tokens import estimate_tokens

__all__ = ["FEATURES_VERSION", "excerpt", "text_features", "text_of", "word_features"]

FEATURES_VERSION: Final = 1
"""Raised when the same text gets other features, so that what was learned of these is not mixed."""

_LONGEST: Final = 8192
"""Characters that are read: of a longer text the first and the last half of these, where tasks are
mostly stated. It bounds the time to a millisecond."""
_WINDOW: Final = 512
"""Tokens of the smallest window that is common among embedding models: BERT's."""
_WORD: Final = re.compile("[\u3040-\u30ff\u3400-\u9fff]|[^\\W\u3040-\u30ff\u3400-\u9fff]+")
"""A run of letters and digits; in scripts without spaces a character."""
_SPREAD: Final = np.uint32(0x9E3779B1)
"""2^32 over the golden ratio: a product's upper bits mix a sum of checks well. Knuth (1973)."""


def text_features(params: Params | None, n: int = 32) -> FloatArray:
    """Return the features of a request's text; see `text_of` and `word_features`."""
    return word_features(text_of(params), n)


def text_of(params: Params | None) -> str:
    """Return what a request is about: its prompt, its last user message, or the texts to embed."""
    match params:
        case TextGenerationParams(messages=None, prompt=prompt):
            return prompt or ""
        case TextGenerationParams(messages=messages):
            said = [m for m in messages or () if m["role"] == "user"]
            return _text(said[-1].get("content")) if said else ""
        case EmbeddingParams():
            return "\n".join(params.texts)
        case OwnParams(value=str(value)):
            return value
    return ""


def word_features(text: str, n: int = 32) -> FloatArray:
    """Return a text as a vector: every different word adds 1 or -1 to one place, by its hash.

    The same in every process and on every machine. Texts that share words lie close together;
    two that share none are at right angles but for collisions.

    Args:
        text: Of which case, order and repetition of words do not matter.
        n: How many features.

    Returns:
        Shape ``(n,)``, of length 1; all 0 where there is no word.

    Raises:
        ConfigurationError: ``n`` is below 1.

    Source:
        Weinberger, Dasgupta, Langford, Smola & Attenberg (2009), "Feature hashing for large scale
        multitask learning".

    >>> word_features("Sum two and two", 4).round(2)
    array([-0.58, -0.58,  0.58,  0.  ])
    >>> word_features("Two AND two, sum!", 4).round(2)
    array([-0.58, -0.58,  0.58,  0.  ])
    """
    if n < 1:
        raise ConfigurationError(f"features must be at least 1, not {n!r}")
    if len(text) > _LONGEST:
        text = _ends(text, _LONGEST // 2)
    words = {*_WORD.findall(unicodedata.normalize("NFKC", text).casefold())}
    hashes = np.fromiter((crc32(word.encode()) for word in words), np.uint32, len(words))
    place = (hashes * _SPREAD).astype(np.uint64) * np.uint64(n) >> np.uint64(32)
    sign = 1.0 - 2.0 * (hashes & np.uint32(1))
    found = np.zeros(n)
    np.add.at(found, place.astype(np.intp), sign)
    length = math.sqrt(found @ found)
    return found / length if length else found


def excerpt(text: str, window: int | None) -> str:
    """Return as much of a text as an embedding model takes, the same on every node.

    Args:
        text: Of a longer one the first and the last part are left, where tasks are mostly stated.
        window: Tokens that the model takes, by its own count; None where it does not say.

    >>> excerpt(f"Translate this: {'la ' * 500}Thank you.", 24)
    'Translate this: la la la a la la la la Thank you.'
    """
    # Half: our estimate is off by less than that but for scripts that a model hardly knows.
    n_tokens = max((window or _WINDOW) // 2, 1)
    half = min(len(text), _LONGEST) // 2
    found = text if len(text) <= _LONGEST else _ends(text, half)
    while half > 1 and (tokens := estimate_tokens(found)) > n_tokens:
        half = max(min(half * n_tokens // tokens, half - 1), 1)
        found = _ends(text, half)
    return found


def _ends(text: str, half: int) -> str:
    return f"{text[:half]} {text[-half:]}"


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content or () if "text" in part)
