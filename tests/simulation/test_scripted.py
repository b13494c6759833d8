from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from math import inf
from typing import Any

import pytest

from orchestrator import Orchestrator
from orchestrator.core.errors import ModelAPIError
from orchestrator.testing import Drawn, LoopClock, ScriptedModel, Turn, run_simulated


def simulated(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    @functools.wraps(test)
    def run() -> None:
        run_simulated(test, until_s=86_400)

    return run


def now() -> float:
    return asyncio.get_running_loop().time()


@simulated
async def test_it_does_its_turns_in_order_and_the_last_again():
    model = ScriptedModel("m", ["one", TimeoutError(), Turn(text="two", after_s=3.0)])

    assert await model.generate_response("a") == "one"
    with pytest.raises(TimeoutError):
        await model.generate_response("b")
    assert [await model.generate_response(prompt) for prompt in "cd"] == ["two", "two"]

    assert now() == 6.0
    assert [(call.prompt, call.end) for call in model.calls] == [
        ("a", "answered"),
        ("b", "failed"),
        ("c", "answered"),
        ("d", "answered"),
    ]


@simulated
async def test_it_may_do_what_the_prompt_says():
    model = ScriptedModel("m", lambda prompt: Turn(text=prompt.upper()))

    assert await model.generate_response("hello") == "HELLO"


@simulated
async def test_it_streams_word_by_word_and_breaks_off_where_it_is_told_to():
    broken = Turn(
        text="one two three",
        after_s=1.0,
        every_s=0.5,
        error=ConnectionResetError("cut"),
        words_before_error=2,
    )
    model = ScriptedModel("m", [broken])
    heard = []

    with pytest.raises(ConnectionResetError):
        async for word in model.stream_response("hi"):
            heard.append((now(), word))  # noqa: PERF401 - a comprehension would keep nothing

    assert heard == [(1.0, "one "), (1.5, "two ")]


@simulated
async def test_it_knows_who_went_away():
    model = ScriptedModel("m", [Turn(after_s=inf)])
    asked = asyncio.create_task(model.generate_response("hi"))
    await asyncio.sleep(2.0)
    assert model.in_flight == 1
    asked.cancel()
    await asyncio.wait([asked])

    assert (model.in_flight, model.calls[0].end, model.calls[0].ended_s) == (0, "left", 2.0)


@simulated
async def test_leaving_its_stream_takes_as_long_as_it_lingers():
    model = ScriptedModel("m", [Turn(text="one two", lingers_s=2.0)])
    words = model.stream_response("hi")
    await anext(words)
    await words.aclose()  # type: ignore[attr-defined]

    assert (now(), model.calls[0].end) == (2.0, "left")


@simulated
async def test_texts_that_share_words_are_embedded_near_each_other():
    model = ScriptedModel("m")

    one, near, far = await model.embed(["a red house", "a red car", "blue birds sing"])

    def likeness(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True))

    assert likeness(one, near) > likeness(one, far) + 0.3


def test_what_is_drawn_keeps_to_its_rates():
    drawn = Drawn(quality=0.7, p_fail=0.2, latency_s=2.0, seed=3)

    turns = [drawn("") for _ in range(4_000)]

    failed = [turn for turn in turns if turn.error is not None]
    right = sum(turn.text == "right" for turn in turns) / (len(turns) - len(failed))
    # Five standard deviations of a share of 4,000 (3,200) draws, and of their mean wait.
    assert abs(len(failed) / len(turns) - 0.2) < 0.032
    assert abs(right - 0.7) < 0.041
    assert abs(sum(turn.after_s for turn in turns) / len(turns) - 2.0) < 0.16
    assert all(isinstance(turn.error, ModelAPIError) for turn in failed)


def test_what_is_drawn_is_the_same_for_the_same_seed():
    one, same, other = (Drawn(quality=0.5, latency_s=1.0, seed=seed) for seed in (1, 1, 2))

    def story(drawn: Drawn) -> list[tuple[str, float]]:
        return [(turn.text, turn.after_s) for turn in (drawn("") for _ in range(50))]

    first = story(one)
    assert first == story(same)
    assert first != story(other)


def test_one_setting_does_not_shift_what_is_drawn_for_the_others():
    steady, shaky = (Drawn(quality=0.5, p_fail=p, latency_s=1.0) for p in (0.0, 0.5))

    pairs = [(steady(""), shaky("")) for _ in range(100)]

    assert all(a.after_s == b.after_s for a, b in pairs)
    assert all(a.text == b.text for a, b in pairs if b.error is None)


def test_a_right_answer_may_depend_on_its_prompt():
    drawn = Drawn(right=lambda prompt: prompt[::-1])

    assert drawn("abc").text == "cba"


@simulated
async def test_an_engine_finds_out_which_drawn_model_is_better():
    good = ScriptedModel("good", Drawn(quality=0.9, seed=1))
    bad = ScriptedModel("bad", Drawn(quality=0.2, seed=2))
    async with Orchestrator([bad, good], clock=LoopClock(), seed=0) as orchestrator:
        for _ in range(300):
            result = await orchestrator.generate("?")
            await orchestrator.feedback(result.decision_id, quality=float(result.text == "right"))

    assert len(good.calls) > 4 * len(bad.calls)


@simulated
async def test_the_clock_is_the_loops_and_its_dates_can_be_set():
    clock = LoopClock(wall_at_zero=1_000.0)
    await asyncio.sleep(5.0)

    assert (clock.monotonic(), clock.wall()) == (5.0, 1_005.0)
    assert LoopClock().wall() % 86_400 == 43_205.0
