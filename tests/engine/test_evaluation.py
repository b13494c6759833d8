"""Answers are judged beside the requests that they answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from orchestrator import Contains, JudgeModel, Orchestrator, Price, ValidJson
from orchestrator.core.errors import ConfigurationError
from orchestrator.core.events import (
    BudgetExceeded,
    EvaluationFailed,
    EvaluationsDropped,
    FeedbackRecorded,
)
from orchestrator.core.results import TextAnswer
from orchestrator.testing.scripted import Turn
from tests.engine.world import engine, listen, says, simulated


def rates(quality: Any, name: str = "own", **facts: Any) -> Any:
    """Return an evaluator that always says the same; `asked` holds what it was asked."""

    async def evaluate(params: Any, answer: Any) -> Any:
        evaluate.asked.append((params, answer))  # type: ignore[attr-defined]  # just below
        if isinstance(quality, Exception):
            raise quality
        return quality

    evaluate.asked = []  # type: ignore[attr-defined]  # a function takes any attribute
    evaluate.__name__ = name
    for fact, value in facts.items():
        setattr(evaluate, fact, value)
    return evaluate


async def settled() -> None:
    """Let everything happen that happens by itself."""
    await asyncio.sleep(1)


@simulated
async def test_an_evaluator_rates_what_nobody_has_rated():
    async with engine(says("a", "{}"), evaluators=[ValidJson()]) as orchestrator:
        told = listen(orchestrator, FeedbackRecorded)
        result = await orchestrator.generate("hi")
        await settled()

        statistics = orchestrator.get_model_statistics()["p:a"]
    assert (statistics["n_quality"], statistics["quality"]) == (1, 1.0)
    assert [(e.decision_id, e.quality, e.evaluator, e.corrected) for e in told] == [
        (result.decision_id, 1.0, "valid-json", False)
    ]


@simulated
async def test_streams_are_judged_whole():
    own = rates(0.5)
    async with engine(says("a", "one two three"), evaluators=[own]) as orchestrator:
        async with orchestrator.stream("hi", temperature=1) as stream:
            async for _ in stream:
                assert not own.asked
        await settled()

        assert orchestrator.get_model_statistics()["p:a"]["quality"] == 0.5
    ((params, answer),) = own.asked
    assert (params.prompt, params.temperature) == ("hi", 1)
    assert isinstance(answer, TextAnswer)
    assert answer.text == "one two three"


@simulated
async def test_what_a_caller_says_goes_before_an_evaluator_whoever_comes_first():
    async with engine(says("a"), evaluators=[rates(0.25)]) as orchestrator:
        before = await orchestrator.generate("hi")
        await orchestrator.feedback(before.decision_id, quality=0.75)  # nobody has judged yet
        await settled()
        assert orchestrator.get_model_statistics()["p:a"]["quality"] == 0.75

        after = await orchestrator.generate("hi")
        await settled()
        assert orchestrator.get_model_statistics()["p:a"]["quality"] == 1.0
        await orchestrator.feedback(after.decision_id, quality=1.0)

        statistics = orchestrator.get_model_statistics()["p:a"]
    assert (statistics["n_quality"], statistics["quality"]) == (2, 1.75)


@simulated
async def test_the_lowest_quality_counts_and_after_a_0_nobody_else_is_asked():
    first, last = rates(0.9), rates(0.4, "last")
    mild = engine(says("a", "{}"), evaluators=[ValidJson(), first, last, rates(None)])
    async with mild as orchestrator:
        told = listen(orchestrator, FeedbackRecorded)
        await orchestrator.generate("hi")
        await settled()
    assert [(e.quality, e.evaluator) for e in told] == [(0.4, "last")]

    first = rates(0.9)
    async with engine(says("a", "{"), evaluators=[ValidJson(), first]) as orchestrator:
        told = listen(orchestrator, FeedbackRecorded)
        await orchestrator.generate("hi")
        await settled()
    assert [(e.quality, e.evaluator) for e in told] == [(0.0, "valid-json")]
    assert not first.asked


@simulated
async def test_where_nobody_can_say_there_is_no_quality():
    async with engine(says("a"), evaluators=[rates(None), rates(True)]) as orchestrator:
        await orchestrator.generate("hi")
        await settled()
        assert orchestrator.get_model_statistics()["p:a"]["quality"] == 1.0

    async with engine(says("a"), evaluators=[rates(None)]) as orchestrator:
        await orchestrator.generate("hi")
        await settled()
        assert orchestrator.get_model_statistics()["p:a"]["n_quality"] == 0


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero"),
        (1.5, r"ValueError: a quality is a number in [0, 1], not 1.5"),
        (float("nan"), "ValueError: a quality is a number in [0, 1], not nan"),
        ("good", "ValueError: a quality is a number in [0, 1], not 'good'"),
    ],
)
@simulated
async def test_an_error_is_told_and_the_others_judge_on(wrong: Any, error: str):
    async with engine(says("a"), evaluators=[rates(wrong, "bad"), rates(0.5)]) as orchestrator:
        told = listen(orchestrator, EvaluationFailed)
        result = await orchestrator.generate("hi")
        await settled()

        assert orchestrator.get_model_statistics()["p:a"]["quality"] == 0.5
    assert [(e.evaluator, e.decision_id, e.model, e.error) for e in told] == [
        ("bad", result.decision_id, "p:a", error)
    ]


@simulated
async def test_one_that_hangs_is_ended_after_a_minute():
    async def hangs(params: Any, answer: Any) -> float:
        await asyncio.sleep(3600)
        return 1.0

    async with engine(says("a"), evaluators=[hangs, rates(0.5)]) as orchestrator:
        told = listen(orchestrator, EvaluationFailed)
        await orchestrator.generate("hi")
        await asyncio.sleep(61)

        assert orchestrator.get_model_statistics()["p:a"]["quality"] == 0.5
    assert [(e.evaluator, e.error) for e in told] == [("hangs", "TimeoutError: ")]


@simulated
async def test_answers_do_not_wait_and_what_is_too_much_is_dropped_and_counted():
    busy, most = 0, 0

    async def slow(params: Any, answer: Any) -> float:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(30)
        busy -= 1
        return 1.0

    loop = asyncio.get_running_loop()
    async with engine(says("a"), evaluators=[slow]) as orchestrator:
        told = listen(orchestrator, EvaluationsDropped)
        begun = loop.time()
        for _ in range(300):
            await orchestrator.generate("hi")
        assert loop.time() == begun

        await asyncio.sleep(3600)
        judged = orchestrator.get_model_statistics()["p:a"]["n_quality"]
        assert orchestrator._evaluations is not None
        assert judged + orchestrator._evaluations.dropped == 300
    assert most == 4
    assert judged >= 256
    assert [e.dropped for e in told] == [1, 2, 4, 8, 16, 32][: len(told)] != []


@simulated
async def test_leaving_the_engine_ends_judging_at_once():
    ended = []

    async def slow(params: Any, answer: Any) -> float:
        try:
            await asyncio.sleep(30)
        finally:
            ended.append(True)
        return 1.0

    loop = asyncio.get_running_loop()
    async with engine(says("a"), evaluators=[slow]) as orchestrator:
        for _ in range(10):
            await orchestrator.generate("hi")
        await settled()
        begun = loop.time()

    assert (loop.time(), len(ended)) == (begun, 4)


@simulated
async def test_an_engine_that_is_entered_again_judges_again_what_comes_then():
    own = rates(0.5)
    async with engine(says("a"), evaluators=[own]) as orchestrator:
        for _ in range(10):
            await orchestrator.generate("before")  # nobody yields to those who judge
    assert not own.asked

    async with orchestrator:
        await orchestrator.generate("after")
        await settled()

    assert [params.prompt for params, _ in own.asked] == ["after"]


@simulated
async def test_a_sample_is_its_share_and_the_same_each_time_whatever_the_rhythm():
    async def judged(sample: float, arms: int) -> list[str]:
        own = rates(1.0, sample=sample)
        models = [says(f"m{arm}") for arm in range(arms)]
        async with engine(*models, selector="round-robin", evaluators=[own]) as orchestrator:
            for _ in range(400):
                await orchestrator.generate("hi")
                await asyncio.sleep(0)
            await settled()
        return [answer.text for _, answer in own.asked]

    found = await judged(0.1, 10)

    assert abs(len(found) - 40) <= 1
    assert found == await judged(0.1, 10)
    # Not every tenth, which would judge one model alone.
    assert len(set(found)) == 10
    assert await judged(0.0, 2) == []


def test_a_share_that_is_none_is_refused():
    with pytest.raises(ConfigurationError, match=r"own: sample lies in \[0, 1\], not at 2"):
        Orchestrator([says("a")], evaluators=[rates(1.0, sample=2)])


# -- a model as judge --------------------------------------------------------------------------


def judging(*replies: str, price: Price | None = None, **options: Any) -> Any:
    """Return an engine whose model is judged by another, and that other."""
    turns = [Turn(text=reply, after_s=0.01) for reply in replies]
    judge = says("judge", *turns, price=price or Price.free())
    evaluator = JudgeModel("p:judge", **{"sample": 1.0, **options})
    return engine(says("a", "It is Paris."), judge, evaluators=[evaluator]), judge


@simulated
async def test_a_judges_grade_is_a_tenth_of_it_and_it_sees_question_and_answer():
    running, judge = judging("7")
    async with running as orchestrator:
        await orchestrator.generate("What is the capital?", model="p:a", system_prompt="Be brief.")
        await settled()

        assert orchestrator.get_model_statistics()["p:a"]["quality"] == 0.7
        assert orchestrator.get_model_statistics()["p:judge"]["n_quality"] == 0
    ((call),) = judge.calls
    for text in ("What is the capital?", "Be brief.", "It is Paris."):
        assert text in call.prompt


@pytest.mark.parametrize(
    ("reply", "quality"),
    [("Grade: 8/10", 0.8), ("10", 1.0), ("0.", 0.0), ("I give it 9 out", 0.9), ("**6**", 0.6)],
)
@simulated
async def test_a_grade_may_come_with_words(reply: str, quality: float):
    running, _ = judging(reply)
    async with running as orchestrator:
        await orchestrator.generate("hi", model="p:a")
        await settled()

        assert orchestrator.get_model_statistics()["p:a"]["quality"] == quality


@pytest.mark.parametrize("reply", ["11", "-3", "good", "Between 5 and 7", "1. Right. 2. Short. 9"])
@simulated
async def test_a_reply_that_is_no_grade_is_an_error_and_no_quality(reply: str):
    running, _ = judging(reply)
    async with running as orchestrator:
        told = listen(orchestrator, EvaluationFailed)
        await orchestrator.generate("hi", model="p:a")
        await settled()

        assert orchestrator.get_model_statistics()["p:a"]["n_quality"] == 0
    assert len(told) == 1
    assert told[0].error.startswith("ModelResponseError: p:judge gave no grade")


@simulated
async def test_a_judge_is_not_judged_itself():
    running, judge = judging("7")
    async with running as orchestrator:
        await orchestrator.generate("hi", model="p:a")
        await settled()
    assert len(judge.calls) == 1


@simulated
async def test_judging_ends_at_the_days_cap_and_begins_again_after_midnight():
    price = Price.per_1k(0.01, 0.01)
    running, judge = judging("7", price=price, usd_per_day=0.02, max_tokens=100)
    async with running as orchestrator:
        told = listen(orchestrator, BudgetExceeded, EvaluationFailed)
        cost: list[float] = []
        for _ in range(30):
            await orchestrator.generate("hi", model="p:a")
            await settled()
        cost.append(orchestrator.get_model_statistics()["p:judge"]["cost"])
        calls = len(judge.calls)
        assert [e.budget for e in told] == ["judge p:judge"]

        await asyncio.sleep(86_400 - orchestrator._clock.wall() % 86_400 + 60)
        await orchestrator.generate("hi", model="p:a")
        await settled()

    assert 3 <= calls < 30
    assert 0.5 * 0.02 < cost[0] <= 0.02
    assert len(judge.calls) == calls + 1


@simulated
async def test_together_judges_never_spend_more_than_the_cap():
    running, judge = judging("7", price=Price.per_1k(0.01, 0.01), usd_per_day=0.005, max_tokens=100)
    async with running as orchestrator:
        await asyncio.gather(*(orchestrator.generate("hi", model="p:a") for _ in range(20)))
        await settled()

        assert 0 < orchestrator.get_model_statistics()["p:judge"]["cost"] <= 0.005
    assert 0 < len(judge.calls) < 20


@simulated
async def test_a_judge_that_nobody_knows_the_price_of_is_not_asked():
    judge = says("judge", "7")
    evaluators = [JudgeModel("p:judge", 1.0), Contains("Paris")]
    async with engine(says("a", "Paris"), judge, evaluators=evaluators) as orchestrator:
        told = listen(orchestrator, EvaluationFailed)
        await orchestrator.generate("hi", model="p:a")
        await settled()

        assert orchestrator.get_model_statistics()["p:a"]["quality"] == 1.0
    assert "p:judge  its price is not known" in told[0].error
    assert not judge.calls


@simulated
async def test_images_are_not_shown_to_a_judge_that_reads_text():
    running, judge = judging("7")
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    async with running as orchestrator:
        orchestrator.register_model(says("seer", capabilities=["vision", "chat_completion"]))
        messages = [{"role": "user", "content": [{"type": "text", "text": "What?"}, image]}]
        await orchestrator.generate(messages)
        await settled()
    assert not judge.calls
