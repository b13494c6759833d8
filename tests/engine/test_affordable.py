from __future__ import annotations

from typing import Any

import pytest

from orchestrator import Price
from orchestrator.testing.scripted import ScriptedModel, Turn
from tests.engine.world import down, engine, simulated

PRICE = Price.per_1k("0", "1")  # a tenth of a cent for each token that is written


def model(*turns: Any, **spec: Any) -> ScriptedModel:
    return ScriptedModel("m", turns or ("fine",), "p", **{"price": PRICE, **spec})


def asked(scripted: ScriptedModel) -> list[int | None]:
    """Return the max_tokens of every call."""
    return [call.options.get("max_tokens") for call in scripted.calls]


@simulated
async def test_an_answer_ends_where_it_would_cost_more_than_it_may():
    scripted = model()
    async with engine(scripted) as orchestrator:
        await orchestrator.generate("hi", max_cost=0.3)
        async with orchestrator.stream("hi", max_cost=0.4) as stream:
            async for _ in stream:
                pass

    assert asked(scripted) == [300, 400]


@simulated
async def test_what_earlier_attempts_have_cost_is_no_longer_there_to_be_spent():
    broken = model(Turn(text="one two three", words_before_error=2, error=down()), priority=2)
    well = ScriptedModel("w", ["fine"], "p", price=PRICE)
    async with engine(broken, well) as orchestrator:
        stream = orchestrator.stream("hi", max_cost=0.5, on_interrupt="restart")
        async with stream as arriving:
            async for _ in arriving:
                pass

    (left,) = asked(well)
    assert left is not None
    assert left == pytest.approx(500 - 1000 * arriving.result.attempts[0].cost_usd, abs=1)
    assert arriving.result.attempts[0].cost_usd > 0


@simulated
async def test_a_day_has_no_more_to_spend_than_its_budget():
    scripted = model()
    async with engine(scripted, budget_usd_per_day=0.3) as orchestrator:
        await orchestrator.generate("hi")

    assert asked(scripted) == [300]


@pytest.mark.parametrize(
    ("spec", "options"),
    [
        ({}, {}),
        ({}, {"max_cost": 5.0}),  # longer than any answer is likely to be
        ({"price": Price.per_1k("0", "0")}, {"max_cost": 0.3}),
        ({"price": None}, {"max_cost": 0.3, "allow_unknown_cost": True}),
        ({"max_output_tokens": 280}, {"max_cost": 0.3}),
    ],
)
@simulated
async def test_who_cannot_cost_too_much_is_asked_for_no_less(
    spec: dict[str, Any], options: dict[str, Any]
):
    scripted = model(**spec)
    async with engine(scripted) as orchestrator:
        await orchestrator.generate("hi", **options)

    assert asked(scripted) == [None]


@simulated
async def test_a_request_that_limits_its_answer_is_taken_at_its_word():
    scripted = model()
    async with engine(scripted) as orchestrator:
        await orchestrator.generate("hi", max_cost=0.3, max_tokens=20)

    assert asked(scripted) == [20]


@simulated
async def test_a_model_that_writes_no_more_by_itself_may_serve_for_less():
    scripted = model()
    scripted.default_max_tokens = 8
    async with engine(scripted) as orchestrator:
        result = await orchestrator.generate("hi", max_cost=0.01)

    assert result.decision.cost_usd == pytest.approx(0.008)
    assert asked(scripted) == [None]
