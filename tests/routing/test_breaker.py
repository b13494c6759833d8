from __future__ import annotations

from math import inf, nan
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import InvalidRequestError
from orchestrator.routing.breaker import Breaker, BreakerPolicy, Change
from orchestrator.routing.breaker_states import TRANSITIONS
from orchestrator.routing.evidence import Tally

STEADY = BreakerPolicy(jitter=0.0)


def fail(breaker: Breaker, now: float, times: int = 1, **facts: object) -> Change | None:
    change = None
    for _ in range(times):
        change = breaker.failure(now, breaker.ticket, Random(1), **facts)  # type: ignore[arg-type]
    return change


def opened(policy: BreakerPolicy = STEADY, at: float = 0.0) -> Breaker:
    breaker = Breaker(policy)
    fail(breaker, at, times=policy.failure_threshold)
    assert breaker.state == "open"
    return breaker


def probe(breaker: Breaker, now: float) -> int:
    begun = breaker.begin_probe(now)
    assert begun is not None
    return begun.ticket


def test_the_third_failure_in_a_row_opens_it_and_not_the_second():
    breaker = Breaker(STEADY)

    assert fail(breaker, 0.0, times=2) is None
    assert fail(breaker, 1.0) == Change("closed", "open", "3 failures in a row", 10.0)
    assert not breaker.by_rate


def test_a_success_between_failures_starts_the_count_again():
    breaker = Breaker(STEADY)

    for minute in range(4):
        fail(breaker, 60.0 * minute, times=2)
        breaker.success(60.0 * minute, breaker.ticket)

    assert breaker.state == "closed"


def play(breaker: Breaker, now: float, calls: str) -> Change | None:
    """Let calls end one after the other: S in success, F in failure."""
    change = None
    for call in calls:
        change = breaker.success(now, breaker.ticket) if call == "S" else fail(breaker, now)
    return change


def test_over_half_of_ten_calls_open_it():
    breaker = Breaker(STEADY)

    assert play(breaker, 0.0, "SFFSFFSFS") is None
    assert fail(breaker, 1.0) == Change("closed", "open", "6 of 10 calls failed in 60 s", 10.0)
    assert breaker.by_rate


def test_exactly_half_is_not_over_half():
    assert play(Breaker(STEADY), 0.0, "SFSFSFSFSFSFSFSF") is None


def test_fewer_than_ten_calls_have_no_rate():
    assert play(Breaker(STEADY), 0.0, "FFSFFSFFS") is None


def test_the_rate_looks_back_a_minute_only():
    breaker = Breaker(STEADY)

    assert play(breaker, 0.0, "SFFSFFSFS") is None
    assert fail(breaker, 65.0) is None


def test_calls_leave_the_rate_a_tenth_of_the_window_at_a_time():
    breaker = Breaker(BreakerPolicy(failure_threshold=100))
    for tenth in range(10):
        breaker.success(6.0 * tenth, breaker.ticket)

    assert play(breaker, 60.0, "FFFFFFFFF") is None
    change = fail(breaker, 60.0)
    assert change is not None
    assert change.reason == "10 of 19 calls failed in 60 s"


def test_a_rate_that_may_eject_nobody_leaves_failures_in_a_row_their_force():
    breaker = Breaker(STEADY)
    for second in range(10):
        breaker.success(second, breaker.ticket)
        assert fail(breaker, second, times=2, may_eject=False) is None

    assert fail(breaker, 10.0, may_eject=False) is not None
    assert not breaker.by_rate


def test_the_death_of_one_process_is_one_failure_however_many_calls_it_cut():
    breaker = Breaker(STEADY)

    assert fail(breaker, 0.0, times=32, cause_id="engine:1") is None
    assert fail(breaker, 1.0, times=32, cause_id="engine:2") is None
    assert fail(breaker, 1.0, cause_id="engine:1") is None
    assert fail(breaker, 2.0, cause_id="engine:3") is not None


def test_an_open_breaker_is_probed_by_one_call_at_a_time():
    breaker = opened()

    assert not breaker.may_probe(9.9)
    begun = breaker.begin_probe(10.0)

    assert begun is not None
    assert begun.change == Change("open", "half_open", "a probe is due")
    assert not breaker.may_probe(11.0)
    assert breaker.begin_probe(11.0) is None


def test_two_probes_in_a_row_close_it():
    breaker = opened()

    assert breaker.success(11.0, probe(breaker, 10.0)) is None
    again = breaker.begin_probe(11.0)
    assert again is not None
    assert again.change is None
    assert breaker.success(12.0, again.ticket) == Change(
        "half_open", "closed", "2 probes in a row succeeded"
    )
    assert breaker.probe_at == -inf
    assert not breaker.may_probe(12.0)


def test_each_failed_probe_doubles_the_open_time_up_to_five_minutes():
    breaker = opened()
    waits = []

    for _ in range(7):
        now = breaker.probe_at
        change = breaker.failure(now, probe(breaker, now), Random(1))
        assert change is not None
        waits.append(change.probe_in_s)

    assert waits == [20, 40, 80, 160, 300, 300, 300]


def recovered(breaker: Breaker, now: float) -> None:
    """Let two probes succeed."""
    for _ in range(2):
        breaker.success(now, probe(breaker, now))
    assert breaker.state == "closed"


def test_recovery_forgets_every_failure():
    breaker = Breaker(STEADY)
    play(breaker, 0.0, "SFFSFFSFSF")
    breaker.failure(10.0, probe(breaker, 10.0), Random(1))
    recovered(breaker, 30.0)

    assert not breaker.by_rate
    assert play(breaker, 100.0, "FFSFF") is None
    assert fail(breaker, 101.0) == Change("closed", "open", "3 failures in a row", 10.0)


def test_a_relapse_within_a_minute_doubles_the_open_time_and_a_later_one_does_not():
    breaker = opened()
    for now, waits in ((10.0, 20.0), (90.0, 40.0), (190.0, 80.0)):
        recovered(breaker, now)
        change = fail(breaker, now + 59.9, times=3)
        assert change is not None
        assert change.probe_in_s == waits

    recovered(breaker, 330.0)
    change = fail(breaker, 410.0, times=3)
    assert change is not None
    assert change.probe_in_s == 10.0, "well for as long as it was out, and for a minute"


def openings_in_an_hour(policy: BreakerPolicy, calls_well: int, seed: int) -> int:
    """Count how often a model goes out that answers so many calls and then fails, once a second."""
    breaker, rng, openings, well = Breaker(policy), Random(seed), 0, 0
    for second in range(3600):
        begun = breaker.begin_probe(second)
        if breaker.state == "half_open" and begun is None:
            continue
        if breaker.state == "open":
            well = 0
            continue
        ticket = breaker.ticket if begun is None else begun.ticket
        if well < calls_well:
            breaker.success(second, ticket)
            well += 1
        elif breaker.failure(second, ticket, rng) is not None:
            openings += 1
    return openings


@given(st.integers(0, 50), st.integers(0, 1000))
def test_a_model_that_is_well_for_its_probes_only_does_not_flap(calls_well: int, seed: int):
    # It rests 10, 20, 40, 80, 160 s, then 300 s each time, a fifth less at the least.
    assert openings_in_an_hour(BreakerPolicy(), calls_well, seed) <= 5 + 3600 / (0.8 * 300)


def test_a_shallow_check_says_nothing_of_calls_that_failed():
    breaker = Breaker(STEADY)
    fail(breaker, 0.0, times=2)
    breaker.success(0.0, breaker.ticket, shallow=True)
    assert fail(breaker, 1.0) is not None

    for now in (11.0, 12.0, 13.0):
        assert breaker.success(now, probe(breaker, now), shallow=True) is None
    assert breaker.state == "half_open"
    recovered(breaker, 14.0)


def test_what_shallow_checks_took_out_they_bring_back():
    breaker = Breaker(STEADY)
    assert fail(breaker, 0.0, times=2, shallow=True) is None
    breaker.success(0.0, breaker.ticket, shallow=True)
    assert fail(breaker, 0.0, times=2, shallow=True) is None
    assert fail(breaker, 0.0, shallow=True) is not None
    assert breaker.by_checks

    assert breaker.success(10.0, probe(breaker, 10.0), shallow=True) is None
    closed = breaker.success(11.0, probe(breaker, 11.0), shallow=True)

    assert closed is not None
    assert closed.now == "closed"


def test_checks_that_ask_for_no_answer_are_no_calls_of_the_rate():
    breaker = Breaker(STEADY)
    fail(breaker, 0.0, times=2, shallow=True)
    breaker.success(0.0, breaker.ticket, 0.5)
    breaker.success(0.0, breaker.ticket, 1.5)
    fail(breaker, 0.0)

    assert breaker.tally(0.0) == Tally(3, 1, 2.0)
    assert breaker.tally(0.0).error_rate == pytest.approx(1 / 3)
    assert breaker.tally(0.0).response_s == 1.0
    assert breaker.tally(60.0) == Tally()
    assert breaker.tally(60.0).error_rate is None
    assert breaker.tally(60.0).response_s is None


def test_an_outlier_is_out_like_anybody_else_and_counts_as_ejected_by_its_rate():
    breaker = Breaker(STEADY)

    assert breaker.eject(0.0, Random(1), "far below the rest") == Change(
        "closed", "open", "far below the rest", 10.0
    )
    assert breaker.by_rate
    assert not breaker.by_checks
    recovered(breaker, 10.0)
    assert not breaker.by_rate


def test_every_state_can_be_reached_and_left():
    states = {"closed", "open", "half_open"}

    assert {was for was, _ in TRANSITIONS} == set(TRANSITIONS.values()) == states


def test_a_cancelled_probe_makes_room_for_the_next():
    breaker = opened()

    breaker.neutral(11.0, probe(breaker, 10.0))

    assert breaker.state == "half_open"
    assert breaker.may_probe(11.0)


def test_a_probe_that_never_ends_makes_room_after_its_lease_and_then_counts_no_more():
    breaker = opened(BreakerPolicy(jitter=0.0, probe_lease_s=30.0))
    lost = probe(breaker, 10.0)

    assert not breaker.may_probe(39.0)
    current = probe(breaker, 40.0)
    assert breaker.failure(41.0, lost, Random(1)) is None
    breaker.neutral(41.0, lost)
    assert not breaker.may_probe(41.0)
    breaker.success(42.0, current)
    assert breaker.may_probe(42.0)


def test_calls_in_flight_when_it_opened_say_nothing_about_now():
    breaker = Breaker(STEADY)
    early = breaker.ticket
    fail(breaker, 0.0, times=3)
    current = probe(breaker, 10.0)

    assert breaker.failure(10.0, early, Random(1)) is None
    assert breaker.success(10.0, early) is None
    assert not breaker.may_probe(10.0)
    breaker.success(11.0, current)
    breaker.success(12.0, probe(breaker, 11.0))
    for _ in range(3):
        assert breaker.failure(13.0, early, Random(1)) is None
    assert breaker.state == "closed"


def test_calls_made_although_it_is_open_do_not_count():
    breaker = opened()

    assert fail(breaker, 1.0, times=5) is None
    assert breaker.success(1.0, breaker.ticket) is None
    assert breaker.probe_at == 10.0


def test_the_open_time_varies_by_a_fifth_either_way():
    waits = []
    for seed in range(200):
        breaker = Breaker(BreakerPolicy(failure_threshold=1))
        change = breaker.failure(0.0, breaker.ticket, Random(seed))
        assert change is not None
        assert change.probe_in_s == breaker.probe_at
        waits.append(breaker.probe_at)

    assert 8 <= min(waits) < 8.5
    assert 11.5 < max(waits) <= 12


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("failure_threshold", 0),
        ("failure_threshold", -1),
        ("failure_threshold", True),
        ("recovery_threshold", -2),
        ("window_s", 0),
        ("min_calls", 0),
        ("failure_rate", 1.5),
        ("failure_rate", nan),
        ("open_s", -1),
        ("max_open_s", 5),
        ("jitter", -0.1),
        ("probe_lease_s", -1),
    ],
)
def test_a_policy_out_of_range_is_refused_by_name(field: str, value: float):
    with pytest.raises(InvalidRequestError, match=field) as refused:
        BreakerPolicy(**{field: value})  # type: ignore[arg-type]

    assert refused.value.param == field


class History:
    """Calls that begin and end in any order, written down in full to say what must be true."""

    POLICY = BreakerPolicy(
        failure_threshold=3,
        recovery_threshold=2,
        window_s=20.0,
        min_calls=4,
        open_s=10.0,
        max_open_s=45.0,
        jitter=0.0,
        probe_lease_s=15.0,
    )

    def __init__(self) -> None:
        self.breaker = Breaker(self.POLICY)
        self.now = 1000.0
        self.in_flight: list[int] = []
        self.counted = self.breaker.ticket
        self.probe: tuple[int, float] | None = None
        self.expected = "closed"
        self.results: list[tuple[float, bool]] = []  # since it last closed
        self.recovered = 0
        self.open_s = self.POLICY.open_s
        self.closed_at = -inf
        self.probe_at = -inf

    @property
    def a_call_may_go_through(self) -> bool:
        out = self.probe is not None and self.now < self.probe[1]
        return self.expected == "closed" or (self.now >= self.probe_at and not out)

    def take(self, step: str, how_much: int) -> None:
        if step == "time passes":
            self.now += how_much / 2
        elif step == "a call begins":
            self.in_flight.append(self.breaker.ticket)
        elif step == "a probe begins":
            self.a_probe_begins()
        elif self.in_flight and step.startswith("a call"):
            self.ends(self.in_flight.pop(how_much % len(self.in_flight)), step)
        elif self.probe and step.startswith("the probe"):
            self.ends(self.probe[0], step)

    def check(self) -> None:
        assert self.breaker.state == self.expected
        assert (self.now >= self.breaker.probe_at) == self.a_call_may_go_through
        assert self.breaker.may_probe(self.now) == (
            self.a_call_may_go_through and self.expected != "closed"
        )

    def a_probe_begins(self) -> None:
        due = self.a_call_may_go_through and self.expected != "closed"
        begun = self.breaker.begin_probe(self.now)

        assert (begun is not None) == due
        if begun is not None:
            assert (begun.change is None) == (self.expected == "half_open")
            self.expected = "half_open"
            self.probe = (begun.ticket, self.now + self.POLICY.probe_lease_s)
            self.in_flight.append(begun.ticket)

    def ends(self, ticket: int, step: str) -> None:
        was, result = self.expected, step.split()[-1]
        if self.probe is not None and ticket == self.probe[0]:
            self.the_probe_ends(result)
        elif self.expected == "closed" and ticket == self.counted and result != "idly":
            self.a_counted_call_ends(failed=result == "badly")

        change = None
        if result == "well":
            change = self.breaker.success(self.now, ticket)
        elif result == "badly":
            change = self.breaker.failure(self.now, ticket, Random(1))
        else:
            self.breaker.neutral(self.now, ticket)

        if was == self.expected:
            assert change is None
        else:
            assert change is not None
            assert (change.was, change.now) == (was, self.expected)
            assert change.probe_in_s == (self.open_s if self.expected == "open" else None)
            self.counted = self.breaker.ticket

    def the_probe_ends(self, result: str) -> None:
        self.probe = None
        self.probe_at = self.now
        if result == "badly":
            self.recovered = 0
            self.open_s = min(2 * self.open_s, self.POLICY.max_open_s)
            self.expected, self.probe_at = "open", self.now + self.open_s
        elif result == "well":
            self.recovered += 1
            if self.recovered == self.POLICY.recovery_threshold:
                self.expected, self.probe_at, self.closed_at = "closed", -inf, self.now
                self.results, self.recovered = [], 0

    def a_counted_call_ends(self, *, failed: bool) -> None:
        self.results.append((self.now, failed))
        in_a_row = [f for _, f in self.results[-self.POLICY.failure_threshold :]]
        tenth_s = self.POLICY.window_s / 10
        seen = [f for at, f in self.results if at // tenth_s > self.now // tenth_s - 10]
        too_many = len(seen) >= self.POLICY.min_calls and sum(seen) > len(seen) / 2
        if failed and (in_a_row == [True] * self.POLICY.failure_threshold or too_many):
            relapse = self.now - self.closed_at < max(self.open_s, self.POLICY.window_s)
            doubled = min(2 * self.open_s, self.POLICY.max_open_s)
            self.open_s = doubled if relapse else self.POLICY.open_s
            self.expected, self.probe_at = "open", self.now + self.open_s


STEPS = (
    ["time passes"] * 3
    + ["a call begins"] * 5
    + ["a call ends well"] * 3
    + ["a call ends badly"] * 3
    + ["a call ends idly"]
    + ["a probe begins"] * 3
    + ["the probe ends well"] * 3
    + ["the probe ends badly"]
)


@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 25)), min_size=80, max_size=160))
def test_any_history_leads_where_its_rules_say(steps: list[tuple[str, int]]):
    history = History()
    for step, how_much in steps:
        history.take(step, how_much)
        history.check()
