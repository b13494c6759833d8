from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator
from typing import Any

import pytest

from orchestrator.core.capabilities import ModelCapabilities, capability_mask, capability_names
from orchestrator.core.errors import (
    InvalidKeyError,
    InvalidRequestError,
    ModelResponseError,
    OrchestratorError,
    UnknownCapabilityError,
    UnsupportedCapabilityError,
)
from orchestrator.core.keys import ModelKey
from orchestrator.core.model import Answer, Call, Model, ModelConstraints
from orchestrator.core.model_types import TEXT_TYPES
from orchestrator.core.params import EmbeddingParams, Message, OwnParams, TextGenerationParams
from orchestrator.core.ports import Timeouts
from orchestrator.core.prices import Price
from orchestrator.core.results import (
    EmbeddingAnswer,
    TextAnswer,
    TextChunk,
    ToolCall,
    ToolCallDelta,
    Usage,
)

CALL = Call(None, Timeouts())
HELLO = TextGenerationParams(prompt="hello")


class Writer(Model):
    """Says what it was asked, and with which options."""

    async def generate_response(self, prompt: str, **options: Any) -> str:
        return json.dumps([prompt, options])


class Streamer(Model):
    def __init__(self, *pieces: Any) -> None:
        super().__init__("streamer")
        self.pieces = pieces
        self.closed = False

    async def stream_response(self, prompt: str, **options: Any) -> AsyncIterator[str]:
        try:
            for piece in self.pieces:
                yield piece
        finally:
            self.closed = True


class Embedder(Model):
    def __init__(self, vectors: Any) -> None:
        super().__init__("embedder", capabilities=("embeddings",))
        self.vectors = vectors
        self.options: dict[str, Any] = {}

    async def embed(self, texts: list[str], **options: Any) -> list[list[float]]:
        self.options = options
        return self.vectors  # type: ignore[no-any-return]


async def streamed(model: Model, params: TextGenerationParams = HELLO) -> list[TextChunk]:
    async with model.stream(params, CALL) as pieces:
        return [piece async for piece in pieces]


# -- what a user writes ------------------------------------------------------------------------


async def test_a_subclass_with_one_method_is_a_model():
    class CustomModel(Model):
        def __init__(self) -> None:
            super().__init__(
                name="custom-model",
                provider="custom",
                capabilities=ModelCapabilities(text_generation=True, code_generation=True),
            )

        async def generate_response(self, prompt: str, **kwargs: Any) -> str:
            return f"Response to: {prompt}"

        async def health_check(self) -> bool:
            return True

    model = CustomModel()

    assert str(model.key) == "custom:custom-model"
    assert await model.generate_response("hi") == "Response to: hi"
    assert await model.health_check()
    assert capability_names(model.spec.capabilities) == {"text_generation", "code_generation"}
    assert await model.answer(HELLO, CALL) == TextAnswer(text="Response to: hello")


async def test_what_a_model_does_not_implement_is_refused_by_name():
    model = Model("mute", "some")

    for attempt in (
        model.answer(HELLO, CALL),
        model.answer(EmbeddingParams(input="x"), CALL),
        model.answer(OwnParams(), CALL),
        streamed(model),
    ):
        with pytest.raises(UnsupportedCapabilityError, match="some:mute cannot"):
            await attempt


async def test_options_that_are_set_reach_the_model():
    params = TextGenerationParams(prompt="hi", temperature=0.5, stop_sequences=["END"], seed=0)
    answer = await Writer("w").answer(params, CALL)

    assert isinstance(answer, TextAnswer)
    assert json.loads(answer.text) == [
        "hi",
        {"temperature": 0.5, "stop_sequences": ["END"], "seed": 0},
    ]


@pytest.mark.parametrize(
    ("messages", "prompt"),
    [
        ([{"role": "user", "content": "hi"}], "hi"),
        ([{"role": "user", "content": [{"type": "text", "text": "hi"}]}], "hi"),
        (
            [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes?"}],
            "user: hi\nassistant: yes?",
        ),
        ([{"role": "assistant", "content": None}], ""),
    ],
)
async def test_a_model_that_knows_only_prompts_gets_the_conversation_as_one(
    messages: list[Message], prompt: str
):
    answer = await Writer("w").answer(TextGenerationParams(messages=messages), CALL)

    assert isinstance(answer, TextAnswer)
    assert json.loads(answer.text)[0] == prompt


@pytest.mark.parametrize("found", [None, 5, b"bytes", ["text"]])
async def test_what_is_no_text_is_no_answer(found: Any):
    class Forgetful(Model):
        async def generate_response(self, prompt: str, **options: Any) -> str:
            return found  # type: ignore[no-any-return]

    with pytest.raises(ModelResponseError, match=type(found).__name__):
        await Forgetful("f").answer(HELLO, CALL)
    with pytest.raises(ModelResponseError):
        await streamed(Forgetful("f"))
    with pytest.raises(ModelResponseError):
        await streamed(Streamer("so far", found))


async def test_a_model_without_streaming_streams_its_answer_in_one_piece():
    assert [chunk.text for chunk in await streamed(Writer("w"))] == ['["hello", {}]']


async def test_an_answer_in_one_piece_loses_nothing():
    whole = TextAnswer(
        text="t",
        tool_calls=(ToolCall("1", "f", "{}"),),
        finish_reason="tool_calls",
        usage=Usage(1, 2),
        model_version="v",
        reasoning="r",
        refusal="no",
        warnings=("w",),
    )

    class Whole(Model):
        async def answer(self, params: Any, call: Call) -> Answer:
            return whole

    assert await streamed(Whole("w")) == [
        TextChunk(
            text="t",
            reasoning="r",
            refusal="no",
            tool_calls=(ToolCallDelta(0, "1", "f", "{}"),),
            finish_reason="tool_calls",
            usage=Usage(1, 2),
            model_version="v",
            warnings=("w",),
        )
    ]


async def test_a_model_that_streams_says_when_it_is_done():
    chunks = await streamed(Streamer("a", "", "b"))

    assert [chunk.text for chunk in chunks] == ["a", "", "b", ""]
    assert chunks[-1].finish_reason == "stop"


async def test_leaving_a_stream_early_closes_it():
    model = Streamer("a", "b")
    async with model.stream(HELLO, CALL) as pieces:
        await anext(pieces)
        assert not model.closed

    assert model.closed


async def test_vectors_come_back_as_they_are():
    answer = await Embedder([[1.0], [2.0]]).answer(EmbeddingParams(input=["a", "b"]), CALL)

    assert answer == EmbeddingAnswer(vectors=[[1.0], [2.0]])


async def test_the_wanted_dimensions_reach_the_model_and_are_checked():
    model = Embedder([[1.0, 2.0]])

    await model.answer(EmbeddingParams(input="a", dimensions=2), CALL)
    assert model.options == {"dimensions": 2}

    with pytest.raises(ModelResponseError, match="another length than 3"):
        await model.answer(EmbeddingParams(input="a", dimensions=3), CALL)


async def test_as_many_vectors_as_texts_or_none():
    with pytest.raises(ModelResponseError, match="1 vectors for 2 texts"):
        await Embedder([[1.0]]).answer(EmbeddingParams(input=["a", "b"]), CALL)


# -- what a model declares ---------------------------------------------------------------------


def test_who_chats_writes_text_and_who_keeps_to_a_schema_keeps_to_json():
    model = Model("m", capabilities=("chat_completion", "json_schema"))

    assert capability_names(model.spec.capabilities) == {
        "chat_completion",
        "text_generation",
        "json_schema",
        "json_mode",
    }


def test_who_implements_streaming_streams():
    assert Streamer().spec.capabilities & capability_mask(["streaming"])
    assert not Writer("w").spec.capabilities & capability_mask(["streaming"])


def test_kinds_of_work_follow_from_capabilities_unless_the_owner_names_them():
    assert Model("m").spec.types == set(TEXT_TYPES)
    assert Model("m", model_types=["text:small", "video"]).spec.types == {"text:small", "video"}


def test_the_longest_answer_may_stand_among_the_capabilities():
    declared = ModelCapabilities(text_generation=True, max_tokens=100)

    assert Model("m", capabilities=declared).spec.max_output_tokens == 100
    assert Model("m", capabilities=declared, max_output_tokens=50).spec.max_output_tokens == 50


def test_a_provider_is_known_under_one_name():
    assert Model("opus", "claude").key == ModelKey("anthropic", "opus")


def test_models_are_equal_by_their_key():
    assert Model("m", "a") == Writer("m", "a")
    assert len({Model("m", "a"), Writer("m", "a"), Model("m", "b")}) == 2
    assert Model("m", "a") != "a:m"


def test_a_model_tells_what_it_declares_as_plain_data():
    model = Model(
        "m",
        "a",
        ["vision"],
        context_window=8192,
        price=Price.per_1k(0.03, 0.06),
        speed=50.0,
        aliases=["fast"],
    )

    assert json.loads(json.dumps(model.to_dict())) == {
        "key": "a:m",
        "provider": "a",
        "name": "m",
        "capabilities": ["vision"],
        "types": ["image:analysis"],
        "context_window": 8192,
        "max_output_tokens": None,
        "price": {"input_per_million": "30.00", "output_per_million": "60.00"},
        "speed": 50.0,
        "quality": None,
        "priority": 0,
        "local": False,
        "aliases": ["fast"],
    }


@pytest.mark.parametrize(
    ("facts", "error"),
    [
        ({"name": ""}, InvalidKeyError),
        ({"provider": ""}, InvalidKeyError),
        ({"provider": "a:b"}, InvalidKeyError),
        ({"capabilities": "vision"}, UnknownCapabilityError),
        ({"capabilities": ["flying"]}, UnknownCapabilityError),
        ({"quality": 1.1}, InvalidRequestError),
        ({"quality": math.nan}, InvalidRequestError),
        ({"speed": 0}, InvalidRequestError),
        ({"speed": math.inf}, InvalidRequestError),
        ({"context_window": 0}, InvalidRequestError),
        ({"context_window": -1}, InvalidRequestError),
        ({"max_output_tokens": 0}, InvalidRequestError),
        ({"priority": math.nan}, InvalidRequestError),
        ({"price": 0.03}, InvalidRequestError),
        ({"aliases": "fast"}, InvalidRequestError),
        ({"model_types": "text:large"}, InvalidRequestError),
    ],
)
def test_a_model_that_declares_nonsense_is_refused(
    facts: dict[str, Any], error: type[OrchestratorError]
):
    with pytest.raises(error) as refusal:
        Model(**{"name": "m", **facts})

    if isinstance(refusal.value, InvalidRequestError):
        assert refusal.value.param == next(iter(facts))


@pytest.mark.parametrize("name", ModelConstraints.__dataclass_fields__)
@pytest.mark.parametrize("value", [-1, math.nan, True])
def test_a_constraint_out_of_range_is_refused_by_name(name: str, value: Any):
    with pytest.raises(InvalidRequestError, match=name):
        ModelConstraints(**{name: value})
