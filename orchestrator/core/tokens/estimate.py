"""Tokens estimated from characters: every byte of the UTF-8 text has a weight, by its class.

The weights are hundredths of a token: least squares, then rounded by hand, against the median
count of five tokenizers (o200k, cl100k, DeepSeek, Mistral's Tekken, Claude 2) on 2,103 texts:
prose, prompts, code, markup, data, and the texts of an interface in 84 languages.

How far off they are, for o200k, DeepSeek and Tekken, as root mean square:

* 600 English prompts and 512 pieces of code and documentation that had no part in the weights:
  13 %, and 19 of 20 within 27 %, at most 72 %;
* `tests/core/token_counts.json`, which the fit left out but the rounding looked at: 18 % over
  English, code and data, at most 45 % (a schema of plain English words is overestimated, rows
  of numbers are underestimated where every digit is a token); 20 % over other languages, at
  most 62 % (Chinese is overestimated for DeepSeek).

A small or old vocabulary (SmolLM2, Claude 2) takes up to three times the estimate in scripts it
hardly knows; `TokenEstimator` learns that from the first answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final
from zlib import adler32

import orjson

__all__ = [
    "IMAGE_TOKENS",
    "MESSAGE_TOKENS",
    "REPLY_TOKENS",
    "estimate_message_tokens",
    "estimate_tokens",
]

IMAGE_TOKENS: Final = 765
"""What OpenAI counts for 1024 x 1024 pixels in high detail; stands for any part not text."""
MESSAGE_TOKENS: Final = 4
"""Role and delimiters of a message: 4 in OpenAI's counting, 5 in SmolLM2's ChatML."""
REPLY_TOKENS: Final = 3
"""What opens the answer: 3 in OpenAI's counting, 4 in SmolLM2's ChatML."""

_HUNDREDTHS_BY_FIRST_BYTE: Final = (
    (0x00, 12, "control characters, line ends and tabs among them"),
    (0x20, 13, "space: mostly part of the next word's token"),
    (0x21, 55, "punctuation"),
    (0x30, 62, "digits: up to three share a token, in some vocabularies none do"),
    (0x3A, 55, "punctuation"),
    (0x41, 43, "capital letters: abbreviations, camel case"),
    (0x5B, 55, "punctuation"),
    (0x61, 22, "small letters"),
    (0x7B, 55, "punctuation"),
    (0x7F, 12, "delete"),
    (0x80, 0, "bytes that continue a character"),
    (0xC2, 100, "Latin letters with marks: the word around them splits as well"),
    (0xCA, 150, "phonetic letters, combining marks"),
    (0xCE, 54, "Greek"),
    (0xD0, 42, "Cyrillic"),
    (0xD4, 58, "Armenian, Hebrew"),
    (0xD8, 44, "Arabic and its neighbours"),
    (0xE0, 61, "scripts of India, Thai, Lao"),
    (0xE1, 93, "Georgian, Khmer, Mongolian, Vietnamese vowels and others"),
    (0xE2, 120, "typographic punctuation, arrows, symbols"),
    (0xE3, 66, "kana"),
    (0xE4, 100, "Han"),
    (0xEA, 85, "Hangul"),
    (0xEE, 110, "private use, full-width forms, variation selectors"),
    (0xF0, 200, "emoji, rare scripts"),
)
_RARE_LETTERS: Final = (b"jkqxz", 75)


def _weights() -> bytes:
    table = bytearray(256)
    for first, hundredths, _ in _HUNDREDTHS_BY_FIRST_BYTE:
        table[first:] = bytes([hundredths]) * (256 - first)
    letters, hundredths = _RARE_LETTERS
    for letter in letters:
        table[letter] = hundredths
    return bytes(table)


_WEIGHTS: Final = _weights()
_ADLER_MODULUS: Final = 65521
_SLICE: Final = (_ADLER_MODULUS - 1) // max(_WEIGHTS)


def estimate_tokens(text: str) -> int:
    """Return about how many tokens the text is: 0 if empty, else at least 1.

    Joining texts adds their estimates, but for rounding up once instead of twice.
    """
    return _tokens(text.encode("utf-8", "surrogatepass"))


def estimate_message_tokens(
    messages: Iterable[Mapping[str, Any]], tools: Iterable[Mapping[str, Any]] = ()
) -> int:
    """Return about how many tokens a chat is, as its provider counts the prompt.

    Args:
        messages: Chat messages in OpenAI's form; content is a text, a list of parts, or None.
        tools: Tool definitions, which count as their JSON.
    """
    tokens = REPLY_TOKENS
    texts = []
    for message in messages:
        tokens += MESSAGE_TOKENS
        content, calls = message.get("content"), message.get("tool_calls")
        if isinstance(content, str):
            texts.append(content)
        elif content:
            tokens += _part_tokens(content)
        if calls:
            tokens += _tokens(orjson.dumps(calls))
    for tool in tools:
        tokens += _tokens(orjson.dumps(tool))
    return tokens + estimate_tokens("".join(texts))


def _part_tokens(parts: Iterable[Mapping[str, Any]]) -> int:
    return sum(estimate_tokens(part["text"]) if "text" in part else IMAGE_TOKENS for part in parts)


def _tokens(utf8: bytes) -> int:
    weights = utf8.translate(_WEIGHTS)
    # The low half of Adler-32 begun at 0 is the sum of the bytes, modulo 65521: the fastest sum
    # of bytes in the standard library, exact while a slice cannot reach the modulus.
    hundredths = 0
    for start in range(0, len(weights), _SLICE):
        hundredths += adler32(weights[start : start + _SLICE], 0) & 0xFFFF
    return -(-hundredths // 100)
