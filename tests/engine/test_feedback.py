from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from orchestrator.core.errors import (
    EngineClosedError,
    InvalidRequestError,
    RequestError,
    UnknownDecisionError,
)
from orchestrator.core.events import FeedbackRecorded
from orchestrator.selectors import UCBModelSelector
from orchestrator.testing.scripted import Turn
from tests.engine.world import down, engine, listen, pending, says, simulated

GREEDY = UCBModelSelector(0.0, min_trials=0, floor=0.0)


@simulated
async def test_a_quality_counts_for_the_model_that_answered():
    async with engine(says("a", down()), says("b")) as orchestrator:
        told = listen(orchestrator, FeedbackRecorded)
        result = await orchestrator.generate("hi")

        await orchestrator.feedback(result.decision_id, quality=0.9)

        statistics = orchestrator.get_model_statistics()
    assert (statistics["p:a"]["n_quality"], statistics["p:b"]["quality"]) == (0, 0.9)
    assert [(e.decision_id, e.model, e.quality, e.corrected) for e in told] == [
        (result.decision_id, "p:b", 0.9, False)
    ]


@simulated
async def test_the_same_quality_again_changes_nothing_and_another_corrects():
    async with engine(says("a")) as orchestrator:
        told = listen(orchestrator, FeedbackRecorded)
        result = await orchestrator.generate("hi")

        for quality in (0.9, 0.9, 0.2, 0.2):
            await orchestrator.feedback(result.decision_id, quality=quality)

        statistics = orchestrator.get_model_statistics()["p:a"]
    assert statistics["n_quality"] == 1
    assert statistics["quality"] == pytest.approx(0.2)
    assert [(e.quality, e.corrected) for e in told] == [(0.9, False), (0.2, True)]


@pytest.mark.parametrize("quality", [math.nan, math.inf, -0.01, 1.01, True, "good", None])
@simulated
async def test_what_is_no_quality_is_refused(quality: Any):
    async with engine(says("a")) as orchestrator:
        result = await orchestrator.generate("hi")
        with pytest.raises(InvalidRequestError, match="quality"):
            await orchestrator.feedback(result.decision_id, quality=quality)

        assert orchestrator.get_model_statistics()["p:a"]["n_quality"] == 0


@pytest.mark.parametrize("wrong", ["", "nonsense", "d-n-1-0", "d-other-1bd0b90-0"])
@simulated
async def test_a_decision_that_nobody_made_is_unknown(wrong: str):
    async with engine(says("a")) as orchestrator:
        await orchestrator.generate("hi")
        for ask in (orchestrator.feedback(wrong, quality=0.5), told_of(orchestrator, wrong)):
            with pytest.raises(UnknownDecisionError) as unknown:
                await ask

            assert (unknown.value.http_status, isinstance(unknown.value, RequestError)) == (
                404,
                True,
            )


@pytest.mark.parametrize("wrong", [None, 5, b"d-n-1-0"])
@simulated
async def test_what_is_no_text_is_no_decision(wrong: Any):
    async with engine(says("a")) as orchestrator:
        for ask in (orchestrator.feedback(wrong, quality=0.5), told_of(orchestrator, wrong)):
            with pytest.raises(InvalidRequestError, match="decision_id is a text, not"):
                await ask


@simulated
async def test_feedback_after_the_end_is_refused_rather_than_lost():
    async with engine(says("a")) as orchestrator:
        result = await orchestrator.generate("hi")

    with pytest.raises(EngineClosedError, match="is not running"):
        await orchestrator.feedback(result.decision_id, quality=0.5)


async def told_of(orchestrator: Any, decision_id: str) -> Any:
    return orchestrator.decision(decision_id)


@simulated
async def test_a_decision_is_forgotten_after_so_many_others_or_a_day():
    async with engine(says("a"), decision_limit=3) as orchestrator:
        results = [await orchestrator.generate("hi") for _ in range(4)]
        with pytest.raises(UnknownDecisionError, match="last 3 decisions for a day"):
            await orchestrator.feedback(results[0].decision_id, quality=0.5)
        await orchestrator.feedback(results[1].decision_id, quality=0.5)

        await asyncio.sleep(86_399)
        await orchestrator.feedback(results[2].decision_id, quality=0.5)
        orchestrator._recorder.advance(orchestrator._recorder.minute + 2)
        with pytest.raises(UnknownDecisionError):
            orchestrator._recorder.rate(results[3].decision_id, 0.5)


@simulated
async def test_a_selection_that_was_never_used_has_nothing_to_rate():
    async with engine(says("a")) as orchestrator:
        told = listen(orchestrator, FeedbackRecorded)
        selection = await orchestrator.select_model()
        selection.release()
        for _ in range(2):
            with pytest.raises(InvalidRequestError, match="withdrawn before p:a was called"):
                await orchestrator.feedback(selection.decision.id, quality=0.9)
            orchestrator.reset_statistics()  # which forgets qualities, not what was never called

        assert orchestrator.get_model_statistics().get("p:a", {}).get("n_quality", 0) == 0
    assert told == []


@simulated
async def test_feedback_may_come_before_the_answer_is_whole():
    async with engine(says("a", Turn(text="one two", every_s=1.0))) as orchestrator:
        async with orchestrator.stream("hi") as stream:
            await anext(stream)
            await orchestrator.feedback(stream.decision_id, quality=0.7)
            assert orchestrator.get_model_statistics()["p:a"]["calls"] == 0
            async for _ in stream:
                pass

        statistics = orchestrator.get_model_statistics()["p:a"]
        assert (statistics["calls"], statistics["n_quality"]) == (1, 1)
        assert pending(orchestrator) == 0


@simulated
async def test_feedback_for_a_model_that_has_left_is_kept_for_its_return():
    model = says("a")
    async with engine(model, says("b"), selector=GREEDY) as orchestrator:
        result = await orchestrator.generate("hi")
        orchestrator.unregister_model("a")

        await orchestrator.feedback(result.decision_id, quality=1.0)
        assert (await orchestrator.generate("hi")).text == "b"
        orchestrator.register_model(model)

        assert (await orchestrator.generate("hi")).text == "a"


@simulated
async def test_a_selector_learns_from_feedback():
    async with engine(says("a"), says("b"), selector=UCBModelSelector(0.0, 1)) as orchestrator:
        for _ in range(2):
            result = await orchestrator.generate("hi")
            await orchestrator.feedback(result.decision_id, quality=float(result.text == "b"))

        answers = [(await orchestrator.generate("hi")).text for _ in range(5)]

    assert answers.count("b") >= 4


@simulated
async def test_the_last_decisions_are_kept_whole():
    async with engine(says("a")) as orchestrator:
        first = await orchestrator.generate("hi")
        assert orchestrator.decision(first.decision_id) is first.decision
        for _ in range(256):
            last = await orchestrator.generate("hi")

        assert orchestrator.decision(last.decision_id) is last.decision
        with pytest.raises(UnknownDecisionError, match="not kept in full"):
            orchestrator.decision(first.decision_id)
        await orchestrator.feedback(first.decision_id, quality=0.5)
