"""Chat completions, written: OpenAI's own types read them back."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from orchestrator.core.decisions import Decision
from orchestrator.core.requirements import ANYTHING
from orchestrator.core.results import (
    TextAnswer,
    TextChunk,
    TextResult,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from orchestrator.server.completion import CompletionChunks, completion

USAGE = Usage(21, 27, 5, 7)


def decision(key: str = "acme:m", sequence: int = 1) -> Decision:
    return Decision(
        node="n",
        bucket=16,
        sequence=sequence,
        request_id="r-n-1",
        keys=[key],
        arm=0,
        greedy=True,
        selector="ucb",
        floor=0.0,
        scores=np.zeros(1),
        eligible=np.ones(1, dtype=np.bool_),
        segment="all",
        requirements=ANYTHING,
        cost_usd=0.0,
        attempt=1,
        refused={},
    )


def result(**answer: Any) -> TextResult:
    return TextResult(
        request_id="r-n-1",
        decision=decision(),
        attempts=(),
        cost_usd=0.25,
        latency_s=0.5,
        answer=TextAnswer(**{"text": "hello", "usage": USAGE, **answer}),
    )


def whole(**answer: Any) -> ChatCompletion:
    return ChatCompletion.model_validate_json(completion(result(**answer), 1_700_000_000))


def chunks_in(events: bytes) -> list[ChatCompletionChunk]:
    data = [part[6:] for part in events.split(b"\n\n") if part.startswith(b"data: {")]
    return [ChatCompletionChunk.model_validate_json(part) for part in data]


def test_a_completion_has_the_shape_that_openai_promises():
    answer = whole()
    [choice] = answer.choices

    assert (answer.id, answer.created, answer.model) == ("chatcmpl-r-n-1", 1_700_000_000, "acme:m")
    assert (choice.index, choice.finish_reason, choice.logprobs) == (0, "stop", None)
    assert (choice.message.role, choice.message.content) == ("assistant", "hello")
    assert choice.message.tool_calls is None


def test_usage_counts_what_was_cached_and_what_was_thought():
    usage = whole().usage
    assert usage is not None
    assert usage.prompt_tokens_details is not None
    assert usage.completion_tokens_details is not None

    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (21, 27, 48)
    assert usage.prompt_tokens_details.cached_tokens == 5
    assert usage.completion_tokens_details.reasoning_tokens == 7


def test_tool_calls_stand_without_content():
    calls = (ToolCall("c1", "weather", '{"city":"Oslo"}'), ToolCall("c2", "time", "{}"))
    [choice] = whole(text="", tool_calls=calls, finish_reason="tool_calls").choices

    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    assert [
        (call.id, call.type, call.function.name, call.function.arguments)
        for call in choice.message.tool_calls or []
        if call.type == "function"
    ] == [("c1", "function", "weather", '{"city":"Oslo"}'), ("c2", "function", "time", "{}")]


@pytest.mark.parametrize("finish_reason", ["stop", "length", "tool_calls", "content_filter"])
def test_every_finish_reason_is_one_of_theirs(finish_reason: Any):
    assert whole(finish_reason=finish_reason).choices[0].finish_reason == finish_reason


def test_a_refusal_is_not_content():
    message = whole(text="", refusal="I would rather not.").choices[0].message

    assert (message.content, message.refusal) == (None, "I would rather not.")


def test_an_empty_answer_is_an_empty_text():
    assert whole(text="", finish_reason="length").choices[0].message.content == ""


def test_what_is_ours_stands_in_a_field_of_its_own():
    body = orjson.loads(completion(result(model_version="m-0423", warnings=("no seed",)), 1))

    assert body["orchestrator"] == {
        "request_id": "r-n-1",
        "decision_id": "d-n-10-1",
        "model": "acme:m",
        "cost_usd": 0.25,
        "attempts": 0,
        "latency_s": 0.5,
        "provider_model": "m-0423",
        "warnings": ["no seed"],
    }


def test_tokens_that_nobody_counted_are_marked():
    body = orjson.loads(completion(result(usage=Usage(1, 2, estimated=True)), 1))

    assert body["orchestrator"]["usage_estimated"] is True


# -- in pieces -------------------------------------------------------------------------------------


def written(*pieces: TextChunk, include_usage: bool = False, **answer: Any) -> bytes:
    stream = CompletionChunks(decision(), 1_700_000_000, include_usage=include_usage)
    body = b"".join(stream.piece(piece) for piece in pieces)
    return stream.opening() + body + stream.end(result(**answer))


@given(st.lists(st.text()), st.booleans())
def test_the_pieces_of_a_text_are_the_text(texts: list[str], include_usage: bool):
    pieces = [TextChunk(text=text) for text in texts]
    chunks = chunks_in(written(*pieces, include_usage=include_usage))

    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert "".join(delta.content or "" for delta in deltas) == "".join(texts)
    assert deltas[0].role == "assistant"


def test_the_finish_reason_comes_last_and_then_the_end_mark():
    events = written(TextChunk(text="hello"), finish_reason="length")

    assert [c.choices[0].finish_reason for c in chunks_in(events)] == [None, None, "length"]
    assert events.endswith(b"\n\ndata: [DONE]\n\n")


def test_every_chunk_bears_the_same_name():
    chunks = chunks_in(written(TextChunk(text="hello"), include_usage=True))

    assert {(c.id, c.created, c.model, c.object) for c in chunks} == {
        ("chatcmpl-r-n-1", 1_700_000_000, "acme:m", "chat.completion.chunk")
    }


def test_usage_is_a_last_chunk_without_choices_where_it_was_asked_for():
    *chunks, last = chunks_in(written(TextChunk(text="hello"), include_usage=True))

    assert {chunk.usage for chunk in chunks} == {None}
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.total_tokens == 48
    assert last.model_extra is not None
    assert last.model_extra["orchestrator"]["cost_usd"] == 0.25


def test_without_it_the_outcome_is_a_comment():
    *_, comment, done, end = written(TextChunk(text="hello")).split(b"\n\n")

    assert (done, end) == (b"data: [DONE]", b"")
    assert orjson.loads(comment.removeprefix(b": orchestrator "))["decision_id"] == "d-n-10-1"


def test_a_tool_call_in_pieces_names_itself_once():
    pieces = [
        TextChunk(tool_calls=(ToolCallDelta(0, "c1", "weather", ""),)),
        TextChunk(tool_calls=(ToolCallDelta(0, arguments='{"city":'),)),
        TextChunk(tool_calls=(ToolCallDelta(0, arguments='"Oslo"}'),)),
    ]
    deltas = [
        call
        for chunk in chunks_in(written(*pieces))
        for call in chunk.choices[0].delta.tool_calls or []
    ]
    assert [(call.index, call.id, call.type) for call in deltas] == [
        (0, "c1", "function"),
        (0, None, None),
        (0, None, None),
    ]
    functions = [call.function for call in deltas if call.function is not None]
    assert [f.name for f in functions] == ["weather", None, None]
    assert "".join(f.arguments or "" for f in functions) == '{"city":"Oslo"}'


def test_thoughts_and_refusals_are_pieces_of_their_own():
    _, thought, refused, _ = chunks_in(written(TextChunk(reasoning="hmm"), TextChunk(refusal="no")))

    assert thought.choices[0].delta.model_extra == {"reasoning_content": "hmm"}
    assert refused.choices[0].delta.refusal == "no"


def test_a_piece_without_content_is_no_chunk():
    stream = CompletionChunks(decision(), 1, include_usage=False)

    assert stream.piece(TextChunk(finish_reason="stop", usage=USAGE)) == b""


@pytest.mark.parametrize("include_usage", [True, False])
def test_a_restart_says_so_and_names_who_goes_on(include_usage: bool):
    stream = CompletionChunks(decision(), 1, include_usage=include_usage)
    events = stream.restart(decision("acme:other", 2)) + stream.piece(TextChunk(text="again"))
    restarted, following = chunks_in(events)

    assert restarted.choices[0].delta.role == "assistant"
    assert restarted.model_extra is not None
    assert restarted.model_extra["orchestrator"] == {
        "restarted": True,
        "decision_id": "d-n-10-2",
        "model": "acme:other",
    }
    assert (restarted.model, following.model) == ("acme:other", "acme:other")
