"""OpenAI's own client against the gateway, with a real model behind it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest

from orchestrator import EmbeddedModel, Model, Orchestrator, Price
from orchestrator.server import Gateway
from tests.integrations.real_engine import smollm2

QUESTION: Any = [{"role": "user", "content": "What is the capital of France?"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
CLOCK: Any = {
    "type": "function",
    "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}},
}
ANSWER: Any = {
    "type": "json_schema",
    "json_schema": {
        "name": "answer",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "sure": {"type": "boolean"}},
            "required": ["city", "sure"],
            "additionalProperties": False,
        },
    },
}


class Parrot(Model):
    """Cheap talk of the highest priority: text alone, and a window of fifty tokens."""

    def __init__(self) -> None:
        super().__init__("parrot", priority=99, price=Price.free(), context_window=50)

    async def generate_response(self, prompt: str, **options: Any) -> str:
        return "Hello!"


@asynccontextmanager
async def client() -> AsyncIterator[openai.AsyncOpenAI]:
    resident = smollm2(slots=2, context=4096)
    arms = [
        EmbeddedModel("terse", resident, defaults={"system_prompt": "Answer in one word."}),
        EmbeddedModel("plain", resident),
    ]
    async with (
        Orchestrator([Parrot(), *arms], selector="priority") as orchestrator,
        Gateway(orchestrator, port=0) as gateway,
        openai.AsyncOpenAI(
            base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0
        ) as official,
    ):
        yield official


async def test_a_real_model_answers_what_auto_asks():
    async with client() as official:
        short = await official.chat.completions.create(model="auto", messages=QUESTION)
        real = await official.chat.completions.create(
            model="embedded:terse", messages=QUESTION, max_tokens=30, temperature=0
        )

        assert short.model == "custom:parrot"
        assert real.model == "embedded:terse"
        assert "Paris" in (real.choices[0].message.content or "")
        assert real.usage is not None
        assert real.usage.total_tokens == real.usage.prompt_tokens + real.usage.completion_tokens


async def test_auto_streams_with_usage_from_a_model_that_streams():
    async with client() as official:
        stream = await official.chat.completions.create(
            model="auto",
            messages=QUESTION,
            max_tokens=30,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]

    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert {c.model for c in chunks} <= {"embedded:terse", "embedded:plain"}
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0


@pytest.mark.parametrize(
    ("choice", "allowed"),
    [
        ("required", {"get_weather", "get_time"}),
        ({"type": "function", "function": {"name": "get_time"}}, {"get_time"}),
        ({"type": "function", "function": {"name": "get_weather"}}, {"get_weather"}),
    ],
    ids=["required", "named get_time", "named get_weather"],
)
async def test_auto_calls_tools_with_arguments_that_fit(choice: Any, allowed: set[str]):
    async with client() as official:
        completion = await official.chat.completions.create(
            model="auto",
            messages=[{"role": "user", "content": "What is the weather in Paris?"}],
            tools=[WEATHER, CLOCK],
            tool_choice=choice,
        )

    chosen = completion.choices[0]
    assert chosen.finish_reason == "tool_calls"
    assert chosen.message.tool_calls
    for call in chosen.message.tool_calls:
        assert call.type == "function"
        assert call.function.name in allowed
        arguments = json.loads(call.function.arguments)
        if call.function.name == "get_weather":
            assert isinstance(arguments["city"], str)


async def test_auto_keeps_to_a_schema():
    async with client() as official:
        completion = await official.chat.completions.create(
            model="auto", messages=QUESTION, response_format=ANSWER
        )

    found = json.loads(completion.choices[0].message.content or "")
    assert found.keys() == {"city", "sure"}
    assert isinstance(found["city"], str)
    assert isinstance(found["sure"], bool)


async def test_auto_sends_a_long_prompt_to_a_window_that_holds_it():
    long: Any = [{"role": "user", "content": "Say yes. " * 60}]
    async with client() as official:
        completion = await official.chat.completions.create(
            model="auto", messages=long, max_tokens=5
        )

    assert completion.model in {"embedded:terse", "embedded:plain"}


async def test_an_image_goes_to_nobody_since_nobody_sees():
    picture: Any = [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            ],
        }
    ]
    async with client() as official:
        with pytest.raises(openai.BadRequestError, match="vision"):
            await official.chat.completions.create(model="auto", messages=picture)


async def test_vectors_of_like_texts_are_nearer():
    texts = ["The cat sleeps on the sofa.", "A cat is sleeping on a couch.", "Interest rates rose."]
    async with client() as official:
        answer = await official.embeddings.create(model="auto", input=texts)

    cat, same, other = (row.embedding for row in answer.data)
    assert len(answer.data) == 3
    assert _cosine(cat, same) > _cosine(cat, other)


async def test_the_list_of_models_holds_arms_and_routes():
    async with client() as official:
        ids = {model.id async for model in official.models.list()}

    assert {"auto", "custom:parrot", "embedded:terse", "embedded:plain"} <= ids


def _cosine(a: list[float], b: list[float]) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    norms = sum(x * x for x in a) ** 0.5 * sum(y * y for y in b) ** 0.5
    return float(dot / norms)
