from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from orchestrator.core.decisions import RefusalCode
from orchestrator.core.errors import ErrorClass, ModelAPIError, ModelError
from orchestrator.core.model import Model
from orchestrator.routing.availability import Availability, Notice
from orchestrator.routing.breaker import BreakerPolicy
from orchestrator.routing.consequences import consequence_of
from orchestrator.routing.ejection import EjectionPolicy
from orchestrator.routing.pool import Pool
from tests.routing.pools import model, pool

STEADY = BreakerPolicy(jitter=0.0, min_calls=1000)
BROKEN = ModelAPIError("down", classification=ErrorClass.SERVICE_UNAVAILABLE)
REFUSED = ModelAPIError("wrong key", classification=ErrorClass.AUTHENTICATION_FAILED)
INVALID = ModelAPIError("bad request", classification=ErrorClass.INVALID_REQUEST)


def busy(retry_after_s: float | None = None) -> ModelError:
    return ModelAPIError("busy", classification=ErrorClass.RATE_LIMIT, retry_after_s=retry_after_s)


class Service:
    """An availability and its pool, called at times that are handed in."""

    def __init__(
        self,
        *models: Model | str,
        policy: BreakerPolicy = STEADY,
        ejection: EjectionPolicy | None = None,
    ) -> None:
        self.availability = Availability(policy, ejection)
        self.arrange(pool(*models))

    def arrange(self, found: Pool) -> None:
        self.pool = found
        self.availability.arrange(found)

    def begin(self, key: str, now: float) -> int:
        return self.availability.begin(key, now)[0]

    def fail(
        self, key: str, error: Exception, now: float, ticket: int | None = None
    ) -> list[Notice]:
        ticket = self.begin(key, now) if ticket is None else ticket
        spec = self.pool.models[self.pool.index[key]].spec
        return self.availability.failure(spec, ticket, error, consequence_of(error), now, Random(0))

    def answer(self, key: str, now: float, ticket: int | None = None) -> Notice | None:
        ticket = self.begin(key, now) if ticket is None else ticket
        return self.availability.success(key, ticket, now)

    def usable(self, now: float) -> list[str]:
        mask = self.availability.usable(now)
        return [key for key, ok in zip(self.pool.keys, mask, strict=True) if ok]

    def break_down(self, key: str, now: float) -> None:
        for _ in range(3):
            self.fail(key, BROKEN, now)


# -- breakers ----------------------------------------------------------------------------------


def test_everybody_is_in_service_at_first():
    assert Service("a:x", "a:y").usable(0.0) == ["a:x", "a:y"]


def test_the_third_failure_takes_a_model_out_and_tells_of_it():
    service = Service("a:x", "a:y")
    assert service.fail("a:x", BROKEN, 0.0) == service.fail("a:x", BROKEN, 0.0) == []
    assert service.usable(0.0) == ["a:x", "a:y"]

    (notice,) = service.fail("a:x", BROKEN, 0.0)

    assert notice.change is not None
    assert (notice.model, notice.change.now, notice.change.probe_in_s) == ("a:x", "open", 10.0)
    assert service.usable(9.9) == ["a:y"]
    outage = service.availability.outages["a:x"]
    assert (outage.code, outage.refusal(4.0).retry_after_s) == (RefusalCode.UNHEALTHY, 6.0)


def test_a_probe_is_offered_exactly_once():
    service = Service("a:x", "a:y")
    service.break_down("a:x", 0.0)
    assert service.usable(10.0) == ["a:x", "a:y"]

    ticket, notice = service.availability.begin("a:x", 10.0)

    assert notice is not None
    assert notice.change is not None
    assert notice.change.now == "half_open"
    assert service.usable(10.0) == service.usable(100.0) == ["a:y"]
    assert service.answer("a:x", 11.0, ticket) is None
    assert service.usable(11.0) == ["a:x", "a:y"], "for the second probe"

    second = service.begin("a:x", 11.0)
    assert service.usable(11.0) == ["a:y"]
    closed = service.answer("a:x", 12.0, second)

    assert closed is not None
    assert closed.change is not None
    assert closed.change.now == "closed"
    assert service.usable(12.0) == ["a:x", "a:y"]
    assert service.availability.state("a:x") == "closed"


@pytest.mark.parametrize("how", ["cancelled", "the caller's fault"])
def test_a_probe_that_says_nothing_is_offered_again(how: str):
    service = Service("a:x", "a:y")
    service.break_down("a:x", 0.0)
    ticket = service.begin("a:x", 10.0)
    assert service.usable(11.0) == ["a:y"]

    if how == "cancelled":
        service.availability.neutral("a:x", ticket, 11.0)
    else:
        service.fail("a:x", INVALID, 11.0, ticket)

    assert service.usable(11.0) == ["a:x", "a:y"]


def test_the_callers_fault_counts_against_nobody():
    service = Service("a:x")

    for _ in range(20):
        assert service.fail("a:x", INVALID, 0.0) == []

    assert service.usable(0.0) == ["a:x"]


# -- cooling and credentials -------------------------------------------------------------------


@pytest.mark.parametrize(("asked_s", "rests_s"), [(None, 60.0), (5.0, 5.0), (90.0, 90.0)])
def test_an_endpoint_that_is_busy_rests_as_long_as_it_asks(asked_s: float | None, rests_s: float):
    service = Service("a:x", "a:y")

    (notice,) = service.fail("a:x", busy(asked_s), 100.0)

    assert (notice.change, notice.for_s) == (None, rests_s)
    assert service.usable(100.0 + rests_s - 0.01) == ["a:y"]
    assert service.usable(100.0 + rests_s) == ["a:x", "a:y"]


def test_a_rest_is_never_shortened():
    service = Service("a:x")
    late = service.begin("a:x", 0.0)
    service.fail("a:x", busy(100.0), 0.0)

    service.fail("a:x", busy(1.0), 10.0, late)

    assert service.usable(99.0) == []
    assert service.usable(100.0) == ["a:x"]


def test_a_refused_credential_takes_out_every_model_that_uses_it_until_it_changes():
    service = Service(
        model("a:x", credential_id="k"), model("a:y", credential_id="k"), model("a:z")
    )

    (notice,) = service.fail("a:x", REFUSED, 0.0)

    assert (notice.change, notice.for_s) == (None, None)
    assert service.usable(1e9) == ["a:z"]
    assert service.availability.outages["a:y"].refusal(0.0).retry_after_s is None

    service.availability.restore_credential("k")
    assert service.usable(1e9) == ["a:x", "a:y", "a:z"]


def test_a_model_with_a_credential_of_its_own_is_alone_with_it():
    service = Service("a:x", "a:y")
    service.fail("a:x", REFUSED, 0.0)

    assert service.usable(1e9) == ["a:y"]
    service.availability.restore_credential("a:x")
    assert service.usable(1e9) == ["a:x", "a:y"]


def test_a_refused_credential_stays_refused_when_another_model_joins():
    for x in (model("a:x"), model("a:x", credential_id="k")):
        service = Service(x)
        service.fail("a:x", REFUSED, 0.0)

        service.arrange(pool(x, "b:new"))

        assert service.usable(0.0) == ["b:new"]


# -- the pool changes --------------------------------------------------------------------------


@pytest.mark.parametrize("error", [BROKEN, busy(), REFUSED], ids=["broken", "busy", "refused"])
def test_a_model_that_was_replaced_starts_afresh(error: ModelError):
    service = Service("a:x", "a:y")
    for _ in range(3):
        service.fail("a:x", error, 0.0)
    assert service.usable(0.0) == ["a:y"]

    service.arrange(pool(model("a:x"), service.pool.models[1]))

    assert service.usable(0.0) == ["a:x", "a:y"]


def test_late_news_of_a_replaced_model_says_nothing_about_the_new_one():
    service = Service("a:x")
    old = service.begin("a:x", 0.0)
    service.arrange(pool(model("a:x")))
    new = service.begin("a:x", 0.0)

    assert old != new
    for _ in range(10):
        service.fail("a:x", BROKEN, 1.0, old)
    assert service.usable(1.0) == ["a:x"]


def test_models_that_stay_keep_their_state():
    service = Service("a:x", "a:y")
    service.break_down("a:x", 0.0)
    service.fail("a:y", busy(50.0), 0.0)

    service.arrange(pool("b:new", *reversed(service.pool.models)))

    assert service.usable(5.0) == ["b:new"]


def test_news_of_a_model_that_has_left_is_no_fault():
    service = Service("a:x", "a:y")
    ticket = service.begin("a:x", 0.0)
    spec = service.pool.models[0].spec
    service.arrange(pool(service.pool.models[1]))

    assert service.availability.success("a:x", ticket, 1.0) is None
    service.availability.neutral("a:x", ticket, 1.0)
    assert (
        service.availability.failure(spec, ticket, BROKEN, consequence_of(BROKEN), 1.0, Random(0))
        == []
    )


# -- when all are out --------------------------------------------------------------------------


def everybody(service: Service) -> Any:
    return np.ones(len(service.pool), dtype=np.bool_)


def test_when_all_are_out_whoever_is_back_soonest_is_the_last_resort():
    service = Service("a:x", "a:y", "a:z")
    service.fail("a:x", busy(50.0), 0.0)
    service.break_down("a:y", 0.0)
    service.fail("a:z", REFUSED, 0.0)
    assert service.usable(1.0) == []

    resort = service.availability.last_resort(everybody(service), 1.0)

    assert resort is not None
    assert resort.arm is not None
    assert (service.pool.keys[resort.arm], resort.recovers_in_s) == ("a:y", 9.0)


def test_a_refused_credential_is_no_last_resort():
    service = Service("a:x")
    service.fail("a:x", REFUSED, 0.0)

    assert service.availability.last_resort(everybody(service), 0.0) is None


def test_the_policy_may_refuse_instead_and_say_how_long():
    service = Service("a:x", ejection=EjectionPolicy(when_all_are_ejected="refuse"))
    service.break_down("a:x", 0.0)

    resort = service.availability.last_resort(everybody(service), 4.0)

    assert resort is not None
    assert (resort.arm, resort.recovers_in_s) == (None, 6.0)


# -- any sequence, against a model that looks at one thing at a time ----------------------------


@dataclass
class Naive:
    """What one model's state should be, by the rules, without arrays or caches."""

    credential: str
    failures: int = 0
    open_s: float = 10.0
    closed_at: float = -inf
    probes: int = 0
    state: str = "closed"
    probe_at: float = -inf
    rests_until: float = -inf
    counted: set[int] = field(default_factory=set)


class Serving(RuleBasedStateMachine):
    KEYS = ("a:x", "a:y", "b:z")
    POLICY = BreakerPolicy(jitter=0.0, min_calls=1000, failure_threshold=2)

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.service = Service(
            model("a:x", credential_id="k"),
            model("a:y", credential_id="k"),
            model("b:z"),
            policy=self.POLICY,
        )
        self.naive = {"a:x": Naive("k"), "a:y": Naive("k"), "b:z": Naive("b:z")}
        self.refused: set[str] = set()
        self.calls: list[tuple[str, int]] = []

    @rule(seconds=st.sampled_from([0.0, 0.5, 5.0, 10.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(key=st.sampled_from(KEYS))
    def a_call_begins(self, key: str) -> None:
        naive = self.naive[key]
        if key not in self.service.usable(self.now):
            return
        ticket, notice = self.service.availability.begin(key, self.now)
        if naive.state != "closed":
            assert (notice is not None) == (naive.state == "open")
            naive.state, naive.probe_at = "half_open", self.now + self.POLICY.probe_lease_s
            naive.counted = {ticket}
        else:
            naive.counted.add(ticket)
        self.calls.append((key, ticket))

    def ending(self, data: Any) -> tuple[str, int, Naive, bool]:
        key, ticket = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        naive = self.naive[key]
        return key, ticket, naive, ticket in naive.counted

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def a_call_succeeds(self, data: Any) -> None:
        key, ticket, naive, counts = self.ending(data)
        self.service.answer(key, self.now, ticket)
        if not counts:
            return
        naive.failures = 0
        if naive.state == "half_open":
            naive.probes += 1
            naive.probe_at, naive.counted = self.now, set()
            if naive.probes == self.POLICY.recovery_threshold:
                self.naive[key] = Naive(
                    naive.credential,
                    rests_until=naive.rests_until,
                    open_s=naive.open_s,
                    closed_at=self.now,
                )

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), cools=st.booleans())
    def a_call_fails_without_fault(self, data: Any, cools: bool) -> None:
        key, ticket, naive, counts = self.ending(data)
        self.service.fail(key, busy(20.0) if cools else INVALID, self.now, ticket)
        if cools:
            naive.rests_until = max(naive.rests_until, self.now + 20.0)
        if counts and naive.state == "half_open":
            naive.probe_at, naive.counted = self.now, set()

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def a_call_breaks(self, data: Any) -> None:
        key, ticket, naive, counts = self.ending(data)
        self.service.fail(key, BROKEN, self.now, ticket)
        if not counts:
            return
        naive.failures += 1
        if naive.state == "half_open" or naive.failures >= self.POLICY.failure_threshold:
            well_s = 0.0 if naive.state == "half_open" else self.now - naive.closed_at
            relapse = well_s < max(naive.open_s, self.POLICY.window_s)
            doubled = min(2 * naive.open_s, self.POLICY.max_open_s)
            naive.open_s = doubled if relapse else self.POLICY.open_s
            naive.state, naive.probe_at = "open", self.now + naive.open_s
            naive.probes, naive.counted = 0, set()

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def a_credential_is_refused(self, data: Any) -> None:
        key, ticket, naive, counts = self.ending(data)
        self.service.fail(key, REFUSED, self.now, ticket)
        self.refused.add(naive.credential)
        if counts and naive.state == "half_open":
            naive.probe_at, naive.counted = self.now, set()

    @rule(credential=st.sampled_from(["k", "b:z"]))
    def a_credential_changes(self, credential: str) -> None:
        self.service.availability.restore_credential(credential)
        self.refused.discard(credential)

    @rule(key=st.sampled_from(KEYS))
    def a_model_is_replaced(self, key: str) -> None:
        naive = self.naive[key]
        credential = None if naive.credential == key else naive.credential
        self.service.arrange(
            pool(
                *(
                    model(key, credential_id=credential) if m.key.text == key else m
                    for m in self.service.pool.models
                )
            )
        )
        self.naive[key] = Naive(naive.credential)
        if credential is None:
            self.refused.discard(key)

    @rule(order=st.permutations(range(3)))
    def the_pool_is_rearranged(self, order: list[int]) -> None:
        self.service.arrange(pool(*(self.service.pool.models[i] for i in order)))

    @invariant()
    def whoever_nothing_speaks_against_is_in_service(self) -> None:
        expected = {
            key
            for key, naive in self.naive.items()
            if naive.credential not in self.refused
            and naive.rests_until <= self.now
            and naive.probe_at <= self.now
        }
        assert set(self.service.usable(self.now)) == expected
        assert set(self.service.availability.outages) == set(self.naive) - expected
        assert {key: self.service.availability.state(key) for key in self.naive} == {
            key: naive.state for key, naive in self.naive.items()
        }


TestServing = Serving.TestCase
TestServing.settings = settings(max_examples=100, stateful_step_count=40)
