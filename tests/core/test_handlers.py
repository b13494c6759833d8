from __future__ import annotations

import threading
from typing import Any

import pytest

from orchestrator.core.capabilities import capability_names
from orchestrator.core.errors import ModelResponseError
from orchestrator.core.handlers import HandlerModel, ModelRegistration, Plugin
from orchestrator.core.model import Call, Model
from orchestrator.core.model_types import ModelType
from orchestrator.core.params import EmbeddingParams, OwnParams, Params, TextGenerationParams
from orchestrator.core.ports import Timeouts
from orchestrator.core.results import EmbeddingAnswer, HandlerAnswer, TextAnswer, Usage

CALL = Call(None, Timeouts())
HELLO = TextGenerationParams(prompt="hello")


def echo(runtime: object, params: Any) -> Any:
    return params.prompt


async def answered(handler: Any, params: Params, kind: str = "text:large") -> Any:
    return await HandlerModel(kind, handler, "p").answer(params, CALL)


async def test_a_coroutine_function_is_awaited():
    async def handler(runtime: object, params: Any) -> str:
        return f"{params.prompt}, world"

    assert await answered(handler, HELLO) == TextAnswer(text="hello, world")


async def test_a_plain_function_runs_in_a_worker_thread():
    threads = []

    def handler(runtime: object, params: Any) -> str:
        threads.append(threading.current_thread())
        return "done"

    assert await answered(handler, HELLO) == TextAnswer(text="done")
    assert threads != [threading.current_thread()]


async def test_an_object_may_be_called_too():
    class Handler:
        async def __call__(self, runtime: object, params: Any) -> str:
            return "called"

    assert await answered(Handler(), HELLO) == TextAnswer(text="called")


async def test_a_plain_function_may_return_what_has_to_be_awaited():
    async def later() -> str:
        return "later"

    assert await answered(lambda runtime, params: later(), HELLO) == TextAnswer(text="later")


async def test_the_handler_gets_the_engine_it_serves():
    engine = object()
    model = HandlerModel("text:large", lambda runtime, params: str(runtime is engine), "p")
    model.bind(None, engine)  # type: ignore[arg-type]

    assert await model.answer(HELLO, CALL) == TextAnswer(text="True")


async def test_one_text_takes_one_vector_and_a_list_takes_as_many():
    one = await answered(lambda r, p: [1.0, 2.0], EmbeddingParams(input="a"), "text:embedding")
    two = await answered(
        lambda r, p: [[1.0], [2.0]], EmbeddingParams(input=["a", "b"]), "text:embedding"
    )

    assert one == EmbeddingAnswer(vectors=[[1.0, 2.0]])
    assert two == EmbeddingAnswer(vectors=[[1.0], [2.0]])


async def test_a_kind_of_the_users_own_gets_and_gives_whatever_it_likes():
    found = await answered(lambda r, p: {"frames": p * 2}, OwnParams(value=12), "video:generation")

    assert found == HandlerAnswer(value={"frames": 24})


async def test_a_handler_may_say_more_than_the_bare_result():
    whole = TextAnswer(text="hi", usage=Usage(1, 2))

    assert await answered(lambda r, p: whole, HELLO) is whole


@pytest.mark.parametrize("found", [None, 5, {"text": "hi"}])
async def test_a_text_handler_gives_text(found: Any):
    with pytest.raises(ModelResponseError, match=type(found).__name__):
        await answered(lambda r, p: found, HELLO)


async def test_an_embedding_handler_gives_as_many_vectors_as_texts():
    with pytest.raises(ModelResponseError, match="1 vectors for 2 texts"):
        await answered(lambda r, p: [[1.0]], EmbeddingParams(input=["a", "b"]), "text:embedding")


@pytest.mark.parametrize("kind", ModelType)
def test_a_handler_can_what_its_kind_of_work_needs(kind: ModelType):
    model = HandlerModel(kind, echo, "p")

    assert model.spec.types == {kind.value}
    assert capability_names(model.spec.capabilities)


def test_a_kind_of_the_users_own_needs_no_capability():
    model = HandlerModel("video:generation", echo, "p", 7, name="clips", speed=3.0)

    assert (str(model.key), model.spec.priority) == ("p:clips", 7)
    assert model.spec.types == {"video:generation"}
    assert model.spec.capabilities == 0


def test_a_registration_turns_into_plain_data_and_into_a_model():
    registration = ModelRegistration(
        type=ModelType.TEXT_LARGE, handler=echo, provider="p", priority=9
    )

    assert registration.to_dict() == {
        "type": "text:large",
        "handler": "echo",
        "provider": "p",
        "priority": 9,
        "name": "text:large",
    }
    model = registration.model()
    assert (str(model.key), model.spec.priority) == ("p:text:large", 9)


def test_a_plugin_brings_handlers_and_models():
    own = Model("own", "p")
    handled = ModelRegistration(type="text:small", handler=echo, provider="p", name="handled")

    assert [str(m.key) for m in Plugin(name="x", models=[own, handled]).built()] == [
        "p:own",
        "p:handled",
    ]
