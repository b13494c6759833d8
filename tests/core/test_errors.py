from __future__ import annotations

import inspect

import pytest

from orchestrator.core import errors
from orchestrator.core.decisions import Refusal, RefusalCode
from orchestrator.core.errors import (
    AttemptsExhaustedError,
    DeadlineExceededError,
    DuplicateModelError,
    ErrorClass,
    InternalError,
    InvalidRequestError,
    MissingExtraError,
    ModelAPIError,
    ModelError,
    ModelRateLimitError,
    ModelTimeoutError,
    ModelTokenLimitError,
    NoEligibleModelsError,
    OrchestratorError,
    OverloadedError,
    ProcessError,
    RequestError,
    StreamInterruptedError,
    TryLaterError,
)

BRANCHES = (RequestError, TryLaterError, ModelError, InternalError)
ALL = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, OrchestratorError) and kind is not OrchestratorError
]


@pytest.mark.parametrize("kind", ALL)
def test_every_error_belongs_to_one_thing_the_caller_can_do(kind: type[OrchestratorError]):
    assert sum(issubclass(kind, branch) for branch in BRANCHES) == 1


@pytest.mark.parametrize("kind", ALL)
def test_every_error_has_a_stable_code_and_a_status(kind: type[OrchestratorError]):
    assert kind.code == kind.code.lower()
    assert " " not in kind.code
    assert 400 <= kind.http_status <= 599


def test_the_callers_faults_are_4xx_and_ours_5xx():
    assert InvalidRequestError("").http_status == 400
    assert InternalError("").http_status == 500
    assert ModelAPIError("").http_status == 502
    assert OverloadedError("").http_status == 503


def test_an_error_reads_as_what_happened_and_what_to_try():
    assert str(OrchestratorError("it rained")) == "it rained"
    assert str(OrchestratorError("it rained", hint="take a coat")) == "it rained: take a coat"


def test_a_hint_is_no_part_of_a_tables_last_row():
    table = "it rained\n  here   a lot\n  there  less"

    assert str(OrchestratorError(table, hint="take a coat")) == f"{table}\ntake a coat"


def test_facts_are_attributes():
    error = ModelAPIError(
        "no",
        classification=ErrorClass.SERVICE_UNAVAILABLE,
        model="openai:gpt-4",
        status=503,
        retry_after_s=2.0,
        provider_message="busy",
    )

    assert (error.classification, error.model, error.status) == (
        "service_unavailable",
        error.model,
        503,
    )
    assert (error.retry_after_s, error.provider_message, error.attempt) == (2.0, "busy", None)
    assert ModelTimeoutError("slow", phase="idle").phase == "idle"
    assert ModelTokenLimitError("long", limit=8192).limit == 8192
    assert ProcessError("gone", exit_code=-9, output="killed").exit_code == -9
    assert StreamInterruptedError("cut", partial_text="so far").partial_text == "so far"
    assert InvalidRequestError("no", param="max_tokens").param == "max_tokens"
    assert MissingExtraError("the cache", "cache").extra == "cache"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ModelError(""), ErrorClass.UNKNOWN),
        (ModelTimeoutError("", phase="connect"), ErrorClass.TIMEOUT),
        (ModelRateLimitError(""), ErrorClass.RATE_LIMIT),
        (ModelTokenLimitError(""), ErrorClass.TOKEN_LIMIT),
        (ProcessError(""), ErrorClass.LOAD_FAILED),
        (StreamInterruptedError("", partial_text=""), ErrorClass.PARTIAL_FAILURE),
    ],
)
def test_a_class_of_error_says_what_kind_of_failure_it_is(error: ModelError, kind: ErrorClass):
    assert error.classification is kind


def test_a_classification_given_beats_the_class():
    error = ModelTimeoutError("", phase="idle", classification=ErrorClass.NETWORK_ERROR)

    assert error.classification is ErrorClass.NETWORK_ERROR


def test_nobody_eligible_is_the_requests_fault_unless_waiting_helps():
    refused = {"a:b": Refusal(RefusalCode.COOLING, "it rests", 5.0)}

    assert NoEligibleModelsError("", refused=refused).http_status == 400
    assert NoEligibleModelsError("", refused=refused, retry_after_s=5.0).http_status == 503


def test_an_exhausted_route_and_a_missed_deadline_carry_every_attempt():
    tries = [ValueError("one"), ValueError("two")]

    assert AttemptsExhaustedError("", attempts=tries).attempts == tuple(tries)
    assert DeadlineExceededError("", deadline_s=1.0, attempts=tries).attempts == tuple(tries)


def test_a_model_registered_twice_is_a_value_error_too():
    assert issubclass(DuplicateModelError, ValueError)
