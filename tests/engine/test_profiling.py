from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import anyio
import pytest

from orchestrator import BreakerPolicy, Model, Orchestrator, Price
from orchestrator.core.errors import (
    ConfigurationError,
    InvalidRequestError,
    ModelNotFoundError,
    ModelRateLimitError,
    NoEligibleModelsError,
)
from orchestrator.core.events import CallFailed, ModelProfiled, ModelUsed, ProfilingStarted
from orchestrator.core.ports import ResidentSpec
from orchestrator.engine.profiling import Profiler
from orchestrator.lifecycle.profile import Spread
from orchestrator.lifecycle.schedule import ProfilingSchedule
from orchestrator.testing import SimulatedLauncher, SimulatedTransport
from orchestrator.testing.scripted import ScriptedModel, Turn
from tests.engine.world import down, engine, invalid, listen, pending, says, simulated

WORDS = "one two three four five six seven eight nine ten"
TURN = Turn(text=WORDS, after_s=1.0, every_s=0.1)
"""Ten words in 1.9 s, the first after 1 s."""
PRICED = {"price": Price.per_million(input=0, output=1_000_000)}


def profiler(orchestrator: Orchestrator, **options: Any) -> Profiler:
    return Profiler(
        orchestrator,
        orchestrator._parts,
        orchestrator._asking,
        orchestrator._say_if_wanted,
        **options,
    )


def evenly(spread: Spread | None) -> float:
    """Return what every call took, since they all took as long."""
    assert spread is not None
    assert spread.p50 == pytest.approx(spread.p99) == pytest.approx(spread.mean)
    return spread.p95


# -- what is measured --------------------------------------------------------------------------


@simulated
async def test_a_profile_is_what_the_model_did():
    model = says("a", TURN)
    async with engine(model) as orchestrator:
        heard = listen(orchestrator, ProfilingStarted, ModelUsed, ModelProfiled)
        profile = await profiler(orchestrator, memory=lambda key: 145).profile("a", n=6)

        told = [type(event).__name__ for event in heard]
    tokens = heard[1].completion_tokens
    assert evenly(profile.first_token_s) == pytest.approx(1.0)
    assert evenly(profile.latency_s) == pytest.approx(1.9)
    assert profile.tokens_per_s == pytest.approx(tokens / 1.9)
    assert (profile.calls, profile.success_rate, profile.errors) == (6, 1.0, ())
    assert (profile.memory_bytes, profile.stopped) == (145, None)
    assert told == ["ProfilingStarted", *["ModelUsed"] * 6, "ModelProfiled"]
    assert (heard[0].model, heard[0].n) == ("p:a", 6)
    assert (heard[-1].latency_p95_s, heard[-1].calls) == (pytest.approx(1.9), 6)
    assert len({call.prompt for call in model.calls}) == 6, "no answer comes from what was kept"


@simulated
async def test_failures_are_counted_and_not_tried_again():
    model = says("a", *[TURN] * 4, down(), *[TURN] * 4, invalid())
    async with engine(model) as orchestrator:
        profile = await profiler(orchestrator).profile("a", n=10)

    assert len(model.calls) == 10
    assert profile.success_rate == 0.8
    assert dict(profile.errors) == {"service_unavailable": 1, "invalid_request": 1}
    assert profile.latency_s is not None
    assert profile.latency_s.p99 == pytest.approx(1.9), "only answers are timed"


@simulated
async def test_what_it_measures_is_known_to_min_speed():
    slow, fast = says("a", Turn(text=WORDS, after_s=20.0)), says("b", TURN)
    async with engine(slow, fast) as orchestrator:
        await profiler(orchestrator).profile("a", n=5)
        await asyncio.sleep(2.0)  # until decisions compare what outcomes have shown

        assert orchestrator.get_model_statistics()["p:a"]["ok"] == 5
        assert (await orchestrator.select_model(min_speed=1.0)).key == "p:b"


@simulated
async def test_a_model_that_does_not_stream_is_measured_all_the_same():
    class Whole(Model):
        async def generate_response(self, prompt: str, **options: Any) -> str:
            await asyncio.sleep(2.0)
            return WORDS

    async with engine(Whole("a", "p")) as orchestrator:
        profile = await profiler(orchestrator).profile("a", n=2)

    assert profile.first_token_s is None
    assert evenly(profile.latency_s) == pytest.approx(2.0)


@simulated
async def test_the_last_profile_is_kept():
    async with engine(says("a", TURN)) as orchestrator:
        measuring = profiler(orchestrator)
        await measuring.profile("a", n=1)
        last = await measuring.profile("a", n=2)

        assert measuring.profiles == {"p:a": last}


# -- how much ----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, -3, True, 2.5, "many"])
@simulated
async def test_a_number_of_calls_that_is_none_is_refused(n: Any):
    model = says("a", TURN)
    async with engine(model) as orchestrator:
        heard = listen(orchestrator)
        for measure in (profiler(orchestrator).profile, _estimate(orchestrator)):
            with pytest.raises(InvalidRequestError, match="n must be a whole number") as caught:
                await measure("a", n=n)
            assert caught.value.param == "n"

    assert (model.calls, heard) == ([], [])


def _estimate(orchestrator: Orchestrator) -> Any:
    async def estimate(name: str, n: Any) -> Any:
        return profiler(orchestrator).estimate(name, n=n)

    return estimate


@simulated
async def test_other_wrong_arguments_are_refused_before_any_call():
    model = says("a", TURN)
    async with engine(model) as orchestrator:
        with pytest.raises(InvalidRequestError, match="max_cost"):
            await profiler(orchestrator).profile("a", max_cost=-1)
        with pytest.raises(ModelNotFoundError, match="no model 'nobody'"):
            await profiler(orchestrator).profile("nobody")

    assert model.calls == []


@simulated
async def test_it_never_spends_more_than_it_may():
    model = says("a", TURN, **PRICED)  # one USD per token of output, at most 64 a call
    async with engine(model) as orchestrator:
        profile = await profiler(orchestrator).profile("a", n=50, max_cost=200.0)

    assert profile.stopped == "max_cost"
    assert 0 < profile.calls < 50
    assert profile.cost_usd == profile.tokens_out
    assert 200.0 - 64 < profile.cost_usd <= 200.0


@pytest.mark.parametrize(
    ("price", "reason"),
    [(PRICED, "may cost 64"), ({}, "price is not known")],
    ids=["dear", "unknown"],
)
@simulated
async def test_a_model_that_is_too_dear_is_refused_at_once(price: Any, reason: str):
    model = says("a", TURN, **price)
    async with engine(model) as orchestrator:
        with pytest.raises(NoEligibleModelsError, match=reason):
            await profiler(orchestrator).profile("a", max_cost=1.0)

        assert model.calls == []
        assert pending(orchestrator) == 0


@simulated
async def test_an_estimate_calls_nobody_and_is_not_exceeded():
    model = says("a", TURN, speed=32.0, **PRICED)
    async with engine(model) as orchestrator:
        measuring = profiler(orchestrator)
        estimate = measuring.estimate("a", n=3)
        assert model.calls == []
        profile = await measuring.profile("a", n=3, max_cost=estimate.cost_usd)

    assert (estimate.calls, estimate.max_output_tokens, estimate.seconds) == (3, 192, 6.0)
    assert estimate.cost_usd == 192.0
    assert (profile.calls, profile.stopped) == (3, None)
    assert profile.cost_usd <= estimate.cost_usd


@simulated
async def test_an_estimate_goes_by_what_was_measured():
    async with engine(says("a", TURN, speed=1e6)) as orchestrator:
        measuring = profiler(orchestrator)
        profile = await measuring.profile("a", n=2)
        estimate = measuring.estimate("a", n=2)

    assert profile.tokens_per_s is not None
    assert estimate.seconds == pytest.approx(128 / profile.tokens_per_s)
    assert estimate.cost_usd is None, "nobody knows its price"


# -- how it ends -------------------------------------------------------------------------------


@simulated
async def test_a_model_that_goes_out_of_service_ends_it():
    model = says("a", TURN, down())
    async with engine(model) as orchestrator:
        profile = await profiler(orchestrator).profile("a", n=10)

    assert (profile.calls, len(model.calls)) == (4, 4), "three failures in a row open its breaker"
    assert profile.success_rate == 0.25
    assert profile.stopped == "it has failed too often"


@simulated
async def test_cancelling_it_leaves_nothing_behind():
    model = says("a", TURN)
    async with engine(model) as orchestrator:
        heard = listen(orchestrator, ModelProfiled, CallFailed)
        with anyio.move_on_after(4.0):  # in the third call
            await profiler(orchestrator).profile("a", n=10)

        assert pending(orchestrator) == 0
        assert model.in_flight == 0
        assert orchestrator.get_model_statistics()["p:a"]["ok"] == 2
        assert [event.classification for event in heard] == ["cancelled"]


@simulated
async def test_a_limit_of_its_provider_is_kept():
    model = says("a", TURN, ModelRateLimitError("too many", status=429, retry_after_s=60.0))
    async with engine(model) as orchestrator:
        profile = await profiler(orchestrator).profile("a", n=10)

    assert (profile.calls, len(model.calls)) == (2, 2)
    assert profile.stopped is not None


# -- from time to time -------------------------------------------------------------------------


async def measured(orchestrator: Orchestrator, for_s: float, **schedule: Any) -> list[Any]:
    """Let a profiler run for a while and return what it told."""
    heard = listen(orchestrator, ModelProfiled)
    with anyio.move_on_after(for_s):
        await profiler(orchestrator).run(ProfilingSchedule(**schedule))
    return heard


@simulated
async def test_idle_models_are_measured_every_hour():
    models = says("a", TURN, price=Price.free()), says("b", TURN, price=Price.free())
    async with engine(*models) as orchestrator:
        heard = await measured(orchestrator, 3 * 3600.0 + 200, jitter=0.0)

    assert [(event.model, event.calls) for event in heard] == [("p:a", 5), ("p:b", 5)] * 2


@simulated
async def test_rounds_come_at_uneven_times():
    async with engine(says("a", TURN, price=Price.free())) as orchestrator:
        heard = await measured(orchestrator, 36_000.0, jitter=0.5)

    gaps = {round(b.at - a.at) for a, b in pairwise(heard)}
    assert len(gaps) > 1
    assert all(1800 <= gap <= 5400 + 100 for gap in gaps)


@simulated
async def test_a_model_in_use_is_left_alone():
    busy = says("a", Turn(text="done", after_s=50.0), price=Price.free())
    used, idle = (says(name, TURN, price=Price.free()) for name in "bc")
    async with (
        engine(busy, used, idle) as orchestrator,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(lambda: orchestrator.generate("hi", model="a"))
        round_ = asyncio.ensure_future(profiler(orchestrator).round(ProfilingSchedule(idle_s=40)))
        await asyncio.sleep(20.0)
        await orchestrator.generate("hi", model="b")
        made = await round_

    assert [profile.model for profile in made] == ["p:c"]


@simulated
async def test_a_round_spends_no_more_than_it_may():
    models = says("a", TURN, **PRICED), says("b", TURN, **PRICED)
    async with engine(*models) as orchestrator:
        (made,) = await profiler(orchestrator).round(ProfilingSchedule(max_cost=100.0, idle_s=0))

    assert (made.model, made.calls) == ("p:a", 4), "a fifth might cost 64 again"
    assert 36.0 < made.cost_usd <= 100.0, "too little is left for the other"


@simulated
async def test_what_cannot_be_measured_does_not_keep_others_from_it():
    unknown, vectors = says("a", TURN), says("b", TURN, capabilities=("embeddings",))
    free = says("c", TURN, price=Price.free())
    async with engine(unknown, vectors, free) as orchestrator:
        made = await profiler(orchestrator).round(ProfilingSchedule(idle_s=0))

    assert [profile.model for profile in made] == ["p:c"]


@simulated
async def test_a_model_out_of_service_is_not_called_to_measure_it():
    model = says("a", down(), TURN, price=Price.free())
    async with engine(model, breaker=BreakerPolicy(failure_threshold=1)) as orchestrator:
        assert (await profiler(orchestrator).profile("a", n=5)).calls == 1
        assert await profiler(orchestrator).round(ProfilingSchedule(idle_s=0)) == []

    assert len(model.calls) == 1


def local(**options: Any) -> Orchestrator:
    """Return an engine with a model that has to be loaded, which takes three seconds."""

    class Local(ScriptedModel):
        resident = ResidentSpec("r", ("serve",), {})

    transport = SimulatedTransport()
    launcher = SimulatedLauncher(transport, load_s=3.0)
    model = Local("a", [TURN], "p", resident="r", price=Price.free())
    return engine(model, launcher=launcher, transport=transport, **options)


@simulated
async def test_nothing_is_loaded_to_be_measured():
    async with local() as orchestrator:
        assert await profiler(orchestrator).round(ProfilingSchedule(idle_s=0)) == []
        assert orchestrator.loaded == frozenset()
        await orchestrator.generate("hi")  # which loads it
        (made,) = await profiler(orchestrator).round(ProfilingSchedule(idle_s=0))

    assert made.calls == 5


@simulated
async def test_a_load_that_somebody_asks_for_is_not_part_of_what_is_measured():
    async with local() as orchestrator:
        profile = await profiler(orchestrator).profile("a", n=2)

    assert evenly(profile.first_token_s) == pytest.approx(1.0)
    assert evenly(profile.latency_s) == pytest.approx(1.9)


@simulated
async def test_nobody_judges_what_is_said_to_be_measured():
    async def judge(params: Any, answer: Any) -> float:
        judged.append(answer.text)
        return 1.0

    judged: list[str] = []
    async with engine(says("a", TURN), evaluators=[judge]) as orchestrator:
        await profiler(orchestrator).profile("a", n=2)
        await asyncio.sleep(1.0)
        assert judged == []
        await orchestrator.generate("hi")
        await asyncio.sleep(1.0)

    assert judged == [WORDS]


@pytest.mark.parametrize(
    "wrong",
    [{"interval_s": 0}, {"jitter": 1}, {"n": 0}, {"max_cost": -1}, {"idle_s": float("nan")}],
)
def test_a_schedule_that_is_none_is_refused(wrong: Any):
    with pytest.raises(ConfigurationError, match=f"profiling.{next(iter(wrong))} must be"):
        ProfilingSchedule(**wrong)
