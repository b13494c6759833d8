from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from orchestrator import Orchestrator, Route
from orchestrator.core.errors import ConfigurationError, InvalidRequestError
from orchestrator.core.params import Params, TextGenerationParams
from orchestrator.core.requirements import Requirements
from orchestrator.core.statistics import Statistics
from orchestrator.engine.contexts import DEFAULT_SEGMENT, Contexts
from orchestrator.routing.segments import ByKind
from orchestrator.routing.text_features import word_features
from orchestrator.selectors import LinUCBSelector, PrioritySelector
from tests.engine.world import down, engine, says, simulated

CONTEXTUAL = LinUCBSelector(3)


class FirstWord:
    """Tells requests apart by their first word."""

    version = "first-word-1"

    def segment(self, params: Params | None, needs: Requirements) -> str | None:
        if not isinstance(params, TextGenerationParams):
            return None
        return f"{self.version}:{str(params.prompt).split()[0]}"


def reading(n_features: int = 3) -> Contexts:
    found = Contexts(Statistics("n"))
    found.read_by([LinUCBSelector(n_features), PrioritySelector(), None])
    return found


async def segment_of(orchestrator: Orchestrator, prompt: str, **options: Any) -> str:
    result = await orchestrator.generate(prompt, **options)
    return orchestrator.decision(result.decision_id).segment


# -- segments ----------------------------------------------------------------------------------


@simulated
async def test_a_task_goes_before_what_the_segmenter_finds():
    async with engine(says("a"), segmenter=FirstWord()) as orchestrator:
        assert await segment_of(orchestrator, "code it") == "first-word-1:code"
        assert await segment_of(orchestrator, "code it", context={"task": "art"}) == "art"
    async with engine(says("a")) as orchestrator:
        assert await segment_of(orchestrator, "code it") == DEFAULT_SEGMENT


@simulated
async def test_a_failover_stays_in_the_segment_of_its_request():
    async with engine(says("a", down()), says("b"), segmenter=FirstWord()) as orchestrator:
        result = await orchestrator.generate("code it")
        segments = {orchestrator.decision(a.decision_id).segment for a in result.attempts}

    assert (len(result.attempts), segments) == (2, {"first-word-1:code"})


@simulated
async def test_a_selection_learns_its_segment_with_its_request():
    a, b = says("a", down()), says("b")
    async with engine(a, b, segmenter=FirstWord()) as orchestrator:
        selection = await orchestrator.select_model()
        assert selection.decision.segment == DEFAULT_SEGMENT
        result = await selection.generate("code it")
        assert orchestrator.decision(result.decision_id).segment == "first-word-1:code"


@simulated
async def test_a_selection_keeps_the_task_it_was_made_for():
    async with engine(says("a", down()), says("b"), segmenter=FirstWord()) as orchestrator:
        selection = await orchestrator.select_model(context={"task": "art"})
        result = await selection.generate("code it")
        assert orchestrator.decision(result.decision_id).segment == "art"


@simulated
async def test_kinds_are_told_apart_without_a_request():
    async with engine(says("a"), segmenter=ByKind()) as orchestrator:
        selection = await orchestrator.select_model(capabilities=["text_generation"])
        assert selection.decision.segment == "kind-1:text_generation"


@simulated
async def test_a_task_named_as_another_kind_of_rows_is_refused():
    async with engine(says("a")) as orchestrator:
        with pytest.raises(InvalidRequestError, match="no segment's name begins with '~'"):
            await orchestrator.generate("Hello", context={"task": "~regression-32"})

        assert orchestrator.get_model_statistics() == {}


# -- features ----------------------------------------------------------------------------------


def test_nothing_is_worked_out_where_nobody_reads_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("orchestrator.engine.contexts.text_features", None)
    contexts = Contexts(Statistics("n"))
    contexts.read_by([PrioritySelector(), None])

    assert (
        contexts.features({"features": "of no interest"}, TextGenerationParams(prompt="x")) is None
    )


def test_features_are_the_callers_else_those_of_the_text():
    params = TextGenerationParams(prompt="how far is the moon")
    given = reading().features({"features": [1, 0.5, 0]}, params)
    found = reading().features({}, params)

    assert given is not None
    assert given.dtype == np.float64
    assert given.tolist() == [1.0, 0.5, 0.0]
    assert found is not None
    assert (found == word_features("how far is the moon", 3)).all()
    assert reading().features({}, None) is None


def test_what_a_caller_changes_later_is_not_what_is_learned_from():
    given = np.ones(3)
    found = reading().features({"features": given}, None)
    given[:] = 9.0

    assert found is not None
    assert found.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([1.0, 2.0], "must be 3 numbers, as many as selectors read, not 2"),
        ([1.0, float("nan"), 0.0], "must be finite"),
        ([1e200, 0.0, 0.0], "must be finite"),
        ([1.0, [2.0], 0.0], "must be a list of numbers"),
        ([[1.0, 2.0, 3.0]], "must be a list of numbers"),
        (["1", "2", "3"], "must be a list of numbers"),
        ([1.0, None, 0.0], "must be a list of numbers"),
        ({"a": 1}, "must be a list of numbers"),
        (7, "must be a list of numbers"),
    ],
)
def test_features_that_nobody_can_learn_from_are_refused(given: Any, told: str):
    with pytest.raises(InvalidRequestError, match=told) as refused:
        reading().features({"features": given}, None)

    assert refused.value.param == "context.features"


def test_selectors_of_one_engine_read_as_many_features():
    contexts = reading(3)

    contexts.read_by([LinUCBSelector(3)])
    with pytest.raises(ConfigurationError, match="read 3 and 4 features"):
        contexts.read_by([LinUCBSelector(4)])
    assert contexts.n_features == 3


@simulated
async def test_a_contextual_selector_learns_which_model_is_good_at_what():
    a, b = says("a"), says("b")
    floorless = LinUCBSelector(2, exploration=0.5, floor=0.0)
    kinds = {"x": [1.0, 0.0], "y": [0.0, 1.0]}
    good_at = {"p:a": "x", "p:b": "y"}
    async with engine(a, b, selector=floorless) as orchestrator:
        for n in range(60):
            kind = "xy"[n % 2]
            result = await orchestrator.generate("?", context={"features": kinds[kind]})
            quality = float(good_at[result.model] == kind)
            await orchestrator.feedback(result.decision_id, quality=quality)
        chosen = {
            kind: (await orchestrator.select_model(context={"features": features})).key
            for kind, features in kinds.items()
        }

    assert {kind: str(key) for kind, key in chosen.items()} == {"x": "p:a", "y": "p:b"}


@simulated
async def test_a_contextual_selector_learns_from_the_text_where_nothing_else_is_given():
    good_at = {"p:a": "python", "p:b": "paris"}
    async with engine(
        says("a"), says("b"), selector=LinUCBSelector(16, exploration=0.5, floor=0.0)
    ) as orchestrator:
        right = []
        for n in range(80):
            word = ("python", "paris")[n % 2]
            result = await orchestrator.generate(f"tell me about {word}")
            right.append(good_at[result.model] == word)
            await orchestrator.feedback(result.decision_id, quality=float(right[-1]))

    assert all(right[-20:])


@simulated
async def test_a_wrong_vector_is_refused_before_anything_is_decided():
    async with engine(says("a"), selector=CONTEXTUAL) as orchestrator:
        with pytest.raises(InvalidRequestError, match="3 numbers"):
            await orchestrator.generate("hi", context={"features": [1.0]})
        assert orchestrator.get_model_statistics() == {}


@simulated
async def test_features_are_learned_on_every_route_once_one_reads_them():
    async with engine(
        says("a"), routes=[Route(name="learns", selector=CONTEXTUAL)]
    ) as orchestrator:
        result = await orchestrator.generate("hi", context={"features": [1.0, 0.0, 0.0]})
        await orchestrator.feedback(result.decision_id, quality=0.0)
        with pytest.raises(InvalidRequestError):
            await orchestrator.generate("hi", context={"features": [1.0]})


@simulated
async def test_a_route_that_reads_other_features_is_not_added():
    async with engine(says("a"), selector=CONTEXTUAL) as orchestrator:
        with pytest.raises(ConfigurationError, match="3 and 4"):
            orchestrator.add_routes([Route(name="other", selector=LinUCBSelector(4))])
        assert "other" not in orchestrator.routes
