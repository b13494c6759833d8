"""What an engine leaves in its store, and finds there again."""

from __future__ import annotations

from pathlib import Path

import anyio
import numpy as np
import pytest

from orchestrator import ModelError, Orchestrator, UnknownDecisionError
from orchestrator.core.estimates import FloatArray
from orchestrator.core.views import ALL, Memory
from orchestrator.selectors import LinUCBSelector
from orchestrator.store import Batch, MemoryStore, Store, StoreError
from orchestrator.store.sql import SqliteStore
from orchestrator.testing.scripted import Turn
from tests.config.files import bare, written
from tests.engine.world import down, engine, invalid, says, simulated
from tests.store.history import read


@simulated
async def test_every_attempt_of_a_request_is_a_row_with_what_came_of_it():
    store = MemoryStore()
    broken, well = says("broken", down(), priority=2), says("well", Turn(text="Hi", after_s=2))
    async with engine(broken, well, store=store) as orchestrator:
        result = await orchestrator.generate("Hello")
        await orchestrator.feedback(result.decision_id, quality=0.25)
        await orchestrator.feedback(result.decision_id, quality=0.75)
    first, second = await read(store)

    assert [(e["model"], e["attempt"], e["ok"], e["error"]) for e in (first, second)] == [
        ("p:broken", 1, False, "service_unavailable"),
        ("p:well", 2, True, None),
    ]
    assert first["request_id"] == second["request_id"] == result.request_id
    assert second["decision_id"] == result.decision_id
    assert second["refused"] == '{"tried":1}'
    assert (second["seconds"], second["quality"], second["corrected"]) == (2.0, 0.75, True)


@simulated
async def test_what_says_nothing_of_a_model_does_not_count():
    store = MemoryStore()
    slow = says("slow", Turn(text="Hi", after_s=9), invalid())
    async with engine(slow, store=store) as orchestrator:
        with anyio.move_on_after(1):
            await orchestrator.generate("never mind")
        with pytest.raises(ModelError):
            await orchestrator.generate("what is that")
        (await orchestrator.select_model()).release()

    found = [(e["ok"], e["counts"], e["error"], e["seconds"]) for e in await read(store)]
    assert found == [
        (False, False, "cancelled", 1.0),
        (False, False, "invalid_request", 0.0),
        (False, False, "unused", 0.0),
    ]


@simulated
async def test_learning_survives_a_restart():
    store = MemoryStore()
    async with engine(says("m"), store=store, node="before") as orchestrator:
        for _ in range(3):
            await orchestrator.generate("Hello")
        learned = orchestrator.get_model_statistics()["p:m"]
    async with engine(says("m"), store=store, node="after") as orchestrator:
        assert orchestrator.get_model_statistics()["p:m"] == learned
        assert (await orchestrator.generate("Hello")).text == "m"
        assert orchestrator.get_model_statistics()["p:m"]["calls"] == 4


X = ([1.0, 0.5], [-1.0, 0.5], [0.0, -2.0])


async def expected(orchestrator: Orchestrator) -> list[FloatArray]:
    """Return what the selector expects of each model, and what it may be off, for some requests."""
    recorder, found = orchestrator._recorder, []
    for features in X:
        context = {"features": features}
        selection = await orchestrator.select_model(context=context)
        selection.release()
        extra = recorder.view_for(orchestrator._selector).evidence("all").extra
        assert extra is not None
        found += [*extra.predict(np.array(features)), selection.decision.raw_scores]
    return found


@pytest.mark.parametrize("memory", [ALL, Memory(window_s=86_400)])
async def test_what_a_linear_selector_has_learned_survives_a_restart(store: Store, memory: Memory):
    selector = LinUCBSelector(2, memory=memory)
    models = says("left"), says("right"), says("seldom")
    async with Orchestrator(models, selector=selector, store=store, seed=1) as orchestrator:
        fresh = await expected(orchestrator)
        for number in range(60):
            features = X[number % 2]
            result = await orchestrator.generate("Hello", context={"features": features})
            good = (result.model == "p:left") == (features[0] < 0)
            await orchestrator.feedback(result.decision_id, quality=0.5)
            await orchestrator.feedback(result.decision_id, quality=0.9 if good else 0.1)
        before = await expected(orchestrator)
    async with Orchestrator(models, selector=selector, store=store, seed=2) as orchestrator:
        after = await expected(orchestrator)

    assert abs(np.subtract(before, fresh)).max() > 0.1
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-9)


@simulated
async def test_an_engine_that_is_opened_again_goes_on_with_its_log():
    store = MemoryStore()
    orchestrator = engine(says("m"), store=store)
    for _ in range(2):
        async with orchestrator:
            await orchestrator.generate("Hello")

    assert len(await read(store)) == 2
    assert orchestrator.get_model_statistics()["p:m"]["calls"] == 2


@simulated
async def test_requests_go_on_over_a_store_that_hangs():
    class Frozen(MemoryStore):
        async def write(self, batch: Batch) -> None:
            await anyio.sleep_forever()

    async with engine(says("m"), store=Frozen()) as orchestrator:
        for _ in range(100):
            await orchestrator.generate("Hello")
            await anyio.sleep(0.1)
        begun = anyio.current_time()

    assert anyio.current_time() - begun == pytest.approx(0.05)


@simulated
async def test_an_engine_does_not_start_without_the_store_it_was_given():
    class Absent(MemoryStore):
        async def open(self, *, write: bool = True) -> None:
            raise StoreError("there is no such disk")

    orchestrator = engine(says("m"), store=Absent())
    with pytest.raises(StoreError, match="no such disk"):
        async with orchestrator:
            raise AssertionError("it started")


async def test_a_configured_engine_leaves_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    bare(monkeypatch, tmp_path)
    written(tmp_path, '[store]\nurl = "sqlite:///decisions.db"\n')
    async with Orchestrator.from_config(models=[says("m")]) as orchestrator:
        await orchestrator.generate("Hello")

    store = SqliteStore(tmp_path / "data" / "decisions.db")
    await store.open(write=False)
    assert [entry["model"] for entry in await read(store)] == ["p:m"]
    assert [row.sums["calls"] for row in await store.statistics()] == [1.0]
    await store.aclose()


@simulated
async def test_an_answer_can_be_rated_after_a_restart_and_by_another_process():
    store = MemoryStore()
    async with engine(says("m"), store=store, node="before") as orchestrator:
        first, second = [await orchestrator.generate("Hello") for _ in range(2)]
        await orchestrator.feedback(second.decision_id, quality=0.5)
    async with engine(says("m"), store=store, node="after") as orchestrator:
        for quality in (0.25, 0.25, 0.75):  # the same again, then another
            await orchestrator.feedback(first.decision_id, quality=quality)
        await orchestrator.feedback(second.decision_id, quality=1.0)
        sums = orchestrator.get_model_statistics()["p:m"]
        with pytest.raises(UnknownDecisionError):
            await orchestrator.feedback("d-before-1-99", quality=0.5)
        with pytest.raises(UnknownDecisionError):
            await orchestrator.feedback("nonsense", quality=0.5)

    assert (sums["n_quality"], sums["quality"]) == (2, 1.75)
    assert [(e["quality"], e["corrected"]) for e in await read(store)] == [
        (0.75, True),
        (1.0, True),
    ]
    async with engine(says("m"), store=store, node="last") as orchestrator:
        assert orchestrator.get_model_statistics()["p:m"] == sums
        await orchestrator.feedback(first.decision_id, quality=0.75)
        assert orchestrator.get_model_statistics()["p:m"] == sums


@simulated
async def test_ratings_of_one_earlier_decision_that_come_together_count_once():
    store = MemoryStore()
    async with engine(says("m"), store=store, node="before") as orchestrator:
        result = await orchestrator.generate("Hello")
    async with engine(says("m"), store=store, node="after") as orchestrator:
        async with anyio.create_task_group() as tasks:
            for quality in (0.25, 0.5, 0.75):
                tasks.start_soon(
                    lambda q: orchestrator.feedback(result.decision_id, quality=q), quality
                )
        sums = orchestrator.get_model_statistics()["p:m"]

    assert sums["n_quality"] == 1
    assert sums["quality"] in (0.25, 0.5, 0.75)


@simulated
async def test_a_linear_selector_learns_from_what_is_rated_after_a_restart():
    def process(node: str) -> Orchestrator:
        selector = LinUCBSelector(n_features=2)
        return engine(says("m"), store=store, node=node, selector=selector)

    store, told = MemoryStore(), {"features": [1.0, 0.0]}
    async with process("before") as orchestrator:
        results = [await orchestrator.generate("Hello", context=told) for _ in range(20)]
    async with process("after") as orchestrator:
        before = orchestrator.explain("Hello", context=told).models[0].score
        for result in results:
            await orchestrator.feedback(result.decision_id, quality=0.0)
        after = orchestrator.explain("Hello", context=told).models[0].score

    assert before is not None
    assert after is not None
    assert after < before - 0.5
