from __future__ import annotations

import asyncio
import itertools
import math
from typing import Any

import pytest

from orchestrator import (
    AttemptPolicy,
    EmbeddingParams,
    HandlerModel,
    Model,
    ModelCapabilities,
    ModelConstraints,
    ModelRegistration,
    ModelType,
    Orchestrator,
    Plugin,
    Price,
    Requirements,
    Route,
    TextGenerationParams,
    Timeouts,
)
from orchestrator.core.errors import (
    AttemptsExhaustedError,
    ConfigurationError,
    DeadlineExceededError,
    DuplicateModelError,
    EngineClosedError,
    ErrorClass,
    InvalidRequestError,
    ModelAPIError,
    ModelNotFoundError,
    ModelResponseError,
    NoEligibleModelsError,
    OverloadedError,
    RequestError,
    UnknownCapabilityError,
)
from orchestrator.core.events import (
    BudgetExceeded,
    CallFailed,
    CallStarted,
    EndpointCooled,
    EngineStarted,
    FailedOver,
    HealthChanged,
    ModelRegistered,
    ModelSelected,
    ModelUnregistered,
    ModelUsed,
    RetryScheduled,
)
from orchestrator.core.model import Answer
from orchestrator.core.results import TextAnswer, Usage
from orchestrator.routing.breaker import BreakerPolicy
from orchestrator.testing.scripted import ScriptedModel, Turn
from tests.engine.world import down, engine, invalid, listen, pending, says, simulated

LARGE = ModelType.TEXT_LARGE
HELLO = {"prompt": "hello"}


def handler(text: str) -> Any:
    async def answer(runtime: Any, params: Any) -> str:
        return text

    return answer


def failing(error: Exception) -> Any:
    async def answer(runtime: Any, params: Any) -> str:
        raise error

    return answer


def providers(**handlers: Any) -> list[Model]:
    """Return a text model per provider, the first preferred to the second and so on."""
    return [
        HandlerModel(LARGE, handle, provider, priority=100 - position)
        for position, (provider, handle) in enumerate(handlers.items())
    ]


# -- one call ----------------------------------------------------------------------------------


@simulated
async def test_one_call_gives_an_answer_and_says_how_it_came_about():
    fast = says("fast", Turn(text="hello there", after_s=2.0), price=Price.per_1k(1.0, 10.0))
    async with engine(fast) as orchestrator:
        result = await orchestrator.generate("hi", max_cost=100.0, temperature=0.5)

    assert (result.text, str(result), result.model) == ("hello there", "hello there", "p:fast")
    assert result.latency_s == 2.0
    assert result.usage.estimated
    assert result.cost_usd == pytest.approx(
        result.usage.prompt_tokens / 1000 + result.usage.completion_tokens / 100
    )
    assert [a.model for a in result.attempts] == ["p:fast"]
    assert result.decision.requirements.max_cost == 100.0
    assert fast.calls[0].options == {"temperature": 0.5}


@simulated
async def test_texts_become_vectors_in_their_order():
    async with engine(says("m")) as orchestrator:
        result = await orchestrator.embed(["one", "two"])
        again = await orchestrator.embed(["two", "one"])

    assert result.vectors == list(reversed(again.vectors))
    assert result.model == "p:m"


@simulated
async def test_a_model_may_be_named_by_key_alias_or_route():
    models = says("a"), says("b", aliases=["second"])
    async with engine(*models, routes=[Route(name="r", models=("b",))]) as orchestrator:
        named = [
            (await orchestrator.generate("hi", model=name)).text
            for name in ("p:b", "b", "second", "r", "auto")
        ]
        by_route = await orchestrator.generate("hi", route="r")

        with pytest.raises(ModelNotFoundError):
            await orchestrator.generate("hi", model="c")

    assert named == ["b", "b", "b", "b", "a"]
    assert by_route.text == "b"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"colour": "red"}, InvalidRequestError),
        ({"temperature": 3}, InvalidRequestError),
        ({"max_cost": -1}, InvalidRequestError),
        ({"max_cost": math.nan}, InvalidRequestError),
        ({"deadline_s": 0}, InvalidRequestError),
        ({"deadline_s": math.inf}, InvalidRequestError),
        ({"deadline_s": "soon"}, InvalidRequestError),
        ({"deadline_s": True}, InvalidRequestError),
        ({"context": "code"}, InvalidRequestError),
        ({"model": 5}, InvalidRequestError),
        ({"route": ["r"]}, InvalidRequestError),
        ({"capabilities": ["flying"]}, UnknownCapabilityError),
        ({"model": "nothing"}, ModelNotFoundError),
        ({"max_tokens": 0}, InvalidRequestError),
    ],
)
@simulated
async def test_a_wrong_option_is_refused_before_anybody_is_asked(
    options: Any, error: type[RequestError]
):
    model = says("m")
    async with engine(model) as orchestrator:
        with pytest.raises(error) as refusal:
            await orchestrator.generate("hi", **options)
        assert orchestrator.get_model_statistics() == {}

    assert model.calls == []
    if isinstance(refusal.value, InvalidRequestError):
        assert refusal.value.param == next(iter(options))


@simulated
async def test_a_kind_of_request_has_statistics_of_its_own():
    async with engine(says("m")) as orchestrator:
        await orchestrator.generate("hi", context={"task": "code"})
        await orchestrator.generate("hi", context={"task": None})

        segments = {row.segment for row, _ in orchestrator._recorder.statistics.rows()}

    assert segments == {"code", "all"}


async def test_the_engine_runs_only_inside_async_with():
    orchestrator = Orchestrator([says("m")])
    with pytest.raises(EngineClosedError):
        await orchestrator.generate("hi")

    async with orchestrator:
        assert (await orchestrator.generate("hi")).text == "m"
        with pytest.raises(EngineClosedError):
            await orchestrator.__aenter__()

    with pytest.raises(EngineClosedError):
        await orchestrator.select_model()


@pytest.mark.parametrize(
    "bad",
    [
        {"deadline_s": 0},
        {"deadline_s": math.nan},
        {"node": "with-dash"},
        {"selector": "luck"},
        {"budget_usd_per_day": -1},
        {"decision_limit": 0},
        {"routes": [Route(name="a", fallback=("a",))]},
    ],
)
def test_a_wrong_setting_is_refused_at_once(bad: dict[str, Any]):
    with pytest.raises(ConfigurationError):
        Orchestrator(**bad)


# -- attempts ----------------------------------------------------------------------------------


@simulated
async def test_a_failure_goes_to_the_next_model_unnoticed():
    async with engine(says("a", down()), says("b")) as orchestrator:
        told = listen(orchestrator, ModelSelected, CallStarted, CallFailed, FailedOver, ModelUsed)
        result = await orchestrator.generate("hi")

        assert pending(orchestrator) == 0

    assert result.text == "b"
    assert [(a.model, a.decision.attempt) for a in result.attempts] == [("p:a", 1), ("p:b", 2)]
    assert len({a.decision_id for a in result.attempts}) == 2
    assert [type(event).__name__ for event in told] == [
        "ModelSelected",
        "CallStarted",
        "CallFailed",
        "FailedOver",
        "ModelSelected",
        "CallStarted",
        "ModelUsed",
    ]
    assert {event.request_id for event in told} == {result.request_id}


@simulated
async def test_one_model_alone_is_tried_four_times_with_growing_waits():
    model = says("a", down())
    async with engine(model) as orchestrator:
        waits = listen(orchestrator, RetryScheduled)
        with pytest.raises(AttemptsExhaustedError) as exhausted:
            await orchestrator.generate("hi")

    assert len(model.calls) == 4
    assert [w.retry for w in waits] == [1, 2, 3]
    assert all(0 <= w.wait_s <= cap for w, cap in zip(waits, (1, 2, 4), strict=True))
    assert len(exhausted.value.attempts) == 4
    assert exhausted.value.__cause__ is exhausted.value.attempts[-1]
    assert exhausted.value.http_status == 502


@simulated
async def test_the_first_answer_of_a_retry_is_the_answer():
    model = says("a", down(), down(), "at last")
    async with engine(model) as orchestrator:
        result = await orchestrator.generate("hi")

    assert (result.text, len(result.attempts)) == ("at last", 3)


@simulated
async def test_a_failed_model_is_not_taken_again_while_another_is_left():
    models = says("a", down()), says("b", down()), says("c")
    async with engine(*models) as orchestrator:
        await orchestrator.generate("hi")

    assert [len(m.calls) for m in models] == [1, 1, 1]


@simulated
async def test_a_retry_says_of_each_other_model_why_it_was_not_taken():
    """The second model fails in a way that would repeat itself, so only the first is retried."""
    wrong = ModelAPIError("gone", classification=ErrorClass.INVALID_MODEL)
    async with engine(says("a", down(), "a"), says("b", wrong)) as orchestrator:
        result = await orchestrator.generate("hi")

    last = result.attempts[-1].decision
    assert [a.model for a in result.attempts] == ["p:a", "p:b", "p:a"]
    assert {key: r.code for key, r in last.refused.items()} == {"p:b": "tried"}
    assert [sorted(a.decision.refused) for a in result.attempts] == [[], ["p:a"], ["p:b"]]


@simulated
async def test_the_callers_fault_ends_the_request_and_counts_against_nobody():
    models = says("a", invalid()), says("b")
    async with engine(*models) as orchestrator:
        with pytest.raises(ModelAPIError, match="no such option"):
            await orchestrator.generate("hi")

        statistics = orchestrator.get_model_statistics()["p:a"]
        assert (statistics["calls"], statistics["expired"]) == (0, 1)
    assert models[1].calls == []


@simulated
async def test_a_parameter_that_a_model_does_not_support_says_nothing_of_its_quality():
    unsupported = ModelResponseError("no dimensions", classification=ErrorClass.UNSUPPORTED)
    async with engine(says("a", unsupported), says("b")) as orchestrator:
        result = await orchestrator.generate("hi")

        statistics = orchestrator.get_model_statistics()
        health = await orchestrator.get_model_health("p:a")
    assert result.text == "b"
    assert (statistics["p:a"]["calls"], statistics["p:a"]["expired"]) == (0, 1)
    assert statistics["p:b"]["calls"] == 1
    assert not health.evidence.last_failures


@simulated
async def test_whatever_a_model_raises_another_model_takes_over():
    async with engine(says("a", ZeroDivisionError("on purpose")), says("b")) as orchestrator:
        result = await orchestrator.generate("hi")

    assert result.text == "b"
    assert isinstance(result.attempts[0].error, ZeroDivisionError)


@simulated
async def test_a_model_that_forgets_to_return_has_failed():
    class Forgetful(Model):
        async def generate_response(self, prompt: str, **options: Any) -> str:
            return None  # type: ignore[return-value]

    async with engine(Forgetful("a", "p"), says("b")) as orchestrator:
        result = await orchestrator.generate("hi")

        assert pending(orchestrator) == 0
    assert result.text == "b"
    assert isinstance(result.attempts[0].error, ModelResponseError)


@simulated
async def test_how_many_attempts_are_made_can_be_set():
    models = [says(name, down()) for name in "abcd"]
    async with engine(*models, attempts=AttemptPolicy(max_attempts=2)) as orchestrator:
        with pytest.raises(AttemptsExhaustedError):
            await orchestrator.generate("hi")

    assert sum(len(m.calls) for m in models) == 2


@simulated
async def test_one_deadline_stands_over_all_attempts():
    models = says("a", Turn(after_s=4.0, error=down())), says("b", Turn(text="b", after_s=4.0))
    async with engine(*models) as orchestrator:
        with pytest.raises(DeadlineExceededError, match="no answer within 6 s") as late:
            await orchestrator.generate("hi", deadline_s=6.0)

        assert pending(orchestrator) == 0
        assert orchestrator.get_model_statistics()["p:b"]["calls"] == 1
    assert len(late.value.attempts) == 1
    assert models[1].calls[0].end == "left"


@simulated
async def test_a_cancelled_request_is_no_outcome():
    model = says("a", Turn(text="a", after_s=10.0))
    async with engine(model) as orchestrator:
        failures = listen(orchestrator, CallFailed)
        request = asyncio.create_task(orchestrator.generate("hi"))
        await asyncio.sleep(1)
        request.cancel()
        await asyncio.wait([request])

        statistics = orchestrator.get_model_statistics()["p:a"]
        assert (statistics["calls"], statistics["expired"]) == (0, 1)
        assert pending(orchestrator) == 0
    assert request.cancelled()
    assert [f.classification for f in failures] == ["cancelled"]
    assert model.calls[0].end == "left"


@simulated
async def test_a_cancelled_wait_for_a_retry_leaves_nothing_open():
    async with engine(says("a", down(retry_after_s=3.0))) as orchestrator:
        request = asyncio.create_task(orchestrator.generate("hi"))
        await asyncio.sleep(1)
        request.cancel()
        await asyncio.wait([request])

        assert pending(orchestrator) == 0
        assert orchestrator.get_model_statistics()["p:a"]["calls"] == 1


@simulated
async def test_who_waits_longer_than_allowed_for_a_place_is_sent_to_another_model():
    busy = says(
        "a",
        Turn(text="a", after_s=10.0),
        constraints=ModelConstraints(max_concurrent_requests=1, max_wait_s=2.0),
    )
    async with engine(busy, says("b")) as orchestrator:
        first = asyncio.create_task(orchestrator.generate("hi"))
        await asyncio.sleep(0)
        second = await orchestrator.generate("hi")

        assert (await first).text == "a"
    assert (second.text, second.latency_s) == ("b", 2.0)
    assert isinstance(second.attempts[0].error, OverloadedError)


# -- health ------------------------------------------------------------------------------------


@simulated
async def test_a_model_that_keeps_failing_is_skipped_without_a_failed_call():
    models = says("a", down()), says("b")
    async with engine(*models) as orchestrator:
        told = listen(orchestrator, HealthChanged)
        for _ in range(3):
            await orchestrator.generate("hi")
        health = await orchestrator.get_model_health("a")
        result = await orchestrator.generate("hi")

        assert [a.model for a in result.attempts] == ["p:b"]
    assert not health.healthy
    assert health.issues == ("it has failed too often",)
    assert health.breaker == "open"
    assert health.back_in_s == pytest.approx(10.0, abs=2.0)
    assert [(e.model, e.was, e.now) for e in told] == [("p:a", "closed", "open")]


@simulated
async def test_a_model_put_in_the_place_of_a_broken_one_is_healthy():
    async with engine(says("a", down()), says("b")) as orchestrator:
        for _ in range(3):
            await orchestrator.generate("hi")

        orchestrator.register_model(says("a"), replace=True)

        assert (await orchestrator.get_model_health("a")).healthy
        assert (await orchestrator.generate("hi")).text == "a"


@simulated
async def test_a_model_that_recovers_is_healthy_again():
    model = says("a", down(), down(), down(), "a")
    policy = BreakerPolicy(jitter=0.0)
    async with engine(model, says("b"), breaker=policy) as orchestrator:
        for _ in range(3):
            await orchestrator.generate("hi")
        await asyncio.sleep(10)
        due = await orchestrator.get_model_health("a")
        answers = [(await orchestrator.generate("hi")).text for _ in range(3)]

        healthy = await orchestrator.get_model_health("a")
    assert not due.healthy
    assert due.issues == ("it has failed, and its next call is a probe",)
    assert answers == ["a", "a", "a"]
    assert (healthy.healthy, healthy.issues) == (True, ())


@pytest.mark.parametrize("how", ["cancelled", "never used"])
@simulated
async def test_a_probe_that_comes_to_nothing_is_offered_again(how: str):
    slow = Turn(text="a", after_s=1000.0)
    model = says("a", down(), down(), down(), slow if how == "cancelled" else "a", "a")
    async with engine(model, says("b"), breaker=BreakerPolicy(jitter=0.0)) as orchestrator:
        for _ in range(3):
            await orchestrator.generate("hi")
        await asyncio.sleep(10)

        if how == "cancelled":
            probe = asyncio.create_task(orchestrator.generate("hi"))
            await asyncio.sleep(1)
            assert (await orchestrator.generate("hi")).text == "b", "while the probe is out"
            probe.cancel()
            await asyncio.wait([probe])
        else:
            selection = await orchestrator.select_model()
            assert (await orchestrator.generate("hi")).text == "b", "while the probe is out"
            selection.release()

        assert (await orchestrator.generate("hi")).text == "a"


@simulated
async def test_an_endpoint_that_is_busy_rests():
    busy = ModelAPIError("slow down", classification=ErrorClass.RATE_LIMIT, retry_after_s=30.0)
    models = says("a", busy, "a"), says("b")
    async with engine(*models) as orchestrator:
        cooled = listen(orchestrator, EndpointCooled)
        answers = [(await orchestrator.generate("hi")).text for _ in range(2)]
        await asyncio.sleep(30)
        answers.append((await orchestrator.generate("hi")).text)

    assert answers == ["b", "b", "a"]
    assert [(e.model, e.for_s) for e in cooled] == [("p:a", 30.0)]


@simulated
async def test_a_refused_key_is_not_tried_again_until_it_changes():
    refused = ModelAPIError("wrong key", classification=ErrorClass.AUTHENTICATION_FAILED)
    models = says("a", refused, "a", credential_id="k"), says("b")
    async with engine(*models) as orchestrator:
        answers = [(await orchestrator.generate("hi")).text for _ in range(2)]
        orchestrator.register_model(says("c"))
        answers.append((await orchestrator.generate("hi")).text)
        orchestrator.restore_credential("k")
        answers.append((await orchestrator.generate("hi")).text)

    assert answers == ["b", "b", "b", "a"]


# -- money -------------------------------------------------------------------------------------


@simulated
async def test_what_a_day_may_cost_is_kept():
    model = says("a", price=Price.per_1k(0, 100.0))
    async with engine(model, budget_usd_per_day=30.0) as orchestrator:
        told = listen(orchestrator, BudgetExceeded)
        assert orchestrator.spent_today_usd == 0
        result = await orchestrator.generate("hi")
        assert orchestrator.spent_today_usd == result.cost_usd > 0

        with pytest.raises(NoEligibleModelsError) as nobody:
            await orchestrator.generate("hi", max_tokens=300)
        assert nobody.value.retry_after_s == pytest.approx(43_200)
        assert told == []

        await asyncio.sleep(43_200)
        assert orchestrator.spent_today_usd == 0
        await orchestrator.generate("hi", max_tokens=300)


@simulated
async def test_a_request_pays_for_its_failed_attempts_too():
    class Costly(Model):
        async def answer(self, params: Any, call: Any) -> Answer:
            return TextAnswer(text="hi", usage=Usage(1000, 1000))

    async with engine(Costly("a", "p", price=Price.per_1k(0.01, 0.03))) as orchestrator:
        result = await orchestrator.generate("hi")

        assert orchestrator.get_model_statistics()["p:a"]["cost"] == result.cost_usd
    assert result.cost_usd == pytest.approx(0.04)


@simulated
async def test_cached_tokens_cost_what_cached_tokens_cost():
    class Caching(Model):
        async def answer(self, params: Any, call: Any) -> Answer:
            return TextAnswer(text="hi", usage=Usage(1000, 0, cached_tokens=self.cached))

        def __init__(self, cached: int) -> None:
            super().__init__(f"m{cached}", "p", price=Price.per_1k(1, 1, cached_input=0.1))
            self.cached = cached

    costs = []
    for cached in (0, 400, 2000):
        async with engine(Caching(cached)) as orchestrator:
            costs.append((await orchestrator.generate("hi")).cost_usd)

    assert costs == pytest.approx([1.0, 0.6 + 0.04, 0.2])


# -- the pool ----------------------------------------------------------------------------------


@simulated
async def test_models_may_come_and_go_while_the_engine_runs():
    async with engine() as orchestrator:
        told = listen(orchestrator, ModelRegistered, ModelUnregistered)
        with pytest.raises(NoEligibleModelsError, match="no model is registered"):
            await orchestrator.generate("hi")

        orchestrator.register_model(says("a"))
        orchestrator.register_models([says("b"), says("a")], replace=True)
        assert (await orchestrator.generate("hi")).text == "a"
        orchestrator.unregister_model("a")
        assert (await orchestrator.generate("hi")).text == "b"

    assert [(e.name, e.model, getattr(e, "replaced", None)) for e in told] == [
        ("model-registered", "p:a", False),
        ("model-registered", "p:b", False),
        ("model-registered", "p:a", True),
        ("model-unregistered", "p:a", None),
    ]


@simulated
async def test_a_model_that_leaves_finishes_what_it_has_begun():
    model = says("a", Turn(text="done", after_s=5.0))
    async with engine(model) as orchestrator:
        request = asyncio.create_task(orchestrator.generate("hi"))
        await asyncio.sleep(1)
        orchestrator.unregister_model("a")

        assert (await request).text == "done"
        assert pending(orchestrator) == 0


class Kept(ScriptedModel):
    """Counts how often it is prepared and cleaned up."""

    def __init__(self, name: str, *, clean: bool = True) -> None:
        super().__init__(name, (name,), "p")
        self.prepared = self.cleaned = 0
        self.clean = clean

    async def initialize(self) -> None:
        await asyncio.sleep(1)
        self.prepared += 1

    async def cleanup(self) -> None:
        self.cleaned += 1
        if not self.clean:
            raise RuntimeError("it would not go")


@simulated
async def test_a_model_is_prepared_once_before_its_first_call_and_cleaned_up_once():
    model, unused, left, replaced = Kept("a"), Kept("b"), Kept("c"), Kept("a")
    async with engine(replaced, unused, left) as orchestrator:
        orchestrator.register_model(model, replace=True)
        orchestrator.unregister_model("c")
        await asyncio.gather(*(orchestrator.generate("hi") for _ in range(5)))
        assert model.cleaned == 0

    assert (model.prepared, unused.prepared) == (1, 0)
    assert [m.cleaned for m in (model, unused, left, replaced)] == [1, 1, 1, 1]


@simulated
async def test_a_model_that_fails_to_clean_up_keeps_no_other_from_it():
    models = Kept("a", clean=False), Kept("b"), Kept("c", clean=False)

    with pytest.raises(RuntimeError, match="would not go"):
        async with engine(*models):
            pass

    assert [m.cleaned for m in models] == [1, 1, 1]


@simulated
async def test_a_model_replaced_while_it_is_prepared_leaves_its_successor_unprepared():
    old, new = Kept("a"), Kept("a")
    async with engine(old) as orchestrator:
        request = asyncio.create_task(orchestrator.generate("hi"))
        await asyncio.sleep(0.5)
        orchestrator.register_model(new, replace=True)
        await request
        await orchestrator.generate("hi")

    assert (old.prepared, new.prepared) == (1, 1)


@simulated
async def test_two_engines_keep_their_models_and_events_apart():
    async with engine(says("a")) as one, engine(says("b")) as other:
        heard_by_one, heard_by_other = listen(one, ModelUsed), listen(other, ModelUsed)
        await one.generate("hi")
        one.register_model(says("c"))

        assert other.registry.list_models() == ["p:b"]
    assert (len(heard_by_one), len(heard_by_other)) == (1, 0)


@simulated
async def test_the_start_is_told_with_who_is_there():
    orchestrator = engine(says("a"))
    told = listen(orchestrator, EngineStarted)

    async with orchestrator:
        pass

    assert [(e.node, e.models) for e in told] == [("n", ("p:a",))]


# -- events ------------------------------------------------------------------------------------


@simulated
async def test_handlers_plain_and_async_hear_of_events():
    plain, awaited = list[ModelUsed](), list[ModelUsed]()

    async def handle(event: ModelUsed) -> None:
        await asyncio.sleep(1)
        awaited.append(event)

    async with engine(says("a")) as orchestrator:
        orchestrator.on(ModelUsed, plain.append)
        orchestrator.on(ModelUsed, handle)
        await orchestrator.generate("hi")
        assert (len(plain), len(awaited)) == (1, 0)
        await asyncio.sleep(2)

    assert awaited == plain


@simulated
async def test_an_async_handler_hears_of_what_happens_before_the_loop_gets_to_it():
    heard = list[ModelRegistered]()

    async def handle(event: ModelRegistered) -> None:
        heard.append(event)

    async with engine(says("a")) as orchestrator:
        orchestrator.on(ModelRegistered, handle)
        orchestrator.register_handler(LARGE, handler("hi"), "b")
        await asyncio.sleep(1)

    assert len(heard) == 1
    assert not orchestrator.events.wants(ModelRegistered), "it ends with the engine"


@simulated
async def test_a_subscriber_that_raises_does_not_touch_the_request():
    def explode(event: Any) -> None:
        raise RuntimeError("on purpose")

    async with engine(says("a")) as orchestrator:
        for kind in (ModelSelected, CallStarted, ModelUsed):
            orchestrator.events.on(kind, explode)

        assert (await orchestrator.generate("hi")).text == "a"
        assert pending(orchestrator) == 0


# -- handlers and use_model --------------------------------------------------------------------


@simulated
async def test_use_model_gives_the_bare_result():
    async with engine() as orchestrator:
        orchestrator.register_handler(LARGE, handler("hi"), "a")
        orchestrator.register_model(says("m"))

        text = await orchestrator.use_model(LARGE, TextGenerationParams(prompt="hello"))
        one = await orchestrator.use_model(ModelType.TEXT_EMBEDDING, EmbeddingParams(input="x"))
        two = await orchestrator.use_model("text:embedding", {"input": ["x", "y"]})

    assert text == "hi"
    assert isinstance(one[0], float)
    assert two[0] == one
    assert len(two) == 2


@simulated
async def test_the_highest_priority_is_called_first_and_ties_go_to_the_first():
    async with engine() as orchestrator:
        for provider, priority in (("c", 80), ("a", 100), ("b", 90), ("late", 100)):
            orchestrator.register_handler(LARGE, handler(provider), provider, priority)

        assert await orchestrator.use_model(LARGE, HELLO) == "a"
        assert orchestrator.get_model_providers(LARGE) == ["a", "late", "b", "c"]
        assert orchestrator.get_model_providers("video") == []
        calls = {k: t["calls"] for k, t in orchestrator.get_model_statistics().items()}
    assert calls == {"a:text:large": 1}


@simulated
async def test_the_preferred_provider_is_tried_first_then_the_others_by_priority():
    pool = providers(a=handler("a"), b=failing(down()), c=handler("c"))
    async with engine(*pool) as orchestrator:
        started = listen(orchestrator, CallStarted)

        assert await orchestrator.use_model(LARGE, HELLO, prefer="b") == "a"
        assert await orchestrator.use_model(LARGE, HELLO, prefer="c") == "c"

    assert [e.model.partition(":")[0] for e in started] == ["b", "a", "c"]


@simulated
async def test_a_provider_that_is_named_is_the_only_one_even_when_it_fails():
    pool = providers(a=handler("a"), b=failing(down()))
    async with engine(*pool) as orchestrator:
        started = listen(orchestrator, CallStarted)
        with pytest.raises(AttemptsExhaustedError):
            await orchestrator.use_model(LARGE, HELLO, "b")
        with pytest.raises(NoEligibleModelsError):
            await orchestrator.use_model(LARGE, HELLO, provider="claude")

    assert {e.model for e in started} == {"b:text:large"}


@simulated
async def test_providers_are_tried_in_order_until_one_answers():
    pool = providers(a=failing(down()), b=failing(ValueError("no")), c=handler("c"))
    async with engine(*pool) as orchestrator:
        failures = listen(orchestrator, CallFailed)

        assert await orchestrator.use_model(LARGE, HELLO) == "c"

    assert [(e.model, e.classification) for e in failures] == [
        ("a:text:large", "service_unavailable"),
        ("b:text:large", "unexpected"),
    ]


@simulated
async def test_when_all_have_failed_every_cause_is_there():
    first, second = ValueError("first"), KeyError("second")
    async with engine(*providers(a=failing(first), b=failing(second))) as orchestrator:
        with pytest.raises(
            AttemptsExhaustedError, match="No providers available for text:large"
        ) as exhausted:
            await orchestrator.use_model(LARGE, HELLO)

    assert str(exhausted.value) == (
        "No providers available for text:large: 2 attempts at 2 models failed, and no other model "
        "may serve it; the last, b:text:large: KeyError: 'second'"
    )
    assert exhausted.value.attempts == (first, second)
    assert exhausted.value.__cause__ is second


@simulated
async def test_wrong_parameters_for_a_kind_of_work_are_refused():
    async with engine(*providers(a=handler("a"))) as orchestrator:
        with pytest.raises(InvalidRequestError, match="takes TextGenerationParams"):
            await orchestrator.use_model(LARGE, EmbeddingParams(input="x"))
        with pytest.raises(InvalidRequestError, match="temperature"):
            await orchestrator.use_model(LARGE, {"prompt": "x", "temperature": 9})
        with pytest.raises(InvalidRequestError, match="colour"):
            await orchestrator.use_model(LARGE, HELLO, colour="red")  # type: ignore[call-overload]


async def test_a_kind_of_work_of_the_users_own_takes_and_gives_anything():
    def render(runtime: Any, params: Any) -> Any:
        return {"frames": params["seconds"] * 25, "by": runtime}

    async with Orchestrator() as orchestrator:
        orchestrator.register_handler("video:generation", render, "own", name="clips")

        made = await orchestrator.use_model("video:generation", {"seconds": 2})

    assert made == {"frames": 50, "by": orchestrator}


async def test_a_handler_may_use_the_engine_that_called_it():
    async def refine(runtime: Orchestrator, params: Any) -> str:
        draft = await runtime.use_model("text:small", params)
        return f"better than {draft}"

    async with Orchestrator() as orchestrator:
        orchestrator.register_handler("text:small", handler("a draft"), "a")
        orchestrator.register_handler(LARGE, refine, "b")

        assert await orchestrator.use_model(LARGE, HELLO) == "better than a draft"


@simulated
async def test_a_selector_may_choose_among_providers_instead():
    free = HandlerModel(LARGE, handler("free"), "b", price=Price.free())
    dear = HandlerModel(LARGE, handler("dear"), "a", 100, price=Price.per_1k(1, 1))
    async with engine(dear, free, selector="cost") as orchestrator:
        assert await orchestrator.use_model(LARGE, HELLO) == "dear"
        assert await orchestrator.use_model(LARGE, HELLO, route="auto") == "free"
        assert await orchestrator.use_model(LARGE, HELLO, max_cost=0.0) == "free"
        assert await orchestrator.use_model(LARGE, HELLO, route=None) == "dear"


# -- plugins -----------------------------------------------------------------------------------


def plugin(*providers_: str) -> Plugin:
    registrations = [
        ModelRegistration(type=LARGE, handler=handler(p), provider=p, priority=50)
        for p in providers_
    ]
    return Plugin(name="pack", models=registrations)


@simulated
async def test_a_plugin_brings_its_models_together():
    async with engine(*providers(low=handler("low"))) as orchestrator:
        keys = orchestrator.register_plugin(plugin("a", "b"))

        assert [str(key) for key in keys] == ["a:text:large", "b:text:large"]
        assert orchestrator.get_model_providers(LARGE) == ["low", "a", "b"]


@simulated
async def test_a_plugin_of_which_one_model_fails_brings_none():
    async with engine(*providers(b=handler("b"))) as orchestrator:
        with pytest.raises(DuplicateModelError):
            orchestrator.register_plugin(plugin("a", "b"))
        assert orchestrator.registry.list_models() == ["b:text:large"]

        orchestrator.unregister_model("b:text:large")
        orchestrator.register_plugin(plugin("a", "b"))
        with pytest.raises(DuplicateModelError):
            orchestrator.register_plugin(plugin("c"))


@simulated
async def test_a_plugin_that_leaves_is_never_chosen_again_and_its_calls_finish():
    slow = says("slow", Turn(text="slow", after_s=5.0), priority=9)
    async with engine(says("stays")) as orchestrator:
        orchestrator.register_plugin(Plugin(name="pack", models=[slow]))
        request = asyncio.create_task(orchestrator.generate("hi"))
        await asyncio.sleep(1)

        orchestrator.unregister_plugin("pack")

        assert (await orchestrator.generate("hi")).text == "stays"
        assert (await request).text == "slow"
        with pytest.raises(ModelNotFoundError, match="pack"):
            orchestrator.unregister_plugin("pack")


# -- selecting and requirements ----------------------------------------------------------------

FLEET = (
    says("gpt-4", price=Price.per_1k(0.03, 0.06), context_window=8192, speed=20, priority=9),
    says(
        "mini",
        capabilities=ModelCapabilities(text_generation=True, code_generation=True),
        price=Price.per_1k(0.001, 0.002),
        context_window=128_000,
        speed=80,
        priority=5,
    ),
    says("small", price=Price.free(), context_window=2048, priority=1),
    says("mystery"),
)


@pytest.mark.parametrize(
    ("needs", "chosen"),
    [
        ({}, "gpt-4"),
        ({"capabilities": ["text_generation", "code_generation"]}, "mini"),
        ({"max_cost": 0.01}, "mini"),
        ({"max_cost": 0.0}, "small"),
        ({"max_cost": 0.0, "allow_unknown_cost": True, "exclude_models": ["small"]}, "mystery"),
        ({"min_speed": 50}, "mini"),
        ({"context_length": 10_000}, "mini"),
        ({"exclude_models": ["gpt-4"]}, "mini"),
        ({"exclude_models": ["gpt-4", "p:mini"]}, "small"),
        ({"provider": "p", "prefer": "p"}, "gpt-4"),
        ({"model_type": "code:generation"}, "mini"),
        ({"prompt_tokens": 5000, "max_tokens": 4000}, "mini"),
        ({"prompt_tokens": 350, "max_cost": 0.03}, "gpt-4"),
        (
            {
                "capabilities": ["text_generation"],
                "max_cost": 0.01,
                "min_speed": 10,
                "context_length": 8000,
                "exclude_models": ["gpt-4"],
            },
            "mini",
        ),
    ],
)
@simulated
async def test_each_requirement_narrows_the_choice(needs: Any, chosen: str):
    async with engine(*FLEET) as orchestrator:
        selection = await orchestrator.select_model(**needs)

        assert selection.key == f"p:{chosen}"


@simulated
async def test_requirements_nobody_meets_are_refused_with_a_reason_for_each():
    async with engine(*FLEET) as orchestrator:
        with pytest.raises(NoEligibleModelsError) as nobody:
            await orchestrator.select_model(
                capabilities=["text_generation"], max_cost=0.0, context_length=10_000
            )

    assert {key: r.code for key, r in nobody.value.refused.items()} == {
        "p:gpt-4": "context_length",
        "p:mini": "max_cost",
        "p:small": "context_length",
        "p:mystery": "unknown_cost",
    }


@simulated
async def test_a_request_demands_what_its_content_needs():
    seeing = says("seeing", capabilities=["text_generation", "vision", "function_calling"])
    async with engine(says("plain"), seeing) as orchestrator:
        image: Any = [{"type": "image_url", "image_url": {"url": "https://example.org/x.png"}}]
        tool: Any = {"type": "function", "function": {"name": "f", "parameters": {}}}

        looked = await orchestrator.generate([{"role": "user", "content": image}])
        called = await orchestrator.generate("hi", tools=[tool])

    assert (looked.text, called.text) == ("seeing", "seeing")


@simulated
async def test_a_prompt_longer_than_every_window_is_refused():
    async with engine(says("a", context_window=100)) as orchestrator:
        with pytest.raises(NoEligibleModelsError, match="its window holds 100 tokens"):
            await orchestrator.generate("word " * 1000)


@simulated
async def test_routes_may_be_added_while_the_engine_runs():
    async with engine(says("a"), says("b")) as orchestrator:
        assert orchestrator.routes == ("auto", "priority")
        orchestrator.add_routes([Route(name="b", requirements=Requirements.of({"provider": "p"}))])
        assert (await orchestrator.generate("hi", route="b")).text == "a"

        orchestrator.add_routes([Route(name="b", models=("p:b",))])

        assert (await orchestrator.generate("hi", route="b")).text == "b"


# -- constraints -------------------------------------------------------------------------------


@simulated
async def test_no_more_requests_run_at_once_than_a_model_allows():
    model = says(
        "a", Turn(text="a", after_s=1.0), constraints=ModelConstraints(max_concurrent_requests=2)
    )
    async with engine(model) as orchestrator:
        most = 0

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, model.in_flight)
                await asyncio.sleep(0.1)

        watching = asyncio.create_task(watch())
        await asyncio.gather(*(orchestrator.generate("hi") for _ in range(6)))
        watching.cancel()
        await asyncio.wait([watching])

    assert most == 2
    assert model.calls[-1].ended_s == pytest.approx(3.0)


@simulated
async def test_no_more_requests_start_in_a_minute_than_a_model_allows():
    model = says("a", constraints=ModelConstraints(max_requests_per_minute=6, max_wait_s=300))
    async with engine(model) as orchestrator:
        await asyncio.gather(*(orchestrator.generate("hi", deadline_s=300) for _ in range(9)))

    begun = [call.begun_s for call in model.calls]
    assert all(later - earlier >= 10 - 1e-6 for earlier, later in itertools.pairwise(begun))


# -- timeouts ----------------------------------------------------------------------------------


@simulated
async def test_the_phases_of_a_call_may_be_limited():
    silent = says("a", Turn(text="a", after_s=100.0))
    limits = Timeouts(answer_s=8.0, first_token_s=5.0, idle_s=1.0)
    async with engine(silent, says("b"), timeouts=limits) as orchestrator:
        whole = await orchestrator.generate("hi")
        async with orchestrator.stream("hi") as stream:
            pieces = "".join([chunk.text async for chunk in stream])

    assert (whole.text, pieces) == ("b", "b")
    assert [call.ended_s - call.begun_s for call in silent.calls if call.ended_s] == [8.0, 5.0]


# -- statistics --------------------------------------------------------------------------------


@simulated
async def test_statistics_show_calls_cost_and_tokens_during_a_run():
    async with engine(says("a", price=Price.per_1k(1, 1)), says("b")) as orchestrator:
        seen = []
        for _ in range(3):
            result = await orchestrator.generate("hi")
            seen.append(orchestrator.get_model_statistics()["p:a"])

    assert [s["calls"] for s in seen] == [1, 2, 3]
    assert seen[-1]["cost"] == pytest.approx(3 * result.cost_usd)
    assert seen[-1]["tokens_out"] == 3 * result.usage.completion_tokens


@simulated
async def test_a_models_metrics_follow_its_calls_while_they_are_made():
    slow = Turn(text="one two three", after_s=2)
    async with engine(says("a", slow)) as orchestrator:
        assert orchestrator.get_model_metrics("a").calls == 0
        await orchestrator.generate("hi")
        first = orchestrator.get_model_metrics("p:a")
        orchestrator.update_model_performance("a", success=False)
        orchestrator.update_model_performance("a", success=True, latency_s=2.0, cost_usd=1.0)
        later = orchestrator.get_model_metrics("p:a")
        with pytest.raises(ModelNotFoundError):
            orchestrator.get_model_metrics("b")

    assert (first.calls, first.success_rate) == (1, 1.0)
    assert first.latency_p50_s == first.latency_p95_s == pytest.approx(2.0)
    assert later.calls == 3
    assert later.success_rate == pytest.approx(2 / 3)
    assert later.cost_usd == first.cost_usd + 1.0


@simulated
async def test_outcomes_from_elsewhere_may_be_told():
    async with engine(says("a"), says("b"), selector="performance") as orchestrator:
        for name in ("a", "b"):
            orchestrator.update_model_performance(
                name, success=name == "b", latency_s=1.0, cost_usd=0.5, tokens_out=10
            )
        await asyncio.sleep(2)

        assert (await orchestrator.generate("hi")).text == "b"
        assert orchestrator.get_model_statistics()["p:a"]["cost"] == 0.5

        orchestrator.reset_statistics()

        assert not any(any(s.values()) for s in orchestrator.get_model_statistics().values())
        assert (await orchestrator.generate("hi")).text == "a"


@pytest.mark.parametrize(
    ("facts", "error"),
    [
        ({"name": "nothing"}, ModelNotFoundError),
        ({"latency_s": -1.0}, InvalidRequestError),
        ({"cost_usd": math.nan}, InvalidRequestError),
        ({"tokens_out": 1.5}, InvalidRequestError),
        ({"success": "x"}, InvalidRequestError),
        ({"success": None}, InvalidRequestError),
    ],
)
@simulated
async def test_an_outcome_that_cannot_be_is_refused(facts: Any, error: type[RequestError]):
    async with engine(says("a")) as orchestrator:
        with pytest.raises(error):
            orchestrator.update_model_performance(**{"name": "a", "success": True, **facts})

        assert orchestrator.get_model_statistics() == {}


@simulated
async def test_a_reset_in_the_middle_of_a_request_leaves_nothing_pending():
    async with engine(says("a", Turn(text="a", after_s=2.0))) as orchestrator:
        request = asyncio.create_task(orchestrator.generate("hi"))
        await asyncio.sleep(1)
        orchestrator.reset_statistics()
        await request

        assert orchestrator.get_model_statistics()["p:a"]["calls"] == 1
        assert pending(orchestrator) == 0
