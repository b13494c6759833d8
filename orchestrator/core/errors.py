"""What can go wrong, sorted by what the caller can do about it.

::

    OrchestratorError
    ├── RequestError            fix the request or the configuration
    ├── TryLaterError           wait
    ├── ModelError              choose another model (the engine already tried)
    └── InternalError           report a bug
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Final

if TYPE_CHECKING:
    from orchestrator.core.decisions import Refusal

__all__ = [
    "AttemptsExhaustedError",
    "ConfigurationError",
    "DeadlineExceededError",
    "DuplicateModelError",
    "EngineClosedError",
    "ErrorClass",
    "InternalError",
    "InvalidKeyError",
    "InvalidRequestError",
    "MissingExtraError",
    "ModelAPIError",
    "ModelDoesNotFitError",
    "ModelError",
    "ModelLoadError",
    "ModelNotFoundError",
    "ModelRateLimitError",
    "ModelResponseError",
    "ModelTimeoutError",
    "ModelTokenLimitError",
    "NoEligibleModelsError",
    "OrchestratorError",
    "OverloadedError",
    "ProcessError",
    "RequestError",
    "StreamInterruptedError",
    "TryLaterError",
    "UnknownCapabilityError",
    "UnknownDecisionError",
    "UnsupportedCapabilityError",
    "in_words",
]


class OrchestratorError(Exception):
    """Root of all our errors.

    Attributes:
        message: What happened and where.
        hint: What to try, or None.
        code: A stable machine-readable name.
        http_status: The status a gateway answers with.
        request_id: The request it ended, under which events tell of it, or None.
    """

    code: ClassVar[str] = "internal_error"
    http_status: int = 500
    request_id: str | None = None

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        if self.hint is None:
            return self.message
        # A hint is about the whole message, which behind the last row of a table it would not be.
        between = "\n" if "\n" in self.message else ": "
        return self.message + between + self.hint


def in_words(error: BaseException) -> str:
    """Return what an error says; one that is not ours, which may say ``'key'``, also says its type.

    Returns:
        Text for a message of ours. Who asks over HTTP is not to read it of an error that is not
        ours.
    """
    if isinstance(error, OrchestratorError):
        return str(error)
    words = str(error)
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


class InternalError(OrchestratorError):
    """A promise of ours was broken; please report it."""


# -- fix the request or the configuration ------------------------------------------------------


class RequestError(OrchestratorError):
    """The call cannot succeed as it stands."""

    code = "invalid_request"
    http_status = 400


class InvalidRequestError(RequestError):
    """A value is out of range, missing, or of the wrong type.

    Attributes:
        param: The offending field, as a path like ``messages[0].content``, or None.
    """

    def __init__(self, message: str, *, param: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.param = param


class InvalidKeyError(RequestError):
    """A text is not a model key."""

    code = "invalid_model_key"


class UnknownCapabilityError(RequestError):
    """A capability is not one of ours."""

    code = "unknown_capability"


class ModelNotFoundError(RequestError):
    """No registered model, alias or route has this name, or several models share it.

    Attributes:
        param: The option that named it.
    """

    code = "model_not_found"
    http_status = 404
    param: str = "model"


class DuplicateModelError(RequestError, ValueError):
    """A model of this key is registered already."""

    code = "duplicate_model"
    http_status = 409


class UnsupportedCapabilityError(RequestError):
    """The model does not implement what was asked of it."""

    code = "unsupported_capability"


class UnknownDecisionError(RequestError):
    """No decision of this id is remembered."""

    code = "unknown_decision"
    http_status = 404


class ConfigurationError(RequestError):
    """Settings, a file or the environment are wrong; nothing was started."""

    code = "configuration_error"


class MissingExtraError(ConfigurationError):
    """A feature needs packages that are not installed."""

    code = "missing_extra"

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an extra", hint=f"pip install 'orchestrator[{extra}]'")
        self.extra = extra


class EngineClosedError(RequestError):
    """The engine is not running: use it inside ``async with``."""

    code = "engine_closed"
    http_status = 503


# -- wait --------------------------------------------------------------------------------------


class TryLaterError(OrchestratorError):
    """The same call may succeed later.

    Attributes:
        retry_after_s: Seconds until it is worth trying, or None if unknown.
    """

    code = "try_later"
    http_status = 503

    def __init__(
        self, message: str, *, retry_after_s: float | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class OverloadedError(TryLaterError):
    """A queue is full or its wait limit has passed."""

    code = "overloaded"


class NoEligibleModelsError(TryLaterError):
    """No registered model may serve the request; the message is the table of refusals.

    ``retry_after_s`` is None where waiting does not help.

    Attributes:
        refused: Why, by model key.
    """

    code = "no_eligible_models"

    def __init__(
        self,
        message: str,
        *,
        refused: Mapping[str, Refusal],
        retry_after_s: float | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s, hint=hint)
        self.refused = refused
        # Without a time to wait the request itself has to change.
        self.http_status = 503 if retry_after_s is not None else 400


class DeadlineExceededError(TryLaterError):
    """The request's deadline passed.

    Attributes:
        deadline_s: The whole time that was allowed, in seconds.
        attempts: The errors of the attempts made until then.
    """

    code = "deadline_exceeded"
    http_status = 504

    def __init__(
        self, message: str, *, deadline_s: float, attempts: Sequence[Exception] = ()
    ) -> None:
        super().__init__(message, hint="allow more time with deadline_s")
        self.deadline_s = deadline_s
        self.attempts = tuple(attempts)


# -- choose another model ----------------------------------------------------------------------


class ErrorClass(StrEnum):
    """What kind of failure a provider's error is."""

    AUTHENTICATION_FAILED = "authentication_failed"
    PERMISSION_DENIED = "permission_denied"
    INSUFFICIENT_CREDITS = "insufficient_credits"
    RATE_LIMIT = "rate_limit"
    SERVICE_UNAVAILABLE = "service_unavailable"
    TIMEOUT = "timeout"
    NETWORK_ERROR = "network_error"
    PARTIAL_FAILURE = "partial_failure"
    INVALID_MODEL = "invalid_model"
    INVALID_REQUEST = "invalid_request"
    REQUEST_TOO_LARGE = "request_too_large"
    TOKEN_LIMIT = "token_limit"
    INVALID_RESPONSE = "invalid_response"
    EMPTY_COMPLETION = "empty_completion"
    CONTENT_FILTER = "content_filter"
    UNSUPPORTED = "unsupported"
    LOAD_FAILED = "load_failed"
    UNKNOWN = "unknown"


_CALLERS_FAULT: Final = {
    ErrorClass.INVALID_REQUEST: 400,
    ErrorClass.REQUEST_TOO_LARGE: 413,
    ErrorClass.UNSUPPORTED: 400,
    ErrorClass.CONTENT_FILTER: 400,
}
"""Failures that the request brought about, and the status that says so."""


class ModelError(OrchestratorError):
    """A model failed to answer.

    Attributes:
        model: The model's key, or None while it is not known.
        classification: The kind of failure; what follows from it is decided in
            `orchestrator.routing.consequences`.
        status: HTTP status of the provider's answer, or None.
        retry_after_s: Seconds the provider asked to wait, or None.
        provider_message: The provider's own words, shortened, or None.
        attempt: Which attempt of the request failed, counted from 1, or None.
    """

    code = "model_error"
    http_status = 502
    default_class: ClassVar[ErrorClass] = ErrorClass.UNKNOWN

    def __init__(
        self,
        message: str,
        *,
        classification: ErrorClass | None = None,
        model: str | None = None,
        status: int | None = None,
        retry_after_s: float | None = None,
        provider_message: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.classification = classification or self.default_class
        self.http_status = _CALLERS_FAULT.get(self.classification, self.http_status)
        self.model = model
        self.status = status
        self.retry_after_s = retry_after_s
        self.provider_message = provider_message
        self.attempt: int | None = None


class ModelAPIError(ModelError):
    """The provider answered with an error or could not be reached."""

    code = "provider_error"


class ModelTimeoutError(ModelError):
    """The provider did not answer, or stopped answering, in time.

    Attributes:
        phase: ``connect``, ``first_token`` or ``idle``.
    """

    code = "provider_timeout"
    http_status = 504
    default_class = ErrorClass.TIMEOUT

    def __init__(self, message: str, *, phase: str, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.phase = phase


class ModelRateLimitError(ModelError):
    """The provider refused for now: too many requests or tokens."""

    code = "rate_limit_exceeded"
    http_status = 429
    default_class = ErrorClass.RATE_LIMIT


class ModelTokenLimitError(ModelError):
    """The prompt does not fit the model's window.

    Attributes:
        limit: The window in tokens, or None if unknown.
    """

    code = "context_length_exceeded"
    http_status = 400
    default_class = ErrorClass.TOKEN_LIMIT

    def __init__(self, message: str, *, limit: int | None = None, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.limit = limit


class ModelResponseError(ModelError):
    """The answer is not what its wire format promises."""

    code = "invalid_response"
    default_class = ErrorClass.INVALID_RESPONSE


class ModelLoadError(ModelError):
    """A local model could not be brought into memory."""

    code = "model_load_failed"
    http_status = 503
    default_class = ErrorClass.LOAD_FAILED


class ModelDoesNotFitError(ModelLoadError):
    """A local model needs more memory than there is, or than pinned and current models leave.

    Attributes:
        needs: What it takes, by dimension: bytes of ``ram`` and ``gpu:0``, places of ``models``.
        room: What there is for it at most, in the dimensions that are limited.
    """

    code = "model_does_not_fit"

    def __init__(
        self, message: str, *, needs: Mapping[str, int], room: Mapping[str, int], **facts: Any
    ) -> None:
        super().__init__(message, **facts)
        self.needs = dict(needs)
        self.room = dict(room)


class ProcessError(ModelLoadError):
    """A model's own process did not start or has ended.

    Attributes:
        exit_code: Its exit code (negative: the signal that ended it), or None.
        output: The last lines it wrote, for the person who has to find out why.
    """

    code = "process_failed"

    def __init__(
        self, message: str, *, exit_code: int | None = None, output: str = "", **facts: Any
    ) -> None:
        super().__init__(message, **facts)
        self.exit_code = exit_code
        self.output = output


class StreamInterruptedError(ModelError):
    """A stream broke after its first content token, so no other model could take over.

    Attributes:
        partial_text: What had arrived until then.
    """

    code = "stream_interrupted"
    default_class = ErrorClass.PARTIAL_FAILURE

    def __init__(self, message: str, *, partial_text: str, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.partial_text = partial_text


class AttemptsExhaustedError(ModelError):
    """Every attempt the request was allowed has failed.

    Attributes:
        attempts: Their errors, in order; the last is also ``__cause__``.
    """

    code = "attempts_exhausted"

    def __init__(self, message: str, *, attempts: Sequence[Exception], **facts: Any) -> None:
        super().__init__(message, **facts)
        self.http_status = type(self).http_status  # the last failure does not speak for the others
        self.attempts = tuple(attempts)
