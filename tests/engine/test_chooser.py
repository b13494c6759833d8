from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.errors import (
    ErrorClass,
    InvalidRequestError,
    ModelAPIError,
    NoEligibleModelsError,
)
from orchestrator.core.model import Model
from orchestrator.core.objective import Objective
from orchestrator.core.prices import Price
from orchestrator.core.requirements import Requirements
from orchestrator.core.selector import Selector
from orchestrator.core.statistics import Outcome
from orchestrator.core.tokens import TokenEstimator
from orchestrator.core.views import Memory
from orchestrator.engine.ask import Ask, Chosen
from orchestrator.engine.chooser import Chooser
from orchestrator.engine.recorder import Recorder
from orchestrator.routing.availability import Availability, Notice
from orchestrator.routing.breaker import BreakerPolicy
from orchestrator.routing.budget import DailyBudget
from orchestrator.routing.consequences import consequence_of
from orchestrator.routing.derive import Size
from orchestrator.routing.registry import ModelRegistry
from orchestrator.routing.routes import Route, Routes
from orchestrator.selectors import CostBasedSelector, PrioritySelector, UCBModelSelector
from tests.routing.pools import model, models

NOON = 1_750_000_000 // 86_400 * 86_400 + 43_200.0
DOWN = ModelAPIError("down", classification=ErrorClass.SERVICE_UNAVAILABLE)
BY_PRIORITY = PrioritySelector()


class HandClock:
    """Time that moves when a test moves it."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return NOON + self.now


class Desk:
    """A chooser and everything it asks."""

    def __init__(
        self,
        *models: Model | str,
        selector: Selector = BY_PRIORITY,
        routes: Sequence[Route] = (),
        budget_usd: float | None = None,
        objective: Objective | None = None,
        seed: int = 1,
    ) -> None:
        self.clock = HandClock()
        self.registry = ModelRegistry(m if isinstance(m, Model) else model(m) for m in models)
        self.routes = Routes(self.registry)
        self.routes.add(routes)
        self.availability = Availability(BreakerPolicy(jitter=0.0))
        self.recorder = Recorder("n")
        self.estimator = TokenEstimator()
        self.notices: list[Notice] = []
        self.budget = None if budget_usd is None else DailyBudget(budget_usd, self.clock.wall())
        self.chooser = Chooser(
            "n",
            self.registry,
            self.routes,
            self.availability,
            self.recorder,
            selector,
            objective or Objective(),
            self.clock,
            estimator=self.estimator,
            seed=seed,
            budget=self.budget,
            on_notice=self.notices.append,
        )

    def ask(self, route: str = "auto", size: Size | None = None, **needs: Any) -> Ask:
        return Ask(
            "r-1",
            Requirements.of(needs),
            self.routes.chain(route),
            size or Size(),
            "all",
            "text",
            60.0,
        )

    def decide(self, route: str = "auto", size: Size | None = None, **needs: Any) -> Chosen:
        return self.chooser.decide(self.ask(route, size, **needs))

    def chosen(self, route: str = "auto", size: Size | None = None, **needs: Any) -> str:
        return self.decide(route, size, **needs).decision.key

    def learn(self, key: str, outcome: Outcome, times: int = 1) -> None:
        for _ in range(times):
            self.recorder.observe(key, self.recorder.minute, "all", outcome)
        self.clock.now += 2.0  # what is measured is looked at once a second

    def break_down(self, key: str) -> None:
        spec = self.registry.get_model(key).spec
        for _ in range(3):
            ticket, _ = self.availability.begin(key, self.clock.now)
            self.availability.failure(
                spec, ticket, DOWN, consequence_of(DOWN), self.clock.now, Random(0)
            )


def refused(
    desk: Desk, route: str = "auto", size: Size | None = None, **needs: Any
) -> NoEligibleModelsError:
    with pytest.raises(NoEligibleModelsError) as nobody:
        desk.decide(route, size, **needs)
    return nobody.value


# -- a decision --------------------------------------------------------------------------------


def test_a_decision_says_everything_about_itself():
    desk = Desk(model("a:x", priority=1, price=Price.per_1k(0.01, 0.02)), "b:y")

    decision, chosen = desk.decide("auto", Size(1000, 500), exclude_models=["y"])

    assert chosen is desk.registry.get_model("a:x")
    assert (decision.key, decision.selector, decision.propensity) == ("a:x", "priority", 1.0)
    assert (decision.request_id, decision.attempt, decision.segment) == ("r-1", 1, "all")
    assert decision.cost_usd == pytest.approx(0.01 + 0.01)
    assert decision.scores == {"a:x": 1.0}
    assert {key: r.code for key, r in decision.refused.items()} == {"b:y": "excluded"}
    assert decision.requirements.exclude_models == ("y",)
    assert desk.recorder.log.whole(0) is decision


def test_decisions_are_numbered_and_know_their_minute():
    desk = Desk("a:x")
    first = desk.decide().decision
    desk.clock.now += 60.0
    second = desk.decide().decision

    assert (first.sequence, second.sequence) == (0, 1)
    assert second.bucket == first.bucket + 1
    assert first.id != second.id


@settings(max_examples=60)
@given(models(), st.data())
def test_every_model_has_a_score_or_a_refusal(declared: list[Model], data: Any):
    desk = Desk(*declared)
    needs = {
        "capabilities": data.draw(st.lists(st.sampled_from(["vision", "streaming"]))),
        "max_cost": data.draw(st.sampled_from([None, 0.0, 0.01])),
        "provider": data.draw(st.sampled_from([None, "openai"])),
        "prefer": data.draw(st.sampled_from([None, "local", "nobody"])),
    }
    try:
        decision = desk.decide(**needs).decision
        scores, refusals = set(decision.scores), decision.refused
        chosen = {decision.key}
    except NoEligibleModelsError as nobody:
        scores, refusals, chosen = set(), nobody.refused, set()

    assert chosen <= scores
    assert not scores & refusals.keys()
    assert scores | refusals.keys() == set(desk.registry.pool.keys)
    assert all(str(refusal) for refusal in refusals.values())


def test_the_same_seed_decides_alike():
    def run(seed: int) -> list[str]:
        selector = UCBModelSelector(min_trials=0, floor=0.5)
        desk = Desk("a:x", "a:y", "a:z", selector=selector, seed=seed)
        return [desk.chosen() for _ in range(50)]

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_what_is_explored_is_as_frequent_as_its_propensity_says():
    desk = Desk(model("a:x", priority=5), "a:y", "a:z", selector=Exploring())
    n = 3000

    decisions = [desk.decide().decision for _ in range(n)]

    counts = Counter(d.key for d in decisions)
    for key, p in (("a:x", 0.7 + 0.1), ("a:y", 0.1), ("a:z", 0.1)):
        assert all(d.propensity == pytest.approx(p) for d in decisions if d.key == key)
        assert abs(counts[key] - n * p) <= 5 * math.sqrt(n * p * (1 - p))


class Exploring(PrioritySelector):
    """Takes the highest priority, and three times in ten anybody."""

    floor = 0.3


def test_a_hundred_pulls_in_flight_are_each_counted():
    desk = Desk("a:x", "a:y", selector=UCBModelSelector(min_trials=50, floor=0.0))

    counts = Counter(desk.chosen() for _ in range(100))

    assert counts == {"a:x": 50, "a:y": 50}


def test_ten_thousand_models_are_chosen_among():
    desk = Desk(*(model(f"a:m{n}", priority=n % 997) for n in range(10_000)))

    assert desk.chosen() == "a:m996"


# -- preferences, routes and their fallbacks ---------------------------------------------------


def test_a_preferred_provider_goes_first_where_it_can():
    desk = Desk(model("a:x", priority=9), "b:y", model("b:blind", priority=5))

    assert desk.chosen(prefer="b") == "b:blind"
    assert desk.chosen(prefer="b", exclude_models=["b:y", "blind"]) == "a:x"
    assert desk.chosen(prefer="nobody") == "a:x"
    assert desk.decide(prefer="b").decision.refused["a:x"].code == "passed_over"


def test_a_route_that_can_serve_nobody_hands_over_to_its_fallback():
    desk = Desk(
        "a:x",
        model("b:y", capabilities=["vision", "text_generation"]),
        routes=[Route(name="r", models=("a:x",), fallback=("b:y",))],
    )

    assert desk.chosen("r") == "a:x"
    assert desk.chosen("r", capabilities=["vision"]) == "b:y"


def test_a_route_has_demands_a_selector_and_an_objective_of_its_own():
    desk = Desk(
        model("a:dear", price=Price.per_1k(1, 1), priority=9),
        model("a:cheap", price=Price.per_1k(0.1, 0.1)),
        model("b:cheaper", price=Price.free()),
        routes=[
            Route(name="r", requirements=Requirements.of({"provider": "a"})),
            Route(name="cheap", selector=CostBasedSelector()),
        ],
    )

    assert (desk.chosen("r"), desk.chosen("cheap")) == ("a:dear", "b:cheaper")
    assert desk.decide("cheap").decision.selector == "cost"


def test_a_route_put_in_the_place_of_another_is_in_force_at_once():
    prices = {"a:dear": Price.per_1k(1, 1), "a:cheap": Price.free()}
    desk = Desk(
        *(model(key, price=price) for key, price in prices.items()),
        routes=[Route(name="r", models=("dear", "cheap"))],
    )
    assert desk.chosen("r") == "a:dear"

    desk.routes.add([Route(name="r", models=("dear", "cheap"), selector=CostBasedSelector())])

    assert desk.chosen("r") == "a:cheap"


def test_a_demand_that_contradicts_the_route_is_the_callers_fault():
    desk = Desk("a:x", routes=[Route(name="r", requirements=Requirements.of({"provider": "a"}))])

    with pytest.raises(InvalidRequestError, match="provider"):
        desk.decide("r", provider="b")


def test_a_fallback_for_other_requests_is_passed_by():
    desk = Desk(
        "a:x",
        "b:y",
        routes=[
            Route(name="r", models=("nobody",), fallback=("of-a", "rest")),
            Route(name="of-a", requirements=Requirements.of({"provider": "a"})),
            Route(name="rest", models=("b:*",)),
        ],
    )

    assert desk.chosen("r", provider="b") == "b:y"
    assert desk.chosen("r") == "a:x"


# -- nobody ------------------------------------------------------------------------------------


def test_if_nobody_may_serve_everybody_says_why():
    error = refused(
        Desk("a:x", model("b:y", context_window=100)),
        capabilities=["text_generation"],
        context_length=200,
        exclude_models=["x"],
    )

    assert {key: r.code for key, r in error.refused.items()} == {
        "a:x": "excluded",
        "b:y": "context_length",
    }
    assert "b:y  its window holds 100 tokens, 200 are needed" in str(error)
    assert (error.retry_after_s, error.http_status) == (None, 400)


def test_each_model_is_refused_by_the_route_that_would_take_it():
    desk = Desk("a:x", "b:y", routes=[Route(name="r", models=("a:x",), fallback=("b:y",))])

    error = refused(desk, "r", capabilities=["vision"])

    assert {r.code for r in error.refused.values()} == {"capability"}


def test_an_empty_pool_is_said_so():
    assert "no model is registered" in str(refused(Desk()))


def test_where_waiting_helps_it_says_how_long():
    desk = Desk(model("a:x", price=Price.per_1k(0.1, 0.1)), budget_usd=0.15)
    desk.decide()

    error = refused(desk)

    assert error.retry_after_s == pytest.approx(43_200 - 100)
    assert error.http_status == 503
    assert "try again in" in str(error)


# -- health ------------------------------------------------------------------------------------


def test_who_is_out_of_service_is_passed_by():
    desk = Desk(model("a:x", priority=9), "b:y")
    desk.break_down("a:x")

    decision = desk.decide().decision

    assert decision.key == "b:y"
    assert decision.refused["a:x"].code == "unhealthy"
    assert decision.refused["a:x"].retry_after_s == 10.0


def test_the_probe_of_an_unhealthy_model_is_told():
    desk = Desk(model("a:x", priority=9), "b:y")
    desk.break_down("a:x")
    desk.clock.now += 10.0

    assert [desk.chosen(), desk.chosen()] == ["a:x", "b:y"]
    assert [n.change.now for n in desk.notices if n.change] == ["half_open"]


def test_when_all_are_out_the_last_resort_of_any_route_is_taken():
    desk = Desk("a:x", "b:y", routes=[Route(name="r", models=("nobody",), fallback=("b:y", "a:x"))])
    desk.break_down("a:x")
    desk.break_down("b:y")

    decision = desk.decide("r").decision

    assert decision.key == "b:y"
    assert "b:y" not in decision.refused


def test_who_was_tried_may_be_tried_again_only_when_asked_for():
    desk = Desk(model("a:x", priority=9), "b:y")
    ask = desk.ask()

    other = desk.chooser.decide(ask, tried={"a:x": 0.0}, attempt=2).decision
    desk.break_down("a:x")
    again = desk.chooser.decide(ask, tried=["a:x", "b:y"], only=["a:x"], attempt=3).decision

    assert (other.key, other.attempt, other.refused["a:x"].code) == ("b:y", 2, "tried")
    assert (again.key, again.refused["b:y"].code) == ("a:x", "tried")
    assert "a:x" not in again.refused


def test_what_stands_is_who_is_untried_and_who_could_serve_again():
    desk = Desk("a:x", "b:y", model("c:z", capabilities=["embeddings"]))
    ask = desk.ask(capabilities=["text_generation"])

    assert desk.chooser.standing(ask, {}, 0.0) == (True, ())
    assert desk.chooser.standing(ask, {"a:x": 0.0}, 0.0) == (True, ("a:x",))
    assert desk.chooser.standing(ask, {"a:x": 0.0, "b:y": 0.0}, 0.0) == (False, ("a:x", "b:y"))
    desk.break_down("b:y")
    assert desk.chooser.standing(ask, {"a:x": 0.0}, 0.0)[0], "as a last resort"


# -- money and speed ---------------------------------------------------------------------------


def test_a_request_of_unknown_size_costs_what_a_thousand_tokens_cost():
    desk = Desk(model("a:x", price=Price.per_1k(0.03, 0.03)))

    assert desk.chosen(max_cost=0.03) == "a:x"
    assert refused(desk, max_cost=0.0299).refused["a:x"].code == "max_cost"


def test_a_limit_counts_what_earlier_attempts_have_cost():
    desk = Desk(model("a:x", price=Price.per_1k(0.03, 0.03)))
    ask = desk.ask(max_cost=0.05)

    assert desk.chooser.decide(ask, spent_usd=0.02)
    with pytest.raises(NoEligibleModelsError):
        desk.chooser.decide(ask, spent_usd=0.03)


def test_a_budget_that_is_too_small_on_any_day_names_what_can_be_changed():
    desk = Desk(model("a:x", price=Price.per_1k(0, 1.0)), budget_usd=0.5)
    assert desk.chosen("auto", Size(10)) == "a:x"

    desk.learn("a:x", Outcome(True, tokens_out=1000), times=5)

    error = refused(desk)
    assert (error.http_status, error.retry_after_s) == (400, None)
    assert error.hint == "allow fewer tokens with max_tokens, or raise the budget"
    assert desk.chosen("auto", Size(10, 100)) == "a:x"


def test_what_one_route_of_a_chain_has_only_to_wait_for_is_worth_waiting_for():
    routes = [
        Route(name="cheap", requirements=Requirements.of({"max_cost": 0.1}), fallback=("rest",)),
        Route(name="rest"),
    ]
    desk = Desk(model("a:x", price=Price.per_1k(1.0, 1.0)), routes=routes, budget_usd=1.5)
    assert desk.chosen("cheap") == "a:x"

    error = refused(desk, "cheap")

    assert error.refused["a:x"].code == "budget"
    assert error.http_status == 503
    assert error.retry_after_s == pytest.approx(43_100.0)


def test_an_answer_is_expected_as_long_as_nearly_all_were():
    desk = Desk(model("a:x", price=Price.per_1k(0, 1.0)))
    assert desk.decide("auto", Size(10)).decision.cost_usd == pytest.approx(0.25)

    desk.learn("a:x", Outcome(True, tokens_out=1000), times=5)

    assert desk.decide("auto", Size(10)).decision.cost_usd == pytest.approx(1.0)
    assert desk.decide("auto", Size(10, 100)).decision.cost_usd == pytest.approx(0.1)


def test_an_answer_that_may_not_be_long_is_not_expected_to_be():
    desk = Desk(
        model("a:wordy", price=Price.per_1k(0, 1.0)),
        model("b:dear", price=Price.per_1k(0, 2.0)),
        selector=CostBasedSelector(),
    )
    desk.learn("a:wordy", Outcome(True, tokens_out=1000), times=5)

    assert desk.chosen("auto", Size(10)) == "b:dear"
    assert desk.chosen("auto", Size(10, 50)) == "a:wordy"


def test_a_model_that_counts_more_tokens_is_dearer_and_has_less_room():
    desk = Desk(model("a:x", price=Price.per_1k(1.0, 0), context_window=1000))
    for _ in range(100):
        desk.estimator.observe("a:x", 1000, 2050)
        desk.estimator.observe("a:x", 10, 70)
    desk.clock.now += 2.0

    assert desk.decide("auto", Size(400, 0)).decision.cost_usd == pytest.approx(0.85, rel=0.01)
    assert desk.decide("auto", Size(470, 0, 470)).decision.key == "a:x"
    assert refused(desk, size=Size(480, 0, 480)).refused["a:x"].code == "context_length"
    assert desk.chosen(context_length=1000) == "a:x", "a window of a thousand is what is asked for"


def test_short_chats_do_not_shrink_a_window():
    desk = Desk(model("a:x", context_window=2048))
    for _ in range(1000):
        desk.estimator.observe("a:x", 8, 31)  # a template's tokens, and hardly any text
    desk.clock.now += 2.0

    assert desk.decide("auto", Size(1980, 1, 1980)).decision.key == "a:x"
    refusal = refused(desk, size=Size(2040, 1, 2040)).refused["a:x"]
    assert str(refusal) == "its window holds 2048 tokens, 2065 are needed"


def test_a_speed_that_was_measured_beats_the_one_declared():
    desk = Desk(model("a:x", speed=100.0), "b:y")
    assert desk.chosen(min_speed=50) == "a:x"

    desk.learn("a:x", Outcome(True, tokens_out=10, seconds=1.0))

    assert desk.chosen(min_speed=50) == "b:y", "which nobody has measured yet"
    desk.learn("b:y", Outcome(True, tokens_out=10, seconds=1.0))
    assert {r.code for r in refused(desk, min_speed=50).refused.values()} == {"min_speed"}


def test_money_set_aside_cannot_be_promised_twice():
    desk = Desk(model("a:x", price=Price.per_1k(0.1, 0.1)), budget_usd=0.25)

    assert [desk.chosen(), desk.chosen()] == ["a:x", "a:x"]
    assert refused(desk).refused["a:x"].code == "budget"


def test_under_a_budget_only_known_prices_are_taken():
    desk = Desk("a:unknown", model("b:free", price=Price.free()), budget_usd=0.0)

    decision = desk.decide().decision

    assert decision.key == "b:free"
    assert decision.refused["a:unknown"].code == "unknown_cost"


# -- learning ----------------------------------------------------------------------------------


def test_a_selector_forgets_as_time_passes():
    greedy = UCBModelSelector(0.0, min_trials=0, floor=0.0, memory=Memory(window_s=600))
    desk = Desk("a:x", "a:y", selector=greedy)
    desk.chosen()
    desk.learn("a:y", Outcome(True), times=3)
    assert desk.chosen() == "a:y"

    desk.clock.now += 660.0

    assert desk.chosen() == "a:x", "the first, since nothing is known of either"


def test_a_declared_quality_counts_for_a_few_pulls():
    greedy = UCBModelSelector(0.0, min_trials=0, floor=0.0)
    desk = Desk(model("a:x", quality=0.4), model("a:y", quality=0.9), selector=greedy)
    assert desk.chosen() == "a:y"

    desk.learn("a:y", Outcome(False), times=20)

    assert desk.chosen() == "a:x"


def test_failures_cost_and_prices_count_against_a_model():
    greedy = UCBModelSelector(0.0, min_trials=0, floor=0.0)
    desk = Desk(
        model("a:dear", price=Price.per_1k(1, 1)),
        model("a:cheap", price=Price.per_1k(0.1, 0.1)),
        selector=greedy,
    )
    assert desk.chosen() == "a:cheap", "a fifth of the scale lies between the dearest and nothing"

    desk.learn("a:cheap", Outcome(False), times=2)

    assert desk.chosen() == "a:dear"


def test_what_a_cost_weighs_follows_from_the_dearest_model_unless_said_otherwise():
    pool = [model("a:x", price=Price.per_1k(0.5, 0.5)), model("a:y", price=Price.free())]
    auto = Route(name="auto")

    assert Desk(*pool).chooser.cost_weight(auto) == pytest.approx(0.4)
    assert Desk(*pool, objective=Objective(cost_weight=3.0)).chooser.cost_weight(auto) == 3.0
    own = Route(name="own", objective=Objective(cost_weight=7.0))
    assert Desk(*pool).chooser.cost_weight(own) == 7.0


def test_a_pool_that_changes_keeps_what_was_learnt():
    greedy = UCBModelSelector(0.0, min_trials=0, floor=0.0)
    desk = Desk("a:x", "a:y", selector=greedy)
    desk.chosen()
    desk.learn("a:y", Outcome(True), times=3)

    desk.registry.unregister_model("a:y")
    assert desk.chosen() == "a:x"
    desk.registry.register_models([model("a:new"), model("a:y")])

    assert desk.chosen() == "a:y"


def test_a_model_serves_on_any_route_of_the_chain():
    desk = Desk(
        "a:x",
        model("b:y", capabilities=["vision", "text_generation"]),
        routes=[Route(name="r", models=("a:x",), fallback=("b:y",))],
    )
    seeing = desk.ask("r", capabilities=["vision"])

    assert desk.chooser.serves("b:y", seeing)
    assert not desk.chooser.serves("a:x", seeing)
    assert not desk.chooser.serves("c:gone", seeing)


# -- explaining --------------------------------------------------------------------------------


def test_explaining_records_nothing_and_says_what_would_be_chosen():
    desk = Desk("a:x", model("a:y", priority=3), selector=Exploring())

    (verdict,) = desk.chooser.explain(desk.ask(exclude_models=["x"]))

    assert verdict.scores is not None
    assert verdict.eligible.tolist() == [False, True]
    assert {key: r.code for key, r in verdict.refused.items()} == {"a:x": "excluded"}
    assert desk.recorder.totals() == {}
    assert desk.decide(exclude_models=["x"]).decision.sequence == 0
