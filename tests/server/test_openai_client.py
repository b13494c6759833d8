"""The official client, unchanged, against the gateway."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import BaseModel, SecretStr

from orchestrator import AttemptPolicy
from orchestrator.testing.faults import Dropped, Fault, FaultPlan, failure
from orchestrator.testing.provider_server import ProviderServer
from tests.server.serving import client_to, remote

ONE_ATTEMPT = {"attempts": AttemptPolicy(retries=0)}
MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": "one two three"}]


def tool(name: str) -> ChatCompletionToolParam:
    parameters: dict[str, object] = {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    }
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def always(fault: Fault) -> FaultPlan:
    return FaultPlan(faults=[(fault, 1.0)])


@pytest.mark.parametrize("model", ["auto", "acme:echo", "echo", "friend"])
async def test_a_model_is_named_by_route_key_name_or_alias(model: str):
    async with (
        ProviderServer() as server,
        client_to(remote(server, aliases=["friend"])) as client,
    ):
        answer = await client.chat.completions.create(model=model, messages=MESSAGES)

    assert answer.model == "acme:echo"
    assert answer.choices[0].message.content == "one two three"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3


async def test_a_stream_ends_with_its_usage():
    async with client_to() as client:
        stream = await client.chat.completions.create(
            model="auto",
            messages=MESSAGES,
            stream=True,
            stream_options={"include_usage": True},
        )
        *chunks, last = [chunk async for chunk in stream]

    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == "one two three"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens == 3


async def test_a_stream_without_usage_is_read_to_its_end():
    async with client_to() as client:
        stream = await client.chat.completions.create(model="auto", messages=MESSAGES, stream=True)
        chunks = [chunk async for chunk in stream]

    assert chunks[-1].choices[0].finish_reason == "stop"
    assert {chunk.usage for chunk in chunks} == {None}


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ("required", "weather"),
        ({"type": "function", "function": {"name": "time"}}, "time"),
    ],
)
async def test_tools_are_called_when_required_and_when_named(choice: Any, called: str):
    async with client_to() as client:
        answer = await client.chat.completions.create(
            model="auto",
            messages=MESSAGES,
            tools=[tool("weather"), tool("time")],
            tool_choice=choice,
        )
    [call] = answer.choices[0].message.tool_calls or []

    assert call.type == "function"
    assert (call.function.name, call.function.arguments) == (called, '{"city":"one two three"}')
    assert answer.choices[0].finish_reason == "tool_calls"


async def test_a_streamed_tool_call_is_put_together():
    async with (
        client_to() as client,
        client.chat.completions.stream(
            model="auto", messages=MESSAGES, tools=[tool("weather")]
        ) as stream,
    ):
        answer = await stream.get_final_completion()
    [call] = answer.choices[0].message.tool_calls or []

    assert (call.function.name, call.function.arguments) == ("weather", '{"city":"one two three"}')


async def test_a_schema_is_kept():
    class Verdict(BaseModel):
        reason: str
        good: bool

    async with client_to() as client:
        answer = await client.chat.completions.parse(
            model="auto", messages=MESSAGES, response_format=Verdict
        )

    assert answer.choices[0].message.parsed == Verdict(reason="one two three", good=True)


@pytest.mark.parametrize("encoding", ["float", "base64", None])
async def test_embeddings_come_in_the_order_of_the_texts(encoding: Any):
    asked = {} if encoding is None else {"encoding_format": encoding}
    async with client_to() as client:
        both = await client.embeddings.create(model="auto", input=["a", "b"], dimensions=8, **asked)
        one = await client.embeddings.create(
            model="auto", input="b", dimensions=8, encoding_format="float"
        )

    vectors = [item.embedding for item in both.data]
    assert [item.index for item in both.data] == [0, 1]
    if encoding != "base64":  # which the client leaves to whoever asks for it by name
        assert vectors[1] == pytest.approx(one.data[0].embedding, rel=1e-6)
        assert vectors[0] != vectors[1]
    assert (both.model, both.usage.prompt_tokens) == ("acme:echo", 2)


async def test_models_and_routes_are_listed_and_found():
    async with ProviderServer() as server, client_to(remote(server, "org/m:7b")) as client:
        listed = [model async for model in client.models.list()]
        model = await client.models.retrieve("acme:org/m:7b")
        route = await client.models.retrieve("auto")

    assert {("auto", "orchestrator"), ("acme:org/m:7b", "acme")} <= {
        (m.id, m.owned_by) for m in listed
    }
    assert model in listed
    assert route in listed


async def test_demands_travel_in_the_body_and_in_headers():
    async with (
        ProviderServer() as server,
        client_to(remote(server, "a"), remote(server, "b")) as client,
    ):
        create = client.chat.completions.with_raw_response.create
        by_body = await create(
            model="auto",
            messages=MESSAGES,
            extra_body={"orchestrator": {"exclude_models": ["acme:a"]}},
        )
        by_header = await create(
            model="auto",
            messages=MESSAGES,
            extra_headers={"X-Orchestrator-Exclude-Models": "acme:b"},
        )

    assert by_body.headers["x-orchestrator-model"] == "acme:b"
    assert by_header.headers["x-orchestrator-model"] == "acme:a"


async def test_the_request_id_of_an_answer_is_where_the_client_looks_for_it():
    async with client_to() as client:
        answer = await client.chat.completions.create(model="auto", messages=MESSAGES)

    assert answer._request_id
    assert answer.id == f"chatcmpl-{answer._request_id}"


# -- errors ----------------------------------------------------------------------------------------


async def test_a_wrong_value_is_a_bad_request():
    async with client_to() as client:
        with pytest.raises(openai.BadRequestError) as caught:
            await client.chat.completions.create(model="auto", messages=MESSAGES, temperature=3)

    assert (caught.value.param, caught.value.code) == ("temperature", "invalid_request")


async def test_a_demand_that_nobody_meets_is_a_bad_request_that_says_why():
    async with client_to() as client:
        with pytest.raises(openai.BadRequestError, match="acme:echo") as caught:
            await client.chat.completions.create(
                model="auto",
                messages=MESSAGES,
                extra_body={"orchestrator": {"capabilities": ["vision"]}},
            )

    assert caught.value.code == "no_eligible_models"


async def test_an_unknown_model_is_not_found():
    async with client_to() as client:
        with pytest.raises(openai.NotFoundError) as caught:
            await client.chat.completions.create(model="nope", messages=MESSAGES)
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("nope")

    assert (caught.value.param, caught.value.code) == ("model", "model_not_found")


async def test_a_wrong_key_is_an_authentication_error():
    async with client_to(api_key=SecretStr("right"), client_key="wrong") as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            await client.models.list()

    assert caught.value.code == "invalid_api_key"


async def test_the_right_key_is_let_in():
    async with client_to(api_key=SecretStr("right"), client_key="right") as client:
        await client.chat.completions.create(model="auto", messages=MESSAGES)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (failure(400), openai.BadRequestError),
        (failure(429, retry_after_s=7), openai.RateLimitError),
        (failure(401), openai.InternalServerError),  # it is the gateway's key that is wrong
        (failure(500), openai.InternalServerError),
        (failure(503), openai.InternalServerError),
        (Dropped(), openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_providers_failure_is_the_error_that_fits(
    fault: Fault, kind: type[openai.APIStatusError], stream: bool
):
    async with (
        ProviderServer(faults=always(fault)) as server,
        client_to(remote(server), engine=ONE_ATTEMPT) as client,
    ):
        with pytest.raises(kind) as caught:
            await client.chat.completions.create(model="auto", messages=MESSAGES, stream=stream)

    assert caught.value.request_id
    if kind is openai.RateLimitError:
        assert caught.value.response.headers["retry-after"] == "7"
