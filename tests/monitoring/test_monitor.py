from __future__ import annotations

import asyncio
from itertools import pairwise
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as search
from hypothesis import strategies as st

from orchestrator import Model, Orchestrator, Price
from orchestrator.core.errors import (
    ConfigurationError,
    ErrorClass,
    InvalidRequestError,
    ModelAPIError,
    ModelResponseError,
)
from orchestrator.core.events import CallFailed, HealthChanged, ModelUsed
from orchestrator.core.model import ModelConstraints
from orchestrator.monitoring import ModelHealthMonitor
from orchestrator.routing.breaker import BreakerPolicy
from orchestrator.testing.loop import run_simulated
from tests.engine.world import down, engine, listen, says, simulated

STEADY = BreakerPolicy(jitter=0.0)


class Server(Model):
    """A model that answers and is checked, and writes down when it was checked."""

    def __init__(self, name: str = "a", *, takes_s: float = 0.0, **facts: Any) -> None:
        super().__init__(name, "p", **facts)
        self.up = True
        self.answers = True
        self.takes_s = takes_s
        self.checked_at: list[float] = []
        self.asked: list[dict[str, Any]] = []
        self.at_once = self.most_at_once = 0

    async def health_check(self) -> bool:
        self.checked_at.append(asyncio.get_running_loop().time())
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            await asyncio.sleep(self.takes_s)
        finally:
            self.at_once -= 1
        return self.up

    async def generate_response(self, prompt: str, **options: Any) -> str:
        self.asked.append({"prompt": prompt, **options})
        if not (self.up and self.answers):
            raise down()
        return self.name


def monitored(
    *models: Model, monitor: ModelHealthMonitor | None = None, **options: Any
) -> Orchestrator:
    options = {"breaker": STEADY, **options}
    return engine(*models, health_monitor=monitor or ModelHealthMonitor(jitter=0.0), **options)


# -- when it checks ----------------------------------------------------------------------------


@simulated
async def test_a_model_is_checked_at_the_interval():
    model = Server()
    async with monitored(model):
        await asyncio.sleep(1_000)

    assert model.checked_at == pytest.approx([300, 600, 900], abs=0.1)
    assert model.asked == [], "nobody knows what an answer would cost"


@simulated
async def test_the_interval_varies_by_a_tenth_so_that_checks_do_not_come_together():
    models = [Server(f"m{number}") for number in range(50)]
    async with monitored(*models, monitor=ModelHealthMonitor()):
        await asyncio.sleep(340)

    first = [model.checked_at[0] for model in models]
    assert min(first) >= 270
    assert max(first) <= 331
    assert max(first) - min(first) > 40


@simulated
async def test_checks_of_one_model_never_overlap_and_the_next_waits_for_the_last():
    model = Server(takes_s=7.0)
    async with monitored(model, monitor=ModelHealthMonitor(5, jitter=0.0)):
        await asyncio.sleep(60)

    assert model.most_at_once == 1
    assert model.checked_at == pytest.approx([5, 17, 29, 41, 53], abs=0.5)


@simulated
async def test_a_model_that_requests_call_is_not_checked_beside_them():
    model = Server()
    async with monitored(model) as orchestrator:
        for _ in range(100):
            await orchestrator.generate("hi")
            await asyncio.sleep(10)
        assert model.checked_at == []
        await asyncio.sleep(300)

    assert len(model.checked_at) == 1


@simulated
async def test_a_local_model_is_checked_though_requests_call_it():
    model = Server(local=True)
    async with monitored(model) as orchestrator:
        for _ in range(70):
            await orchestrator.generate("hi")
            await asyncio.sleep(10)

    assert len(model.checked_at) == 2


@simulated
async def test_a_model_without_a_check_of_its_own_is_left_to_the_requests():
    async with monitored(says("a")) as orchestrator:
        await asyncio.sleep(1_000)

        assert (await orchestrator.get_model_health("a")).next_check_s is None


@simulated
async def test_models_come_and_go():
    first, second = Server("a"), Server("b")
    async with monitored(first) as orchestrator:
        await asyncio.sleep(100)
        orchestrator.register_model(second)
        await asyncio.sleep(310)
        orchestrator.unregister_model("a")
        await asyncio.sleep(400)

    assert first.checked_at == pytest.approx([300], abs=0.1)
    assert second.checked_at == pytest.approx([400, 700], abs=2)


@simulated
async def test_closing_the_engine_ends_checks_that_are_under_way():
    model = Server(takes_s=inf)
    async with monitored(model, monitor=ModelHealthMonitor(1, jitter=0.0, timeout_s=1e6)):
        await asyncio.sleep(2)
        assert model.at_once == 1

    assert model.at_once == 0


# -- what its findings lead to -----------------------------------------------------------------


@simulated
async def test_an_idle_model_that_died_is_ejected_and_returns_without_a_request():
    model = Server()
    async with monitored(model, says("b")) as orchestrator:
        told = listen(orchestrator, HealthChanged)
        model.up = False
        await asyncio.sleep(315)
        dead = await orchestrator.get_model_health("a")
        answer = await orchestrator.generate("hi")
        model.up = True
        await asyncio.sleep(30)
        back = await orchestrator.get_model_health("a")

    assert (dead.healthy, dead.breaker) == (False, "open")
    assert [a.model for a in answer.attempts] == ["p:b"]
    assert (back.healthy, back.breaker) == (True, "closed")
    assert [(e.was, e.now) for e in told] == [
        ("closed", "open"),
        ("open", "half_open"),
        ("half_open", "closed"),
    ]
    assert model.asked == []


@simulated
async def test_the_third_failed_check_in_a_row_ejects_and_not_the_second():
    model = Server()
    async with monitored(model) as orchestrator:
        model.up = False
        await asyncio.sleep(307)
        before = (await orchestrator.get_model_health("a")).healthy
        await asyncio.sleep(5)
        after = (await orchestrator.get_model_health("a")).healthy

    assert (before, after) == (True, False)
    assert model.checked_at == pytest.approx([300, 305, 310], abs=0.5)


@simulated
async def test_the_second_probe_in_a_row_brings_it_back_and_not_the_first():
    model = Server()
    async with monitored(model) as orchestrator:
        told = listen(orchestrator, HealthChanged)
        model.up = False
        await asyncio.sleep(312)
        model.up = True
        await asyncio.sleep(20)

    assert told[-1].reason == "2 probes in a row succeeded"
    assert len(model.checked_at) == 5


@simulated
async def test_the_thresholds_are_the_monitors():
    monitor = ModelHealthMonitor(300, failure_threshold=1, recovery_threshold=1, jitter=0.0)
    models = says("a", down(), "a"), says("b")
    async with monitored(*models, monitor=monitor) as orchestrator:
        await orchestrator.generate("hi")
        assert (await orchestrator.get_model_health("a")).breaker == "open"
        await asyncio.sleep(10)
        await orchestrator.generate("hi")

        assert (await orchestrator.get_model_health("a")).breaker == "closed"


@simulated
async def test_a_check_that_takes_too_long_is_a_failure():
    model = Server(takes_s=inf)
    async with monitored(model, monitor=ModelHealthMonitor(60, jitter=0.0)) as orchestrator:
        await asyncio.sleep(200)

        health = await orchestrator.get_model_health("a")
    assert not health.healthy
    assert {f.kind for f in health.evidence.last_failures} == {"timeout"}


@simulated
async def test_to_be_reached_clears_nobody_of_answers_that_failed():
    model = Server()
    async with monitored(model, says("b")) as orchestrator:
        model.answers = False
        for _ in range(3):
            await orchestrator.generate("hi")
        await asyncio.sleep(1_000)
        health = await orchestrator.get_model_health("a")

    assert health.breaker == "open"
    assert health.next_check_s is None, "only a request can find out"
    assert model.checked_at == []


@simulated
async def test_a_model_that_costs_nothing_answers_for_itself():
    model = Server(local=True)
    async with monitored(model, says("b")) as orchestrator:
        model.answers = False
        for _ in range(3):
            await orchestrator.generate("hi")
        asked = len(model.asked)
        model.answers = True
        await asyncio.sleep(20)
        health = await orchestrator.get_model_health("a")

    assert health.healthy
    assert model.asked[asked:] == [{"prompt": "Hi", "max_tokens": 1}] * 2


@simulated
async def test_an_endpoint_that_rests_is_left_in_peace_until_it_is_over():
    limited = down(classification=ErrorClass.RATE_LIMIT, status=429, retry_after_s=900.0)
    model = says("a", limited, "a", local=True)
    async with monitored(model, says("b")) as orchestrator:
        await orchestrator.generate("hi")
        await asyncio.sleep(890)
        assert len(model.calls) == 1
        await asyncio.sleep(20)

    assert len(model.calls) == 2


@simulated
async def test_a_model_without_a_free_place_is_busy_and_not_ill():
    model = says("a", "a", local=True, constraints=ModelConstraints(max_concurrent_requests=1))
    model.behaviour = lambda prompt: _slow(prompt)
    async with monitored(model, monitor=ModelHealthMonitor(10, jitter=0.0)) as orchestrator:
        busy = asyncio.create_task(orchestrator.generate("long", deadline_s=900))
        await asyncio.sleep(60)
        health = await orchestrator.get_model_health("a")
        busy.cancel()
        await asyncio.wait([busy])

    assert health.healthy
    assert health.evidence.checks > 3
    assert health.evidence.failed_checks == 0


def _slow(prompt: str) -> Any:
    from orchestrator.testing.scripted import Turn

    return Turn(text="a", after_s=100.0 if prompt == "long" else 0.0)


@simulated
async def test_a_model_that_thinks_before_it_writes_is_well_without_a_word():
    silent = ModelResponseError("no text", classification=ErrorClass.EMPTY_COMPLETION)
    async with monitored(
        says("a", silent, local=True), monitor=ModelHealthMonitor(10, jitter=0.0)
    ) as orchestrator:
        await asyncio.sleep(100)

        health = await orchestrator.get_model_health("a")
    assert health.healthy
    assert health.evidence.failed_checks == 0
    assert health.evidence.checks > 5


@simulated
async def test_a_check_that_raises_what_nobody_foresaw_is_a_failure_of_that_model_only():
    class Broken(Server):
        async def health_check(self) -> bool:
            raise ZeroDivisionError

    other = Server("b")
    monitor = ModelHealthMonitor(10, jitter=0.0)
    async with monitored(Broken(), other, monitor=monitor) as orchestrator:
        await asyncio.sleep(55)

        assert not (await orchestrator.get_model_health("a")).healthy
    assert len(other.checked_at) == 5


# -- what it costs -----------------------------------------------------------------------------

DEAR = Price.per_million(1_000, 1_000)
"""32 tokens at most in, one out: 0.033 USD a question."""


@simulated
async def test_a_model_that_costs_money_is_asked_nothing_unless_that_is_wished():
    model = Server(price=DEAR)
    async with monitored(model):
        await asyncio.sleep(1_000)

    assert len(model.checked_at) == 3
    assert model.asked == []


@simulated
async def test_what_questions_cost_is_capped_per_day_and_counted_apart():
    model = Server(price=DEAR)
    monitor = ModelHealthMonitor(100, jitter=0.0, probe_usd_per_day=0.10)
    async with monitored(model, monitor=monitor, budget_usd_per_day=1.0) as orchestrator:
        heard = listen(orchestrator, ModelUsed, CallFailed)
        await asyncio.sleep(1_000)
        health = await orchestrator.get_model_health("a")
        spent = orchestrator.spent_today_usd

        assert len(model.asked) == 3
        assert health.evidence.check_cost_usd == pytest.approx(3 * 0.033)
        assert spent == pytest.approx(3 * 0.033), "the cap on all spending holds for it too"
        assert orchestrator.get_model_statistics() == {}
    assert heard == []


@simulated
async def test_a_spent_budget_of_the_engine_leaves_nothing_for_questions():
    model = Server(price=DEAR)
    monitor = ModelHealthMonitor(100, jitter=0.0, probe_usd_per_day=10.0)
    async with monitored(model, monitor=monitor, budget_usd_per_day=0.05):
        await asyncio.sleep(1_000)

    assert len(model.asked) == 1


# -- what it tells -----------------------------------------------------------------------------


@simulated
async def test_the_evidence_says_what_was_seen_and_when():
    failing = says("a", "a", down(), down(retry_after_s=5.0), "a")
    async with monitored(failing, says("b")) as orchestrator:
        begun = orchestrator._clock.wall()
        for _ in range(4):
            await asyncio.sleep(1)
            await orchestrator.generate("hi")
        health = await orchestrator.get_model_health("a")

    seen = health.evidence
    assert [(round(f.at - begun, 3), *f[1:]) for f in seen.last_failures] == [
        (3.0, "service_unavailable", True, False),
        (2.0, "service_unavailable", True, False),
    ]
    assert seen.last_answer_at == pytest.approx(begun + 4.0)
    assert (seen.calls, seen.failures, seen.error_rate) == (4, 2, 0.5)
    assert health.to_dict()["evidence"]["last_failures"][0]["kind"] == "service_unavailable"


@simulated
async def test_cooldown_breaker_and_lifecycle_are_three_things():
    limited = down(classification=ErrorClass.RATE_LIMIT, status=429, retry_after_s=500.0)
    model = says("a", down(), down(), down(), limited)
    async with monitored(model, says("b")) as orchestrator:
        for _ in range(3):
            await orchestrator.generate("hi")
        await asyncio.sleep(10)
        await orchestrator.generate("hi")
        health = await orchestrator.get_model_health("a")

    assert (health.breaker, health.endpoint, health.lifecycle) == ("half_open", "cooling", None)
    assert health.issues == (
        "rate_limit from its endpoint",
        "it has failed, and its next call is a probe",
    )
    assert health.back_in_s == pytest.approx(500.0)


@simulated
async def test_a_refused_credential_is_the_endpoints_and_no_waiting_helps():
    refused = ModelAPIError("no", classification=ErrorClass.AUTHENTICATION_FAILED, status=401)
    async with monitored(says("a", refused), says("b")) as orchestrator:
        await orchestrator.generate("hi")
        health = await orchestrator.get_model_health("a")

    assert (health.breaker, health.endpoint, health.back_in_s) == ("closed", "refused", None)
    assert not health.healthy


@simulated
async def test_the_next_check_is_foretold():
    async with monitored(Server()) as orchestrator:
        await asyncio.sleep(100)

        health = await orchestrator.get_model_health("a")
    assert health.next_check_s == pytest.approx(200.0, abs=0.1)


# -- settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"check_interval": 0},
        {"check_interval": -1},
        {"check_interval": nan},
        {"check_interval": inf},
        {"failure_threshold": 0},
        {"failure_threshold": -3},
        {"recovery_threshold": -1},
        {"timeout_s": 0},
        {"jitter": 1},
        {"jitter": -0.1},
        {"probe_usd_per_day": -0.5},
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(settings: dict[str, Any]):
    with pytest.raises(InvalidRequestError) as refused:
        ModelHealthMonitor(**settings)

    assert refused.value.param in settings


def test_its_defaults_are_five_minutes_three_failures_and_two_successes():
    monitor = ModelHealthMonitor(check_interval=300, failure_threshold=3, recovery_threshold=2)

    assert vars(monitor) == vars(ModelHealthMonitor())


def test_a_monitor_watches_one_engine():
    monitor = ModelHealthMonitor()
    engine(health_monitor=monitor)

    with pytest.raises(ConfigurationError, match="already"):
        engine(health_monitor=monitor)


# -- any weather -------------------------------------------------------------------------------


@search(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 400), st.sampled_from(["up", "reached only", "down"])),
        min_size=1,
        max_size=12,
    )
)
def test_whatever_the_weather_a_local_model_ends_as_it_is_and_never_flaps(
    weather: list[tuple[int, str]],
):
    """An hour of calm after the last change brings the truth; relapses rest ever longer."""

    async def main() -> None:
        model = Server(local=True)
        monitor = ModelHealthMonitor(30)
        async with engine(model, health_monitor=monitor) as orchestrator:
            told = listen(orchestrator, HealthChanged)
            state = "up"
            for seconds, state in weather:
                model.up, model.answers = state != "down", state == "up"
                await asyncio.sleep(seconds)
            await asyncio.sleep(3600)
            health = await orchestrator.get_model_health("a")

        assert health.healthy == (state == "up")
        assert model.most_at_once == 1
        for before, after in pairwise(told):
            assert before.now == after.was, "events come in the order of what happened"
        openings = [e.at for e in told if (e.was, e.now) == ("closed", "open")]
        assert len(openings) <= len(weather)

    run_simulated(main)
