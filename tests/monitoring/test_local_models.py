"""What a monitor does about models in our own memory."""

from __future__ import annotations

import asyncio
from math import inf

import pytest

from orchestrator import Orchestrator
from orchestrator.core.errors import AttemptsExhaustedError, ProcessError
from orchestrator.core.ports import ResidentSpec
from orchestrator.lifecycle.state import Status
from orchestrator.monitoring import ModelHealthMonitor
from orchestrator.testing import SimulatedLauncher, SimulatedTransport
from orchestrator.testing.scripted import ScriptedModel, Turn
from tests.engine.world import engine, simulated


class Local(ScriptedModel):
    """A model that has to be in memory."""

    resident = ResidentSpec("r", ("serve",), {})

    def __init__(self) -> None:
        super().__init__("a", ["hello"], "p", local=True, resident="r")


def serving(model: Local, *failures: ProcessError) -> Orchestrator:
    transport = SimulatedTransport()
    launcher = SimulatedLauncher(transport, load_s=3.0)
    launcher.failures.extend(failures)
    monitor = ModelHealthMonitor(60, jitter=0.0)
    return engine(model, launcher=launcher, transport=transport, health_monitor=monitor)


@simulated
async def test_a_cold_model_is_not_loaded_to_see_whether_it_is_well():
    model = Local()
    async with serving(model) as orchestrator:
        await asyncio.sleep(1_000)
        health = await orchestrator.get_model_health("a")

        assert orchestrator.loaded == frozenset()
    assert model.calls == []
    assert (health.healthy, health.lifecycle) == (True, Status.AVAILABLE)
    assert health.next_check_s is None


@simulated
async def test_checks_do_not_keep_a_model_in_memory_that_no_request_uses():
    model = Local()
    async with serving(model) as orchestrator:
        await orchestrator.generate("hi")
        await asyncio.sleep(1_000)

    assert [call.prompt for call in model.calls] == ["hi", "Hi"]


@simulated
async def test_a_stuck_engine_is_ejected_and_returns_without_a_request():
    model = Local()
    async with serving(model) as orchestrator:
        await orchestrator.generate("hi")
        answers = model.behaviour
        model.behaviour = lambda prompt: Turn(after_s=inf)
        await asyncio.sleep(130)
        stuck = await orchestrator.get_model_health("a")
        model.behaviour = answers
        await asyncio.sleep(60)
        back = await orchestrator.get_model_health("a")

    assert (stuck.healthy, stuck.breaker, stuck.lifecycle) == (False, "open", Status.LOADED)
    assert {failure.kind for failure in stuck.evidence.last_failures} == {"timeout"}
    assert (back.healthy, back.breaker) == (True, "closed")


@simulated
async def test_a_failed_load_is_the_lifecycles_and_the_endpoint_rests():
    model = Local()
    async with serving(model, ProcessError("no memory")) as orchestrator:
        with pytest.raises(AttemptsExhaustedError):
            await orchestrator.generate("hi", deadline_s=3.2)
        failed = await orchestrator.get_model_health("a")
        await asyncio.sleep(60)
        await orchestrator.generate("hi")
        back = await orchestrator.get_model_health("a")

    assert (failed.breaker, failed.endpoint, failed.lifecycle) == (
        "closed",
        "cooling",
        Status.FAILED,
    )
    assert failed.issues[-1] == "its last load failed"
    assert (back.healthy, back.lifecycle) == (True, Status.LOADED)
