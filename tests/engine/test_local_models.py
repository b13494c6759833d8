"""Models in memory, by the names they have in the pool; on simulated processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator import Orchestrator
from orchestrator.core.errors import (
    ConfigurationError,
    InvalidRequestError,
    ModelDoesNotFitError,
    ModelNotFoundError,
    OrchestratorError,
)
from orchestrator.core.events import ModelLoaded, ModelSwitched, StateRestored
from orchestrator.core.objective import Objective
from orchestrator.core.ports import ResidentSize, ResidentSpec
from orchestrator.core.saved_state import parsed
from orchestrator.lifecycle.policy import LifecyclePolicy, MemoryBudget
from orchestrator.lifecycle.state import Status
from orchestrator.routing.auto_switch import AutoSwitchPolicy
from orchestrator.selectors import PrioritySelector
from orchestrator.testing import (
    LoopClock,
    ScriptedModel,
    SimulatedLauncher,
    SimulatedTransport,
    Turn,
    run_simulated,
)

MB = 2**20
LOAD_S = 2.0


def local(name: str, mb: int = 100, after_s: float = 0.0) -> ScriptedModel:
    turns = [Turn(text=f"{name} says so", after_s=after_s)] * 99
    model = ScriptedModel(name, turns, "local", resident=name)
    model.resident = ResidentSpec(name, (name,), {}, size=ResidentSize(weights_bytes=mb * MB))
    return model


def engine(*models: ScriptedModel, room_mb: int | None = None, **options: Any) -> Orchestrator:
    transport = SimulatedTransport()
    budget = MemoryBudget(ram_bytes=None if room_mb is None else room_mb * MB)
    return Orchestrator(
        models or (local("small"), local("big", 150), ScriptedModel("hosted", ("hi",) * 99, "p")),
        transport=transport,
        launcher=SimulatedLauncher(transport, load_s=LOAD_S),
        lifecycle=LifecyclePolicy(budget=budget, min_residence_s=0.0),
        clock=LoopClock(),
        seed=1,
        **options,
    )


def test_a_model_is_loaded_and_unloaded_by_its_name():
    async def story() -> None:
        async with engine() as orchestrator:
            assert orchestrator.model_status("small") is Status.AVAILABLE
            assert orchestrator.model_status("hosted") is Status.LOADED
            await orchestrator.load_model("small")
            await orchestrator.load_model("hosted")
            assert orchestrator.loaded == {"small"}
            await orchestrator.unload_model("local:small")
            assert orchestrator.model_status("small") is Status.UNLOADED

    run_simulated(story)


def test_current_leads_to_whoever_is_current():
    async def story() -> None:
        async with engine() as orchestrator:
            switches: list[ModelSwitched] = []
            orchestrator.on(ModelSwitched, switches.append)
            with pytest.raises(ModelNotFoundError, match="no model is current"):
                await orchestrator.generate("hi", model="current")
            for name, key in (("small", "local:small"), ("hosted", "p:hosted")):
                switched = await orchestrator.switch_model(name, "for a test")
                assert (switched.current, orchestrator.current_model) == (key, key)
                result = await orchestrator.generate("hi", model="current")
                assert result.model == key
            assert [s.current for s in switches] == ["small", "p:hosted"]
            assert {s.reason for s in switches} == {"for a test"}

    run_simulated(story)


def test_requests_in_flight_finish_on_the_model_before():
    async def story() -> None:
        async with engine(local("small", after_s=5.0), local("big", 150)) as orchestrator:
            await orchestrator.load_set(["small", "big"])
            await orchestrator.switch_model("small")
            answered: list[str] = []

            async def ask() -> None:
                answered.append((await orchestrator.generate("hi", model="current")).model)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask)
                await anyio.sleep(1)
                await orchestrator.switch_model("big", evict_previous=True)
                await ask()
                assert answered == ["local:big"]
            assert answered == ["local:big", "local:small"]

    run_simulated(story)


def test_when_the_current_model_is_unloaded_another_one_serves():
    async def story() -> None:
        async with engine() as orchestrator:
            await orchestrator.load_set(["small", "big"])
            await orchestrator.switch_model("small")
            await orchestrator.unload_model("small")
            assert orchestrator.current_model == "local:big"

    run_simulated(story)


def test_what_can_never_fit_is_refused_at_once_and_evicts_nobody():
    async def story() -> None:
        async with engine(room_mb=120) as orchestrator:
            await orchestrator.load_model("small")
            with pytest.raises(ModelDoesNotFitError):
                await orchestrator.load_model("big")
            with pytest.raises(ModelDoesNotFitError):
                orchestrator.plan_set(["small", "big"])
            assert orchestrator.loaded == {"small"}

    run_simulated(story)


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (lambda o: o.load_model("nobody"), ModelNotFoundError),
        (lambda o: o.unload_model("small"), InvalidRequestError),
        (lambda o: o.unload_model("hosted"), InvalidRequestError),
        (lambda o: o.switch_model("nobody"), ModelNotFoundError),
        (lambda o: o.save_state(), ConfigurationError),
    ],
    ids=["unknown", "not loaded", "elsewhere", "switch to unknown", "no state file"],
)
def test_what_cannot_be_done_is_a_typed_error_and_changes_nothing(
    act: Any, error: type[OrchestratorError]
):
    async def story() -> None:
        async with engine() as orchestrator:
            before = orchestrator.memory()
            with pytest.raises(error):
                await act(orchestrator)
            assert orchestrator.memory() == before
            assert orchestrator.current_model is None

    run_simulated(story)


def test_a_pinned_model_is_not_evicted_for_another():
    async def story() -> None:
        async with engine(room_mb=180) as orchestrator:
            await orchestrator.load_model("small")
            orchestrator.pin_model("small")
            with pytest.raises(ModelDoesNotFitError):
                await orchestrator.load_model("big")
            orchestrator.pin_model("small", pinned=False)
            await orchestrator.load_model("big")
            assert orchestrator.loaded == {"big"}

    run_simulated(story)


def test_models_named_for_the_start_are_loaded_beside_the_first_requests():
    async def story() -> None:
        async with engine(load=["big"]) as orchestrator:
            assert orchestrator.loaded == frozenset()
            await anyio.sleep(LOAD_S + 1)
            assert orchestrator.loaded == {"big"}

    run_simulated(story)


# -- a cold model in a decision ----------------------------------------------------------------


def test_a_cold_model_competes_with_what_its_load_and_those_it_evicts_cost():
    async def story() -> None:
        objective = Objective(load_weight=0.1)
        async with engine(room_mb=200, objective=objective) as orchestrator:
            loaded: list[ModelLoaded] = []
            orchestrator.on(ModelLoaded, loaded.append)
            await orchestrator.load_model("big")
            await orchestrator.load_model("small")
            (took_s,) = {event.load_s for event in loaded}
            rows = {row.key: row for row in orchestrator.explain().models}
            assert (rows["local:small"].load_s, rows["p:hosted"].load_s) == (0.0, 0.0)
            big = rows["local:big"]
            assert big.evicts == ("small",)
            assert big.load_s == pytest.approx(2 * took_s)
            assert big.penalty == pytest.approx(0.1 * 2 * took_s)

    run_simulated(story)


def test_a_warm_model_is_seen_as_warm_by_the_next_request():
    async def story() -> None:
        models = local("small"), ScriptedModel("hosted", ("hi",) * 99, "p")
        async with engine(*models, objective=Objective(load_weight=1.0)) as orchestrator:
            cold = {row.key: row.load_s for row in orchestrator.explain().models}
            await orchestrator.load_model("small")
            warm = {row.key: row.load_s for row in orchestrator.explain().models}
            assert cold["local:small"] > 0.0 == warm["local:small"]

    run_simulated(story)


# -- leaving a current model that does badly ---------------------------------------------------


def test_a_current_model_that_does_badly_is_left_for_the_best_one_in_memory():
    async def story() -> None:
        policy = AutoSwitchPolicy(every_s=10.0, min_calls=5)
        async with engine(auto_switch=policy, selector=PrioritySelector()) as orchestrator:
            await orchestrator.load_set(["small", "big"])
            await orchestrator.switch_model("small")
            for name, success in (("small", False), ("big", True), ("hosted", True)):
                for _ in range(5):
                    orchestrator.update_model_performance(
                        name, success=success, latency_s=1.0, tokens_out=20
                    )
            assert orchestrator.current_model == "local:small"
            await anyio.sleep(11)
            assert orchestrator.current_model == "local:big"

    run_simulated(story)


def test_two_that_do_alike_do_not_take_turns():
    async def story() -> None:
        async with engine() as orchestrator:
            await orchestrator.load_set(["small", "big"])
            await orchestrator.switch_model("small")
            for name, latency_s in (("small", 1.1), ("big", 1.0)):
                for number in range(20):
                    orchestrator.update_model_performance(
                        name, success=number % 2 > 0, latency_s=latency_s, tokens_out=20
                    )
            assert await orchestrator.switch_if_poor(AutoSwitchPolicy(threshold=1.0)) is None

    run_simulated(story)


# -- from one process to the next --------------------------------------------------------------


async def test_pins_and_the_current_model_outlive_the_process(tmp_path: Path):
    path = tmp_path / "state" / "models.json"
    async with real(path) as orchestrator:
        await orchestrator.switch_model("small")
        orchestrator.pin_model("small")
        assert await orchestrator.save_state() == path
    kept = parsed(path.read_bytes()).state
    assert (kept.current, kept.loaded) == ("local:small", ("small",))

    restored: list[StateRestored] = []
    second = real(path)
    second.on(StateRestored, restored.append)
    async with second:
        assert second.current_model == "local:small"
        assert second.memory().residents[0].pinned
        assert second.model_status("small") is not Status.AVAILABLE
    assert len(restored) == 1


def real(path: Path) -> Orchestrator:
    """Return an engine whose time and files are real, and its processes are not."""
    transport = SimulatedTransport()
    return Orchestrator(
        [local("small"), ScriptedModel("hosted", ("hi",) * 9, "p")],
        transport=transport,
        launcher=SimulatedLauncher(transport),
        state=path,
    )
