"""A provider without a connection: what it answers to which request, and at what pace."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from orchestrator.testing.answer import Answer
from orchestrator.testing.openai_provider import OpenAIProvider
from orchestrator.testing.openai_wire import Reply, Request, ToolCall

CHAT = "/v1/chat/completions"
EMBED = "/v1/embeddings"


def chat(**options: Any) -> dict[str, Any]:
    return {"model": "echo", "messages": [{"role": "user", "content": "a b c d e"}], **options}


async def post(provider: OpenAIProvider, path: str, request: object, **headers: str) -> Answer:
    return await provider.answer("POST", path, headers, orjson.dumps(request))


def error(answer: Answer) -> dict[str, Any]:
    problem = orjson.loads(answer.body)["error"]
    assert isinstance(problem, dict)
    return problem


class TestRequests:
    @pytest.mark.parametrize(
        ("path", "request_", "status", "param"),
        [
            (CHAT, {"model": "echo", "messages": []}, 400, "messages"),
            (CHAT, {"model": "echo"}, 400, "messages"),
            (CHAT, {"messages": [{}]}, 400, "model"),
            (CHAT, [], 400, None),
            (CHAT, {"model": "other", "messages": [{}]}, 404, None),
            (EMBED, {"model": "echo"}, 400, "input"),
            (EMBED, {"model": "echo", "input": []}, 400, "input"),
            (EMBED, {"model": "echo", "input": ["a", ""]}, 400, "input"),
            ("/v1/nothing", {"model": "echo"}, 404, None),
        ],
    )
    async def test_a_wrong_request_is_told_what_is_wrong(
        self, path: str, request_: object, status: int, param: str | None
    ) -> None:
        answer = await post(OpenAIProvider(), path, request_)
        assert answer.status == status
        assert error(answer)["param"] == param
        assert error(answer)["message"]

    async def test_a_body_that_is_no_json_is_refused(self) -> None:
        answer = await OpenAIProvider().answer("POST", CHAT, {}, b'{"model": ')
        assert answer.status == 400
        assert "not valid JSON" in error(answer)["message"]

    async def test_an_unknown_model_has_its_own_code(self) -> None:
        answer = await post(OpenAIProvider(), CHAT, chat(model="other"))
        assert error(answer)["code"] == "model_not_found"
        assert "other" in error(answer)["message"]

    async def test_a_key_is_asked_for_everywhere_but_at_health(self) -> None:
        provider = OpenAIProvider(api_key="secret")
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "secret"}):
            answer = await post(provider, CHAT, chat(), **headers)
            assert (answer.status, error(answer)["code"]) == (401, "invalid_api_key")
        assert (await provider.answer("GET", "/v1/models", {}, b"")).status == 401
        assert (await provider.answer("GET", "/health", {}, b"")).status == 200
        for name in ("Authorization", "authorization"):
            assert (await post(provider, CHAT, chat(), **{name: "Bearer secret"})).status == 200

    async def test_a_responder_may_await_and_sees_the_whole_request(self) -> None:
        seen: list[Request] = []

        async def think(request: Request) -> Reply:
            seen.append(request)
            return Reply("thought")

        answer = await post(OpenAIProvider(think), CHAT, chat(temperature=0.5))
        message = orjson.loads(answer.body)["choices"][0]["message"]
        assert message["content"] == "thought"
        assert seen == [chat(temperature=0.5)]


class TestPace:
    provider = OpenAIProvider(first_token_s=2.0, tokens_per_s=4.0)

    async def test_a_unary_answer_comes_when_all_tokens_are_made(self) -> None:
        answer = await post(self.provider, CHAT, chat())
        assert answer.head_after_s == pytest.approx(2 + 4 / 4)

    @pytest.mark.parametrize("usage", [False, True])
    async def test_a_stream_waits_for_the_first_token_and_between_the_others(
        self, usage: bool
    ) -> None:
        options = {"stream": True, "stream_options": {"include_usage": usage}}
        answer = await post(self.provider, CHAT, chat(**options))
        assert answer.head_after_s == 0
        waits = [piece.after_s for piece in answer.pieces]
        assert waits == [2.0, 0.0, *[0.25] * 4, *[0.0] * (3 if usage else 2)]

    @pytest.mark.parametrize(
        "reply",
        [
            Reply("one"),
            Reply(""),
            Reply("one two three", completion_tokens=41),
            Reply("one", completion_tokens=9),
            Reply(tool_calls=[ToolCall("add", '{"a": 1, "b": 2}')]),
        ],
    )
    async def test_a_stream_takes_as_long_as_the_tokens_it_reports(self, reply: Reply) -> None:
        provider = OpenAIProvider(lambda _: reply, first_token_s=2.0, tokens_per_s=4.0)
        unary = await post(provider, CHAT, chat())
        stream = await post(provider, CHAT, chat(stream=True))
        n_tokens = orjson.loads(unary.body)["usage"]["completion_tokens"]
        assert unary.head_after_s == pytest.approx(2 + max(0, n_tokens - 1) / 4)
        assert sum(piece.after_s for piece in stream.pieces) == pytest.approx(unary.head_after_s)

    async def test_without_a_pace_nothing_waits(self) -> None:
        answer = await post(OpenAIProvider(), CHAT, chat(stream=True))
        assert {piece.after_s for piece in answer.pieces} == {0.0}
