"""OpenAI's chat completion request, read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import InvalidRequestError
from orchestrator.server.chat_request import ChatRequest, read_chat_request

MESSAGES = [{"role": "user", "content": "hi"}]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def read(**fields: Any) -> ChatRequest:
    return read_chat_request({"messages": MESSAGES, **fields}, {})


def test_the_fields_we_know_become_parameters():
    asked = read(
        model="acme:m",
        temperature=0.5,
        max_tokens=9,
        top_p=0.9,
        frequency_penalty=0.1,
        presence_penalty=-0.1,
        stop=["a", "b"],
        seed=7,
        tools=[TOOL],
        tool_choice="required",
        parallel_tool_calls=False,
        response_format={"type": "json_object"},
    )
    assert asked.params.model_dump(exclude_none=True) == {
        "messages": MESSAGES,
        "temperature": 0.5,
        "max_tokens": 9,
        "top_p": 0.9,
        "frequency_penalty": 0.1,
        "presence_penalty": -0.1,
        "stop_sequences": ["a", "b"],
        "seed": 7,
        "tools": [TOOL],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "response_format": {"type": "json_object"},
    }
    assert asked.options == {"model": "acme:m"}
    assert (asked.stream, asked.include_usage, asked.on_interrupt) == (False, False, "error")


def test_one_stop_sequence_may_stand_alone():
    assert read(stop="END").params.stop_sequences == ["END"]


@pytest.mark.parametrize("older", [{}, {"max_tokens": 5}])
def test_the_newer_name_of_max_tokens_counts(older: dict[str, int]):
    assert read(max_completion_tokens=9, **older).params.max_tokens == 9


def test_a_stream_may_end_with_its_usage():
    asked = read(stream=True, stream_options={"include_usage": True})
    assert (asked.stream, asked.include_usage) == (True, True)


def test_demands_go_to_the_engine_and_the_interrupt_policy_to_the_stream():
    asked = read(orchestrator={"max_cost": 1, "route": "cheap", "on_interrupt": "continue"})
    assert asked.options == {"max_cost": 1, "route": "cheap"}
    assert asked.on_interrupt == "continue"


def test_fields_that_we_do_not_act_on_reach_the_provider_as_they_are():
    sent = {"reasoning_effort": "low", "logit_bias": {"50256": -100}, "top_k": 3, "user": "me"}
    assert read(**sent).params.extra == sent


def test_none_of_our_own_names_is_taken_from_a_body():
    asked = read(system_prompt="obey", stopSequences=["x"])
    assert asked.params.system_prompt is None
    assert asked.params.stop_sequences is None


@pytest.mark.parametrize(
    "harmless",
    [{"n": 1}, {"logprobs": False}, {"top_logprobs": 0}, {"modalities": ["text"]}, {"n": None}],
)
def test_what_changes_nothing_is_dropped(harmless: dict[str, Any]):
    assert read(**harmless).params.extra in (None, {})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 2),
        ("logprobs", True),
        ("top_logprobs", 3),
        ("modalities", ["text", "audio"]),
        ("audio", {"voice": "alloy"}),
        ("functions", [{"name": "f"}]),
        ("function_call", "auto"),
    ],
)
def test_what_we_could_not_answer_is_refused_and_says_what_to_do(field: str, value: Any):
    with pytest.raises(InvalidRequestError, match=f"{field} is not supported") as caught:
        read(**{field: value})

    assert caught.value.param == field
    assert caught.value.hint


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "robot", "content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "warm"}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
        ({"stop": 5}, "stop"),
        ({"stop": ["a", 5]}, "stop[1]"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": [1]}, "stream_options"),
        ({"tools": [{"type": "code_interpreter"}]}, "tools[0].type"),
        ({"response_format": "json"}, "response_format"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"response_format": {"type": []}}, "response_format"),
    ],
)
def test_an_error_names_the_field_that_was_sent(fields: dict[str, Any], param: str):
    with pytest.raises(InvalidRequestError) as caught:
        read(**fields)

    assert caught.value.param == param
    assert param in str(caught.value)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats()
    | st.sampled_from(["auto", "x", ""]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["type", "role", "content", "function", "max_cost"]), inner
        )
    ),
    max_leaves=6,
)
FIELDS = [
    "messages", "model", "stream", "stream_options", "stop", "n", "tools", "tool_choice",
    "response_format", "max_tokens", "max_completion_tokens", "modalities", "orchestrator", "user",
]  # fmt: skip


@given(st.dictionaries(st.sampled_from(FIELDS), json_values), st.booleans())
def test_whatever_is_sent_is_read_or_refused(fields: dict[str, Any], with_messages: bool):
    if with_messages:
        fields["messages"] = MESSAGES
    try:
        asked = read_chat_request(fields, {})
    except InvalidRequestError:
        return
    assert asked.params.messages
