from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from orchestrator.core.errors import ConfigurationError
from orchestrator.core.selector import UpdatedSelector
from orchestrator.core.statistics import Outcome
from orchestrator.selectors import ModelSelector, Selector
from tests.selectors.arms import calls, candidates, evidence_of, score, sums_of

KEYS = ("a:m", "b:m", "c:m")
EVIDENCE = evidence_of(sums_of(calls(1), calls(1), calls(1)))


class Favourite(ModelSelector):
    """Takes the model that has earned most so far."""

    def __init__(self) -> None:
        self.earned = dict.fromkeys(KEYS, 0.0)
        self.seen: list[tuple[list[str], Mapping[str, Any]]] = []

    def select(self, models: Sequence[str], context: Mapping[str, Any]) -> str:
        self.seen.append((list(models), context))
        return max(models, key=lambda model: self.earned[model])

    def update(self, model: str, reward: float, outcome: Outcome | None = None) -> None:
        self.earned[model] += reward


def chosen(selector: Selector, **known: Any) -> str:
    return KEYS[int(score(selector, EVIDENCE, candidates(3, keys=KEYS, **known)).argmax())]


def test_what_select_returns_is_chosen():
    selector = Favourite()
    told: UpdatedSelector = selector

    told.update("b:m", 1.0, Outcome(True))

    assert chosen(selector) == "b:m"
    told.update("c:m", 1.0, Outcome(True))
    told.update("c:m", 0.5)
    assert chosen(selector) == "c:m"


def test_select_sees_only_those_that_may_serve_and_what_is_known_of_them():
    selector = Favourite()

    chosen(
        selector,
        eligible=[True, False, True],
        cost_usd=[0.5, 0.1, np.nan],
        speed=[10, 20, 30],
        features=np.array([1.0, 2.0]),
    )

    [(models, context)] = selector.seen
    assert models == ["a:m", "c:m"]
    assert context["speed"] == {"a:m": 10.0, "c:m": 30.0}
    assert context["cost_usd"]["a:m"] == 0.5
    assert np.isnan(context["cost_usd"]["c:m"])
    assert context["local"] == {"a:m": False, "c:m": False}
    assert context["features"].tolist() == [1.0, 2.0]


@pytest.mark.parametrize("wrong", ["b:m", "nobody", None, 0])
def test_a_choice_that_was_not_offered_is_refused_by_name(wrong: Any):
    class Stubborn(ModelSelector):
        def select(self, models: Sequence[str], context: Mapping[str, Any]) -> str:
            return wrong  # type: ignore[no-any-return]

    with pytest.raises(ConfigurationError, match=r"Stubborn\.select returned"):
        chosen(Stubborn(), eligible=[True, False, True])


def test_what_select_raises_is_not_hidden():
    class Broken(ModelSelector):
        def select(self, models: Sequence[str], context: Mapping[str, Any]) -> str:
            raise LookupError("out of luck")

    with pytest.raises(LookupError, match="out of luck"):
        chosen(Broken())


def test_an_update_that_is_not_needed_need_not_be_written():
    class First(ModelSelector):
        name = "first"

        def select(self, models: Sequence[str], context: Mapping[str, Any]) -> str:
            return models[0]

    First().update("a:m", 1.0, Outcome(True))

    assert chosen(First()) == "a:m"
    assert First.name == "first"
    assert Favourite.name == "Favourite"


def test_arms_without_names_are_known_by_their_place():
    class Last(ModelSelector):
        def select(self, models: Sequence[str], context: Mapping[str, Any]) -> str:
            return models[-1]

    assert score(Last(), EVIDENCE, candidates(3)).tolist() == [0.0, 0.0, 1.0]
