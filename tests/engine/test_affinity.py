from __future__ import annotations

import asyncio
from typing import Any

import pytest

from orchestrator import (
    AttemptPolicy,
    AttemptsExhaustedError,
    Orchestrator,
    Route,
    UCBModelSelector,
)
from orchestrator.core.decisions import RefusalCode
from orchestrator.core.errors import ErrorClass, ModelAPIError
from orchestrator.selectors import ThompsonSelector
from orchestrator.testing.scripted import Turn
from tests.engine.world import down, engine, says, simulated

S, T = {"session": "s"}, {"session": "t"}


async def answered_by(orchestrator: Orchestrator, **options: Any) -> list[str]:
    """Return who was called for a request, in order; the last one answered."""
    result = await orchestrator.generate("hi", **options)
    return [attempt.model for attempt in result.attempts]


@simulated
async def test_after_a_fallback_a_session_goes_straight_to_who_answered_it():
    async with engine(says("a", down(), "a"), says("b")) as orchestrator:
        assert await answered_by(orchestrator, context=S) == ["p:a", "p:b"]
        assert await answered_by(orchestrator, context=S) == ["p:b"]
        assert await answered_by(orchestrator, context=T) == ["p:a"]
        assert await answered_by(orchestrator) == ["p:a"]


@simulated
async def test_a_session_stays_for_half_an_hour_from_its_last_answer():
    async with engine(says("a", down(), "a"), says("b")) as orchestrator:
        await answered_by(orchestrator, context=S)
        await asyncio.sleep(1_799)
        assert await answered_by(orchestrator, context=S) == ["p:b"]
        await asyncio.sleep(1_799)
        assert await answered_by(orchestrator, context=S) == ["p:b"]
        await asyncio.sleep(1_800)
        assert await answered_by(orchestrator, context=S) == ["p:a"]


@simulated
async def test_a_route_may_keep_sessions_for_another_time_or_not_at_all():
    routes = [Route(name="brief", affinity_s=5.0), Route(name="loose", affinity_s=0.0)]
    for name, later_s, second in (
        ("brief", 4.0, "p:b"),
        ("brief", 5.0, "p:a"),
        ("loose", 0, "p:a"),
    ):
        async with engine(says("a", down(), "a"), says("b"), routes=routes) as orchestrator:
            await answered_by(orchestrator, route=name, context=S)
            await asyncio.sleep(later_s)
            assert await answered_by(orchestrator, route=name, context=S) == [second]


@simulated
async def test_a_session_stays_apart_on_each_route_and_for_each_kind_of_work():
    models = says("a", down(), "a"), says("b")
    async with engine(*models, routes=[Route(name="other")]) as orchestrator:
        await answered_by(orchestrator, context=S)
        assert await answered_by(orchestrator, route="other", context=S) == ["p:a"]
        vectors = await orchestrator.embed("hi", context=S)
        assert vectors.decision.key == "p:a"
        assert await answered_by(orchestrator, context=S) == ["p:b"]


@simulated
async def test_a_decision_that_a_session_forced_says_so():
    async with engine(says("a"), says("b"), selector=UCBModelSelector(floor=0.5)) as orchestrator:
        first = (await orchestrator.generate("hi", context=S)).decision
        decision = (await orchestrator.generate("hi", context=S)).decision

    assert (first.selector, decision.selector) == ("ucb", "affinity")
    assert decision.key == first.key
    assert (decision.greedy, decision.floor, decision.propensity) == (True, 0.0, 1.0)
    assert [r.code for r in decision.refused.values()] == [RefusalCode.PASSED_OVER]


@simulated
async def test_what_a_session_forces_is_certain_whatever_the_selector_draws():
    async with engine(says("a"), says("b"), selector=ThompsonSelector()) as orchestrator:
        found = [(await orchestrator.generate("hi", context=S)).decision for _ in range(20)]

    assert len({decision.key for decision in found}) == 1
    assert {decision.propensity for decision in found[1:]} == {1.0}


@simulated
async def test_who_may_not_serve_this_request_is_not_stayed_with():
    async with engine(says("a", down(), "a"), says("b")) as orchestrator:
        await answered_by(orchestrator, context=S)
        assert await answered_by(orchestrator, context=S, exclude_models=["b"]) == ["p:a"]
        orchestrator.unregister_model("a")
        orchestrator.register_model(says("c", priority=1))
        orchestrator.unregister_model("b")
        assert await answered_by(orchestrator, context=S) == ["p:c"]


@simulated
async def test_who_is_out_of_service_is_not_stayed_with():
    busy = ModelAPIError("slow down", classification=ErrorClass.RATE_LIMIT, retry_after_s=30.0)
    models = says("a"), says("b", "b", busy, "b")
    async with engine(*models, attempts=AttemptPolicy(max_attempts=1)) as orchestrator:
        await answered_by(orchestrator, context=S, exclude_models=["a"])
        with pytest.raises(AttemptsExhaustedError):
            await answered_by(orchestrator, model="b")

        assert await answered_by(orchestrator, context=S) == ["p:a"]


@simulated
async def test_a_failure_moves_the_session_to_who_answers_instead():
    a, b = says("a", down(), "a"), says("b", "b", down(), "b")
    async with engine(a, b) as orchestrator:
        assert await answered_by(orchestrator, context=S) == ["p:a", "p:b"]
        assert await answered_by(orchestrator, context=S) == ["p:b", "p:a"]
        assert await answered_by(orchestrator, context=S) == ["p:a"]


@simulated
async def test_a_session_stays_with_who_answered_on_a_fallback_of_its_route():
    routes = [Route(name="first", models=("p:a",), fallback=("p:b",))]
    async with engine(says("a", down(), "a"), says("b"), routes=routes) as orchestrator:
        assert await answered_by(orchestrator, route="first", context=S) == ["p:a", "p:b"]
        assert await answered_by(orchestrator, route="first", context=S) == ["p:b"]


@simulated
async def test_streams_and_selections_stay_too():
    async with engine(says("a", down(), "a"), says("b")) as orchestrator:
        async with orchestrator.stream("hi", context=S) as stream:
            assert [chunk.text async for chunk in stream if chunk.text] == ["b"]
        selection = await orchestrator.select_model(context=S)
        assert selection.key == "p:b"
        assert await selection.generate_response("hi") == "b"


@simulated
async def test_an_answer_that_nobody_waited_for_keeps_no_session():
    async with engine(says("a", Turn(text="a", after_s=9.0)), says("b")) as orchestrator:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await orchestrator.generate("hi", context=S)

        assert (await orchestrator.generate("hi", context=S)).decision.selector == "priority"


@simulated
async def test_what_is_explained_for_a_session_is_what_is_then_chosen():
    async with engine(says("a", down(), "a"), says("b")) as orchestrator:
        await answered_by(orchestrator, context=S)

        explained = orchestrator.explain("hi", context=S)

        assert (explained.chosen, explained.selector) == ("p:b", "affinity")
        assert await answered_by(orchestrator, context=S) == ["p:b"]
