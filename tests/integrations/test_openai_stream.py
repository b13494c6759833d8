from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import ErrorClass, ModelError, ModelResponseError
from orchestrator.core.params import TextGenerationParams
from orchestrator.core.results import TextChunk, ToolCallDelta, Usage
from orchestrator.integrations.openai_codec import OpenAICodec
from orchestrator.integrations.openai_dialect import Dialect
from orchestrator.integrations.openai_stream import ChatStreamDecoder
from tests.integrations.recordings import TOOLS, recorded

PLAIN = Dialect(name="plain")
EMULATING = Dialect(name="emulating", native_tools=frozenset())
PLAIN_STREAMS = ["llama_cpp_chat.sse", "llama_cpp_unicode.sse"]
EMULATED_STREAMS = {
    "llama_cpp_required_tool.sse": "required",
    "llama_cpp_named_tool.sse": "get_weather",
    "llama_cpp_auto_reply.sse": "auto",
    "llama_cpp_auto_reply_cut.sse": "auto",
}


def decoder(dialect: Dialect = PLAIN, **params: Any) -> ChatStreamDecoder:
    params.setdefault("prompt", "Hi")
    codec = OpenAICodec(dialect)
    wire = codec.encode_text("gpt", TextGenerationParams(**params), {}, stream=True)
    return codec.stream_decoder(wire)


def chunks(*pieces: bytes, reader: ChatStreamDecoder | None = None) -> list[TextChunk]:
    reader = reader or decoder()
    found = [chunk for piece in pieces for chunk in reader.feed(piece)]
    return found + reader.finish()


def event(delta: dict[str, Any] | None = None, reason: str | None = None, **fields: Any) -> bytes:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": reason}
    body = {"object": "chat.completion.chunk", "model": "m-1", "choices": [choice], **fields}
    return b"data: " + orjson.dumps(body) + b"\n\n"


STOP = event(reason="stop")
DONE = b"data: [DONE]\n\n"


@dataclass
class Sum:
    """What a caller has at the end, however the chunks were cut."""

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    calls: dict[int, list[str]] = field(default_factory=dict)
    finish_reason: str | None = None
    usage: Usage | None = None
    model_version: str | None = None


def summed(found: list[TextChunk]) -> Sum:
    total = Sum()
    for chunk in found:
        total.text += chunk.text
        total.reasoning += chunk.reasoning
        total.refusal += chunk.refusal
        for piece in chunk.tool_calls:
            call = total.calls.setdefault(piece.index, ["", "", ""])
            call[0] += piece.id or ""
            call[1] += piece.name or ""
            call[2] += piece.arguments
        total.finish_reason = chunk.finish_reason or total.finish_reason
        total.usage = chunk.usage or total.usage
        total.model_version = chunk.model_version or total.model_version
    return total


# -- whole streams -----------------------------------------------------------------------------


def test_openais_stream_is_read_whole():
    body = b"".join(
        [
            event({"role": "assistant", "content": "", "refusal": None}, usage=None),
            event({"content": "Hello"}, usage=None),
            event({"content": "!"}, usage=None),
            event({}, "stop", usage=None),
            b'data: {"model":"m-1","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,'
            b'"total_tokens":11,"prompt_tokens_details":{"cached_tokens":4},'
            b'"completion_tokens_details":{"reasoning_tokens":1}}}\n\n',
            DONE,
        ]
    )
    assert chunks(body) == [
        TextChunk(text="Hello!"),
        TextChunk(finish_reason="stop", model_version="m-1"),
        TextChunk(usage=Usage(9, 2, 4, 1)),
    ]


def test_llama_cpps_stream_is_read_whole():
    assert summed(chunks(recorded("llama_cpp_chat.sse"))) == Sum(
        text="L'Étoile, la Marseillaise,",
        finish_reason="length",
        usage=Usage(37, 12, 36),
        model_version="smollm2",
    )


def test_text_that_arrives_at_once_is_one_chunk():
    assert len(chunks(event({"content": "a"}) * 20, STOP)) == 2
    assert len(chunks(*[event({"content": "a"})] * 20, STOP)) == 21


@pytest.mark.parametrize("name", PLAIN_STREAMS)
def test_recorded_bytes_cut_at_every_boundary_give_the_same_answer(name: str):
    body = recorded(name)
    whole = summed(chunks(body))
    assert whole.finish_reason is not None
    for cut in range(len(body) + 1):
        assert summed(chunks(body[:cut], body[cut:])) == whole


def test_characters_cut_in_the_middle_are_whole_again():
    body = recorded("llama_cpp_unicode.sse")
    bytes_of_it = [body[i : i + 1] for i in range(len(body))]
    assert summed(chunks(*bytes_of_it)).text == '"Zażółć gęślą jaźń 🦊"'


EVENTS = st.lists(
    st.sampled_from(
        [
            event({"content": "a"}),
            event({"role": "assistant", "content": "é"}),
            event({"reasoning_content": "r"}),
            event({"refusal": "no"}),
            event({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f"}}]}),
            event({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}),
            b": ping\n\n",
        ]
    ),
    max_size=8,
)


@given(EVENTS, st.data())
def test_no_cutting_changes_the_answer(parts: list[bytes], data: st.DataObject):
    body = b"".join([*parts, event({"content": "z"}), STOP, DONE])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=6)))
    pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert summed(chunks(*pieces)) == summed(chunks(body))


# -- parts of an answer ------------------------------------------------------------------------


def test_pieces_of_tool_calls_come_as_they_are():
    found = chunks(
        event(
            {"tool_calls": [{"index": 0, "id": "c0", "function": {"name": "f", "arguments": ""}}]}
        )
        + event({"tool_calls": [{"index": 0, "function": {"arguments": '{"a'}}]})
        + event({"tool_calls": [{"index": 1, "id": "c1", "function": {"name": "g"}}]})
        + event(reason="tool_calls")
    )
    assert [chunk.tool_calls for chunk in found[:3]] == [
        (ToolCallDelta(0, "c0", "f", ""),),
        (ToolCallDelta(0, None, None, '{"a'),),
        (ToolCallDelta(1, "c1", "g", ""),),
    ]
    assert found[3].finish_reason == "tool_calls"


def test_whole_calls_without_index_or_id_are_numbered():
    calls = [{"function": {"name": "f", "arguments": "{}"}}, {"function": {"name": "g"}}]
    (found, _) = chunks(event({"tool_calls": calls}) + event(reason="tool_calls"))
    assert found.tool_calls == (
        ToolCallDelta(0, "call_0", "f", "{}"),
        ToolCallDelta(1, "call_1", "g", ""),
    )


def test_a_call_from_before_tools_is_a_tool_call():
    found = summed(
        chunks(
            event({"function_call": {"name": "f", "arguments": ""}}),
            event({"role": None, "function_call": {"arguments": "{}"}}),
            event(reason="function_call"),
        )
    )
    assert found.calls == {0: ["call_0", "f", "{}"]}
    assert found.finish_reason == "tool_calls"


def test_text_around_a_call_keeps_its_place():
    call = {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f"}}]}
    body = event({"content": "a"}) + event(call) + event({"content": "b"}) + STOP
    found = chunks(body)
    assert [chunk.text for chunk in found] == ["a", "", "b", ""]


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_is_kept_apart(name: str):
    found = summed(chunks(event({name: "hm"}) + event({"content": "4"}) + STOP))
    assert (found.reasoning, found.text) == ("hm", "4")


def test_a_refusal_is_kept_apart():
    found = summed(chunks(event({"refusal": "I "}) + event({"refusal": "cannot."}) + STOP))
    assert (found.refusal, found.text) == ("I cannot.", "")


def test_other_choices_than_the_first_are_not_mixed_in():
    other = event({"content": "b"}).replace(b'"index":0', b'"index":1')
    assert summed(chunks(event({"content": "a"}) + other + STOP)).text == "a"


def test_usage_in_every_chunk_counts_as_last_reported():
    body = b"".join(
        event({"content": "a"}, usage={"prompt_tokens": 1, "completion_tokens": n}) for n in (1, 2)
    )
    found = chunks(body + STOP + event(usage={"prompt_tokens": 1, "completion_tokens": 3}))
    assert [chunk.usage for chunk in found if chunk.usage] == [Usage(1, 2), Usage(1, 3)]


def test_a_second_finish_reason_changes_nothing():
    body = event({"content": "a"}) + STOP + event(reason="length") + DONE
    assert [chunk.finish_reason for chunk in chunks(body)] == [None, "stop"]


@pytest.mark.parametrize(
    "junk", [b"data: {odd\n\n", b'data: {"error":{"message":"late"}}\n\n', b"data: 5\n\n"]
)
def test_nothing_behind_the_finish_reason_spoils_the_answer(junk: bytes):
    found = summed(chunks(event({"content": "a"}) + STOP + junk + event(usage={}) + DONE))
    assert (found.text, found.finish_reason) == ("a", "stop")


def test_the_end_mark_alone_says_that_the_answer_is_whole():
    assert summed(chunks(event({"content": "a"}) + DONE)).finish_reason == "stop"


def test_what_follows_the_end_mark_is_not_read():
    reader = decoder()
    assert (
        summed(reader.feed(event({"content": "a"}) + STOP + DONE + b"data: {odd\n\n")).text == "a"
    )
    assert reader.done


def test_an_end_mark_without_its_blank_line_is_one():
    assert summed(chunks(event({"content": "a"}), b"data: [DONE]")).finish_reason == "stop"


# -- streams that fail -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b": ping\n\n",
        event({"content": "a"}),
        event({"content": "a"}) + STOP[:40],
        STOP[:40],
    ],
)
def test_a_body_that_ends_before_the_answer_is_a_partial_failure(body: bytes):
    with pytest.raises(ModelResponseError, match="before the answer was whole") as caught:
        chunks(body)
    assert caught.value.classification is ErrorClass.PARTIAL_FAILURE


def test_every_cut_before_the_finish_reason_is_noticed():
    body = recorded("llama_cpp_chat.sse")
    whole_at = body.index(b'"finish_reason":"length"')
    whole_at = body.index(b"\n", whole_at)
    for end in range(whole_at):
        with pytest.raises(ModelResponseError):
            chunks(body[:end])
    assert summed(chunks(body[:whole_at])).finish_reason == "length"


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b'{"choices": [}', "not JSON"),
        (b"<html>", "not JSON"),
        (b"{}", "no 'choices'"),
        (b"[]", "no chunk of a completion"),
        (b'{"choices": ["x"]}', "no chunk of a completion"),
        (b'{"choices": [{"delta": {"content": 5}}]}', "a text is of type int"),
        (b'{"choices": [{"delta": {"tool_calls": 5}}]}', "no chunk of a completion"),
        (b'{"choices": [], "usage": 5}', "no chunk of a completion"),
    ],
)
def test_what_is_no_chunk_is_told_apart(payload: bytes, words: str):
    with pytest.raises(ModelResponseError, match=words) as caught:
        chunks(event({"content": "a"}), b"data: " + payload + b"\n\n")
    assert caught.value.classification is ErrorClass.INVALID_RESPONSE


@pytest.mark.parametrize(
    "body",
    [
        b'data: {"error":{"message":"slow down","code":429}}\n\n',
        b'data: {"error":{"message":"slow down","type":"rate_limit_error"}}\n\n',
        event({}, "error", error={"message": "slow down", "code": 429}),
        b'data: {"error":{"message":"slow down","code":429}}',
    ],
)
def test_an_error_in_the_stream_is_that_error(body: bytes):
    with pytest.raises(ModelError, match="slow down") as caught:
        chunks(event({"content": "a"}), body)
    assert caught.value.classification is ErrorClass.RATE_LIMIT


def test_an_empty_answer_fails_before_anything_is_handed_over():
    reader = decoder()
    assert reader.feed(event({"role": "assistant", "content": ""})) == []
    with pytest.raises(ModelResponseError) as caught:
        reader.feed(STOP)
    assert caught.value.classification is ErrorClass.EMPTY_COMPLETION


def test_an_empty_answer_that_was_asked_for_is_an_answer():
    assert summed(chunks(event(reason="length"))).finish_reason == "length"
    assert summed(chunks(STOP, reader=decoder(stop_sequences=["."]))).finish_reason == "stop"


PAYLOADS = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["choices", "delta", "content", "tool_calls", "function", "index",
                         "finish_reason", "usage", "error", "reasoning", "function_call"]),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(PAYLOADS)
def test_whatever_json_a_server_streams_the_chunks_or_the_error_are_ours(payload: Any):
    with suppress(ModelError):
        chunks(b"data: " + orjson.dumps(payload) + b"\n\n")


# -- emulated tools ----------------------------------------------------------------------------


def emulated(name: str) -> ChatStreamDecoder:
    return decoder(EMULATING, tools=TOOLS, tool_choice=EMULATED_STREAMS[name])


@pytest.mark.parametrize("name", EMULATED_STREAMS)
def test_no_constrained_output_leaks_as_text_wherever_the_bytes_are_cut(name: str):
    body = recorded(name)
    whole = summed(chunks(body, reader=emulated(name)))
    assert "{" not in whole.text
    assert whole.usage is not None
    for cut in range(0, len(body) + 1, 7):
        assert summed(chunks(body[:cut], body[cut:], reader=emulated(name))) == whole


@pytest.mark.parametrize("name", ["llama_cpp_required_tool.sse", "llama_cpp_named_tool.sse"])
def test_a_recorded_call_becomes_one_piece_of_a_tool_call(name: str):
    found = chunks(recorded(name), reader=emulated(name))
    (call,) = [piece for chunk in found for piece in chunk.tool_calls]
    assert (call.index, call.name, call.arguments) == (0, "get_weather", '{"city":"Paris"}')
    assert call.id is not None
    assert call.id.startswith("call_")
    assert [chunk.finish_reason for chunk in found if chunk.finish_reason] == ["tool_calls"]


def test_a_recorded_reply_becomes_text():
    found = summed(
        chunks(recorded("llama_cpp_auto_reply.sse"), reader=emulated("llama_cpp_auto_reply.sse"))
    )
    assert found.text.startswith("The order 77 was shipped on Friday")
    assert found.calls == {}


def test_a_recorded_reply_that_max_tokens_cut_is_text_as_far_as_it_goes():
    name = "llama_cpp_auto_reply_cut.sse"
    found = summed(chunks(recorded(name), reader=emulated(name)))
    assert found.text == "The order 77 was shipped on Friday,"
    assert found.finish_reason == "length"
