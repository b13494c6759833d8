from __future__ import annotations

from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import InvalidRequestError
from orchestrator.routing.rate_limit import RateLimit


def test_a_rested_limit_lets_a_tenth_of_a_minutes_requests_through_at_once():
    limit = RateLimit(60)

    assert [limit.take(100.0) for _ in range(7)] == [True] * 6 + [False]
    assert limit.wait_s(100.0) == pytest.approx(1.0)


def test_a_small_limit_spaces_its_requests():
    limit = RateLimit(6)

    assert limit.take(0.0)
    assert not limit.take(9.9)
    assert limit.take(10.0)


def test_the_sustained_rate_is_the_limit():
    limit = RateLimit(90)
    taken, now = 0, 0.0
    while now < 600:
        taken += limit.take(now)
        now += limit.wait_s(now)

    assert taken == 90 * 10 + 8


def test_a_request_behind_others_waits_for_them_too():
    limit = RateLimit(60, burst=2)
    rested_s = limit.wait_s(0.0, ahead=1)
    limit.take(0.0)
    limit.take(0.0)

    assert rested_s == 0.0
    assert [limit.wait_s(0.0, ahead) for ahead in (0, 1, 2)] == pytest.approx([1, 2, 3])


@given(
    st.integers(1, 200),
    st.none() | st.integers(1, 50),
    st.lists(st.floats(0, 20) | st.just(0.0), min_size=50, max_size=200),
)
def test_no_minute_sees_more_than_the_limit_and_the_burst(
    per_minute: int, burst: int | None, pauses: list[float]
):
    limit = RateLimit(per_minute, burst)
    now, taken = 1_000.0, []
    for pause_s in pauses:
        now += pause_s
        while limit.take(now):
            taken.append(now)

    for end, at in enumerate(taken):
        in_the_last_minute = end + 1 - bisect_left(taken, at - 60 + 1e-3)
        assert in_the_last_minute <= per_minute + (burst or max(1, per_minute // 10))


@given(
    st.integers(1, 10_000),
    st.integers(1, 100),
    st.integers(0, 50),
    st.floats(0, 1e6),
    st.lists(st.floats(0, 5), max_size=30),
)
def test_a_request_conforms_after_its_wait_and_not_before(
    per_minute: int, burst: int, ahead: int, now: float, pauses: list[float]
):
    limit = RateLimit(per_minute, burst)
    for pause_s in pauses:
        now += pause_s
        limit.take(now)
    due = now + limit.wait_s(now, ahead)

    for _ in range(ahead):
        now += limit.wait_s(now)
        assert limit.take(now)

    assert now + limit.wait_s(now) == pytest.approx(due, abs=1e-4)
    if due - now > 1e-3:
        assert not limit.take(due - 1e-3)
    assert limit.take(due + 1e-4)


@pytest.mark.parametrize(("per_minute", "burst"), [(0, None), (-1, None), (10, 0), (True, None)])
def test_a_limit_below_one_is_refused(per_minute: int, burst: int | None):
    with pytest.raises(InvalidRequestError, match="must be at least 1"):
        RateLimit(per_minute, burst)
