from __future__ import annotations

import json
from typing import Any

import pytest

from orchestrator import Price, Route
from orchestrator.core.errors import InvalidRequestError
from orchestrator.selectors import UCBModelSelector
from tests.engine.world import down, engine, says, simulated

IMAGE: Any = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}


@simulated
async def test_every_model_is_there_the_best_first_and_the_refused_last():
    models = says("a", priority=1), says("b", priority=9), says("c", priority=5)
    async with engine(*models) as orchestrator:
        explanation = orchestrator.explain("hi", exclude_models=["b"])

    assert explanation.chosen == "p:c"
    assert [(row.key, row.score, row.refused) for row in explanation.models] == [
        ("p:c", 5.0, None),
        ("p:a", 1.0, None),
        ("p:b", None, "excluded"),
    ]
    assert explanation.models[-1].reason == "the request excludes it"
    assert explanation.selector == "priority"


@simulated
async def test_what_is_explained_is_what_is_then_chosen():
    async with engine(*(says(name) for name in "abcd"), selector=UCBModelSelector(floor=0.0)) as o:
        for _ in range(30):
            explained = o.explain("hi").chosen

            assert (await o.generate("hi")).model == explained


@simulated
async def test_it_is_told_who_demanded_what():
    seeing = says("a", capabilities=["vision", "text_generation"])
    route = Route(name="r", models=("p:*",))
    async with engine(seeing, routes=[route]) as orchestrator:
        explanation = orchestrator.explain(
            [{"role": "user", "content": [IMAGE]}], route="r", max_cost=1, max_tokens=50
        )

    assert explanation.requirements["capabilities"] == ["text_generation", "vision"]
    assert explanation.requirements["max_cost"] == 1
    assert explanation.requirements["context_length"] > 50
    assert ("max_cost", "caller") in explanation.origins
    assert ("vision", "request: image part") in explanation.origins
    assert ("context_length", "request: prompt + max_tokens") in explanation.origins


@simulated
async def test_what_takes_from_a_score_is_told():
    dear = says("a", down(), "a", price=Price.per_1k(1, 1))
    async with engine(dear, says("b"), selector=UCBModelSelector(min_trials=1)) as orchestrator:
        await orchestrator.generate("hi")
        rows = {row.key: row for row in orchestrator.explain("hi", max_tokens=100).models}

    assert (rows["p:a"].p_fail, rows["p:a"].pulls) == (1.0, 1.0)
    assert rows["p:a"].penalty > 1.0
    assert rows["p:a"].cost_usd == pytest.approx(0.1, abs=0.02)
    assert (rows["p:b"].mean, rows["p:b"].cost_usd) == (1.0, None)


@simulated
async def test_where_a_preference_keeps_models_out_that_is_said():
    async with engine(says("a"), says("b")) as orchestrator:
        explanation = orchestrator.explain("hi", prefer="p")
        orchestrator.register_handler("text:large", lambda r, p: "x", "own")
        preferring = orchestrator.explain("hi", prefer="own")

    assert {row.refused for row in explanation.models} == {None}
    assert [row.reason for row in preferring.models] == [
        None,
        "own is preferred",
        "own is preferred",
    ]


@simulated
async def test_if_nobody_may_serve_nobody_is_chosen():
    async with engine(says("a")) as orchestrator:
        explanation = orchestrator.explain("hi", capabilities=["vision"])
        empty = engine().explain("hi")

    assert explanation.chosen is None
    assert [row.refused for row in explanation.models] == ["capability"]
    assert (empty.chosen, empty.models) == (None, ())


@simulated
async def test_the_first_route_that_can_serve_is_the_one_explained():
    route = Route(name="r", models=("nobody",), fallback=("b",))
    async with engine(says("a"), says("b"), routes=[route]) as orchestrator:
        explanation = orchestrator.explain("hi", route="r")

    assert explanation.chosen == "p:b"
    assert {row.route for row in explanation.models} == {"b"}


@simulated
async def test_a_selection_can_be_explained_without_a_request():
    async with engine(says("a", context_window=100)) as orchestrator:
        small = orchestrator.explain(max_cost=1.0, allow_unknown_cost=True)
        large = orchestrator.explain(context_length=200)
        with pytest.raises(InvalidRequestError, match="temperature"):
            orchestrator.explain(temperature=0.5)

    assert (small.chosen, large.chosen) == ("p:a", None)


@simulated
async def test_an_explanation_is_plain_data():
    async with engine(says("a"), says("b")) as orchestrator:
        explanation = orchestrator.explain("hi", exclude_models=["b"])

    data = json.loads(json.dumps(explanation.to_dict()))
    assert data["chosen"] == "p:a"
    assert data["origins"][0] == {"requirement": "exclude_models", "origin": "caller"}
    assert [(m["key"], m["refused"]) for m in data["models"]] == [
        ("p:a", None),
        ("p:b", "excluded"),
    ]


@simulated
async def test_explaining_changes_nothing():
    async with engine(says("a"), selector=UCBModelSelector()) as orchestrator:
        before = orchestrator.explain("hi")
        for _ in range(5):
            assert orchestrator.explain("hi") == before
        assert orchestrator.get_model_statistics() == {}
