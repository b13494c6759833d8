"""Bytes as OpenAI sends them. The official client reads them in `test_provider_server.py`."""

from __future__ import annotations

import base64
import math
import struct
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.testing.openai_wire import (
    Reply,
    ToolCall,
    embedding,
    embeddings_body,
    error_body,
    models_body,
    sse_frames,
    tokens_of,
    unary_body,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)


def chat(**options: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "one two"}], **options}


def chunks(frames: list[bytes]) -> list[dict[str, Any]]:
    *events, end = frames
    assert end == b"data: [DONE]\n\n"
    assert all(event.startswith(b"data: ") and event.endswith(b"\n\n") for event in events)
    return [orjson.loads(event.removeprefix(b"data: ")) for event in events]


class TestTokens:
    @given(texts)
    def test_no_character_is_lost_between_tokens(self, text: str) -> None:
        assert "".join(tokens_of(text)) == text


class TestUnary:
    def test_a_text_is_the_message_of_the_only_choice(self) -> None:
        body = orjson.loads(unary_body(chat(), Reply("three four five")))
        assert body["object"] == "chat.completion"
        assert body["model"] == "m"
        [choice] = body["choices"]
        assert choice["message"] == {
            "role": "assistant",
            "content": "three four five",
            "refusal": None,
        }
        assert choice["finish_reason"] == "stop"
        assert body["usage"] == {"prompt_tokens": 6, "completion_tokens": 3, "total_tokens": 9}

    def test_reported_usage_overrides_counted(self) -> None:
        reply = Reply("three", prompt_tokens=100, completion_tokens=7)
        usage = orjson.loads(unary_body(chat(), reply))["usage"]
        assert usage == {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107}

    @pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
    def test_a_limit_on_tokens_cuts_the_text_and_says_so(self, limit: str) -> None:
        body = orjson.loads(unary_body(chat(**{limit: 2}), Reply("three four five")))
        assert body["choices"][0]["message"]["content"] == "three four "
        assert body["choices"][0]["finish_reason"] == "length"
        assert body["usage"]["completion_tokens"] == 2

    def test_tool_calls_stand_in_for_the_text(self) -> None:
        reply = Reply(tool_calls=[ToolCall("add", '{"a": 1}'), ToolCall("stop")])
        [choice] = orjson.loads(unary_body(chat(), reply))["choices"]
        assert choice["message"]["content"] is None
        assert choice["finish_reason"] == "tool_calls"
        calls = choice["message"]["tool_calls"]
        assert [call["function"] for call in calls] == [
            {"name": "add", "arguments": '{"a": 1}'},
            {"name": "stop", "arguments": "{}"},
        ]
        assert {call["type"] for call in calls} == {"function"}
        assert len({call["id"] for call in calls}) == 2

    def test_the_same_request_has_the_same_bytes_and_another_has_another_id(self) -> None:
        same = [unary_body(chat(), Reply("x")) for _ in range(2)]
        assert same[0] == same[1]
        assert orjson.loads(same[0])["id"] != orjson.loads(unary_body(chat(n=1), Reply("x")))["id"]


class TestStream:
    def test_a_stream_opens_with_the_role_and_ends_with_the_reason(self) -> None:
        events = chunks(sse_frames(chat(stream=True), Reply("three four")))
        assert {event["object"] for event in events} == {"chat.completion.chunk"}
        assert [event["choices"][0]["delta"] for event in events] == [
            {"role": "assistant", "content": "", "refusal": None},
            {"content": "three "},
            {"content": "four"},
            {},
        ]
        reasons = [event["choices"][0]["finish_reason"] for event in events]
        assert reasons == [None, None, None, "stop"]
        assert all("usage" not in event for event in events)

    def test_usage_comes_last_without_choices_and_only_if_asked_for(self) -> None:
        request = chat(stream=True, stream_options={"include_usage": True})
        *events, last = chunks(sse_frames(request, Reply("three four")))
        assert all(event["usage"] is None for event in events)
        assert last["choices"] == []
        assert last["usage"] == {"prompt_tokens": 6, "completion_tokens": 2, "total_tokens": 8}

    @given(texts, st.one_of(st.none(), st.integers(1, 5)))
    def test_the_deltas_add_up_to_the_unary_answer(self, text: str, limit: int | None) -> None:
        request, reply = chat(max_tokens=limit), Reply(text)
        [choice] = orjson.loads(unary_body(request, reply))["choices"]
        events = [event["choices"][0] for event in chunks(sse_frames(request, reply))]
        assert (
            "".join(event["delta"].get("content") or "" for event in events)
            == (choice["message"]["content"])
        )
        assert events[-1]["finish_reason"] == choice["finish_reason"]

    def test_a_tool_call_opens_with_its_name_and_its_arguments_follow(self) -> None:
        reply = Reply(tool_calls=[ToolCall("add", '{"a": 1, "b": 2}'), ToolCall("stop")])
        request = chat(stream=True)
        whole = orjson.loads(unary_body(request, reply))["choices"][0]["message"]["tool_calls"]
        built: dict[int, dict[str, Any]] = {}
        for event in chunks(sse_frames(request, reply)):
            for part in event["choices"][0]["delta"].get("tool_calls", []):
                if "id" in part:
                    assert part["function"]["arguments"] == ""
                    built[part.pop("index")] = part
                else:
                    arguments = part["function"]["arguments"]
                    built[part["index"]]["function"]["arguments"] += arguments
        assert [built[0], built[1]] == whole


class TestEmbeddings:
    def test_vectors_are_fixed_for_all_time(self) -> None:
        # Seen once and written down: another platform or version must not change them.
        vector = embedding("a sentence", 3)
        assert vector == pytest.approx(
            [-0.6026743660535818, 0.11623642313244678, 0.7894762203127387], abs=1e-12
        )

    @given(texts, st.integers(1, 100))
    def test_vectors_have_unit_length_and_the_dimensions_asked_for(
        self, text: str, dimensions: int
    ) -> None:
        vector = embedding(text, dimensions)
        assert len(vector) == dimensions
        assert math.hypot(*vector) == pytest.approx(1)

    def test_texts_that_share_words_are_near(self) -> None:
        cat, cats, stocks = (
            embedding(text, 256)
            for text in ("the black cat sleeps", "the black cat eats", "shares fell sharply")
        )
        assert sum(map(float.__mul__, cat, cats)) > 0.5 > sum(map(float.__mul__, cat, stocks))

    def test_each_input_has_its_vector_in_order(self) -> None:
        body = orjson.loads(embeddings_body({"model": "m", "input": ["a", "b c"]}))
        assert [item["index"] for item in body["data"]] == [0, 1]
        assert [item["embedding"] for item in body["data"]] == [
            pytest.approx(embedding("a", 64)),
            pytest.approx(embedding("b c", 64)),
        ]
        assert body["usage"] == {"prompt_tokens": 3, "total_tokens": 3}

    @pytest.mark.parametrize(
        ("given_input", "n"), [("text", 1), (["a", "b"], 2), ([1, 2, 3], 1), ([[1], [2, 3]], 2)]
    )
    def test_texts_and_token_ids_alone_and_in_lists_are_taken(
        self, given_input: Any, n: int
    ) -> None:
        body = orjson.loads(embeddings_body({"model": "m", "input": given_input}))
        assert len(body["data"]) == n

    def test_base64_holds_little_endian_floats(self) -> None:
        request = {"model": "m", "input": "a", "dimensions": 5, "encoding_format": "base64"}
        [item] = orjson.loads(embeddings_body(request))["data"]
        vector = struct.unpack("<5f", base64.b64decode(item["embedding"]))
        assert vector == pytest.approx(embedding("a", 5), abs=1e-6)


class TestLists:
    def test_models_are_listed_by_name(self) -> None:
        body = orjson.loads(models_body(["a", "b"]))
        assert body["object"] == "list"
        assert [(item["id"], item["object"]) for item in body["data"]] == [
            ("a", "model"),
            ("b", "model"),
        ]


class TestErrors:
    def test_type_and_code_follow_the_status_unless_given(self) -> None:
        assert orjson.loads(error_body(401, "no"))["error"] == {
            "message": "no",
            "type": "invalid_request_error",
            "param": None,
            "code": "invalid_api_key",
        }
        assert orjson.loads(error_body(500, "no", "mine", "my_code", "x"))["error"] == {
            "message": "no",
            "type": "mine",
            "param": "x",
            "code": "my_code",
        }
