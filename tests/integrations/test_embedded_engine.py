"""The embedded engine as it is: llama.cpp with a small real model, over HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from math import sqrt
from typing import Any

import anyio
import pytest
import pytest_asyncio

from orchestrator.core.errors import ErrorClass, ModelAPIError, ModelTokenLimitError
from orchestrator.core.model import Call
from orchestrator.core.params import EmbeddingParams, TextGenerationParams
from orchestrator.core.ports import Endpoint, HttpRequest, Timeouts
from orchestrator.core.results import EmbeddingAnswer, TextAnswer
from orchestrator.integrations.embedded import EmbeddedModel, EmbeddedResident, warm_up
from orchestrator.integrations.http.transport import HttpTransport
from orchestrator.lifecycle.process import SubprocessLauncher
from tests.integrations.real_engine import smollm2

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATIENT = Timeouts(first_token_s=120.0, idle_s=120.0)
YES = {"type": "json_schema", "json_schema": {"name": "yes", "schema": {"const": "yes"}}}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tell the weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 20}},
            "required": ["city"],
        },
    },
}


@pytest.fixture(scope="module")
def resident() -> EmbeddedResident:
    return smollm2(context=1024)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def endpoint(resident: EmbeddedResident) -> AsyncIterator[Endpoint]:
    process = await SubprocessLauncher().start(resident)
    yield process.endpoint
    await process.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def transport() -> AsyncIterator[HttpTransport]:
    transport = HttpTransport()
    yield transport
    await transport.aclose()


class Asking:
    """Asks a model that is leased at an endpoint."""

    def __init__(self, model: EmbeddedModel, endpoint: Endpoint, transport: HttpTransport):
        model.bind(transport, None)
        self.model = model
        self.call = Call(endpoint, PATIENT)

    async def chat(self, prompt: str, **options: Any) -> TextAnswer:
        params = TextGenerationParams(prompt=prompt, **{"temperature": 0, **options})
        answer = await self.model.answer(params, self.call)
        assert isinstance(answer, TextAnswer)
        return answer

    async def embed(self, *texts: str) -> list[list[float]]:
        answer = await self.model.answer(EmbeddingParams(input=list(texts)), self.call)
        assert isinstance(answer, EmbeddingAnswer)
        return answer.vectors


@pytest.fixture
def terse(resident: EmbeddedResident, endpoint: Endpoint, transport: HttpTransport) -> Asking:
    defaults = {"system_prompt": "Answer with one word.", "max_tokens": 20}
    return Asking(EmbeddedModel("terse", resident, defaults=defaults), endpoint, transport)


# -- text --------------------------------------------------------------------------------------


async def test_it_answers_a_question(terse: Asking):
    answer = await terse.chat("What is the capital of France?")

    assert "Paris" in answer.text
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 10
    assert 0 < answer.usage.completion_tokens <= 20
    assert answer.model_version == "smollm2"


async def test_a_stream_says_the_same_in_pieces(terse: Asking):
    question = "What is the capital of Italy?"
    whole = await terse.chat(question)

    params = TextGenerationParams(prompt=question, temperature=0)
    async with terse.model.stream(params, terse.call) as chunks:
        pieces = [chunk async for chunk in chunks]

    assert "".join(chunk.text for chunk in pieces) == whole.text
    assert len([chunk for chunk in pieces if chunk.text]) > 1
    assert pieces[-1].usage is not None


async def test_a_json_schema_binds_the_answer(terse: Asking):
    schema = {
        "type": "object",
        "properties": {"city": {"enum": ["Paris", "Rome", "Tokyo"]}, "sure": {"type": "boolean"}},
        "required": ["city", "sure"],
        "additionalProperties": False,
    }
    answer = await terse.chat(
        "What is the capital of Japan?",
        max_tokens=60,
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "capital", "schema": schema, "strict": True},
        },
    )

    said = json.loads(answer.text)
    assert said.keys() == {"city", "sure"}
    assert said["city"] in {"Paris", "Rome", "Tokyo"}


async def test_json_mode_gives_json(terse: Asking):
    answer = await terse.chat(
        "Write a JSON object with the key city and the value Rome, and nothing else.",
        max_tokens=200,
        response_format={"type": "json_object"},
    )

    assert answer.text.lstrip().startswith("{")
    if answer.finish_reason == "stop":
        assert isinstance(json.loads(answer.text), dict)


@pytest.mark.parametrize("choice", ["required", "get_weather"])
async def test_a_function_that_has_to_be_called_is_called(terse: Asking, choice: str):
    answer = await terse.chat(
        "What is the weather in Rome?", tools=[WEATHER], tool_choice=choice, max_tokens=100
    )

    (call,) = answer.tool_calls
    assert call.name == "get_weather"
    assert json.loads(call.arguments).keys() == {"city"}
    assert answer.finish_reason == "tool_calls"


async def test_a_prompt_longer_than_a_slot_is_refused_with_the_window_that_was_declared(
    terse: Asking,
):
    with pytest.raises(ModelTokenLimitError) as caught:
        await terse.chat("word " * 600)

    assert caught.value.classification is ErrorClass.TOKEN_LIMIT
    assert caught.value.limit == terse.model.spec.context_window == 512


# -- embeddings --------------------------------------------------------------------------------


def likeness(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True)) / sqrt(
        sum(x * x for x in a) * sum(y * y for y in b)
    )


async def test_each_text_gives_a_vector_and_like_texts_like_vectors(terse: Asking):
    cat, kitten, tax = await terse.embed(
        "The cat sleeps on the sofa.",
        "A kitten is sleeping on the couch.",
        "Value-added tax is due by the tenth of the month.",
    )

    assert len(cat) == len(kitten) == len(tax) == 576
    assert likeness(cat, kitten) > likeness(cat, tax)


async def test_a_text_as_long_as_the_window_can_be_embedded_and_no_longer_one(terse: Asking):
    (vector,) = await terse.embed("word " * 500)
    assert len(vector) == 576

    with pytest.raises(ModelTokenLimitError) as caught:
        await terse.embed("word " * 600)
    assert caught.value.limit == 512


async def test_serving_embeddings_does_not_change_what_chat_says(
    terse: Asking, transport: HttpTransport
):
    without = smollm2(context=1024, embeddings=False)
    process = await SubprocessLauncher().start(without)
    try:
        alone = Asking(
            EmbeddedModel("alone", without, defaults=terse.model._defaults),
            process.endpoint,
            transport,
        )
        for place in ("France", "Spain", "Egypt"):
            question = f"What is the capital of {place}?"
            assert (await alone.chat(question)).text == (await terse.chat(question)).text
        with pytest.raises(ModelAPIError) as caught:
            await alone.embed("text")
        assert caught.value.classification is ErrorClass.UNSUPPORTED
    finally:
        await process.stop()


@pytest.mark.parametrize(("context", "slots"), [(600, 3), (1000, 7)])
async def test_a_window_that_does_not_divide_evenly_is_still_served_whole(
    transport: HttpTransport, context: int, slots: int
):
    resident = smollm2(context=context, slots=slots)
    process = await SubprocessLauncher().start(resident)
    try:
        asking = Asking(EmbeddedModel("uneven", resident), process.endpoint, transport)
        window = resident.context_window

        assert len(await asking.embed("word " * (window - 10))) == 1
        answer = await asking.chat("word " * (window - 60), response_format=YES)
        assert answer.text == '"yes"'
    finally:
        await process.stop()


# -- the server --------------------------------------------------------------------------------


async def test_only_who_has_the_key_is_answered(
    terse: Asking, endpoint: Endpoint, transport: HttpTransport
):
    stranger = Asking(terse.model, replace(endpoint, credential=None), transport)

    with pytest.raises(ModelAPIError) as caught:
        await stranger.chat("Hello")

    assert caught.value.classification is ErrorClass.AUTHENTICATION_FAILED


async def test_it_listens_on_this_machine_only(endpoint: Endpoint):
    assert endpoint.base_url.startswith("http://127.0.0.1:")


async def test_many_requests_at_once_are_all_answered_and_new_ones_still_reach_the_server(
    terse: Asking, endpoint: Endpoint, transport: HttpTransport
):
    answered: list[str] = []

    async def ask(number: int) -> None:
        await terse.chat(f"Say {number}.", max_tokens=8)
        answered.append("chat")

    async def look() -> None:
        url = endpoint.base_url.replace("/v1", "/health")
        response = await transport.request(HttpRequest("GET", url, {}), PATIENT)
        assert response.status == 200
        answered.append("health")

    async with anyio.create_task_group() as callers:
        for number in range(32):
            callers.start_soon(ask, number)
        await anyio.lowlevel.checkpoint()
        callers.start_soon(look)

    assert answered.count("chat") == 32
    # With a thread per core the last connection waits until most of the others are done.
    assert answered.index("health") < 16


async def test_warming_up_produces_a_token(endpoint: Endpoint, transport: HttpTransport):
    await warm_up(transport, endpoint)

    with pytest.raises(ModelAPIError) as caught:
        await warm_up(transport, replace(endpoint, credential=None))
    assert caught.value.status == 401
