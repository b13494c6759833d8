"""Small requests that show whether a model has a capability, and what their answers mean."""

from __future__ import annotations

import struct
import zlib
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import isfinite
from typing import Any, Final, TypeAlias

import orjson

from orchestrator.core.errors import ErrorClass, ModelError, UnsupportedCapabilityError
from orchestrator.core.params import EmbeddingParams, Params, TextGenerationParams
from orchestrator.core.results import (
    EmbeddingAnswer,
    EmbeddingResult,
    Result,
    TextAnswer,
    TextResult,
)

__all__ = ["PROBES", "Finding", "Probe", "finding_of_error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a probe has shown. ``present`` is None where it has shown nothing."""

    present: bool | None
    detail: str


_Judge: TypeAlias = Callable[[Any, int], Finding]
"""From an answer, and the pieces with content that it came in, to what that shows."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One request.

    Attributes:
        capability: What it is about.
        params: Builds the request.
        judge: Says what an answer shows.
        stream: The answer is wanted in pieces.
    """

    capability: str
    params: Callable[[], Params]
    judge: _Judge
    stream: bool = False

    def finding(self, result: Result, pieces: int) -> Finding:
        """Return what an answer shows.

        Args:
            result: The answer.
            pieces: The chunks with content that it came in, of a stream.
        """
        wanted = EmbeddingResult if self.capability == "embeddings" else TextResult
        if not isinstance(result, wanted):
            return Finding(False, f"it gave no {wanted.__name__}")
        return self.judge(result.answer, pieces)


_REFUSALS: Final = frozenset((ErrorClass.INVALID_REQUEST, ErrorClass.UNSUPPORTED))
_KEY, _COLOUR, _TOOL = "qz17", "orange", "get_weather"
_IMAGE_SIDE: Final = 64
"""Pixels; some models take none that is smaller than a few patches."""


def finding_of_error(error: Exception) -> Finding:
    """Return what it shows that a probe failed: that the model cannot, if it was refused as such.

    Anything else, such as an outage, shows nothing.
    """
    refused = isinstance(error, UnsupportedCapabilityError) or (
        isinstance(error, ModelError) and error.classification in _REFUSALS
    )
    return Finding(False if refused else None, f"{'refused' if refused else 'failed'}: {error}")


def _text(prompt: str, max_tokens: int, **fields: Any) -> Callable[[], TextGenerationParams]:
    return lambda: TextGenerationParams(prompt=prompt, max_tokens=max_tokens, **fields)


def _judge_chat(answer: TextAnswer, pieces: int) -> Finding:
    return Finding(True, "it answered") if answer.text.strip() else _withheld(answer)


def _judge_stream(answer: TextAnswer, pieces: int) -> Finding:
    if pieces > 1:
        return Finding(True, f"it answered in {pieces} pieces")
    return Finding(None, "it answered in one piece")


def _judge_output(fits: Callable[[Any], bool], detail: str) -> _Judge:
    def judge(answer: TextAnswer, pieces: int) -> Finding:
        text = answer.text.strip()
        if fits(_json(text)):
            return Finding(True, detail)
        if not text or (answer.finish_reason == "length" and text.startswith("{")):
            return _withheld(answer)
        return Finding(False, f"it answered {text[:40]!r}")

    return judge


def _judge_tools(answer: TextAnswer, pieces: int) -> Finding:
    for call in answer.tool_calls:
        if call.name == _TOOL and isinstance(_json(call.arguments), dict):
            return Finding(True, f"it called {_TOOL}")
    if answer.tool_calls or answer.text.strip():
        return Finding(False, "it called no function that it had to call")
    return _withheld(answer)


def _judge_vision(answer: TextAnswer, pieces: int) -> Finding:
    if _COLOUR in answer.text.lower():
        return Finding(True, f"it saw that the image is {_COLOUR}")
    if not answer.text.strip():
        return _withheld(answer)
    return Finding(False, f"of an image that is {_COLOUR} it said {answer.text[:40]!r}")


def _judge_vectors(answer: EmbeddingAnswer, pieces: int) -> Finding:
    one, other = (*answer.vectors, [], [])[:2]
    if one and len(one) == len(other) and one != other and all(map(isfinite, (*one, *other))):
        return Finding(True, f"it gave vectors of {len(one)} numbers")
    return Finding(False, "it gave no vectors that tell two texts apart")


def _withheld(answer: TextAnswer) -> Finding:
    return Finding(None, f"no answer to judge ({answer.finish_reason})")


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


@cache
def _image() -> str:
    """Return an image of one colour as a data URL."""
    row = b"\0" + b"\xff\x80\x00" * _IMAGE_SIDE
    size = struct.pack(">IIBBBBB", _IMAGE_SIDE, _IMAGE_SIDE, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", size), (b"IDAT", zlib.compress(row * _IMAGE_SIDE)), (b"IEND", b""))
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return f"data:image/png;base64,{b64encode(png).decode()}"


def _look() -> TextGenerationParams:
    return TextGenerationParams(
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Which colour fills this image? Answer in one word."},
                    {"type": "image_url", "image_url": {"url": _image()}},
                ],
            }
        ],
        max_tokens=16,
    )


_SCHEMA: Final = {
    "type": "object",
    "properties": {_KEY: {"type": "string", "enum": [_COLOUR]}},
    "required": [_KEY],
    "additionalProperties": False,
}
_WEATHER: Final = {
    "type": "function",
    "function": {
        "name": _TOOL,
        "description": "Tell the weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}

PROBES: Final = (
    Probe("chat_completion", _text("Say hello.", 16), _judge_chat),
    Probe("streaming", _text("Count from one to ten in words.", 48), _judge_stream, stream=True),
    # OpenAI demands that the prompt names JSON. A small model may find no end of its own object.
    Probe(
        "json_mode",
        _text(
            "What is the capital of France? Answer in JSON.",
            128,
            response_format={"type": "json_object"},
        ),
        _judge_output(lambda found: isinstance(found, dict), "it answered with a JSON object"),
    ),
    # No prompt leads to this key, so who answers with it was bound by the schema.
    Probe(
        "json_schema",
        _text(
            "Tell me what the sky looks like.",
            48,
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "sky", "strict": True, "schema": _SCHEMA},
            },
        ),
        _judge_output(lambda found: found == {_KEY: _COLOUR}, "it kept to the schema"),
    ),
    Probe(
        "function_calling",
        _text("What is the weather in Rome now?", 96, tools=[_WEATHER], tool_choice="required"),
        _judge_tools,
    ),
    Probe("vision", _look, _judge_vision),
    Probe("embeddings", lambda: EmbeddingParams(input=["a cat", "tax law"]), _judge_vectors),
)
"""In the order in which they are made, which is that of what is asked for most."""
