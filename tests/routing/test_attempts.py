from __future__ import annotations

from math import inf
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import InvalidRequestError
from orchestrator.routing.attempts import (
    AttemptPlan,
    AttemptPolicy,
    GiveUp,
    GiveUpReason,
    NextStep,
    RetryAfter,
    TryAnother,
)
from orchestrator.routing.consequences import Consequence
from orchestrator.routing.retry_budget import RetryBudget

FINAL = Consequence()
ELSEWHERE = Consequence(try_another=True)
PASSING = Consequence(try_another=True, retry_same=True, counts_against_health=True)


class Request:
    """One request as the engine would drive it, with nothing in the world but its plan."""

    def __init__(self, *, deadline: float = inf, budget: RetryBudget | None = None) -> None:
        self.plan = AttemptPlan(AttemptPolicy())
        self.now = 100.0
        self.deadline = deadline
        self.budget = budget or RetryBudget()

    def after(
        self,
        model: str,
        consequence: Consequence = PASSING,
        *,
        others: bool = False,
        retry_after_s: float | None = None,
        same: tuple[str, ...] | None = None,
    ) -> NextStep:
        self.plan.failed(model, consequence, self.now, retry_after_s)
        step = self.plan.next_step(
            others_eligible=others,
            same_eligible=self.plan.tried if same is None else same,
            now=self.now,
            deadline=self.deadline,
            budget=self.budget,
            rng=Random(1),
        )
        if isinstance(step, RetryAfter):
            self.now += step.wait_s
        return step


def test_another_model_is_tried_at_once():
    request = Request()

    assert request.after("a", others=True) == TryAnother()
    assert request.after("b", ELSEWHERE, others=True) == TryAnother()
    assert request.plan.retries == 0


def test_one_model_alone_is_tried_four_times():
    request = Request()

    for _ in range(3):
        assert isinstance(request.after("a"), RetryAfter)
    assert request.after("a") == GiveUp(GiveUpReason.RETRIES)
    assert request.plan.attempts == 4


def test_several_models_have_a_try_each_and_three_retries():
    request = Request()
    steps = [request.after(m, others=m != "d") for m in "abcd"]
    steps += [request.after("a") for _ in range(3)]

    assert [type(step) for step in steps] == [TryAnother] * 3 + [RetryAfter] * 3 + [GiveUp]
    assert request.plan.attempts == 7


def test_eight_attempts_are_all():
    request = Request()
    for m in "abcdefg":
        assert request.after(m, others=True) == TryAnother()

    assert request.after("h", others=True) == GiveUp(GiveUpReason.ATTEMPTS)


def test_the_callers_fault_ends_the_request_whatever_is_left():
    request = Request()
    request.after("a", others=True)

    assert request.after("b", FINAL, others=True) == GiveUp(GiveUpReason.FINAL)


def test_a_failure_that_would_repeat_itself_is_not_retried():
    assert Request().after("a", ELSEWHERE) == GiveUp(GiveUpReason.NO_MODEL)


def test_an_earlier_model_is_retried_when_the_last_one_cannot_be():
    request = Request()
    request.after("a", PASSING, others=True)

    step = request.after("b", ELSEWHERE)

    assert isinstance(step, RetryAfter)
    assert step.models == ("a",)


def test_a_model_that_is_no_longer_eligible_is_not_retried():
    assert Request().after("a", same=()) == GiveUp(GiveUpReason.NO_MODEL)


def test_what_the_provider_asks_for_is_waited():
    assert Request().after("a", retry_after_s=7.5) == RetryAfter(7.5, ("a",))


def test_a_model_that_may_be_retried_sooner_goes_first():
    request = Request()
    request.after("slow", others=True, retry_after_s=30.0)

    step = request.after("quick", retry_after_s=2.0)
    assert step == RetryAfter(2.0, ("quick",))

    assert request.after("quick", retry_after_s=28.0) == RetryAfter(28.0, ("slow", "quick"))


def test_whoever_is_ready_by_then_may_be_retried():
    request = Request()
    request.after("a", others=True, retry_after_s=0.01)
    request.after("b", others=True, retry_after_s=30.0)

    step = request.after("c")

    assert isinstance(step, RetryAfter)
    assert step.wait_s > 0.01
    assert step.models == ("a", "c")


def test_a_rounding_error_does_not_leave_nobody_to_retry():
    request = Request()
    request.now = 1.3
    request.after("a", others=True, retry_after_s=6.6)
    request.now = 3.1
    assert request.now + (1.3 + 6.6 - request.now) < 1.3 + 6.6

    step = request.after("b", ELSEWHERE)

    assert isinstance(step, RetryAfter)
    assert step.models == ("a",)


def test_a_wait_past_the_deadline_ends_the_request_and_draws_on_nothing():
    request = Request(deadline=105.0, budget=RetryBudget(share=0, floor=1, floor_s=inf))

    assert request.after("a", retry_after_s=5.0) == GiveUp(GiveUpReason.DEADLINE)
    assert request.budget.withdraw(request.now)


def test_nothing_is_tried_after_the_deadline():
    assert Request(deadline=100.0).after("a", others=True) == GiveUp(GiveUpReason.DEADLINE)


def test_retries_draw_on_the_budget_and_failovers_do_not():
    request = Request(budget=RetryBudget(share=0, floor=1, floor_s=inf))

    assert request.after("a", others=True) == TryAnother()
    assert isinstance(request.after("b"), RetryAfter)
    assert request.after("a") == GiveUp(GiveUpReason.RETRY_BUDGET)


@pytest.mark.parametrize(
    ("field", "value"), [("max_attempts", 0), ("max_attempts", True), ("retries", -1)]
)
def test_a_policy_out_of_range_is_refused_by_name(field: str, value: int):
    with pytest.raises(InvalidRequestError, match=field) as refused:
        AttemptPolicy(**{field: value})

    assert refused.value.param == field


failures = st.tuples(
    st.sampled_from([PASSING] * 4 + [ELSEWHERE] * 2 + [FINAL]),
    st.none() | st.floats(0, 40),
    st.floats(0, 10),
)


@given(
    policy=st.builds(AttemptPolicy, max_attempts=st.integers(1, 10), retries=st.integers(0, 5)),
    pool=st.integers(1, 6),
    time_s=st.floats(0, 120) | st.just(inf),
    floor=st.integers(0, 4),
    story=st.lists(failures, min_size=20, max_size=20),
    seed=st.integers(),
)
def test_every_request_that_only_meets_failures_ends_within_its_limits(
    policy: AttemptPolicy,
    pool: int,
    time_s: float,
    floor: int,
    story: list[tuple[Consequence, float | None, float]],
    seed: int,
):
    rng, plan = Random(seed), AttemptPlan(policy)
    budget = RetryBudget(share=0, floor=floor, floor_s=inf)
    now, deadline = 0.0, time_s
    untried = [f"m{i}" for i in range(pool)]
    may_serve, tries = untried, dict.fromkeys(untried, 0)
    not_before = dict.fromkeys(untried, 0.0)

    for consequence, retry_after_s, lasts_s in story:
        model = rng.choice(may_serve)
        assert now >= not_before[model]
        tries[model] += 1
        untried = [m for m in untried if m != model]
        now += lasts_s
        not_before[model] = (now + (retry_after_s or 0)) if consequence.retry_same else inf

        plan.failed(model, consequence, now, retry_after_s)
        step = plan.next_step(
            others_eligible=bool(untried),
            same_eligible=plan.tried,
            now=now,
            deadline=deadline,
            budget=budget,
            rng=rng,
        )

        assert plan.attempts == sum(tries.values()) <= policy.max_attempts
        if isinstance(step, GiveUp):
            break
        assert consequence.try_another
        assert plan.attempts < policy.max_attempts
        assert now < deadline
        if isinstance(step, TryAnother):
            assert untried
            may_serve = untried
        else:
            assert not untried
            assert step.models
            assert now + step.wait_s < deadline or deadline == inf
            may_serve = list(step.models)
            now += step.wait_s
    else:
        pytest.fail("it never ended")

    retried = sum(tries.values()) - sum(n > 0 for n in tries.values())
    assert retried == plan.retries <= min(policy.retries, floor)
    assert max(tries.values()) <= 1 + policy.retries
    assert sum(budget.withdraw(now) for _ in range(floor + 1)) == floor - plan.retries
    # It did not give up while an eligible model was left to try.
    if untried:
        assert step.reason in {GiveUpReason.FINAL, GiveUpReason.ATTEMPTS, GiveUpReason.DEADLINE}
    elif step.reason is GiveUpReason.NO_MODEL:
        assert all(at == inf for at in not_before.values())
