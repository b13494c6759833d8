from __future__ import annotations

import base64
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from orchestrator.core.errors import ErrorClass, InvalidRequestError, ModelError, ModelResponseError
from orchestrator.core.params import EmbeddingParams, TextGenerationParams
from orchestrator.core.results import EmbeddingAnswer, TextAnswer, ToolCall, Usage
from orchestrator.integrations.openai_codec import OpenAICodec
from orchestrator.integrations.openai_dialect import Dialect, WireRequest
from tests.integrations.recordings import TOOLS, recorded

PLAIN = Dialect(name="plain")
EMULATING = Dialect(name="emulating", native_tools=frozenset())


def body_of(
    dialect: Dialect = PLAIN,
    *,
    stream: bool = False,
    defaults: dict[str, Any] | None = None,
    **params: Any,
) -> dict[str, Any]:
    wire = encoded(dialect, stream=stream, defaults=defaults, **params)
    body: dict[str, Any] = orjson.loads(wire.body)
    return body


def encoded(
    dialect: Dialect = PLAIN,
    *,
    stream: bool = False,
    defaults: dict[str, Any] | None = None,
    **params: Any,
) -> WireRequest:
    params.setdefault("prompt", "Hi")
    return OpenAICodec(dialect).encode_text(
        "gpt", TextGenerationParams(**params), defaults or {}, stream=stream
    )


# -- requests ----------------------------------------------------------------------------------


def test_a_prompt_becomes_the_smallest_request():
    wire = encoded(prompt="Hello")
    assert wire.path == "/chat/completions"
    assert wire.body == (
        b'{"model":"gpt","messages":[{"role":"user","content":"Hello"}],"stream":false}'
    )


def test_every_parameter_reaches_the_wire():
    assert body_of(
        messages=[{"role": "user", "content": "Hi"}],
        system_prompt="Be brief.",
        temperature=0.7,
        max_tokens=9,
        top_p=0.5,
        frequency_penalty=0.1,
        presence_penalty=-0.2,
        stop_sequences=["."],
        seed=3,
        tools=TOOLS,
        tool_choice="auto",
        parallel_tool_calls=False,
        response_format={"type": "json_object"},
        extra={"user": "u-1"},
    ) == {
        "user": "u-1",
        "model": "gpt",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
        ],
        "stream": False,
        "temperature": 0.7,
        "max_tokens": 9,
        "top_p": 0.5,
        "frequency_penalty": 0.1,
        "presence_penalty": -0.2,
        "stop": ["."],
        "seed": 3,
        "tools": TOOLS,
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "response_format": {"type": "json_object"},
    }


def test_messages_win_over_the_prompt():
    messages = [{"role": "user", "content": "this"}]
    assert body_of(prompt="not this", messages=messages)["messages"] == messages


def test_zero_and_false_are_values():
    body = body_of(temperature=0, seed=0, tools=TOOLS, parallel_tool_calls=False)
    assert (body["temperature"], body["seed"], body["parallel_tool_calls"]) == (0, 0, False)


def test_a_model_of_the_request_replaces_the_default_one():
    assert body_of(model="gpt-other")["model"] == "gpt-other"


def test_the_limit_of_output_tokens_goes_by_the_servers_name_for_it():
    dialect = replace(PLAIN, max_tokens_field="max_completion_tokens")
    body = body_of(dialect, max_tokens=9)
    assert body["max_completion_tokens"] == 9
    assert "max_tokens" not in body


def test_what_the_server_does_not_take_is_left_out_with_a_warning():
    dialect = replace(PLAIN, unsupported=frozenset(("top_p", "temperature", "seed")))
    wire = encoded(dialect, temperature=0.5, top_p=0.5, max_tokens=1)
    assert not {"temperature", "top_p"} & orjson.loads(wire.body).keys()
    assert wire.warnings == (
        "plain does not take temperature, so it was left out",
        "plain does not take top_p, so it was left out",
    )


def test_extra_fields_never_replace_ours():
    body = body_of(temperature=0.5, extra={"temperature": 2, "model": "x", "stream": True, "n": 1})
    assert (body["temperature"], body["model"], body["stream"]) == (0.5, "gpt", False)
    assert body["n"] == 1


def test_a_stream_asks_for_its_usage():
    body = body_of(stream=True)
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}


def test_a_server_that_reports_no_usage_is_not_asked():
    assert "stream_options" not in body_of(replace(PLAIN, stream_usage=False), stream=True)


def test_developer_messages_are_system_messages_to_servers_that_know_no_such_role():
    messages = [{"role": "developer", "content": "Be brief.", "name": "d"}]
    assert body_of(messages=messages)["messages"][0] == {
        "role": "system",
        "content": "Be brief.",
        "name": "d",
    }
    openai = replace(PLAIN, developer_role=True)
    assert body_of(openai, messages=messages)["messages"] == messages


def test_what_is_not_json_is_an_invalid_request():
    with pytest.raises(InvalidRequestError, match="cannot be written as JSON"):
        encoded(extra={"odd": object()})


# -- defaults of an arm ------------------------------------------------------------------------


def test_defaults_fill_what_the_request_leaves_unset():
    body = body_of(defaults={"temperature": 1.5, "max_tokens": 4}, max_tokens=8)
    assert (body["temperature"], body["max_tokens"]) == (1.5, 8)


def test_a_default_system_prompt_comes_first():
    assert body_of(defaults={"system_prompt": "One word."})["messages"] == [
        {"role": "system", "content": "One word."},
        {"role": "user", "content": "Hi"},
    ]


@pytest.mark.parametrize("role", ["system", "developer"])
def test_a_default_system_prompt_gives_way_to_the_callers(role: str):
    defaults = {"system_prompt": "One word."}
    messages = [{"role": role, "content": "At length."}, {"role": "user", "content": "Hi"}]
    asked = body_of(defaults=defaults, messages=messages)["messages"]
    assert [m["content"] for m in asked] == ["At length.", "Hi"]
    asked = body_of(defaults=defaults, system_prompt="At length.")["messages"]
    assert [m["content"] for m in asked] == ["At length.", "Hi"]


def test_extra_fields_of_both_are_sent_and_the_requests_win():
    defaults = {"extra": {"top_k": 1, "mirostat": 2}}
    body = body_of(defaults=defaults, extra={"top_k": 40})
    assert (body["top_k"], body["mirostat"]) == (40, 2)


# -- tools -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "written"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        ("get_time", {"type": "function", "function": {"name": "get_time"}}),
        (
            {"type": "function", "function": {"name": "get_time"}},
            {"type": "function", "function": {"name": "get_time"}},
        ),
    ],
)
def test_a_tool_choice_takes_its_form_on_the_wire(choice: Any, written: Any):
    body = body_of(tools=TOOLS, tool_choice=choice)
    assert body["tools"] == TOOLS
    assert body["tool_choice"] == written


def test_without_tools_their_options_are_not_sent():
    body = body_of(tool_choice="auto", parallel_tool_calls=True)
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & body.keys()


@pytest.mark.parametrize("choice", ["required", "get_time"])
@pytest.mark.parametrize("dialect", [PLAIN, EMULATING], ids=["native", "emulated"])
def test_a_call_of_no_tool_cannot_be_required(choice: str, dialect: Dialect):
    with pytest.raises(InvalidRequestError, match="there are none"):
        encoded(dialect, tool_choice=choice)


def test_fields_a_server_wants_beside_tools_are_sent_with_them_only():
    dialect = replace(PLAIN, with_tools=(("reasoning_effort", "none"),))
    assert body_of(dialect, tools=TOOLS)["reasoning_effort"] == "none"
    assert "reasoning_effort" not in body_of(dialect)
    asked = body_of(dialect, tools=TOOLS, extra={"reasoning_effort": "low"})
    assert asked["reasoning_effort"] == "low"


def test_only_choices_the_server_does_not_heed_are_emulated():
    dialect = replace(PLAIN, native_tools=frozenset(("auto",)))
    assert encoded(dialect, tools=TOOLS, tool_choice="auto").emulation is None
    assert encoded(dialect, tools=TOOLS, tool_choice="none").emulation is None
    assert encoded(dialect, tools=TOOLS, tool_choice="required").emulation is not None
    assert encoded(dialect, tools=TOOLS, tool_choice="get_time").emulation is not None


def test_emulated_tools_are_a_schema_and_no_tools():
    body = body_of(EMULATING, tools=TOOLS, tool_choice="required", parallel_tool_calls=True)
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & body.keys()
    assert body["response_format"]["type"] == "json_schema"
    assert "get_weather" in body["messages"][0]["content"]


def test_without_tools_of_its_own_a_model_reads_earlier_calls_as_text():
    messages = [
        {"role": "user", "content": "Time?"},
        {
            "role": "assistant",
            "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "now", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "tool_call_id": "c", "content": "14:32"},
    ]
    assert [m["role"] for m in body_of(EMULATING, messages=messages)["messages"]] == [
        "user",
        "assistant",
        "user",
    ]
    assert body_of(PLAIN, messages=messages)["messages"] == messages


@pytest.mark.parametrize(
    ("tools", "choice"),
    [
        (TOOLS, "no_such_tool"),
        ([{"type": "function", "function": {}}], "required"),
        (TOOLS, {"type": "allowed_tools"}),
    ],
)
def test_tools_that_cannot_be_emulated_are_an_invalid_request(tools: Any, choice: Any):
    with pytest.raises(InvalidRequestError) as caught:
        encoded(EMULATING, tools=tools, tool_choice=choice)
    assert caught.value.param in ("tools", "tool_choice")


# -- headers -----------------------------------------------------------------------------------


def test_the_key_is_a_bearer_token():
    assert OpenAICodec(PLAIN).headers(SecretStr("sk-1"), stream=False) == {
        "Content-Type": "application/json",
        "Authorization": "Bearer sk-1",
    }


def test_without_a_key_there_is_no_such_header():
    assert OpenAICodec(PLAIN).headers(None, stream=False) == {"Content-Type": "application/json"}


def test_a_dialect_may_want_the_key_elsewhere():
    azure = replace(PLAIN, auth_header="api-key", auth_scheme="")
    assert OpenAICodec(azure).headers(SecretStr("k"), stream=False)["api-key"] == "k"


def test_a_server_that_closes_after_a_stream_is_told_to_say_so():
    codec = OpenAICodec(replace(PLAIN, closes_after_stream=True))
    assert codec.headers(None, stream=True)["Connection"] == "close"
    assert "Connection" not in codec.headers(None, stream=False)


# -- answers -----------------------------------------------------------------------------------

GOLDEN = {
    "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
    "object": "chat.completion",
    "created": 1741569952,
    "model": "gpt-4.1-2025-04-14",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "Hello! How can I assist you today?",
                "refusal": None,
                "annotations": [],
            },
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 19,
        "completion_tokens": 10,
        "total_tokens": 29,
        "prompt_tokens_details": {"cached_tokens": 5, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 3, "audio_tokens": 0},
    },
    "service_tier": "default",
}
CALL = {"id": "call_1", "type": "function", "function": {"name": "now", "arguments": '{"z":1}'}}


def answer(body: bytes | dict[str, Any], wire: WireRequest | None = None) -> TextAnswer:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return OpenAICodec(PLAIN).decode_text(raw, wire or encoded())


def completion(message: dict[str, Any], finish_reason: str | None = "stop") -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish_reason}]}


def test_openais_answer_is_read_whole():
    assert answer(GOLDEN) == TextAnswer(
        text="Hello! How can I assist you today?",
        finish_reason="stop",
        usage=Usage(19, 10, 5, 3),
        model_version="gpt-4.1-2025-04-14",
    )


def test_llama_cpps_answer_is_read_whole():
    found = answer(recorded("llama_cpp_chat.json"))
    assert found.text == "L'Étoile, la Marseillaise,"
    assert found.finish_reason == "length"
    assert found.usage is not None
    assert (found.usage.prompt_tokens, found.usage.completion_tokens) == (37, 12)
    assert found.model_version == "smollm2"


def test_tool_calls_are_read():
    found = answer(completion({"content": None, "tool_calls": [CALL, CALL]}, "tool_calls"))
    assert found.tool_calls == (ToolCall("call_1", "now", '{"z":1}'),) * 2
    assert (found.text, found.finish_reason) == ("", "tool_calls")


def test_arguments_that_a_server_has_parsed_are_written_again():
    call = {"function": {"name": "now", "arguments": {"z": 1}}}
    found = answer(completion({"tool_calls": [call]}, None))
    assert found.tool_calls == (ToolCall("call_0", "now", '{"z":1}'),)
    assert found.finish_reason == "tool_calls"


def test_a_call_from_before_tools_is_a_tool_call():
    legacy = {"content": None, "function_call": {"name": "now", "arguments": ""}}
    found = answer(completion(legacy, "function_call"))
    assert found.tool_calls == (ToolCall("call_0", "now", "{}"),)
    assert found.finish_reason == "tool_calls"


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_is_kept_apart(field: str):
    found = answer(completion({"content": "4", field: "2 and 2"}))
    assert (found.text, found.reasoning) == ("4", "2 and 2")


def test_a_refusal_is_not_an_empty_answer():
    found = answer(completion({"content": None, "refusal": "I cannot help with that."}))
    assert (found.text, found.refusal) == ("", "I cannot help with that.")


def test_text_in_parts_is_joined():
    parts = [{"type": "thinking", "thinking": []}, {"type": "text", "text": "a"}]
    assert answer(completion({"content": [*parts, {"type": "text", "text": "b"}]})).text == "ab"


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("stop", "stop"), ("length", "length"), ("content_filter", "content_filter"),
     ("eos", "stop"), ("model_length", "length"), (None, "stop")],
)  # fmt: skip
def test_finish_reasons_become_ours(theirs: str | None, ours: str):
    assert answer(completion({"content": "x"}, theirs)).finish_reason == ours


def test_usage_that_is_not_reported_is_unknown():
    assert answer(completion({"content": "x"})).usage is None


def test_warnings_of_the_request_come_with_the_answer():
    dialect = replace(PLAIN, unsupported=frozenset(("seed",)))
    wire = encoded(dialect, seed=1)
    assert answer(GOLDEN, wire).warnings == wire.warnings != ()


# -- answers that are none ---------------------------------------------------------------------


@pytest.mark.parametrize("content", [None, "", []])
def test_an_empty_answer_is_a_failure_of_its_own_kind(content: Any):
    with pytest.raises(ModelResponseError, match="neither text nor a tool call") as caught:
        answer(completion({"content": content}))
    assert caught.value.classification is ErrorClass.EMPTY_COMPLETION


def test_an_answer_that_max_tokens_ended_before_its_first_word_is_an_answer():
    found = answer(completion({"content": "", "reasoning_content": "hm"}, "length"))
    assert (found.text, found.finish_reason) == ("", "length")


def test_an_answer_that_a_stop_sequence_may_have_emptied_is_an_answer():
    assert answer(completion({"content": ""}), encoded(stop_sequences=["."])).text == ""


def test_an_answer_withheld_by_a_filter_says_so():
    with pytest.raises(ModelResponseError, match="content filter") as caught:
        answer(completion({"content": None}, "content_filter"))
    assert caught.value.classification is ErrorClass.CONTENT_FILTER


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html><body>It works!</body></html>", r"not JSON .*: <html><body>It works!"),
        (b'{"choices": [{"mess', r"not JSON .*: \{\"choices\""),
        (b"", "not JSON"),
        (b"[]", "no JSON object"),
        (b"null", "no JSON object"),
        (b"{}", r"no chat completion \(no 'choices'\)"),
        (b'{"choices": []}', r"no chat completion \(list index out of range\)"),
        (b'{"choices": [{"finish_reason": "stop"}]}', r"\(no 'message'\)"),
        (b'{"choices": [{"message": "hello"}]}', "no chat completion"),
        (b'{"choices": [{"message": {"content": 5}}]}', "a text is of type int"),
        (b'{"choices": [{"message": {"tool_calls": [{"function": {}}]}}]}', r"\(no 'name'\)"),
        (b'{"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": "9"}}',
         "prompt_tokens is '9'"),
    ],
)  # fmt: skip
def test_what_is_no_completion_is_told_apart(body: bytes, words: str):
    with pytest.raises(ModelResponseError, match=words) as caught:
        answer(body)
    assert caught.value.classification is ErrorClass.INVALID_RESPONSE


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "slow down", "code": 429}},
        {"choices": [{"finish_reason": "error", "error": {"message": "slow down", "code": 429}}]},
    ],
)
def test_an_error_with_status_200_is_an_error(body: dict[str, Any]):
    with pytest.raises(ModelError, match="slow down") as caught:
        answer(body)
    assert caught.value.classification is ErrorClass.RATE_LIMIT


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["choices", "message", "content", "tool_calls", "function", "name",
                         "finish_reason", "usage", "data", "index", "embedding", "error"]),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(JSON)
def test_whatever_json_a_server_sends_the_answer_or_the_error_is_ours(body: Any):
    raw = orjson.dumps(body)
    for read in (lambda: answer(raw), lambda: embedded(raw, input="a")):
        with suppress(ModelError):
            read()


# -- embeddings --------------------------------------------------------------------------------


def embedded(body: Any, **params: Any) -> EmbeddingAnswer:
    params.setdefault("input", ["a", "b"])
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return OpenAICodec(PLAIN).decode_embedding(raw, EmbeddingParams(**params))


def rows(*vectors: Any) -> dict[str, Any]:
    return {"data": [{"index": i, "embedding": vector} for i, vector in enumerate(vectors)]}


def test_texts_become_one_embeddings_request():
    wire = OpenAICodec(PLAIN).encode_embedding("e", EmbeddingParams(input="a"))
    assert wire.path == "/embeddings"
    assert wire.body == b'{"model":"e","input":["a"],"encoding_format":"float"}'


def test_dimensions_and_the_requests_model_reach_the_wire():
    params = EmbeddingParams(input=["a"], dimensions=3, model="other")
    body = orjson.loads(OpenAICodec(PLAIN).encode_embedding("e", params).body)
    assert (body["model"], body["dimensions"]) == ("other", 3)


def test_vectors_come_in_the_order_of_the_texts():
    body = {
        "model": "e-1",
        "data": [{"index": 1, "embedding": [3, 4]}, {"index": 0, "embedding": [1.5, 2]}],
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }
    assert embedded(body) == EmbeddingAnswer(
        vectors=[[1.5, 2], [3, 4]], usage=Usage(3), model_version="e-1"
    )


def test_llama_cpps_vectors_are_read():
    found = embedded(recorded("llama_cpp_embeddings.json"))
    assert [len(vector) for vector in found.vectors] == [576, 576]
    assert found.usage == Usage(3)


def test_vectors_in_base64_are_read():
    text = base64.b64encode(np.array([0.5, -2.0], dtype="<f4").tobytes()).decode()
    assert embedded(rows(text, text)).vectors == [[0.5, -2.0]] * 2


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (rows([1.0]), "1 vectors for 2 texts"),
        (rows([1.0], [1.0], [1.0]), "3 vectors for 2 texts"),
        ({"data": [{"index": 0, "embedding": [1]}] * 2}, r"\(no 1\)"),
        (rows([1.0], [1.0, 2.0]), r"vectors of \[1, 2\] dimensions"),
        (rows([], []), r"vectors of \[0\] dimensions"),
        (rows([1.0], ["x"]), "not a list of numbers"),
        (rows([1.0], [True]), "not a list of numbers"),
        (rows([1.0], None), "not a list of numbers"),
        (rows([1.0], "not base64"), "list of embeddings"),
        (rows([1.0], "AAAA"), "list of embeddings"),
        ({"data": [{"embedding": [1]}]}, r"\(no 'index'\)"),
        ({}, r"\(no 'data'\)"),
    ],
)
def test_what_are_no_embeddings_is_told_apart(body: Any, words: str):
    with pytest.raises(ModelResponseError, match=words):
        embedded(body)


def test_vectors_of_other_dimensions_than_asked_for_are_an_error():
    assert embedded(rows([1.0, 2.0], [1.0, 2.0]), dimensions=2).vectors == [[1.0, 2.0]] * 2
    with pytest.raises(ModelResponseError, match="2 dimensions, not 3") as caught:
        embedded(rows([1.0, 2.0], [1.0, 2.0]), dimensions=3)
    assert caught.value.classification is ErrorClass.UNSUPPORTED
