from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import (
    ErrorClass,
    ModelAPIError,
    ModelError,
    ModelRateLimitError,
    ModelResponseError,
    ModelTimeoutError,
    ModelTokenLimitError,
)
from orchestrator.integrations.provider_errors import (
    error_from_event,
    error_from_response,
    excerpt,
)
from tests.integrations.recordings import recorded


def openai_body(message: str = "no", **fields: Any) -> bytes:
    return orjson.dumps({"error": {"message": message, "param": None, **fields}})


def error_of(
    status: int,
    body: bytes = b"",
    provider: str = "openai",
    headers: dict[str, str] | None = None,
) -> ModelError:
    return error_from_response(status, headers or {}, body, provider=provider, now_wall=0.0)


@pytest.mark.parametrize(
    ("status", "meaning", "kind"),
    [
        (302, ErrorClass.INVALID_RESPONSE, ModelResponseError),
        (400, ErrorClass.INVALID_REQUEST, ModelAPIError),
        (401, ErrorClass.AUTHENTICATION_FAILED, ModelAPIError),
        (402, ErrorClass.INSUFFICIENT_CREDITS, ModelAPIError),
        (403, ErrorClass.PERMISSION_DENIED, ModelAPIError),
        (404, ErrorClass.INVALID_MODEL, ModelAPIError),
        (408, ErrorClass.TIMEOUT, ModelTimeoutError),
        (413, ErrorClass.REQUEST_TOO_LARGE, ModelAPIError),
        (418, ErrorClass.INVALID_REQUEST, ModelAPIError),
        (422, ErrorClass.INVALID_REQUEST, ModelAPIError),
        (429, ErrorClass.RATE_LIMIT, ModelRateLimitError),
        (500, ErrorClass.SERVICE_UNAVAILABLE, ModelAPIError),
        (501, ErrorClass.UNSUPPORTED, ModelAPIError),
        (503, ErrorClass.SERVICE_UNAVAILABLE, ModelAPIError),
        (504, ErrorClass.TIMEOUT, ModelTimeoutError),
        (529, ErrorClass.SERVICE_UNAVAILABLE, ModelAPIError),
        (700, ErrorClass.UNKNOWN, ModelAPIError),
    ],
)
def test_the_status_decides(status: int, meaning: ErrorClass, kind: type[ModelError]):
    error = error_of(status, openai_body())
    assert (error.classification, type(error), error.status) == (meaning, kind, status)


@pytest.mark.parametrize(
    ("status", "fields", "meaning"),
    [
        (429, {"code": "insufficient_quota"}, ErrorClass.INSUFFICIENT_CREDITS),
        (429, {"type": "insufficient_quota"}, ErrorClass.INSUFFICIENT_CREDITS),
        (429, {"type": "tokens", "code": "rate_limit_exceeded"}, ErrorClass.RATE_LIMIT),
        (400, {"code": "context_length_exceeded"}, ErrorClass.TOKEN_LIMIT),
        (400, {"code": "model_not_found"}, ErrorClass.INVALID_MODEL),
        (400, {"code": "unsupported_value"}, ErrorClass.UNSUPPORTED),
        (400, {"code": "content_policy_violation"}, ErrorClass.CONTENT_FILTER),
        (400, {"code": "billing_hard_limit_reached"}, ErrorClass.INSUFFICIENT_CREDITS),
        (400, {"type": "invalid_request_error"}, ErrorClass.INVALID_REQUEST),
    ],
)
def test_the_providers_name_for_it_refines(
    status: int, fields: dict[str, str], meaning: ErrorClass
):
    assert error_of(status, openai_body(**fields)).classification is meaning


def test_words_never_outrank_a_status_they_do_not_belong_to():
    body = openai_body("maximum context length is 8 tokens", code="context_length_exceeded")
    assert error_of(500, body).classification is ErrorClass.SERVICE_UNAVAILABLE
    assert error_of(401, body).classification is ErrorClass.AUTHENTICATION_FAILED


@pytest.mark.parametrize(
    ("message", "limit"),
    [
        ("This model's maximum context length is 8192 tokens. However, your messages ...", 8192),
        ("Input tokens exceed the configured limit of 272000 tokens. Your messages ...", 272000),
        ("Prompt contains 40000 tokens, too large for model with 32768 maximum context length",
         32768),
        ("The context window is full", None),
    ],
)  # fmt: skip
def test_the_window_is_read_from_the_message(message: str, limit: int | None):
    error = error_of(400, openai_body(message, code="context_length_exceeded"))
    assert isinstance(error, ModelTokenLimitError)
    assert error.limit == limit


def test_a_server_without_codes_is_understood_by_its_words():
    body = orjson.dumps(
        {
            "object": "error",
            "message": "This model's maximum context length is 2048 tokens.",
            "type": "BadRequestError",
            "code": 400,
        }
    )
    error = error_of(400, body, provider="vllm")
    assert isinstance(error, ModelTokenLimitError)
    assert error.limit == 2048


# -- llama.cpp, as recorded --------------------------------------------------------------------


def test_llama_cpp_says_how_large_its_window_is():
    error = error_of(400, recorded("llama_cpp_too_long.json"), "llama_cpp")
    assert isinstance(error, ModelTokenLimitError)
    assert error.limit == 2048


def test_llama_cpp_calls_a_text_too_long_to_embed_its_own_fault():
    body = recorded("llama_cpp_input_too_large.json")
    error = error_of(500, body, "llama_cpp")
    assert isinstance(error, ModelTokenLimitError)
    assert error.limit == 512
    assert error_of(500, body, "other").classification is ErrorClass.SERVICE_UNAVAILABLE


def test_llama_cpp_calls_an_image_it_cannot_read_its_own_fault():
    body = openai_body("image input is not supported - hint: ...", code=500, type="server_error")
    assert error_of(500, body, "llama_cpp").classification is ErrorClass.UNSUPPORTED


def test_llama_cpp_refuses_a_wrong_key():
    error = error_of(401, recorded("llama_cpp_bad_key.json"), "llama_cpp")
    assert error.classification is ErrorClass.AUTHENTICATION_FAILED
    assert error.provider_message == "Invalid API Key"


def test_llama_cpp_is_unavailable_while_it_loads():
    body = openai_body("Loading model", code=503, type="unavailable_error")
    assert error_of(503, body, "llama_cpp").classification is ErrorClass.SERVICE_UNAVAILABLE


# -- what the error tells ----------------------------------------------------------------------


def test_it_says_who_answered_what_and_what_to_try():
    error = error_of(401, openai_body("Incorrect API key provided"))
    assert str(error) == "openai answered 401: Incorrect API key provided: check the API key"


def test_it_passes_on_how_long_to_wait():
    assert error_of(429, headers={"retry-after": "7"}).retry_after_s == 7
    assert error_of(503, headers={"retry-after": "7"}).retry_after_s == 7
    assert error_of(429).retry_after_s is None


def test_reset_times_count_only_where_a_limit_was_hit():
    headers = {"x-ratelimit-reset-tokens": "6m0s"}
    assert error_of(429, headers=headers).retry_after_s == 360
    assert error_of(500, headers=headers).retry_after_s is None


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>\n <h1>Bad  Gateway</h1></html>", "<html> <h1>Bad Gateway</h1></html>"),
        (b'{"detail": "Not Found"}', "Not Found"),
        (b'{"error": "plain words"}', "plain words"),
        (b'{"error": null, "message": "beside it"}', "beside it"),
        (b'["odd"]', '["odd"]'),
        (b"", None),
    ],
)
def test_every_form_of_body_gives_its_words(body: bytes, words: str | None):
    assert error_of(502, body).provider_message == words


def test_a_long_page_is_shortened():
    page = b"<html>" + b"x" * 100_000
    error = error_of(502, page)
    assert len(str(error)) < 300
    assert str(error).endswith("...")


def test_an_excerpt_is_one_short_line():
    assert excerpt("a\n\n b\t c") == "a b c"
    assert excerpt(b"\xff\xfe") == "��"
    assert len(excerpt("x" * 10_000)) < 250


# -- errors amid an answer ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        ({"message": "overloaded", "type": "overloaded_error"}, ErrorClass.SERVICE_UNAVAILABLE),
        ({"message": "slow down", "code": "rate_limit_exceeded"}, ErrorClass.RATE_LIMIT),
        ({"message": "no money", "code": "insufficient_quota"}, ErrorClass.INSUFFICIENT_CREDITS),
        ({"message": "bad", "type": "invalid_request_error"}, ErrorClass.INVALID_REQUEST),
        ({"message": "it broke", "type": "server_error"}, ErrorClass.SERVICE_UNAVAILABLE),
        ({"message": "upstream", "code": 429}, ErrorClass.RATE_LIMIT),
        ({"message": "odd", "code": 7}, ErrorClass.SERVICE_UNAVAILABLE),
        ("just words", ErrorClass.SERVICE_UNAVAILABLE),
    ],
)
def test_an_error_amid_an_answer_is_classified_by_its_own_names(error: Any, meaning: ErrorClass):
    assert error_from_event(error, provider="openai").classification is meaning


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
ERRORS = st.fixed_dictionaries(
    {}, optional={"message": JSON, "code": JSON, "type": JSON, "n_ctx": JSON, "detail": JSON}
)


@given(
    st.integers(100, 999),
    st.binary() | JSON.map(orjson.dumps) | ERRORS.map(lambda e: orjson.dumps({"error": e})),
    st.sampled_from(["openai", "llama_cpp"]),
)
def test_no_body_is_too_strange_to_classify(status: int, body: bytes, provider: str):
    error = error_of(status, body, provider)
    assert error.status == status
    assert len(str(error)) < 400


@given(JSON | ERRORS)
def test_no_event_is_too_strange_to_classify(event: Any):
    assert isinstance(error_from_event(event, provider="openai"), ModelError)
