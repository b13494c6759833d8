from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import ConfigurationError
from orchestrator.lifecycle.restart import RestartPolicy, RestartState

POLICY = RestartPolicy(first_wait_s=0.5, longest_wait_s=30.0, good_service_s=60.0)


def failed(times: int, *, now: float = 100.0, state: RestartState | None = None) -> RestartState:
    state = state or RestartState()
    for _ in range(times):
        state = state.after_failure(now, POLICY)
    return state


def test_a_resident_that_never_failed_may_start_at_once():
    assert RestartState().wait_s(-1e9) == 0


@pytest.mark.parametrize(
    ("failures", "wait_s"), [(1, 0.5), (2, 1), (3, 2), (4, 4), (6, 16), (7, 30), (8, 30), (999, 30)]
)
def test_the_wait_doubles_up_to_its_limit(failures: int, wait_s: float):
    assert failed(failures).wait_s(100.0) == wait_s


def test_the_wait_counts_from_the_failure():
    state = failed(3, now=100.0)

    assert [state.wait_s(now) for now in (100, 101.5, 102, 500)] == [2, 0.5, 0, 0]


def test_good_service_makes_the_next_death_count_as_the_first():
    state = failed(5).after_ready(200.0).after_failure(260.0, POLICY)

    assert state.failures == 1
    assert state.wait_s(260.0) == 0.5


def test_short_service_makes_the_next_death_count_on():
    state = failed(2).after_ready(200.0).after_failure(259.9, POLICY)

    assert state.failures == 3


def test_a_load_that_fails_after_a_death_is_not_mistaken_for_good_service():
    state = RestartState().after_ready(0.0).after_failure(1.0, POLICY).after_failure(999.0, POLICY)

    assert state.failures == 2


@pytest.mark.parametrize(
    "policy",
    [
        {"first_wait_s": 0},
        {"first_wait_s": -1},
        {"first_wait_s": math.nan},
        {"first_wait_s": 31},
        {"longest_wait_s": math.inf},
    ],
)
def test_a_policy_without_a_positive_finite_wait_is_refused(policy: dict[str, float]):
    with pytest.raises(ConfigurationError, match="first_wait_s"):
        RestartPolicy(**policy)


@given(
    events=st.lists(
        st.tuples(st.sampled_from(["ready", "failed"]), st.floats(0, 200)), min_size=1, max_size=40
    )
)
def test_whatever_happens_the_wait_stays_within_the_policy(events: list[tuple[str, float]]):
    state, now = RestartState(), 0.0
    for event, later in events:
        now += later
        if event == "ready":
            state = state.after_ready(now)
        else:
            state = state.after_failure(now, POLICY)
            assert POLICY.first_wait_s <= round(state.wait_s(now), 9) <= POLICY.longest_wait_s
    assert 0 <= state.wait_s(now) <= POLICY.longest_wait_s + 1e-9
    assert state.wait_s(now + POLICY.longest_wait_s + 1e-9) == 0
