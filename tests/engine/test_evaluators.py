from __future__ import annotations

import asyncio
from typing import Any

import pytest

from orchestrator.core.errors import ConfigurationError, InvalidRequestError
from orchestrator.core.model import Answer
from orchestrator.core.params import TextGenerationParams
from orchestrator.core.results import EmbeddingAnswer, TextAnswer, ToolCall
from orchestrator.engine.evaluators import (
    Contains,
    Evaluator,
    MatchesSchema,
    ValidJson,
    make_evaluator,
)
from orchestrator.engine.judge import JudgeModel

ASKED = TextGenerationParams(prompt="hi")
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def quality(evaluator: Evaluator, answer: Answer | str, asked: Any = ASKED) -> float | None:
    answer = TextAnswer(text=answer) if isinstance(answer, str) else answer

    async def judged() -> float | None:
        return await evaluator(asked, answer)

    return asyncio.run(judged())


@pytest.mark.parametrize("text", ["{}", "[1, 2]", ' "a" \n', "null", "0"])
def test_json_and_nothing_else_is_valid(text: str):
    assert quality(ValidJson(), text) == 1


@pytest.mark.parametrize("text", ["", "{", "{} and more", "```json\n{}\n```", "NaN", "it's {}"])
def test_what_a_parser_would_refuse_is_not_valid(text: str):
    assert quality(ValidJson(), text) == 0


def test_an_answer_keeps_to_a_schema_or_does_not():
    evaluator = MatchesSchema(CITY)

    assert quality(evaluator, '{"city": "Oslo"}') == 1
    assert [quality(evaluator, text) for text in ('{"city": 1}', "{}", "Oslo", "[]")] == [0] * 4


def test_without_a_schema_it_is_the_one_that_the_request_demands():
    wanted = {"type": "json_schema", "json_schema": {"name": "city", "schema": CITY}}
    demanding = TextGenerationParams(prompt="hi", response_format=wanted)

    assert quality(MatchesSchema(), '{"city": "Oslo"}', demanding) == 1
    assert quality(MatchesSchema(), "{}", demanding) == 0
    assert quality(MatchesSchema(), "{}", ASKED) is None


def test_a_schema_that_cannot_be_checked_is_refused_and_not_passed_over():
    with pytest.raises(InvalidRequestError, match=r"schema\.properties\.city\.oneOf"):
        MatchesSchema({"properties": {"city": {"oneOf": []}}})


def test_all_texts_have_to_be_contained():
    assert quality(Contains("Source:", "atlas"), "Source: an atlas") == 1
    assert quality(Contains("Source:", "atlas"), "Source: a map") == 0
    assert quality(Contains("source"), "Source") == 0
    assert quality(Contains("source", ignore_case=True), "SOURCE") == 1


def test_what_is_no_text_is_not_judged():
    called = TextAnswer(text="", tool_calls=(ToolCall("1", "look", "{}"),))

    for evaluator in (ValidJson(), MatchesSchema(CITY), Contains("a")):
        assert quality(evaluator, called) is None
        assert quality(evaluator, EmbeddingAnswer(vectors=[[1.0]])) is None


def test_an_evaluator_is_itself_or_made_by_name():
    async def own(params: Any, answer: Answer) -> float:
        return 1.0

    assert make_evaluator(own) is own
    assert isinstance(make_evaluator("valid-json"), ValidJson)
    assert quality(make_evaluator({"name": "contains", "texts": ["a", "b"]}), "b a") == 1
    judge = make_evaluator({"name": "judge", "model": "p:judge", "sample": 0.5})
    assert isinstance(judge, JudgeModel)
    assert (judge.model, judge.sample) == ("p:judge", 0.5)


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ("clever", "there is no evaluator 'clever': known: valid-json, matches-schema"),
        ({"model": "p:judge"}, "there is no evaluator None"),
        ({"name": "judge"}, "evaluator 'judge': .*model"),
        ({"name": "judge", "model": "m", "sample": 0}, r"sample lies in \(0, 1\], not at 0"),
        ({"name": "judge", "model": "m", "usd_per_day": -1}, "budget must be at least 0 USD"),
        ({"name": "judge", "model": "m", "max_tokens": 0}, "max_tokens must be at least 1"),
        ({"name": "contains", "texts": []}, "looks for one or more texts"),
        ({"name": "contains", "texts": ["a", ""]}, "looks for one or more texts"),
    ],
)
def test_a_wrong_evaluator_is_refused(wanted: Any, why: str):
    with pytest.raises(ConfigurationError, match=why):
        make_evaluator(wanted)
