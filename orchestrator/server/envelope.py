"""Errors as OpenAI's clients know them: a status, and an envelope that says what to do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import orjson

from orchestrator.core.errors import OrchestratorError, in_words

__all__ = ["Envelope", "envelope_of", "refusal"]

_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}
_UNEXPECTED: Final = "the gateway failed to answer; its log says why"


class Envelope(NamedTuple):
    """An error as it goes over the wire."""

    status: int
    body: bytes
    headers: dict[str, str]


def envelope_of(error: Exception) -> Envelope:
    """Return what a caller is told of an error; of one that is not ours, nothing but that."""
    if not isinstance(error, OrchestratorError):
        return refusal(500, _UNEXPECTED, "internal_error")
    headers = {}
    retry_after_s = getattr(error, "retry_after_s", None)
    if retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(retry_after_s)))
    if error.request_id is not None:
        headers["X-Request-Id"] = error.request_id
    if error.http_status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    param = getattr(error, "param", None)
    return refusal(error.http_status, _message(error), error.code, param, headers)


def refusal(
    status: int,
    message: str,
    code: str,
    param: str | None = None,
    headers: dict[str, str] | None = None,
) -> Envelope:
    """Return an error of this status."""
    usual = "server_error" if status >= 500 else "invalid_request_error"
    error: dict[str, Any] = {
        "message": message,
        "type": _TYPES.get(status, usual),
        "param": param,
        "code": code,
    }
    return Envelope(status, orjson.dumps({"error": error}), headers or {})


def _message(error: OrchestratorError) -> str:
    text = str(error)
    for cause in _causes(error):
        # What a model of the user's own raised was not written for whoever called us.
        if not isinstance(cause, OrchestratorError):
            text = text.replace(in_words(cause), type(cause).__name__)
    return text


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield what an error came of: its cause and its attempts, and what those came of."""
    cause = error.__cause__
    if cause is not None:
        yield cause
        yield from _causes(cause)
    yield from getattr(error, "attempts", ())
