from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from orchestrator import (
    EmbeddingParams,
    HandlerModel,
    ModelType,
    SyncOrchestrator,
    TextGenerationParams,
)
from orchestrator.core.errors import (
    EngineClosedError,
    NoEligibleModelsError,
    StreamInterruptedError,
)
from orchestrator.testing.scripted import ScriptedModel, Turn
from tests.engine.world import down, invalid


def test_an_answer_without_await():
    with SyncOrchestrator([ScriptedModel("a", ["hello"])]) as orchestrator:
        result = orchestrator.generate("hi", temperature=0.5)

    assert (result.text, result.model) == ("hello", "scripted:a")


def test_everything_the_engine_does_can_be_done_without_await():
    models = [ScriptedModel("a"), HandlerModel("video:generation", lambda r, p: p * 2, "own")]
    with SyncOrchestrator(models, selector="priority") as orchestrator:
        selection = orchestrator.select_model(max_cost=1.0, allow_unknown_cost=True)
        assert selection.key == selection.decision.key == "scripted:a"
        assert selection.generate_response("hi") == selection.generate("hi").text == "scripted"
        orchestrator.select_model().release()
        assert len(orchestrator.embed(["one", "two"]).vectors) == 2
        assert orchestrator.use_model("video:generation", 21) == 42
        text = orchestrator.use_model(
            ModelType.TEXT_SMALL,
            TextGenerationParams(prompt="hi"),
            max_cost=1.0,
            allow_unknown_cost=True,
        )
        vector = orchestrator.use_model(ModelType.TEXT_EMBEDDING, EmbeddingParams(input="x"))
        orchestrator.feedback(orchestrator.generate("hi").decision_id, quality=0.9)
        assert orchestrator.explain("hi").chosen == "scripted:a"
        statistics = orchestrator.engine.get_model_statistics()["scripted:a"]

    assert text == "scripted"
    assert isinstance(vector[0], float)
    assert (statistics["n_quality"], statistics["opened"]) == (1, 7)
    assert statistics["closed"] + statistics["expired"] == statistics["opened"]


def test_a_stream_is_an_iterator():
    with (
        SyncOrchestrator([ScriptedModel("a", ["one two three"])]) as orchestrator,
        orchestrator.stream("hi") as chunks,
    ):
        assert "".join(chunk.text for chunk in chunks) == "one two three"


def test_a_stream_may_be_left_early():
    model = ScriptedModel("a", [Turn(text="one two", every_s=1000.0)])
    with SyncOrchestrator([model]) as orchestrator:
        with orchestrator.stream("hi") as chunks:
            assert next(chunks).text == "one "
        statistics = orchestrator.engine.get_model_statistics()["scripted:a"]

    assert statistics["expired"] == 1


def test_errors_pass_through_as_they_are():
    broken = Turn(text="one two", error=down(), words_before_error=1)
    models: list[Any] = [
        ScriptedModel("a", [invalid()]),
        ScriptedModel("b", [broken]),
    ]
    with SyncOrchestrator(models) as orchestrator:
        with pytest.raises(type(invalid()), match="no such option"):
            orchestrator.generate("hi", model="a")
        with pytest.raises(NoEligibleModelsError):
            orchestrator.select_model(capabilities=["vision"])
        with (
            pytest.raises(StreamInterruptedError),
            orchestrator.stream("hi", model="b") as chunks,
        ):
            list(chunks)


def test_several_threads_may_use_it_at_once():
    model = ScriptedModel("a", lambda prompt: Turn(text=f"{prompt}!"))
    with SyncOrchestrator([model]) as orchestrator, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: orchestrator.generate(str(n)).text, range(40)))
        statistics = orchestrator.engine.get_model_statistics()["scripted:a"]

    assert answers == [f"{n}!" for n in range(40)]
    assert statistics["ok"] == 40


async def test_it_works_where_an_event_loop_is_running_already():
    with SyncOrchestrator([ScriptedModel("a")]) as orchestrator:
        assert orchestrator.generate("hi").text == "scripted"


def test_it_runs_only_inside_with_and_leaves_no_thread():
    orchestrator = SyncOrchestrator([ScriptedModel("a")])
    before = threading.active_count()
    with pytest.raises(EngineClosedError):
        orchestrator.generate("hi")

    with orchestrator:
        orchestrator.generate("hi")

    with pytest.raises(EngineClosedError):
        orchestrator.explain("hi")
    with pytest.raises(EngineClosedError):
        _ = orchestrator.engine
    assert threading.active_count() == before


def test_an_engine_that_cannot_be_built_leaves_nothing_running():
    before = threading.active_count()
    orchestrator = SyncOrchestrator(selector="luck")

    with pytest.raises(Exception, match="no selector 'luck'"):
        orchestrator.__enter__()

    assert threading.active_count() == before
    with pytest.raises(EngineClosedError):
        orchestrator.generate("hi")
