"""The API as its users write it: checked by mypy, never run.

What must be an error carries the code of that error; mypy complains where one is missing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, assert_type

from orchestrator import (
    Decision,
    EmbeddingParams,
    EmbeddingResult,
    HandlerModel,
    Model,
    ModelCapabilities,
    ModelKey,
    ModelType,
    Orchestrator,
    Plugin,
    Price,
    Requirements,
    Route,
    Selection,
    SyncOrchestrator,
    TextChunk,
    TextGenerationParams,
    TextResult,
    UCBModelSelector,
)
from orchestrator.core.events import CallFailed, Event, ModelUsed
from orchestrator.core.results import Usage
from orchestrator.engine.explanation import Explanation


class MyModel(Model):
    def __init__(self) -> None:
        super().__init__(
            name="mine",
            provider="me",
            capabilities=ModelCapabilities(text_generation=True, supports_streaming=True),
            price=Price.per_1k(0.01, "0.02"),
        )

    async def generate_response(self, prompt: str, **options: Any) -> str:
        return prompt.upper()

    async def stream_response(self, prompt: str, **options: Any) -> AsyncIterator[str]:
        for word in prompt.split():
            yield word


class Luck:
    """A selector needs no base class, only what the protocol names."""


async def one_call(orchestrator: Orchestrator) -> None:
    result = await orchestrator.generate("Hello", max_cost=0.01, temperature=0.2)
    assert_type(result, TextResult)
    assert_type(result.text, str)
    assert_type(result.usage, Usage)
    assert_type(result.decision, Decision)
    assert_type(result.decision.propensity, float)

    await orchestrator.generate([{"role": "user", "content": "Hello"}], route="fast")
    await orchestrator.generate(TextGenerationParams(prompt="Hello"), context={"task": "code"})
    await orchestrator.generate("Hello", max_cosst=1)  # type: ignore[call-arg]
    await orchestrator.generate("Hello", max_cost="1")  # type: ignore[arg-type]
    await orchestrator.generate(5)  # type: ignore[arg-type]

    vectors = await orchestrator.embed(["a", "b"], dimensions=256)
    assert_type(vectors, EmbeddingResult)
    assert_type(vectors.vectors, list[list[float]])
    await orchestrator.embed("a", temperature=0.5)  # type: ignore[call-arg]


async def pieces(orchestrator: Orchestrator) -> None:
    async with orchestrator.stream("Hello", on_interrupt="restart") as stream:
        async for chunk in stream:
            assert_type(chunk, TextChunk)
        assert_type(stream.result, TextResult)
    orchestrator.stream("Hello", on_interrupt="again")  # type: ignore[arg-type]


async def selecting(orchestrator: Orchestrator) -> None:
    selection = await orchestrator.select_model(
        capabilities={"chat_completion"},
        max_cost=0.01,
        min_speed=20,
        context_length=8000,
        model_type="text:large",
        exclude_models=["gpt-4"],
        provider=None,
        prefer=None,
        route=None,
        prompt_tokens=350,
        context={"task": "code"},
        deadline_s=30,
    )
    assert_type(selection, Selection)
    assert_type(await selection.generate_response("Hello"), str)
    assert_type(await selection.generate("Hello", seed=1), TextResult)
    assert_type(await selection.embed("x"), EmbeddingResult)
    await orchestrator.select_model(temperature=0.5)  # type: ignore[call-arg]


async def kinds_of_work(orchestrator: Orchestrator) -> None:
    text = await orchestrator.use_model(
        ModelType.TEXT_LARGE, TextGenerationParams(prompt="Hi"), provider="anthropic"
    )
    assert_type(text, str)
    assert_type(await orchestrator.use_model(ModelType.CODE_GENERATION, {"prompt": "Hi"}), str)
    vector = await orchestrator.use_model(ModelType.TEXT_EMBEDDING, EmbeddingParams(input="x"))
    assert_type(vector, list[float] | list[list[float]])
    assert_type(await orchestrator.use_model("video:generation", {"seconds": 2}), Any)
    await orchestrator.use_model(ModelType.TEXT_LARGE, {"prompt": "Hi"}, max_cost=1.0, prefer="x")
    await orchestrator.use_model("video", 1, colour="red")  # type: ignore[call-overload]


async def the_pool(orchestrator: Orchestrator) -> None:
    assert_type(orchestrator.register_model(MyModel()), ModelKey)
    orchestrator.register_models([MyModel(), HandlerModel("text:large", on_text, "me")])
    orchestrator.register_handler(ModelType.TEXT_LARGE, on_text, "me", 90)
    orchestrator.register_handler("video:generation", lambda runtime, params: b"", "me")
    orchestrator.register_plugin(Plugin(name="mine", models=[MyModel()]))
    orchestrator.register_model("openai:gpt-4")  # type: ignore[arg-type]
    assert_type(orchestrator.registry.get_model("mine"), Model)


async def on_text(runtime: Orchestrator, params: TextGenerationParams) -> str:
    return params.prompt or ""


async def listening(orchestrator: Orchestrator) -> None:
    orchestrator.on(ModelUsed, lambda used: used.cost_usd)
    orchestrator.on(ModelUsed, lambda used: used.colour)  # type: ignore[attr-defined]
    with orchestrator.events.subscribe(ModelUsed) as used_ones:
        async for used in used_ones:
            assert_type(used, ModelUsed)
    with orchestrator.events.subscribe(ModelUsed, CallFailed) as events:
        async for event in events:
            assert_type(event.name, str)
    orchestrator.events.on(Event, record)


def record(event: Event) -> None: ...


async def afterwards(orchestrator: Orchestrator) -> None:
    await orchestrator.feedback("d-n-1-0", quality=0.9)
    await orchestrator.feedback("d-n-1-0", quality="good")  # type: ignore[arg-type]
    assert_type(orchestrator.explain("Hello", max_cost=1), Explanation)
    assert_type(orchestrator.get_model_statistics(), dict[str, dict[str, float]])


def building() -> None:
    Orchestrator(
        [MyModel()],
        selector=UCBModelSelector(exploration_factor=2.0, min_trials=5, confidence_level=0.95),
        routes=[Route(name="fast", models=("openai:*",), requirements=Requirements(max_cost=0.1))],
        budget_usd_per_day=1.0,
    )
    Orchestrator(selector="ucb")
    Orchestrator(selector=Luck())  # type: ignore[arg-type]
    UCBModelSelector(index="ucb2")  # type: ignore[arg-type]
    assert_type(Orchestrator.from_config("orchestrator.toml"), Orchestrator)


def without_await() -> None:
    with SyncOrchestrator([MyModel()]) as orchestrator:
        assert_type(orchestrator.generate("Hello", max_cost=0.01), TextResult)
        assert_type(orchestrator.embed("x"), EmbeddingResult)
        orchestrator.generate("Hello", max_cosst=1)  # type: ignore[call-arg]
        with orchestrator.stream("Hello") as chunks:
            for chunk in chunks:
                assert_type(chunk, TextChunk)
