"""The gateway as plain HTTP clients meet it."""

from __future__ import annotations

import gzip
import logging
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from pydantic import SecretStr

from orchestrator import Model, Price, Route
from orchestrator.core.events import CallFailed
from orchestrator.core.model import Answer, Call
from orchestrator.core.params import Params
from orchestrator.core.results import TextAnswer, Usage
from orchestrator.routing.attempts import AttemptPolicy
from orchestrator.server.chat_request import ChatRequest
from orchestrator.testing.faults import FaultPlan, failure
from orchestrator.testing.provider_server import ProviderServer
from tests.server.serving import CHAT, door_to, remote

COMPLETIONS = "/v1/chat/completions"


class Scripted(Model):
    """Answers, or raises, what it was given; remembers what it was asked."""

    def __init__(self, name: str, answer: str | Exception = "yes", **facts: Any) -> None:
        super().__init__(name, "own", ("chat_completion",), **facts)
        self.script = answer
        self.asked: list[Params] = []

    async def answer(self, params: Params, call: Call) -> Answer:
        self.asked.append(params)
        if isinstance(self.script, Exception):
            raise self.script
        return TextAnswer(text=self.script, usage=Usage(10, 5))

    async def stream_response(self, prompt: str, **options: Any) -> AsyncIterator[str]:
        for word in ("one ", "two ", "three"):
            yield word


async def test_an_answer_says_in_its_headers_who_gave_it_and_what_it_cost():
    model = Scripted("m", price=Price.per_million(1, 2))
    async with door_to(model) as door:
        reply = await door.chat()

    assert reply.status == 200
    assert reply.headers["X-Orchestrator-Model"] == "own:m"
    assert reply.headers["X-Orchestrator-Cost-Usd"] == "0.00002"
    assert reply.headers["X-Orchestrator-Attempts"] == "1"
    ours = reply.json["orchestrator"]
    assert reply.headers["X-Orchestrator-Decision-Id"] == ours["decision_id"]
    assert reply.headers["X-Request-Id"] == ours["request_id"]
    assert ours["cost_usd"] == pytest.approx(2e-5)


async def test_a_failover_is_counted():
    plan = FaultPlan(script=[failure(500)])
    async with (
        ProviderServer(faults=plan) as server,
        door_to(remote(server, "a"), remote(server, "b")) as door,
    ):
        reply = await door.chat()

    assert reply.headers["X-Orchestrator-Attempts"] == "2"
    assert reply.json["orchestrator"]["attempts"] == 2


async def test_an_answer_that_says_nothing_is_a_failure_and_goes_to_another_model():
    nothing = [{"role": "user", "content": ""}]  # which is what the server echoes
    async with ProviderServer() as server:
        async with door_to(
            remote(server, priority=1), Scripted("m"), engine={"selector": "priority"}
        ) as door:
            another = await door.chat(messages=nothing)
        async with door_to(remote(server), engine={"attempts": AttemptPolicy(retries=0)}) as door:
            nobody = await door.chat(messages=nothing)
            asked_for = await door.chat(messages=nothing, stop=["."])

    assert (another.status, another.headers["X-Orchestrator-Attempts"]) == (200, "2")
    assert another.headers["X-Orchestrator-Model"] == "own:m"
    assert (nobody.status, nobody.error["code"]) == (502, "attempts_exhausted")
    assert "answered neither text nor a tool call" in nobody.error["message"]
    assert asked_for.json["choices"][0]["message"]["content"] == ""


async def test_a_stream_says_at_once_what_is_known_and_the_rest_at_its_end():
    async with door_to(Scripted("m")) as door:
        reply = await door.chat(stream=True)
        with_usage = await door.chat(stream=True, stream_options={"include_usage": True})

    assert reply.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert reply.headers["X-Orchestrator-Model"] == "own:m"
    decision_id = reply.headers["X-Orchestrator-Decision-Id"]
    assert "X-Orchestrator-Cost-Usd" not in reply.headers
    [comment] = [line for line in reply.body.split(b"\n") if line.startswith(b": orchestrator ")]
    outcome = orjson.loads(comment.removeprefix(b": orchestrator "))
    assert (outcome["decision_id"], outcome["attempts"]) == (decision_id, 1)
    assert with_usage.events[-1]["orchestrator"]["attempts"] == 1


async def test_a_plain_model_streams_piece_by_piece():
    async with door_to(Scripted("m")) as door:
        reply = await door.chat(stream=True)

    contents = [event["choices"][0]["delta"].get("content") for event in reply.events]
    assert contents == ["", "one ", "two ", "three", None]
    assert reply.body.endswith(b"data: [DONE]\n\n")


async def test_without_a_model_the_default_route_is_taken():
    async with door_to(Scripted("m")) as door:
        reply = await door.post(COMPLETIONS, {"messages": CHAT["messages"]})

    assert reply.json["model"] == "own:m"


async def test_a_route_may_stand_where_a_model_is_named():
    cheap = Route(name="cheap", models=("own:b",))
    async with door_to(Scripted("a"), Scripted("b"), engine={"routes": [cheap]}) as door:
        replies = [
            await door.chat(model="cheap"),
            await door.chat(orchestrator={"route": "cheap"}),
            await door.chat(headers={"X-Orchestrator-Route": "cheap"}),
        ]

    assert [reply.json["model"] for reply in replies] == ["own:b"] * 3


@pytest.mark.parametrize("named", [{"model": "nobody"}, {"orchestrator": {"route": "nobody"}}])
async def test_a_name_that_nobody_has_is_an_error_about_the_field_it_stood_in(named: Any):
    async with door_to(Scripted("a")) as door:
        reply = await door.chat(**named)

    assert (reply.status, reply.error["code"]) == (404, "model_not_found")
    assert reply.error["message"].startswith("there is no model or route 'nobody': ")
    assert reply.error["param"] == ("model" if "model" in named else "route")


async def test_what_the_gateway_does_not_know_reaches_the_provider():
    async with ProviderServer() as server, door_to(remote(server)) as door:
        await door.chat(reasoning_effort="low", top_k=3)
        [received] = server.requests

    assert (received.json["reasoning_effort"], received.json["top_k"]) == ("low", 3)
    assert "orchestrator" not in received.json


async def test_the_clients_key_does_not_reach_the_provider():
    async with ProviderServer() as server, door_to(remote(server)) as door:
        await door.chat(headers={"Authorization": "Bearer of-the-client"})
        [received] = server.requests

    assert received.headers["Authorization"] == "Bearer sk-provider"


# -- bodies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
async def test_json_is_taken_under_any_name(kind: str | None):
    headers = {} if kind is None else {"Content-Type": kind}
    async with door_to(Scripted("m")) as door:
        reply = await door.post(COMPLETIONS, CHAT, headers=headers)

    assert reply.status == 200


async def test_a_compressed_body_is_unpacked():
    async with door_to(Scripted("m")) as door:
        reply = await door.post(
            COMPLETIONS,
            gzip.compress(orjson.dumps(CHAT), mtime=0),
            headers={"Content-Encoding": "gzip"},
        )

    assert reply.status == 200


@pytest.mark.parametrize("body", [b"", b"{", b'{"a": NaN}', b"\xff", b"[]", b'"text"', b"null"])
@pytest.mark.parametrize(
    "path", [COMPLETIONS, "/v1/embeddings", "/api/v1/feedback", "/api/v1/explain"]
)
async def test_a_body_that_is_no_json_object_is_refused(path: str, body: bytes):
    async with door_to(Scripted("m")) as door:
        reply = await door.post(path, body)

    assert reply.status == 400
    assert "JSON" in reply.error["message"]


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_body_that_is_not_packed_as_it_says_is_the_callers_fault_and_no_news(
    encoding: str, caplog: pytest.LogCaptureFixture
):
    async with door_to(Scripted("m")) as door:
        reply = await door.post(COMPLETIONS, b"xx", headers={"Content-Encoding": encoding})
        after = await door.chat()

    assert (reply.status, reply.error["code"]) == (400, "invalid_request")
    assert "Content-Encoding" in reply.error["message"]
    assert reply.headers["Connection"] == "close"
    assert after.status == 200
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("packed", [False, True])
async def test_a_body_over_the_limit_is_refused_packed_or_not(packed: bool):
    body = orjson.dumps(CHAT | {"user": "x" * 5000})
    headers = {"Content-Encoding": "gzip"} if packed else {}
    async with door_to(Scripted("m"), max_body_bytes=4000) as door:
        reply = await door.post(
            COMPLETIONS, gzip.compress(body) if packed else body, headers=headers
        )

    assert reply.status == 413
    assert reply.error["code"] == "request_too_large"


# -- addresses -------------------------------------------------------------------------------------


async def test_an_unknown_address_is_in_the_envelope():
    async with door_to(Scripted("m")) as door:
        reply = await door.get("/v1/assistants")

    assert (reply.status, reply.error["code"]) == (404, "unknown_url")


async def test_a_wrong_method_is_in_the_envelope_and_says_which_is_right():
    async with door_to(Scripted("m")) as door:
        reply = await door.get(COMPLETIONS)

    assert (reply.status, reply.error["code"]) == (405, "method_not_allowed")
    assert reply.headers["Allow"] == "POST"


async def test_a_request_for_another_host_is_sent_away():
    async with door_to(Scripted("m")) as door:
        reply = await door.get("/v1/models", headers={"Host": "rebound.example"})

    assert (reply.status, reply.error["code"]) == (421, "host_not_allowed")


async def test_the_page_of_another_site_is_sent_away():
    model = Scripted("m")
    async with door_to(model) as door:
        reply = await door.chat(headers={"Origin": "https://evil.example"})

    assert (reply.status, reply.error["code"]) == (403, "origin_not_allowed")
    assert model.asked == []


async def test_without_the_key_nothing_is_told_not_even_what_there_is():
    async with door_to(Scripted("m"), api_key=SecretStr("right")) as door:
        replies = [
            await door.get(path)
            for path in ("/v1/models", "/api/v1/models", "/api/v1/events", "/healthz", "/nowhere")
        ]

    assert {reply.status for reply in replies} == {401}
    assert {reply.headers["WWW-Authenticate"] for reply in replies} == {"Bearer"}


# -- browsers --------------------------------------------------------------------------------------

PAGE = "https://app.example"


async def test_a_browser_gets_no_permission_unless_configured():
    async with door_to(Scripted("m")) as door:
        reply = await door.get("/v1/models")

    assert not [name for name in reply.headers if name.startswith("Access-Control")]


async def test_a_configured_page_may_read_answers_and_streams():
    async with door_to(Scripted("m"), allowed_origins=[PAGE]) as door:
        whole = await door.chat(headers={"Origin": PAGE})
        stream = await door.chat(headers={"Origin": PAGE}, stream=True)
        error = await door.chat(headers={"Origin": PAGE}, temperature=9)

    for reply in (whole, stream, error):
        assert reply.headers["Access-Control-Allow-Origin"] == PAGE
        assert "X-Orchestrator-Decision-Id" in reply.headers["Access-Control-Expose-Headers"]
        assert reply.headers["Vary"] == "Origin"


async def test_a_browser_may_ask_first_without_the_key():
    asking = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,x-stainless-os",
    }
    async with door_to(Scripted("m"), allowed_origins=[PAGE], api_key=SecretStr("right")) as door:
        allowed = await door.request("OPTIONS", COMPLETIONS, headers=asking)
        foreign = await door.request(
            "OPTIONS", COMPLETIONS, headers=asking | {"Origin": "https://evil.example"}
        )

    assert allowed.status == 204
    assert allowed.headers["Access-Control-Allow-Origin"] == PAGE
    assert allowed.headers["Access-Control-Allow-Headers"] == "authorization,x-stainless-os"
    assert foreign.status == 403
    assert "Access-Control-Allow-Origin" not in foreign.headers


# -- embeddings ------------------------------------------------------------------------------------


@pytest.mark.parametrize("ids", [[1, 2, 3], [[1, 2], [3]]])
async def test_token_ids_are_refused_because_they_mean_something_to_one_model_only(ids: Any):
    async with door_to() as door:
        reply = await door.post("/v1/embeddings", {"model": "auto", "input": ids})

    assert (reply.status, reply.error["param"]) == (400, "input")
    assert "token ids" in reply.error["message"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": 3.5}, "input"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
        ({"model": 7}, "model"),
    ],
)
async def test_an_embeddings_request_names_what_is_wrong(fields: dict[str, Any], param: str):
    async with door_to() as door:
        reply = await door.post("/v1/embeddings", {"model": "auto", "input": "a"} | fields)

    assert (reply.status, reply.error["param"]) == (400, param)


async def test_a_field_of_an_embeddings_request_that_is_left_out_is_a_warning():
    async with door_to() as door:
        reply = await door.post("/v1/embeddings", {"input": "a", "input_type": "query"})

    assert reply.json["orchestrator"]["warnings"] == ["input_type is not known and was left out"]
    assert reply.headers["X-Orchestrator-Model"] == "acme:echo"


# -- errors that are ours --------------------------------------------------------------------------


async def test_a_model_of_the_users_own_that_raises_does_not_tell_its_words():
    model = Scripted("m", RuntimeError("postgres://user:secret@host"))
    async with door_to(model) as door:
        reply = await door.chat()

    assert reply.status == 502
    assert "RuntimeError" in reply.error["message"]
    assert b"secret" not in reply.body


async def test_a_fault_of_the_gateway_is_logged_and_answered_without_a_word_of_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def broken(*_: object) -> ChatRequest:
        raise ZeroDivisionError("the inside of the gateway")

    monkeypatch.setattr("orchestrator.server.chat.read_chat_request", broken)
    with caplog.at_level(logging.ERROR, "orchestrator.server"):
        async with door_to(Scripted("m")) as door:
            reply = await door.chat()

    assert (reply.status, reply.error["code"]) == (500, "internal_error")
    assert b"inside" not in reply.body
    [record] = caplog.records
    assert record.getMessage() == f"POST {COMPLETIONS} failed"
    assert record.exc_info is not None


async def test_an_error_names_its_request_as_the_events_do():
    async with door_to(Scripted("m", RuntimeError("no"))) as door:
        with door.orchestrator.events.subscribe(CallFailed) as events:
            reply = await door.chat()
            failed = await anext(events)

    assert reply.headers["X-Request-Id"] == failed.request_id
