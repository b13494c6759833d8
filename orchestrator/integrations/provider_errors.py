"""What a provider's error answer means: the status decides, its words only refine."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from orchestrator.core.errors import (
    ErrorClass,
    ModelAPIError,
    ModelError,
    ModelRateLimitError,
    ModelResponseError,
    ModelTimeoutError,
    ModelTokenLimitError,
)
from orchestrator.integrations.retry_after import retry_after_s

__all__ = ["error_from_event", "error_from_response", "excerpt"]

_EXCERPT_CHARS: Final = 240

_BY_STATUS: Final[dict[int, ErrorClass]] = {
    400: ErrorClass.INVALID_REQUEST,
    401: ErrorClass.AUTHENTICATION_FAILED,
    402: ErrorClass.INSUFFICIENT_CREDITS,
    403: ErrorClass.PERMISSION_DENIED,
    404: ErrorClass.INVALID_MODEL,
    408: ErrorClass.TIMEOUT,
    409: ErrorClass.SERVICE_UNAVAILABLE,
    413: ErrorClass.REQUEST_TOO_LARGE,
    422: ErrorClass.INVALID_REQUEST,
    429: ErrorClass.RATE_LIMIT,
    501: ErrorClass.UNSUPPORTED,
    504: ErrorClass.TIMEOUT,
}
_BY_HUNDRED: Final[dict[int, ErrorClass]] = {
    3: ErrorClass.INVALID_RESPONSE,
    4: ErrorClass.INVALID_REQUEST,
    5: ErrorClass.SERVICE_UNAVAILABLE,
}
_HINTS: Final = {
    ErrorClass.AUTHENTICATION_FAILED: "check the API key",
    ErrorClass.INSUFFICIENT_CREDITS: "check the account's balance",
    ErrorClass.INVALID_MODEL: "check the model's name and the base URL",
    ErrorClass.INVALID_RESPONSE: "redirects are not followed; give the base URL they lead to",
}


@dataclass(frozen=True, slots=True)
class _Refinement:
    """Another class than the status says, for these statuses and one of these signs.

    Attributes:
        names: Values of the error's ``code`` or ``type``.
        words: Found in its message, for servers that name nothing.
    """

    statuses: frozenset[int]
    meaning: ErrorClass
    names: frozenset[str] = frozenset()
    words: re.Pattern[str] | None = None

    def applies(self, status: int, said: _Said) -> bool:
        if status not in self.statuses:
            return False
        if any(name in self.names for name in said.names):
            return True
        return self.words is not None and self.words.search(said.message) is not None


def _when(
    statuses: Iterable[int], meaning: ErrorClass, *names: str, words: str | None = None
) -> _Refinement:
    pattern = re.compile(words, re.IGNORECASE) if words else None
    return _Refinement(frozenset(statuses), meaning, frozenset(names), pattern)


_EVERYWHERE: Final = (
    _when(
        (400, 413, 422),
        ErrorClass.TOKEN_LIMIT,
        "context_length_exceeded",
        "exceed_context_size_error",
        words="maximum context length|context size|context window",
    ),
    _when(
        (400, 403, 429),
        ErrorClass.INSUFFICIENT_CREDITS,
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
    ),
    _when((400,), ErrorClass.INVALID_MODEL, "model_not_found"),
    _when((400,), ErrorClass.UNSUPPORTED, "unsupported_parameter", "unsupported_value"),
    _when((400, 403), ErrorClass.CONTENT_FILTER, "content_filter", "content_policy_violation"),
)
_BY_PROVIDER: Final[dict[str, tuple[_Refinement, ...]]] = {
    "llama_cpp": (
        _when((500,), ErrorClass.TOKEN_LIMIT, words="too large to process"),
        _when((500,), ErrorClass.UNSUPPORTED, words="is not supported"),
    ),
}
"""What one kind of server does differently from all others."""

_TOKEN_LIMITS: Final = re.compile(
    r"(?:context length is|context size \(|limit of|batch size:)\s*(\d+)"
    r"|(\d+)(?: tokens)? maximum context",
    re.IGNORECASE,
)
"""OpenAI and vLLM; llama.cpp; OpenAI's newer models; llama.cpp's embeddings; Mistral."""

_STATUS_OF_EVENT: Final = {
    "authentication_error": 401,
    "context_length_exceeded": 400,
    "exceed_context_size_error": 400,
    "insufficient_quota": 429,
    "invalid_request_error": 400,
    "overloaded_error": 529,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
}
"""An error amid an answer has no status of its own; without these it is the server's fault."""


@dataclass(frozen=True, slots=True)
class _Said:
    """The provider's own words: its message, its names for the error, and all fields."""

    message: str
    names: tuple[str, ...]
    fields: Mapping[str, Any]


def error_from_response(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    provider: str,
    now_wall: float,
) -> ModelError:
    """Return what an answer other than 2xx means.

    Args:
        status: HTTP status.
        headers: Looked up without regard to case.
        body: In whatever form the server, or a proxy before it, chose.
        provider: The kind of server, for its peculiarities and for the message.
        now_wall: Seconds since 1970, for waits that are given as a date.
    """
    return _error(
        status,
        _said(body),
        provider=provider,
        answered=f"answered {status}",
        retry_after_s=retry_after_s(headers, now_wall, by_limit=status == 429),
    )


def error_from_event(error: Any, *, provider: str) -> ModelError:
    """Return what an ``error`` member means in an answer whose status was 200."""
    said = _said_in(error)
    code = said.fields.get("code")
    if isinstance(code, int) and 400 <= code < 600:
        status = code
    else:
        implied = (_STATUS_OF_EVENT[name] for name in said.names if name in _STATUS_OF_EVENT)
        status = next(implied, 500)
    return _error(status, said, provider=provider, answered="failed amid its answer")


def excerpt(text: str | bytes) -> str:
    """Return the beginning of a text on one line, for a message."""
    if isinstance(text, bytes):
        text = text[: 4 * _EXCERPT_CHARS].decode(errors="replace")
    line = " ".join(text[: 4 * _EXCERPT_CHARS].split())
    return line if len(line) <= _EXCERPT_CHARS else f"{line[:_EXCERPT_CHARS]}..."


def _error(
    status: int,
    said: _Said,
    *,
    provider: str,
    answered: str,
    retry_after_s: float | None = None,
) -> ModelError:
    meaning = _meaning(status, said, provider)
    message = f"{provider} {answered}" + (f": {said.message}" if said.message else "")
    facts: dict[str, Any] = {
        "classification": meaning,
        "status": status,
        "retry_after_s": retry_after_s,
        "provider_message": said.message or None,
        "hint": _HINTS.get(meaning),
    }
    if meaning is ErrorClass.RATE_LIMIT:
        return ModelRateLimitError(message, **facts)
    if meaning is ErrorClass.TOKEN_LIMIT:
        return ModelTokenLimitError(message, limit=_token_limit(said), **facts)
    if meaning is ErrorClass.TIMEOUT:
        return ModelTimeoutError(message, phase="first_token", **facts)
    if meaning is ErrorClass.INVALID_RESPONSE:
        return ModelResponseError(message, **facts)
    return ModelAPIError(message, **facts)


def _meaning(status: int, said: _Said, provider: str) -> ErrorClass:
    for refinement in (*_BY_PROVIDER.get(provider, ()), *_EVERYWHERE):
        if refinement.applies(status, said):
            return refinement.meaning
    by_hundred = _BY_HUNDRED.get(status // 100, ErrorClass.UNKNOWN)
    return _BY_STATUS.get(status, by_hundred)


def _token_limit(said: _Said) -> int | None:
    window = said.fields.get("n_ctx")
    if isinstance(window, int):
        return window
    found = _TOKEN_LIMITS.search(said.message)
    return int(found[1] or found[2]) if found else None


def _said(body: bytes) -> _Said:
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _Said(excerpt(body), (), {})
    # Some servers put the error's fields at the top, FastAPI calls its message detail.
    return _said_in(data.get("error") or data if isinstance(data, dict) else data)


def _said_in(error: Any) -> _Said:
    if not isinstance(error, dict):
        return _Said(excerpt(error if isinstance(error, str) else _json(error)), (), {})
    message = error.get("message") or error.get("detail") or error
    names = tuple(v for v in (error.get("code"), error.get("type")) if isinstance(v, str))
    return _Said(excerpt(message if isinstance(message, str) else _json(message)), names, error)


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
