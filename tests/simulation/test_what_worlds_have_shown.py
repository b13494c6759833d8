"""Faults that simulated worlds brought to light, each in a world of its own."""

from __future__ import annotations

import asyncio
from math import inf

import numpy as np
import pytest

from orchestrator import Orchestrator, Price, Timeouts
from orchestrator.core.errors import DeadlineExceededError, EngineClosedError
from orchestrator.core.events import CallFailed
from orchestrator.core.model import ModelConstraints
from orchestrator.core.requirements import Requirements
from orchestrator.core.tokens import estimate_message_tokens
from orchestrator.engine.deadlines import Deadlines
from orchestrator.integrations.embedded import EmbeddedModel, EmbeddedResident
from orchestrator.integrations.openai_model import OpenAICompatibleModel
from orchestrator.routing.budget import DailyBudget
from orchestrator.routing.eligibility import Eligibility, Measured
from orchestrator.routing.registry import ModelRegistry
from orchestrator.selectors import PrioritySelector
from orchestrator.testing import (
    Cut,
    FaultPlan,
    LoopClock,
    OpenAIProvider,
    Reply,
    ScriptedModel,
    SimulatedLauncher,
    SimulatedServer,
    SimulatedTransport,
    Turn,
    run_simulated,
)

DAY_S = 86_400.0


def test_what_is_free_may_serve_a_request_that_has_spent_too_much():
    registry = ModelRegistry([ScriptedModel("free"), ScriptedModel("paid")])
    measured = Measured(np.array([0.0, 0.01]), np.full(2, np.nan), spent_usd=0.3)

    needs = Requirements.of({"max_cost": 0.2})
    mask = Eligibility(registry.pool, registry).screen(needs, None, measured).eligible

    assert mask.tolist() == [True, False]


def test_what_is_settled_after_midnight_is_spent_on_the_new_day():
    budget = DailyBudget(1.0, wall=DAY_S - 1)
    budget.reserve(0.5)

    budget.settle(0.5, 0.75, wall=DAY_S + 1)

    assert budget.left(DAY_S + 2) == 0.25


def test_deadlines_that_strike_together_strike_in_the_order_of_their_requests():
    async def main() -> list[int]:
        deadlines = Deadlines()
        struck: list[int] = []

        async def request(number: int) -> None:
            try:
                with deadlines.within(1.0):
                    await asyncio.sleep(60)
            except TimeoutError:
                struck.append(number)

        await asyncio.gather(*(request(number) for number in range(50)))
        return struck

    assert run_simulated(main) == list(range(50))


def test_the_deadline_of_a_request_holds_when_its_engine_is_closed():
    async def main() -> float:
        silent = ScriptedModel("silent", [Turn(after_s=inf)])
        async with Orchestrator([silent], clock=LoopClock()) as orchestrator:
            asked = asyncio.create_task(orchestrator.generate("hi", deadline_s=20))
            await asyncio.sleep(1)
        with pytest.raises(DeadlineExceededError):
            await asked
        return asyncio.get_running_loop().time()

    assert run_simulated(main, until_s=1_000) == pytest.approx(20, abs=0.1)


def test_a_selection_is_used_although_the_pool_has_shrunk_meanwhile():
    async def main() -> str:
        models = [ScriptedModel("first"), ScriptedModel("chosen", ["here"], priority=1)]
        chooser = PrioritySelector()
        async with Orchestrator(models, selector=chooser, clock=LoopClock()) as orchestrator:
            selection = await orchestrator.select_model()
            orchestrator.unregister_model("first")
            return await selection.generate_response("hi")

    assert run_simulated(main) == "here"


def test_a_plain_model_that_is_silent_makes_way_for_another():
    async def main() -> tuple[str, float]:
        silent = ScriptedModel("silent", [Turn(after_s=inf)], priority=1)
        models = [silent, ScriptedModel("ready", ["here"])]
        limits = Timeouts(answer_s=7)
        async with Orchestrator(
            models, selector=PrioritySelector(), timeouts=limits, clock=LoopClock()
        ) as orchestrator:
            result = await orchestrator.generate("hi")
        return result.text, result.latency_s

    assert run_simulated(main) == ("here", 7.0)


def test_limits_hold_for_those_who_waited_for_a_load_while_the_model_left():
    async def main() -> int:
        transport = SimulatedTransport()
        provider = OpenAIProvider(first_token_s=1.0)
        launcher = SimulatedLauncher(transport, lambda spec: provider, load_s=5.0)
        resident = EmbeddedResident(
            name="small",
            command=("engine",),
            env={},
            slots=1,
            context_window=4_096,
            capabilities=frozenset(("text_generation", "chat_completion")),
        )
        model = EmbeddedModel("small", resident)
        async with Orchestrator(
            [model], transport=transport, launcher=launcher, clock=LoopClock()
        ) as orchestrator:
            asked = [asyncio.create_task(orchestrator.generate("hi")) for _ in range(4)]
            await asyncio.sleep(2)
            orchestrator.unregister_model(model.key.text)
            await asyncio.sleep(4.5)  # loaded and warm, and the first is being answered
            at_once = launcher.processes[0].server.in_flight
            await asyncio.gather(*asked)
        return at_once

    assert run_simulated(main) == 1


def test_a_continued_answer_does_not_mislead_the_estimate_of_prompts():
    async def main() -> dict[str, float]:
        transport = SimulatedTransport()
        models = []
        for priority, name in enumerate(("second", "first")):
            provider = OpenAIProvider(
                lambda request: Reply(
                    "word " * 200, prompt_tokens=estimate_message_tokens(request["messages"])
                ),
                models=[name],
            )
            cut = FaultPlan(script=[Cut(20_000)] if name == "first" else [])
            url = f"https://{name}.test/v1"
            transport.serve(url, SimulatedServer(provider, faults=cut))
            models.append(OpenAICompatibleModel(name, name, url, priority=priority))
        async with Orchestrator(
            models, selector=PrioritySelector(), transport=transport, clock=LoopClock()
        ) as orchestrator:
            async with orchestrator.stream("hi", on_interrupt="continue") as stream:
                async for _ in stream:
                    pass
            assert [attempt.model for attempt in stream.result.attempts] == [
                "first:first",
                "second:second",
            ]
            return {key: slope for key, _, slope in orchestrator._parts.estimator.lines()}

    # The roles and delimiters of the message that was carried over make the rest of a percent.
    assert run_simulated(main) == {"second:second": pytest.approx(1.0, abs=0.02)}


def test_a_failed_call_says_what_it_cost():
    async def main() -> list[float]:
        broken = Turn(text="one two three", error=ConnectionResetError(), words_before_error=2)
        model = ScriptedModel("m", [broken], price=Price.per_million(1, 1))
        costs: list[float] = []
        async with Orchestrator([model], clock=LoopClock()) as orchestrator:
            orchestrator.events.on(CallFailed, lambda event: costs.append(event.cost_usd))
            with pytest.raises(Exception, match="broke off"):
                async with orchestrator.stream("hi") as stream:
                    async for _ in stream:
                        pass
            spent = orchestrator.get_model_statistics()["scripted:m"]["cost"]
        assert costs == [pytest.approx(spent)]
        return costs

    assert run_simulated(main)[0] > 0


def test_who_waits_for_a_place_when_the_engine_closes_is_still_served():
    async def main() -> list[str]:
        limits = ModelConstraints(max_concurrent_requests=1)
        model = ScriptedModel("m", [Turn(text="here", after_s=3)], constraints=limits)
        async with Orchestrator([model], clock=LoopClock()) as orchestrator:
            asked = [asyncio.create_task(orchestrator.generate("hi")) for _ in range(3)]
            await asyncio.sleep(1)
        with pytest.raises(EngineClosedError):
            await orchestrator.generate("too late")
        return [result.text for result in await asyncio.gather(*asked)]

    assert run_simulated(main) == ["here"] * 3
