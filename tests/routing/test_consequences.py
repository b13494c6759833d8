from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import (
    ConfigurationError,
    DeadlineExceededError,
    ErrorClass,
    InvalidRequestError,
    MissingExtraError,
    ModelAPIError,
    ModelError,
    ModelLoadError,
    ModelNotFoundError,
    ModelRateLimitError,
    ModelResponseError,
    ModelTimeoutError,
    ModelTokenLimitError,
    OverloadedError,
    UnsupportedCapabilityError,
)
from orchestrator.routing.consequences import (
    CONSEQUENCES,
    OTHER_RETRYABLE_STATUSES,
    RETRYABLE_STATUSES,
    Consequence,
    consequence_of,
    cooldown_s,
    retryable_statuses,
)

CALLERS_FAULT = Consequence(says_nothing=True)
NOT_FOR_THIS_MODEL = Consequence(try_another=True)
BROKEN = Consequence(counts_against_health=True, try_another=True)
PASSING = Consequence(counts_against_health=True, try_another=True, retry_same=True)


def api_error(status: int, kind: ErrorClass = ErrorClass.SERVICE_UNAVAILABLE) -> ModelAPIError:
    return ModelAPIError("refused", status=status, classification=kind)


def rate_limited(retry_after_s: float | None = None) -> ModelRateLimitError:
    return ModelRateLimitError("slow down", retry_after_s=retry_after_s)


def test_every_kind_of_error_has_a_consequence():
    assert set(CONSEQUENCES) == set(ErrorClass)


@pytest.mark.parametrize("kind", [ErrorClass.INVALID_REQUEST, ErrorClass.CONTENT_FILTER])
def test_the_callers_fault_ends_the_request_and_counts_against_nobody(kind: ErrorClass):
    assert consequence_of(ModelError("no", classification=kind)) == CALLERS_FAULT


@pytest.mark.parametrize(
    "error",
    [
        ModelTokenLimitError("too long"),
        ModelError("too large", classification=ErrorClass.REQUEST_TOO_LARGE),
        OverloadedError("the queue is full"),
        DeadlineExceededError("an inner engine was slow", deadline_s=1.0),
    ],
    ids=str,
)
def test_what_another_model_may_manage_goes_on_and_is_neutral(error: Exception):
    assert consequence_of(error) == NOT_FOR_THIS_MODEL


@pytest.mark.parametrize(
    "error",
    [
        ModelError("no tools", classification=ErrorClass.UNSUPPORTED),
        UnsupportedCapabilityError("no images"),
    ],
    ids=str,
)
def test_what_a_model_does_not_support_says_nothing_of_it_and_goes_on(error: Exception):
    assert consequence_of(error) == Consequence(says_nothing=True, try_another=True)


@pytest.mark.parametrize(
    "error",
    [
        ModelError("gone", classification=ErrorClass.INVALID_MODEL),
        ModelError("not yours", classification=ErrorClass.PERMISSION_DENIED),
        ZeroDivisionError("a bug in somebody's model"),
        ExceptionGroup("from a task group", [ValueError()]),
        ConfigurationError("no key in the environment"),
        MissingExtraError("the embedded engine", "embedded"),
    ],
    ids=str,
)
def test_a_broken_model_counts_and_is_not_tried_again(error: Exception):
    assert consequence_of(error) == BROKEN


@pytest.mark.parametrize(
    "error",
    [
        api_error(503),
        ModelTimeoutError("no connection", phase="connect"),
        ModelTimeoutError("no first token", phase="first_token"),
        ModelTimeoutError("stalled", phase="idle"),
        ModelError("reset", classification=ErrorClass.NETWORK_ERROR),
        ModelError("cut", classification=ErrorClass.PARTIAL_FAILURE),
        ModelResponseError("HTML"),
        ModelError("who knows"),
        ConnectionResetError("by peer"),
        TimeoutError("an inner timeout"),
    ],
    ids=str,
)
def test_a_passing_failure_counts_and_may_be_retried(error: Exception):
    assert consequence_of(error) == PASSING


def test_an_empty_answer_says_nothing_about_the_service():
    error = ModelError("nothing", classification=ErrorClass.EMPTY_COMPLETION)

    assert consequence_of(error) == Consequence(try_another=True, retry_same=True)


def test_a_rate_limit_cools_the_endpoint_and_is_no_sign_of_illness():
    assert consequence_of(rate_limited()) == Consequence(
        try_another=True, retry_same=True, cools_endpoint=True
    )


def test_what_cannot_be_loaded_rests_and_is_no_sign_of_illness():
    assert consequence_of(ModelLoadError("no memory")) == Consequence(
        try_another=True, retry_same=True, cools_endpoint=True
    )


def test_a_refused_credential_is_quarantined():
    error = ModelError("bad key", classification=ErrorClass.AUTHENTICATION_FAILED)

    assert consequence_of(error) == Consequence(try_another=True, quarantines_credential=True)


def test_spent_credits_cool_the_endpoint_because_a_bill_can_be_paid():
    error = api_error(429, ErrorClass.INSUFFICIENT_CREDITS)

    assert consequence_of(error) == Consequence(try_another=True, cools_endpoint=True)
    assert cooldown_s(error) > cooldown_s(rate_limited())


@pytest.mark.parametrize("error", [InvalidRequestError("bad"), ModelNotFoundError("no model")])
def test_another_error_of_the_request_is_the_callers(error: Exception):
    assert consequence_of(error) == CALLERS_FAULT


def test_nothing_is_retried_that_may_not_be_tried_elsewhere():
    for consequence in CONSEQUENCES.values():
        assert consequence.try_another or not consequence.retry_same


@pytest.mark.parametrize(
    ("provider", "retried", "not_retried"),
    [
        ("openrouter", {408, 429, 500, 502, 503, 520, 599}, {400, 401, 402, 403}),
        ("openai", {429, 500, 502, 503}, {400, 401, 404, 504}),
        ("anthropic", {429, 500, 529}, {400, 401, 403, 413, 502, 503}),
        ("google", {429, 500, 503, 504}, {400, 403, 404}),
        ("somebody else", {408, 429, 500, 502, 503, 504, 529}, {400, 401, 403, 404, 413, 501}),
    ],
)
def test_each_provider_has_its_own_retryable_statuses(
    provider: str, retried: set[int], not_retried: set[int]
):
    statuses = retryable_statuses(provider)

    for status in retried:
        assert consequence_of(api_error(status), statuses) == PASSING
    for status in not_retried:
        assert consequence_of(api_error(status), statuses) == BROKEN


def test_the_table_may_be_replaced():
    mine = {**RETRYABLE_STATUSES, "openai": frozenset({504})}

    assert consequence_of(api_error(504), retryable_statuses("openai", mine)).retry_same
    assert not consequence_of(api_error(503), retryable_statuses("openai", mine)).retry_same


def test_an_error_inside_an_answer_of_status_200_goes_by_its_kind():
    assert consequence_of(api_error(200)) == PASSING


@given(st.sampled_from(ErrorClass), st.integers(400, 599))
def test_a_status_never_allows_what_the_kind_forbids(kind: ErrorClass, status: int):
    found = consequence_of(api_error(status, kind))
    by_kind = CONSEQUENCES[kind]

    assert found.retry_same == (by_kind.retry_same and status in OTHER_RETRYABLE_STATUSES)
    assert (found.counts_against_health, found.try_another) == (
        by_kind.counts_against_health,
        by_kind.try_another,
    )


def test_an_endpoint_rests_a_minute_unless_told_otherwise():
    assert cooldown_s(rate_limited()) == 60
    assert cooldown_s(rate_limited(7)) == 7
    assert cooldown_s(rate_limited(), cooling_for_s=90) == 90


@given(st.none() | st.floats(0, allow_nan=False), st.floats(0, 1e6))
def test_a_cooldown_is_never_shortened_and_never_longer_than_an_hour_for_one_refusal(
    retry_after_s: float | None, cooling_for_s: float
):
    rest_s = cooldown_s(rate_limited(retry_after_s), cooling_for_s)

    assert rest_s >= cooling_for_s
    assert rest_s <= max(cooling_for_s, 3600)
    if retry_after_s is not None:
        assert rest_s >= min(retry_after_s, 3600)


def test_a_date_taken_for_seconds_does_not_cool_for_ever():
    assert cooldown_s(rate_limited(1_700_000_000)) == 3600
    assert cooldown_s(rate_limited(inf)) == 3600
