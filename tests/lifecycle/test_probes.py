from __future__ import annotations

import struct
import zlib
from base64 import b64decode
from typing import Any

import pytest

from orchestrator.core.errors import (
    ErrorClass,
    ModelAPIError,
    ModelTimeoutError,
    UnsupportedCapabilityError,
)
from orchestrator.core.params import EmbeddingParams, TextGenerationParams
from orchestrator.core.results import (
    EmbeddingAnswer,
    EmbeddingResult,
    TextAnswer,
    TextResult,
    ToolCall,
)
from orchestrator.lifecycle.probes import PROBES, finding_of_error

BY_NAME = {probe.capability: probe for probe in PROBES}
ABOUT: dict[str, Any] = {
    "request_id": "r",
    "decision": None,
    "attempts": (),
    "cost_usd": 0.0,
    "latency_s": 1.0,
}


def said(text: str = "", **facts: Any) -> TextResult:
    return TextResult(answer=TextAnswer(text=text, **facts), **ABOUT)


def vectors(*found: list[float]) -> EmbeddingResult:
    return EmbeddingResult(answer=EmbeddingAnswer(vectors=list(found)), **ABOUT)


def called(name: str, arguments: str) -> TextResult:
    return said(tool_calls=(ToolCall("1", name, arguments),), finish_reason="tool_calls")


@pytest.mark.parametrize(
    ("capability", "result", "shown"),
    [
        ("chat_completion", said("Hello!"), True),
        ("chat_completion", said(" ", finish_reason="length"), None),
        ("json_mode", said('{"greeting": "Hello Ada"}\n'), True),
        ("json_mode", said("Hello Ada"), False),
        ("json_mode", said("[1]"), False),
        ("json_mode", said('{"greeting": "He', finish_reason="length"), None),
        ("json_mode", said("", finish_reason="content_filter"), None),
        ("json_schema", said('{"qz17": "orange"}'), True),
        ("json_schema", said('{"sky": "blue"}'), False),
        ("json_schema", said("It is blue."), False),
        ("function_calling", called("get_weather", '{"city": "Rome"}'), True),
        ("function_calling", called("get_weather", "Rome"), False),
        ("function_calling", called("tell_time", "{}"), False),
        ("function_calling", said("Sunny, I guess."), False),
        ("function_calling", said(""), None),
        ("vision", said("Orange."), True),
        ("vision", said("I cannot see images."), False),
        ("vision", said(""), None),
        ("embeddings", vectors([0.0, 1.0], [1.0, 0.0]), True),
        ("embeddings", vectors([1.0, 0.0], [1.0, 0.0]), False),
        ("embeddings", vectors([1.0], [1.0, 0.0]), False),
        ("embeddings", vectors([], []), False),
        ("embeddings", vectors([1.0], [float("nan")]), False),
        ("embeddings", vectors([1.0, 0.0]), False),
        ("embeddings", said("a vector"), False),
    ],
)
def test_a_probes_answer_shows_whether_the_model_can(
    capability: str, result: Any, shown: bool | None
):
    assert BY_NAME[capability].finding(result, 1).present is shown


def test_what_comes_in_one_piece_does_not_show_that_it_streams():
    streaming = BY_NAME["streaming"]

    assert streaming.stream
    assert streaming.finding(said("one two"), 2).present is True
    assert streaming.finding(said("one two"), 1).present is None


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (UnsupportedCapabilityError("it cannot embed"), False),
        (ModelAPIError("no images", classification=ErrorClass.INVALID_REQUEST), False),
        (ModelAPIError("no tools", classification=ErrorClass.UNSUPPORTED), False),
        (ModelAPIError("down", classification=ErrorClass.SERVICE_UNAVAILABLE), None),
        (ModelAPIError("who?", classification=ErrorClass.INVALID_MODEL), None),
        (ModelTimeoutError("silent", phase="first_token"), None),
    ],
)
def test_only_a_refusal_of_the_request_shows_that_a_model_cannot(
    error: Exception, shown: bool | None
):
    assert finding_of_error(error).present is shown


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.capability)
def test_a_probe_costs_little(probe):
    params = probe.params()

    if isinstance(params, TextGenerationParams):
        assert (params.max_tokens or 1000) <= 128
    else:
        assert isinstance(params, EmbeddingParams)
        assert sum(map(len, params.texts)) < 50


def test_no_prompt_leads_to_what_only_the_schema_demands():
    params = BY_NAME["json_schema"].params()

    assert isinstance(params, TextGenerationParams)
    assert "qz17" not in (params.prompt or "")


def test_the_image_is_a_png_of_one_colour():
    params = BY_NAME["vision"].params()
    assert isinstance(params, TextGenerationParams)
    content: Any = params.conversation()[0]["content"]
    png = b64decode(content[1]["image_url"]["url"].removeprefix("data:image/png;base64,"))

    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", png[16:24]) == (64, 64)
    length = struct.unpack(">I", png[33:37])[0]
    rows = zlib.decompress(png[41 : 41 + length])
    assert rows == (b"\0" + b"\xff\x80\x00" * 64) * 64
