from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.integrations.retry_after import MAX_RETRY_AFTER_S, retry_after_s

NOW = 1_790_000_000.0


def wait(**headers: str) -> float | None:
    return retry_after_s(named(**headers), NOW, by_limit=True)


def named(**headers: str) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def test_without_any_header_nothing_is_said():
    assert wait() is None


@pytest.mark.parametrize(("text", "seconds"), [("2", 2.0), ("0.5", 0.5), ("-3", 0.0), ("0", 0.0)])
def test_seconds_are_read_and_never_negative(text: str, seconds: float):
    assert wait(retry_after=text) == seconds


def test_a_date_is_counted_from_now():
    assert wait(retry_after=formatdate(NOW + 90, usegmt=True)) == 90
    assert wait(retry_after=formatdate(NOW - 90, usegmt=True)) == 0


def test_a_date_without_a_zone_is_utc():
    assert wait(retry_after=formatdate(NOW + 90)) == 90  # ends in "-0000"


def test_milliseconds_are_more_exact_and_come_first():
    assert wait(retry_after_ms="1500", retry_after="2") == 1.5


@pytest.mark.parametrize("text", ["99999999", "inf", "9" * 400])
def test_a_longer_wait_is_cut_to_an_hour(text: str):
    assert wait(retry_after=text) == MAX_RETRY_AFTER_S == 3600


@pytest.mark.parametrize("text", ["", "soon", "nan", "Wed, 99 Foo 2026 99:99:99 GMT"])
def test_what_cannot_be_read_says_nothing(text: str):
    assert wait(retry_after=text) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1), ("6m0s", 360), ("12ms", 0.012), ("2m59.56s", 179.56), ("1h2m3s", 3600), ("7", 7)],
)
def test_reset_times_are_durations(text: str, seconds: float):
    assert wait(x_ratelimit_reset_tokens=text) == pytest.approx(seconds)
    assert wait(x_ratelimit_reset_requests=text) == pytest.approx(seconds)
    assert wait(x_ratelimit_reset_after=text) == pytest.approx(seconds)


def test_a_limit_with_requests_left_is_not_the_one_that_refused():
    reset = {"x_ratelimit_reset_requests": "6h", "x_ratelimit_reset_tokens": "3s"}
    assert wait(x_ratelimit_remaining_requests="0", **reset) == 3600
    assert wait(x_ratelimit_remaining_requests="17", **reset) == 3


def test_tokens_left_can_be_too_few():
    assert wait(x_ratelimit_reset_tokens="3s", x_ratelimit_remaining_tokens="50") == 3


@pytest.mark.parametrize("text", ["0", "-1"])
def test_a_reset_time_that_azure_does_not_know_says_nothing(text: str):
    assert wait(x_ratelimit_reset_tokens=text) is None


def test_reset_times_say_nothing_where_no_limit_was_hit():
    reset = named(x_ratelimit_reset_tokens="6m0s")
    assert retry_after_s(reset, NOW, by_limit=False) is None
    assert retry_after_s({**reset, "retry-after": "1"}, NOW, by_limit=False) == 1


NAMES = st.sampled_from(
    [
        "retry-after",
        "retry-after-ms",
        "x-ratelimit-reset-after",
        "x-ratelimit-reset-requests",
        "x-ratelimit-reset-tokens",
        "x-ratelimit-remaining-requests",
    ]
)
VALUES = st.text() | st.floats().map(str) | st.integers().map(str) | st.just("1d2h3m4s5ms")


@given(st.dictionaries(NAMES, VALUES), st.booleans())
def test_whatever_a_server_sends_the_wait_is_in_range(headers: dict[str, str], by_limit: bool):
    asked = retry_after_s(headers, NOW, by_limit=by_limit)
    assert asked is None or 0 <= asked <= MAX_RETRY_AFTER_S
