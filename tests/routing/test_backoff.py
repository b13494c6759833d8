from __future__ import annotations

from math import inf
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.routing.backoff import backoff_s


@pytest.mark.parametrize(("retry", "cap_s"), [(1, 1), (2, 2), (3, 4), (4, 4), (9, 4)])
def test_the_wait_is_spread_evenly_up_to_one_two_and_four_seconds(retry: int, cap_s: float):
    rng = Random(7)
    n = 2_000
    waits = [backoff_s(retry, None, inf, rng) or 0.0 for _ in range(n)]

    assert min(waits) >= 0
    assert max(waits) <= cap_s
    # The mean of n draws strays from the middle by 1/sqrt(12 n) of the cap; five times that.
    assert abs(sum(waits) / n - cap_s / 2) < 5 * cap_s / (12 * n) ** 0.5
    assert max(waits) - min(waits) > 0.98 * cap_s


def test_what_the_provider_asks_for_goes_first():
    assert backoff_s(1, 7.5, inf, Random(1)) == 7.5
    assert backoff_s(3, 0.0, inf, Random(1)) == 0.0
    assert backoff_s(1, -3.0, inf, Random(1)) == 0.0


def test_a_wait_that_does_not_fit_is_not_begun():
    assert backoff_s(1, 7.5, 7.5, Random(1)) is None
    assert backoff_s(1, 7.5, 7.6, Random(1)) == 7.5
    assert backoff_s(1, None, 0.0, Random(1)) is None


@given(st.integers(1, 20), st.none() | st.floats(-10, 1e4), st.floats(-10, 1e4), st.integers())
def test_no_wait_reaches_the_deadline(
    retry: int, retry_after_s: float | None, left_s: float, seed: int
):
    wait_s = backoff_s(retry, retry_after_s, left_s, Random(seed))

    assert wait_s is None or 0 <= wait_s < left_s
