from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pytest

from orchestrator.core.errors import ConfigurationError
from orchestrator.core.selector import Selector
from orchestrator.core.statistics import Outcome
from orchestrator.routing.routes import Route
from orchestrator.selectors import ModelSelector
from tests.engine.world import down, engine, says, simulated


class Alternate(ModelSelector):
    """Takes turns by the calls it was told of."""

    def __init__(self) -> None:
        self.told: list[tuple[str, float, bool]] = []

    def select(self, models: Sequence[str], context: Mapping[str, Any]) -> str:
        return models[len(self.told) % len(models)]

    def update(self, model: str, reward: float, outcome: Outcome | None = None) -> None:
        self.told.append((model, reward, outcome is not None))


@simulated
async def test_a_selector_of_the_users_own_chooses_and_is_told_what_came_of_it():
    selector = Alternate()
    async with engine(says("a"), says("b", down()), selector=selector) as orchestrator:
        first = await orchestrator.generate("hi")
        second = await orchestrator.generate("hi")
        await orchestrator.feedback(first.decision_id, quality=0.8)

    assert first.decision.selector == "Alternate"
    assert [attempt.model for attempt in second.attempts] == ["p:b", "p:a"]
    assert selector.told == [
        ("p:a", 1.0, True),
        ("p:b", 0.0, True),
        ("p:a", 1.0, True),
        ("p:a", 0.8, False),
    ]


class Scores(Selector):
    """Gives what it was made with."""

    name = "scores"

    def __init__(self, given: Any) -> None:
        self.given = given

    def scores(self, evidence: Any, candidates: Any, rng: Any) -> Any:
        return self.given


@simulated
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.full(2, np.nan), "gave no number to p:a, p:b"),
        (np.array([1.0, np.nan]), "gave no number to p:b"),
        (np.zeros(7), r"scores of shape \(7,\), not \(2,\)"),
        (np.zeros((1, 2)), r"scores of shape \(1, 2\)"),
        ([1.0, 2.0], r"gave \[1.0, 2.0\], not an array"),
        (None, "gave None, not an array"),
        (np.array(["a", "b"]), "not an array of scores"),
    ],
)
async def test_scores_of_the_users_own_are_looked_at_before_they_are_believed(
    given: Any, said: str
):
    models = says("a"), says("b")
    async with engine(*models, selector=Scores(given)) as orchestrator:
        with pytest.raises(ConfigurationError, match=said):
            await orchestrator.generate("hi")
        with pytest.raises(ConfigurationError, match=said):
            orchestrator.explain()

    assert [model.calls for model in models] == [[], []]


@simulated
async def test_infinite_scores_and_those_of_models_that_may_not_serve_are_no_fault():
    given = Scores(np.array([np.nan, -np.inf, np.inf]))
    async with engine(says("a"), says("b"), says("c"), selector=given) as orchestrator:
        result = await orchestrator.generate("hi", exclude_models=["a"])

    assert result.text == "c"


def test_a_class_and_what_is_no_selector_are_refused_where_they_are_handed_in():
    wrong = {Scores: "Scores is a class", object(): "has no name, memory, segmented, n_extra"}
    for given, said in wrong.items():
        selector = cast("Selector", given)
        with pytest.raises(ConfigurationError, match=said):
            engine(says("a"), selector=selector)
        with pytest.raises(ConfigurationError, match=said):
            Route(name="mine", selector=selector)
