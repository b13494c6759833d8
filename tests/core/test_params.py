from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import ValidationError

from orchestrator.core.errors import InvalidRequestError
from orchestrator.core.params import (
    EmbeddingParams,
    Message,
    OwnParams,
    TextGenerationParams,
    as_text_params,
    validated,
)

HELLO: list[Message] = [{"role": "user", "content": "hello"}]


def refused(kind: Any, **values: Any) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as refusal:
        validated(kind, values)
    return refusal.value


def test_a_prompt_is_one_user_message():
    assert TextGenerationParams(prompt="hi").conversation() == [{"role": "user", "content": "hi"}]


def test_messages_win_over_the_prompt():
    assert TextGenerationParams(prompt="hi", messages=HELLO).conversation() == HELLO


def test_the_system_prompt_comes_first():
    params = TextGenerationParams(messages=HELLO, system_prompt="be brief")

    assert params.conversation() == [{"role": "system", "content": "be brief"}, *HELLO]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("max_cots", "did you mean 'max_cost'?"),
        ("temprature", "did you mean 'temperature'?"),
        ("colour", "known: prompt, messages, "),
    ],
)
def test_an_option_that_is_none_comes_with_the_nearest_one(name: str, hint: str):
    error = refused(TextGenerationParams, prompt="hi", **{name: 1})

    assert (error.message, error.param) == (f"there is no option {name!r}", name)
    assert str(error.hint).startswith(hint)


@pytest.mark.parametrize(
    ("field", "inside", "outside"),
    [
        ("temperature", [0, 0.7, 2], [-0.1, 2.1, math.nan, "hot"]),
        ("max_tokens", [1, 100_000], [0, -1, 1.5, math.nan]),
        ("top_p", [0.1, 1], [0, 1.1, math.nan]),
        ("frequency_penalty", [-2, 2], [-2.1, 2.1, math.nan]),
        ("presence_penalty", [-2, 2], [-2.1, 2.1, math.nan]),
        ("stop_sequences", [[], ["END"]], ["END", [1]]),
    ],
)
def test_each_field_keeps_to_its_range(field: str, inside: list[Any], outside: list[Any]):
    for value in inside:
        assert (
            getattr(validated(TextGenerationParams, {"prompt": "", field: value}), field) == value
        )
    for value in outside:
        error = refused(TextGenerationParams, prompt="", **{field: value})
        assert str(error.param).startswith(field)


def test_names_are_accepted_in_camel_case_and_reported_in_ours():
    assert validated(TextGenerationParams, {"prompt": "", "maxTokens": 5}).max_tokens == 5
    assert refused(TextGenerationParams, prompt="", maxTokens=0).param == "max_tokens"


@pytest.mark.parametrize(
    ("values", "param"),
    [
        ({"prompt": "", "colour": "red"}, "colour"),
        ({"prompt": 5}, "prompt"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"content": "no role"}]}, "messages[0].role"),
        ({"messages": [*HELLO, {"role": "robot"}]}, "messages[1].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": 5}]}]}, "messages[0].content[0].type"),
        ({"prompt": "", "tools": [{"type": "plumber"}]}, "tools[0].type"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [*HELLO, {"role": "user", "content": None}]}, "messages[1].content"),
        ({"messages": [{"role": "system", "content": []}, *HELLO]}, "messages[0].content"),
        ({"messages": [*HELLO, {"role": "tool", "tool_call_id": "c"}]}, "messages[1].content"),
    ],
)
def test_a_fault_is_named_by_its_path(values: dict[str, Any], param: str):
    assert refused(TextGenerationParams, **values).param == param


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c"}]},
        {"role": "assistant", "tool_calls": [{"id": "c"}]},
        {"role": "assistant", "content": None, "refusal": "no"},
        {"role": "assistant", "content": None},
        {"role": "user", "content": ""},
    ],
)
def test_an_assistant_need_not_have_spoken_and_a_text_may_be_empty(message: Any):
    params = validated(TextGenerationParams, {"messages": [*HELLO, message]})

    assert params.messages == [*HELLO, message]


def test_a_request_that_says_nothing_is_refused():
    assert "prompt or messages" in str(refused(TextGenerationParams))


def test_an_empty_list_of_messages_says_what_to_give():
    assert "messages: give at least one" in str(refused(TextGenerationParams, messages=[]))


def test_parameters_do_not_change():
    params = TextGenerationParams(prompt="hi")

    with pytest.raises(ValidationError):
        params.prompt = "bye"  # type: ignore[misc]


def test_one_text_is_a_list_of_one_and_a_list_keeps_its_order():
    assert EmbeddingParams(input="a").texts == ["a"]
    assert EmbeddingParams(input=["b", "a"]).texts == ["b", "a"]


@pytest.mark.parametrize(
    ("values", "param"),
    [
        ({}, "input"),
        ({"input": []}, "input"),
        ({"input": 5}, "input"),
        ({"input": ["a", 5]}, "input[1]"),
        ({"input": ""}, "input"),
        ({"input": ["a", ""]}, "input"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
    ],
)
def test_a_wrong_embedding_request_is_refused_by_name(values: dict[str, Any], param: str):
    assert refused(EmbeddingParams, **values).param == param


def test_no_texts_are_refused_for_what_they_are():
    assert "at least one text" in str(refused(EmbeddingParams, input=[]))


def test_a_kind_of_work_of_the_users_own_takes_anything():
    value = object()

    assert OwnParams(value=value).value is value


@pytest.mark.parametrize(
    "request_",
    ["hello", HELLO, TextGenerationParams(messages=HELLO), TextGenerationParams(prompt="")],
)
def test_a_request_may_be_a_prompt_messages_or_parameters(request_: Any):
    params = as_text_params(request_, {"temperature": 0.5})

    assert params.temperature == 0.5
    assert params.conversation() == (
        request_.conversation()
        if isinstance(request_, TextGenerationParams)
        else [{"role": "user", "content": request_}]
        if isinstance(request_, str)
        else request_
    )


def test_options_beat_what_the_parameters_say():
    params = TextGenerationParams(prompt="hi", temperature=0.1, seed=3)

    assert as_text_params(params, {"temperature": 1.0}) == TextGenerationParams(
        prompt="hi", temperature=1.0, seed=3
    )


def test_parameters_without_options_pass_as_they_are():
    params = TextGenerationParams(prompt="hi")

    assert as_text_params(params, {}) is params


def test_a_request_of_another_kind_is_refused():
    with pytest.raises(InvalidRequestError, match="messages"):
        as_text_params(5, {})  # type: ignore[arg-type]
