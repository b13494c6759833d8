from __future__ import annotations

import asyncio
from typing import Any

import pytest

from orchestrator import ModelConstraints, Price, Route
from orchestrator.core.errors import (
    AttemptsExhaustedError,
    EngineClosedError,
    InvalidRequestError,
)
from orchestrator.core.events import CallFailed, DecisionExpired, ModelSelected, ModelUsed
from orchestrator.testing.scripted import Turn
from tests.engine.world import down, engine, listen, pending, says, simulated

TOOL: Any = {"type": "function", "function": {"name": "f", "parameters": {}}}


@simulated
async def test_a_selection_is_used_and_its_first_call_is_its_outcome():
    async with engine(says("a"), says("b")) as orchestrator:
        selected, used = listen(orchestrator, ModelSelected), listen(orchestrator, ModelUsed)
        selection = await orchestrator.select_model(capabilities={"chat_completion"})
        assert (selection.key, selection.model.name) == ("p:a", "a")
        assert repr(selection) == f"<Selection p:a {selection.decision.id}>"
        assert pending(orchestrator) == 1

        assert await selection.generate_response("hi") == "a"

        assert pending(orchestrator) == 0
    assert [e.decision_id for e in selected] == [selection.decision.id]
    assert [e.decision_id for e in used] == [selection.decision.id]


@simulated
async def test_a_selection_can_do_everything_its_model_can():
    async with engine(says("a")) as orchestrator:
        whole = await (await orchestrator.select_model()).generate("hi", temperature=0.5)
        vectors = await (await orchestrator.select_model()).embed(["one", "two"])
        async with (await orchestrator.select_model()).stream("hi") as stream:
            pieces = [chunk.text async for chunk in stream]

        assert pending(orchestrator) == 0
    assert (whole.text, "".join(pieces), len(vectors.vectors)) == ("a", "a", 2)


@simulated
async def test_further_calls_decide_anew_and_are_requests_of_their_own():
    first = says("a", constraints=ModelConstraints(max_concurrent_requests=1))
    async with engine(first, says("b")) as orchestrator:
        selection = await orchestrator.select_model(max_cost=1.0, allow_unknown_cost=True)
        results = [await selection.generate("hi") for _ in range(3)]

    assert results[0].decision_id == selection.decision.id
    assert len({r.decision_id for r in results}) == 3
    assert len({r.request_id for r in results}) == 3
    assert {r.decision.requirements.max_cost for r in results} == {1.0}


@simulated
async def test_a_selection_fails_over_under_the_same_requirements():
    models = says("a", down()), says("b"), says("c", context_window=100_000)
    async with engine(*models) as orchestrator:
        selection = await orchestrator.select_model(exclude_models=["b"])
        result = await selection.generate("hi")

    assert result.text == "c"
    assert [a.decision.attempt for a in result.attempts] == [1, 2]
    assert {a.decision.request_id for a in result.attempts} == {selection.decision.request_id}


@simulated
async def test_a_selection_of_a_named_model_fails_alone():
    async with engine(says("a", down()), says("b")) as orchestrator:
        selection = await orchestrator.select_model(model="a")
        with pytest.raises(AttemptsExhaustedError):
            await selection.generate("hi")


@simulated
async def test_a_selection_that_nobody_uses_expires_after_its_time_and_counts_neither_way():
    async with engine(says("a")) as orchestrator:
        expired = listen(orchestrator, DecisionExpired)
        short = await orchestrator.select_model(deadline_s=5.0)
        await orchestrator.select_model()
        await asyncio.sleep(7)
        assert [e.decision_id for e in expired] == [short.decision.id]
        await asyncio.sleep(54)
        assert len(expired) == 2

        statistics = orchestrator.get_model_statistics()["p:a"]
        assert (statistics["calls"], statistics["expired"]) == (0, 2)
        assert pending(orchestrator) == 0


@simulated
async def test_an_expired_selection_can_still_be_used_and_decides_anew():
    async with engine(says("a")) as orchestrator:
        selection = await orchestrator.select_model(deadline_s=5.0)
        await asyncio.sleep(60)
        result = await selection.generate("hi")

        assert result.decision_id != selection.decision.id
        assert pending(orchestrator) == 0


@simulated
async def test_a_selection_may_be_given_back():
    model = says("a", price=Price.per_1k(1, 1))
    async with engine(model, budget_usd_per_day=1.5) as orchestrator:
        expired = listen(orchestrator, DecisionExpired)
        selection = await orchestrator.select_model()
        selection.release()
        selection.release()

        assert len(expired) == 1
        assert pending(orchestrator) == 0
        again = await orchestrator.select_model()
        assert again.key == "p:a", "what it had set aside is free again"


@simulated
async def test_selections_left_at_the_end_expire():
    orchestrator = engine(says("a"))
    async with orchestrator:
        expired = listen(orchestrator, DecisionExpired)
        for _ in range(3):
            await orchestrator.select_model()

    assert len(expired) == 3
    assert pending(orchestrator) == 0


@simulated
async def test_a_request_that_demands_more_than_was_said_goes_to_a_model_that_can():
    models = says("a"), says("b", capabilities=["text_generation", "function_calling"])
    async with engine(*models) as orchestrator:
        expired = listen(orchestrator, DecisionExpired)
        selection = await orchestrator.select_model()
        assert selection.key == "p:a"

        result = await selection.generate("hi", tools=[TOOL])

    assert result.text == "b"
    assert [e.decision_id for e in expired] == [selection.decision.id]
    assert [a.model for a in result.attempts] == ["p:b"]


@simulated
async def test_a_model_that_left_in_the_meantime_is_not_called():
    models = says("a"), says("b")
    async with engine(*models) as orchestrator:
        selection = await orchestrator.select_model()
        orchestrator.unregister_model("a")

        assert await selection.generate_response("hi") == "b"
    assert models[0].calls == []


@simulated
async def test_a_selection_through_a_fallback_is_used_as_it_is():
    route = Route(name="r", models=("nobody",), fallback=("b",))
    async with engine(says("a"), says("b"), routes=[route]) as orchestrator:
        selection = await orchestrator.select_model(route="r")
        result = await selection.generate("hi")

    assert result.decision_id == selection.decision.id


@simulated
async def test_two_calls_at_once_share_nothing():
    async with engine(says("a", Turn(text="a", after_s=1.0))) as orchestrator:
        selection = await orchestrator.select_model()
        results = await asyncio.gather(selection.generate("hi"), selection.generate("hi"))

        assert len({r.decision_id for r in results}) == 2
        assert pending(orchestrator) == 0
        assert orchestrator.get_model_statistics()["p:a"]["calls"] == 2


@simulated
async def test_a_stream_of_a_selection_that_is_never_entered_leaves_the_selection_as_it_was():
    async with engine(says("a")) as orchestrator:
        selection = await orchestrator.select_model()
        selection.stream("never entered")

        result = await selection.generate("hi")

        assert result.decision_id == selection.decision.id
        assert pending(orchestrator) == 0


@simulated
async def test_a_selection_that_fails_late_is_cancelled_with_its_caller():
    async with engine(says("a", Turn(text="a", after_s=100.0))) as orchestrator:
        failures = listen(orchestrator, CallFailed)
        selection = await orchestrator.select_model()
        call = asyncio.create_task(selection.generate("hi"))
        await asyncio.sleep(1)
        call.cancel()
        await asyncio.wait([call])

        assert pending(orchestrator) == 0
    assert [f.classification for f in failures] == ["cancelled"]


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"prompt_tokens": -1}, "prompt_tokens"),
        ({"prompt_tokens": "5"}, "prompt_tokens"),
        ({"prompt_tokens": True}, "prompt_tokens"),
        ({"max_tokens": -5, "prompt_tokens": 10}, "max_tokens"),
        ({"max_tokens": float("nan")}, "max_tokens"),
        ({"temperature": 0.5}, "temperature"),
        ({"colour": None}, "colour"),
        ({"max_cost": False}, "max_cost"),
        ({"exclude_models": "gpt-4"}, "exclude_models"),
    ],
)
@simulated
async def test_a_wrong_demand_is_refused_by_name(options: Any, param: str):
    async with engine(says("a")) as orchestrator:
        with pytest.raises(InvalidRequestError) as refusal:
            await orchestrator.select_model(**options)

        assert orchestrator.get_model_statistics() == {}
    assert refusal.value.param == param


@simulated
async def test_a_selection_needs_a_running_engine():
    with pytest.raises(EngineClosedError):
        await engine(says("a")).select_model()
