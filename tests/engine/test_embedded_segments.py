"""Requests are told apart by what an embedding model of the pool makes of their text."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import ModelType, Orchestrator, Price
from orchestrator.core.errors import ConfigurationError, DeadlineExceededError
from orchestrator.core.events import CallFailed, ModelUsed, SegmentingFailed
from orchestrator.core.params import TextGenerationParams
from orchestrator.engine import embedded_segments as module
from orchestrator.engine.contexts import DEFAULT_SEGMENT
from orchestrator.engine.embedded_segments import ToldApart
from orchestrator.routing.segments import ByEmbedding
from orchestrator.testing.loop import run_simulated
from orchestrator.testing.openai_wire import DEFAULT_DIMENSIONS, embedding
from orchestrator.testing.scripted import ScriptedModel, Turn
from tests.engine.world import down, engine, listen, says, simulated

CODE, TRAVEL = "write a python function", "a night train to Rome"
BY = ByEmbedding(
    "e:embedder", np.array([embedding(text, DEFAULT_DIMENSIONS) for text in (CODE, TRAVEL)])
)
OF_CODE, OF_TRAVEL = f"{BY.version}:0", f"{BY.version}:1"
WITHIN_S = 0.25
NEVER = Turn(after_s=3600.0)


def embedder(*turns: Turn | Exception, **facts: Any) -> ScriptedModel:
    facts = {"capabilities": ["embeddings"], **facts}
    return ScriptedModel("embedder", turns or (Turn(after_s=0.01),), "e", **facts)


def telling(*models: Any, **options: Any) -> Orchestrator:
    """Return an engine of these models, the embedding one last among equals."""
    return engine(*models, segmenter=BY, **options)


def now() -> float:
    return asyncio.get_running_loop().time()


def told(orchestrator: Orchestrator) -> ToldApart:
    found = orchestrator.told_apart
    assert found is not None
    return found


async def segment_of(orchestrator: Orchestrator, prompt: str, **options: Any) -> str:
    result = await orchestrator.generate(prompt, **options)
    return orchestrator.decision(result.decision_id).segment


async def timed(work: Awaitable[Any]) -> tuple[Any, float]:
    begun = now()
    return await work, round(now() - begun, 9)


# -- what tells them apart -----------------------------------------------------------------------


@simulated
async def test_a_request_is_in_the_segment_that_its_vector_is_nearest_to():
    async with telling(says("a"), embedder()) as orchestrator:
        assert await segment_of(orchestrator, "a python function, please") == OF_CODE
        assert await segment_of(orchestrator, "the night train to Bern") == OF_TRAVEL
        assert told(orchestrator) == ToldApart(found=2)


@simulated
async def test_what_names_its_task_or_has_no_text_is_not_embedded():
    model = embedder()
    async with telling(says("a"), model) as orchestrator:
        assert await segment_of(orchestrator, CODE, context={"task": "art"}) == "art"
        assert await segment_of(orchestrator, CODE, context={"task": "all"}) == DEFAULT_SEGMENT
        assert await segment_of(orchestrator, "") == DEFAULT_SEGMENT
        assert await segment_of(orchestrator, " \n") == DEFAULT_SEGMENT
        assert told(orchestrator) == ToldApart()
    assert not model.calls


@simulated
async def test_who_wants_vectors_is_not_embedded_for_that():
    model = embedder()
    async with telling(says("a", capabilities=["text_generation"]), model) as orchestrator:
        result = await orchestrator.embed(CODE)
        assert orchestrator.decision(result.decision_id).segment == DEFAULT_SEGMENT
    assert len(model.calls) == 1


@simulated
async def test_embedding_is_a_request_like_others_with_its_own_cost():
    model = embedder(price=Price.per_1k(1.0, 0.0))
    free = says("a", price=Price.free())
    async with telling(free, model, budget_usd_per_day=1.0) as orchestrator:
        used = listen(orchestrator, ModelUsed)
        result = await orchestrator.generate(CODE)

        first, second = used
        assert (first.model, second.model) == ("e:embedder", "p:a")
        assert orchestrator.decision(first.decision_id).segment == "segment"
        assert orchestrator.decision(first.decision_id).propensity == 1.0
        assert first.request_id != result.request_id
        assert orchestrator.spent_today_usd == first.cost_usd > 0
        assert result.cost_usd == 0


@simulated
async def test_the_time_of_the_embedding_is_the_requests():
    async with telling(says("a"), embedder(Turn(after_s=0.1))) as orchestrator:
        result = await orchestrator.generate(CODE)
        assert (result.latency_s, result.attempts[0].started_s) == (0.1, 0.1)
        assert result.attempts[0].latency_s == 0


@simulated
async def test_streams_and_kinds_of_work_are_told_apart_too():
    async with telling(
        says("a", Turn(text="one two")), embedder(Turn(after_s=0.1))
    ) as orchestrator:
        async with orchestrator.stream(CODE) as stream:
            assert [chunk.text async for chunk in stream][:2] == ["one ", "two"]
        assert orchestrator.decision(stream.decision_id).segment == OF_CODE
        assert stream.result.first_token_s == 0.1

        used = listen(orchestrator, ModelUsed)
        params = TextGenerationParams(prompt=TRAVEL)
        await orchestrator.use_model(ModelType.TEXT_LARGE, params)
        assert orchestrator.decision(used[-1].decision_id).segment == OF_TRAVEL


@simulated
async def test_a_failover_stays_in_the_segment_of_its_request():
    model = embedder()
    async with telling(says("a", down()), says("b"), model) as orchestrator:
        result = await orchestrator.generate(CODE)
        found = {orchestrator.decision(a.decision_id).segment for a in result.attempts}
        assert told(orchestrator) == ToldApart(found=1)
    assert (len(result.attempts), found, len(model.calls)) == (2, {OF_CODE}, 1)


# -- selections ----------------------------------------------------------------------------------


@simulated
async def test_a_selection_is_embedded_once_somebody_is_chosen_for_its_text():
    model = embedder(Turn(after_s=0.1))
    async with telling(says("a", "a", down()), says("b"), model) as orchestrator:
        selection = await orchestrator.select_model()
        assert selection.decision.segment == DEFAULT_SEGMENT
        # The first is chosen already: nobody waits for what chooses nobody.
        _, seconds = await timed(selection.generate(CODE))
        assert (seconds, model.calls) == (0, [])

        result = await selection.generate(CODE)
        assert [orchestrator.decision(a.decision_id).segment for a in result.attempts] == [
            OF_CODE,
            OF_CODE,
        ]


@simulated
async def test_whom_a_selection_fails_over_to_is_chosen_by_its_text():
    async with telling(says("a", down()), says("b"), embedder()) as orchestrator:
        selection = await orchestrator.select_model()
        result = await selection.generate(CODE)
        segments = [orchestrator.decision(a.decision_id).segment for a in result.attempts]
        assert segments == [DEFAULT_SEGMENT, OF_CODE]

        named = await orchestrator.select_model(context={"task": "art"})
        result = await named.generate(CODE)
        assert orchestrator.decision(result.decision_id).segment == "art"


# -- what is asked once --------------------------------------------------------------------------


@simulated
async def test_the_same_text_is_embedded_once_by_whom_and_however_often_it_is_asked():
    model = embedder(Turn(after_s=0.1))
    async with telling(says("a"), model) as orchestrator:
        together = [segment_of(orchestrator, CODE) for _ in range(5)]
        assert set(await asyncio.gather(*together)) == {OF_CODE}
        found, seconds = await timed(segment_of(orchestrator, CODE))
    assert (found, seconds, len(model.calls)) == (OF_CODE, 0, 1)


@simulated
async def test_of_many_texts_the_latest_are_remembered():
    model = embedder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MOST_REMEMBERED", 2)
        async with telling(says("a"), model) as orchestrator:
            for prompt in ("one", "two", "one", "three", "one", "two"):
                await orchestrator.generate(prompt)
    assert [call.prompt for call in model.calls] == ["one", "two", "three", "two"]


@simulated
async def test_a_long_text_is_cut_to_the_window():
    model = embedder(context_window=64)
    async with telling(says("a"), model) as orchestrator:
        found = await segment_of(orchestrator, f"{CODE} {'very ' * 5000} {CODE}")
    (call,) = model.calls
    assert found == OF_CODE
    assert call.prompt.startswith(CODE)
    assert call.prompt.endswith(CODE)
    assert len(call.prompt) < 200


@simulated
async def test_an_explanation_calls_nobody_and_knows_what_was_found():
    model = embedder()
    async with telling(says("a"), model) as orchestrator:
        before = orchestrator.explain(CODE).segment
        await orchestrator.generate(CODE)
        after = orchestrator.explain(CODE)
        named = orchestrator.explain(CODE, context={"task": "art"}).segment
    assert (before, after.segment, named) == (DEFAULT_SEGMENT, OF_CODE, "art")
    assert after.to_dict()["segment"] == OF_CODE
    assert len(model.calls) == 1


# -- when it does not work -----------------------------------------------------------------------


class Odd(ScriptedModel):
    """Gives whatever it is told to instead of vectors."""

    def __init__(self, given: Any) -> None:
        super().__init__("embedder", (), "e", capabilities=["embeddings"])
        self.given = given

    async def embed(self, texts: list[str], **options: Any) -> Any:
        return self.given


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (embedder(down()), "ModelAPIError: "),
        (embedder(RuntimeError("on fire")), "RuntimeError: on fire"),
        (Odd([[1.0, 2.0]]), r"ModelResponseError: e:embedder gave an array of shape (2,)"),
        (Odd([[0.0] * DEFAULT_DIMENSIONS]), "ModelResponseError: e:embedder gave a vector of"),
        (Odd([]), "ModelResponseError: "),
        (says("embedder"), "it is not in the pool"),
        (
            ScriptedModel("embedder", (), "e", capabilities=["text_generation"]),
            "it lacks embeddings",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_requests_go_on_in_the_default_segment_and_that_is_said_once(
    model: ScriptedModel, why: str, caplog: pytest.LogCaptureFixture
):
    @simulated
    async def run() -> None:
        async with telling(says("a"), model) as orchestrator:
            said = listen(orchestrator, SegmentingFailed)
            for number in range(5):
                assert await segment_of(orchestrator, f"prompt {number}") == DEFAULT_SEGMENT
            (failed,) = said
            state = told(orchestrator)
        assert (failed.model, state) == ("e:embedder", ToldApart(0, 5, state.failure))
        assert state.failure == failed.error
        assert failed.error.startswith(why)

    with caplog.at_level(logging.INFO, "orchestrator.engine"):
        run()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.message.startswith(f"e:embedder does not tell requests apart any more: {why}")


@simulated
async def test_nobody_waits_longer_than_the_limit_and_in_an_outage_nobody_waits():
    model = embedder(NEVER, NEVER, Turn(after_s=0.1))
    async with telling(says("a"), model) as orchestrator:
        said = listen(orchestrator, SegmentingFailed)
        assert await timed(segment_of(orchestrator, CODE)) == (DEFAULT_SEGMENT, WITHIN_S)
        await asyncio.sleep(0.1)  # its deadline strikes a little late
        for prompt in (CODE, TRAVEL):  # the first of these is tried beside the requests
            assert await timed(segment_of(orchestrator, prompt)) == (DEFAULT_SEGMENT, 0)
        await asyncio.sleep(0.01)
        assert model.in_flight == 1

        await asyncio.sleep(1)
        assert await timed(segment_of(orchestrator, CODE)) == (DEFAULT_SEGMENT, 0)
        await asyncio.sleep(1)
        assert await timed(segment_of(orchestrator, CODE)) == (OF_CODE, 0)
        assert await timed(segment_of(orchestrator, TRAVEL)) == (OF_TRAVEL, 0.1)
        assert told(orchestrator) == ToldApart(found=2, missed=4)
    assert len(said) == 1
    assert "DeadlineExceededError" in said[0].error


@simulated
async def test_an_answer_that_is_a_little_late_is_late():
    model = embedder(Turn(after_s=WITHIN_S + 0.01))
    async with telling(says("a"), model) as orchestrator:
        # Another deadline strikes just before, so that this one's turn is 50 ms after that.
        other = asyncio.ensure_future(
            orchestrator.generate("x", context={"task": "x"}, deadline_s=WITHIN_S - 0.01)
        )
        assert await timed(segment_of(orchestrator, CODE)) == (DEFAULT_SEGMENT, WITHIN_S)
        await other
        await asyncio.sleep(1)
        failure = told(orchestrator).failure
    assert failure is not None


@simulated
async def test_the_limit_can_be_set():
    async with telling(says("a"), embedder(NEVER), embed_within_s=2.0) as orchestrator:
        assert await timed(segment_of(orchestrator, CODE)) == (DEFAULT_SEGMENT, 2.0)

    with pytest.raises(ConfigurationError, match="embed_within_s must be above 0, not 0"):
        telling(says("a"), embedder(), embed_within_s=0)


@simulated
async def test_a_request_of_little_time_keeps_half_of_it():
    async with telling(says("a", Turn(after_s=0.04)), embedder(NEVER)) as orchestrator:
        found = await timed(segment_of(orchestrator, CODE, deadline_s=0.1))
        assert found == (DEFAULT_SEGMENT, 0.09)


@simulated
async def test_the_embedding_counts_against_the_deadline():
    slow = says("a", Turn(after_s=0.2))
    async with telling(slow, embedder(Turn(after_s=0.12))) as orchestrator:
        begun = now()
        with pytest.raises(DeadlineExceededError):
            await orchestrator.generate(CODE, deadline_s=0.3)
        assert now() - begun == pytest.approx(0.3)


@simulated
async def test_a_model_that_is_out_of_service_is_not_called():
    model = embedder(down())
    async with telling(says("a"), model) as orchestrator:
        for number in range(20):
            await orchestrator.generate(f"prompt {number}")
            await asyncio.sleep(0.01)
        health = await orchestrator.get_model_health("e:embedder")
        assert not health.healthy
        assert told(orchestrator).failure == health.issues[0]
        calls = len(model.calls)
        await orchestrator.generate("another")
        await asyncio.sleep(0.01)
    assert 0 < len(model.calls) == calls < 20


@simulated
async def test_without_money_nothing_is_embedded():
    model = embedder(price=Price.per_1k(100.0, 0.0))
    free = says("a", price=Price.free())
    async with telling(free, model, budget_usd_per_day=0.001) as orchestrator:
        assert await segment_of(orchestrator, CODE) == DEFAULT_SEGMENT
        assert "budget" in str(told(orchestrator).failure)
    assert not model.calls


# -- who leaves ----------------------------------------------------------------------------------


@simulated
async def test_who_leaves_ends_what_only_it_waited_for():
    model = embedder(Turn(after_s=0.2))
    async with telling(says("a"), model) as orchestrator:
        failed = listen(orchestrator, CallFailed)
        alone = asyncio.ensure_future(orchestrator.generate(CODE))
        shared = [asyncio.ensure_future(segment_of(orchestrator, TRAVEL)) for _ in range(2)]
        await asyncio.sleep(0.1)
        alone.cancel()
        shared[0].cancel()
        await asyncio.sleep(0)
        again = await segment_of(orchestrator, CODE)  # joins nobody who is leaving

        assert await shared[1] == OF_TRAVEL
        assert again == OF_CODE
        assert [(e.model, e.classification) for e in failed] == [("e:embedder", "cancelled")]
        assert told(orchestrator).failure is None
    assert [call.end for call in model.calls] == ["left", "answered", "answered"]


@pytest.mark.parametrize("after_s", [0, 0.1], ids=["as it is called", "in its call"])
@simulated
async def test_leaving_the_engine_ends_embedding_and_it_can_be_entered_again(after_s: float):
    model = embedder(NEVER, Turn())
    orchestrator = telling(says("a"), model)
    async with orchestrator:
        waiting = asyncio.ensure_future(orchestrator.generate(CODE))
        await asyncio.sleep(after_s)
        begun = now()
    assert (now(), [call.end for call in model.calls]) == (begun, ["left"])
    await asyncio.gather(waiting, return_exceptions=True)

    async with orchestrator:
        assert await segment_of(orchestrator, CODE) == OF_CODE


# -- whatever happens ----------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(st.floats(0, 0.6), st.booleans(), st.integers(0, 3), st.floats(0, 0.3)),
        min_size=1,
        max_size=15,
    )
)
def test_no_request_fails_or_waits_too_long_whatever_the_model_does(
    script: list[tuple[float, bool, int, float]],
):
    turns = [
        Turn(after_s=after_s, error=down() if fails else None) for after_s, fails, _, _ in script
    ]

    async def run() -> None:
        model = embedder(*turns)
        async with telling(says("a"), model) as orchestrator:

            async def ask(number: int) -> None:
                found, seconds = await timed(segment_of(orchestrator, f"text {number}"))
                assert found in (DEFAULT_SEGMENT, OF_CODE, OF_TRAVEL)
                assert seconds <= WITHIN_S

            asking = []
            for _, _, number, pause_s in script:
                asking.append(asyncio.ensure_future(ask(number)))
                await asyncio.sleep(pause_s)
            await asyncio.gather(*asking)
            await asyncio.sleep(10)
            became = told(orchestrator)
            assert became.found + became.missed == len(script)
            assert model.in_flight == 0

    run_simulated(run, until_s=86_400)


def test_no_model_tells_requests_apart_unless_that_is_asked_for():
    assert engine(says("a"), embedder()).told_apart is None
