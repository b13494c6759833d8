"""Errors as OpenAI's clients know them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from orchestrator.core.errors import (
    AttemptsExhaustedError,
    ConfigurationError,
    DeadlineExceededError,
    EngineClosedError,
    ErrorClass,
    InternalError,
    InvalidRequestError,
    ModelAPIError,
    ModelError,
    ModelNotFoundError,
    ModelRateLimitError,
    ModelTokenLimitError,
    NoEligibleModelsError,
    OverloadedError,
    StreamInterruptedError,
    UnknownDecisionError,
)
from orchestrator.server.envelope import envelope_of

WORDS = "postgres://user:secret@host"


def error_in(error: Exception) -> Any:
    return orjson.loads(envelope_of(error).body)["error"]


@pytest.mark.parametrize(
    ("error", "status", "kind", "code"),
    [
        (InvalidRequestError("x"), 400, "invalid_request_error", "invalid_request"),
        (ConfigurationError("x"), 400, "invalid_request_error", "configuration_error"),
        (ModelNotFoundError("x"), 404, "invalid_request_error", "model_not_found"),
        (UnknownDecisionError("x"), 404, "invalid_request_error", "unknown_decision"),
        (EngineClosedError("x"), 503, "server_error", "engine_closed"),
        (OverloadedError("x"), 503, "server_error", "overloaded"),
        (
            NoEligibleModelsError("x", refused={}),
            400,
            "invalid_request_error",
            "no_eligible_models",
        ),
        (
            NoEligibleModelsError("x", refused={}, retry_after_s=3),
            503,
            "server_error",
            "no_eligible_models",
        ),
        (DeadlineExceededError("x", deadline_s=1), 504, "server_error", "deadline_exceeded"),
        (ModelRateLimitError("x"), 429, "rate_limit_error", "rate_limit_exceeded"),
        (ModelTokenLimitError("x"), 400, "invalid_request_error", "context_length_exceeded"),
        (ModelAPIError("x"), 502, "server_error", "provider_error"),
        (AttemptsExhaustedError("x", attempts=[]), 502, "server_error", "attempts_exhausted"),
        (InternalError("x"), 500, "server_error", "internal_error"),
    ],
)
def test_an_error_keeps_its_status_and_its_code(
    error: Exception, status: int, kind: str, code: str
):
    found = envelope_of(error)

    assert found.status == status
    assert error_in(error)["type"] == kind
    assert error_in(error)["code"] == code


@pytest.mark.parametrize(
    ("classification", "status"),
    [
        (ErrorClass.INVALID_REQUEST, 400),
        (ErrorClass.CONTENT_FILTER, 400),
        (ErrorClass.UNSUPPORTED, 400),
        (ErrorClass.REQUEST_TOO_LARGE, 413),
        (ErrorClass.AUTHENTICATION_FAILED, 502),  # our key is wrong, not the caller's
        (ErrorClass.INSUFFICIENT_CREDITS, 502),
        (ErrorClass.INVALID_MODEL, 502),
        (ErrorClass.SERVICE_UNAVAILABLE, 502),
    ],
)
def test_what_the_provider_blames_on_the_request_is_the_callers_to_mend(
    classification: ErrorClass, status: int
):
    assert envelope_of(ModelAPIError("x", classification=classification)).status == status


def test_the_last_of_several_failures_does_not_speak_for_all():
    error = AttemptsExhaustedError("x", attempts=[], classification=ErrorClass.CONTENT_FILTER)

    assert envelope_of(error).status == 502


def test_the_message_says_what_to_try_and_which_field_it_is_about():
    error = error_in(InvalidRequestError("too hot", param="temperature", hint="at most 2"))

    assert error["message"] == "too hot: at most 2"
    assert error["param"] == "temperature"


def test_an_unknown_model_is_about_the_field_model():
    assert error_in(ModelNotFoundError("x"))["param"] == "model"


@pytest.mark.parametrize(("wait_s", "header"), [(0.0, "1"), (0.2, "1"), (2.0, "2"), (2.1, "3")])
def test_the_time_to_wait_is_a_header_in_whole_seconds(wait_s: float, header: str):
    assert envelope_of(OverloadedError("x", retry_after_s=wait_s)).headers["Retry-After"] == header


def test_without_a_known_time_there_is_no_such_header():
    assert "Retry-After" not in envelope_of(OverloadedError("x")).headers


def test_the_request_that_failed_can_be_found_in_the_events():
    error = OverloadedError("x")
    error.request_id = "r-1-1"

    assert envelope_of(error).headers["X-Request-Id"] == "r-1-1"


def test_of_an_error_that_is_not_ours_nothing_is_told():
    found = envelope_of(RuntimeError(WORDS))

    assert found.status == 500
    assert b"secret" not in found.body


@pytest.mark.parametrize(
    "error",
    [
        AttemptsExhaustedError(f"1 attempt failed: RuntimeError: {WORDS}", attempts=[]),
        StreamInterruptedError(f"broke off: RuntimeError: {WORDS}", partial_text=""),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("nested", [False, True])
def test_the_words_of_a_users_own_model_stay_inside(error: Exception, nested: bool):
    cause: Exception = RuntimeError(WORDS)
    if nested:  # nobody else could go on with a stream
        cause = AttemptsExhaustedError("2 attempts failed", attempts=[cause, ValueError()])
        cause.__cause__ = cause.attempts[-1]
    error.__cause__ = cause

    assert "secret" not in error_in(error)["message"]
    assert "RuntimeError" in error_in(error)["message"]


def test_an_error_of_one_letter_takes_no_other_letter_along():
    error = AttemptsExhaustedError("1 attempt failed: KeyError: 1", attempts=[])
    error.__cause__ = KeyError(1)

    assert error_in(error)["message"] == "1 attempt failed: KeyError"


def test_the_words_of_a_provider_are_passed_on():
    error = AttemptsExhaustedError("1 attempt failed: acme answered 500", attempts=[])
    error.__cause__ = ModelError("acme answered 500")

    assert error_in(error)["message"] == "1 attempt failed: acme answered 500"
