"""What follows from a failure: for the model that failed and for the request that met it."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from orchestrator.core.errors import (
    ConfigurationError,
    ErrorClass,
    ModelError,
    RequestError,
    TryLaterError,
    UnsupportedCapabilityError,
)

__all__ = [
    "CONSEQUENCES",
    "OTHER_RETRYABLE_STATUSES",
    "RETRYABLE_STATUSES",
    "Consequence",
    "consequence_of",
    "cooldown_s",
    "retryable_statuses",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Consequence:
    """What a failure means.

    Attributes:
        says_nothing: It is no outcome of the model: its statistics do not move. The request asked
            for what is wrong, or for what this model never claimed to do well or badly.
        counts_against_health: The model's breaker counts it; otherwise it is neutral.
        try_another: Another model may do better. If not, the request ends here.
        retry_same: The same model may do better after a while.
        cools_endpoint: The endpoint rests for `cooldown_s`.
        quarantines_credential: Nothing that uses the credential is tried until it changes.
    """

    says_nothing: bool = False
    counts_against_health: bool = False
    try_another: bool = False
    retry_same: bool = False
    cools_endpoint: bool = False
    quarantines_credential: bool = False


_THE_CALLERS_FAULT: Final = Consequence(says_nothing=True)
_UNSUPPORTED: Final = Consequence(says_nothing=True, try_another=True)
_NOT_FOR_THIS_MODEL: Final = Consequence(try_another=True)
_BROKEN: Final = Consequence(counts_against_health=True, try_another=True)
_PASSING: Final = Consequence(counts_against_health=True, try_another=True, retry_same=True)

CONSEQUENCES: Final[Mapping[ErrorClass, Consequence]] = MappingProxyType(
    {
        ErrorClass.INVALID_REQUEST: _THE_CALLERS_FAULT,
        # Another provider might let the prompt pass. Carrying a flagged prompt from one to the
        # next puts every credential of the pool at risk, so only the caller may decide that.
        ErrorClass.CONTENT_FILTER: _THE_CALLERS_FAULT,
        ErrorClass.REQUEST_TOO_LARGE: _NOT_FOR_THIS_MODEL,
        ErrorClass.TOKEN_LIMIT: _NOT_FOR_THIS_MODEL,
        ErrorClass.UNSUPPORTED: _UNSUPPORTED,
        ErrorClass.AUTHENTICATION_FAILED: Consequence(
            try_another=True, quarantines_credential=True
        ),
        # A valid credential may lack the right to one model only; its other models go on.
        ErrorClass.PERMISSION_DENIED: _BROKEN,
        # Cooled, not quarantined: paying the bill changes nothing about the credential, and
        # models that cost nothing may go on under it.
        ErrorClass.INSUFFICIENT_CREDITS: Consequence(try_another=True, cools_endpoint=True),
        ErrorClass.RATE_LIMIT: Consequence(try_another=True, retry_same=True, cools_endpoint=True),
        ErrorClass.INVALID_MODEL: _BROKEN,
        ErrorClass.SERVICE_UNAVAILABLE: _PASSING,
        ErrorClass.TIMEOUT: _PASSING,
        ErrorClass.NETWORK_ERROR: _PASSING,
        ErrorClass.PARTIAL_FAILURE: _PASSING,
        ErrorClass.INVALID_RESPONSE: _PASSING,
        # What cannot be loaded rests by itself and says for how long, which is evidence enough:
        # one failed load refuses everybody who waited for it.
        ErrorClass.LOAD_FAILED: Consequence(try_another=True, retry_same=True, cools_endpoint=True),
        ErrorClass.UNKNOWN: _PASSING,
        # The service works, and the prompt is as likely a cause as the model. Three odd prompts
        # must not take a model from everybody; selectors see the failure all the same.
        ErrorClass.EMPTY_COMPLETION: Consequence(try_another=True, retry_same=True),
    }
)

# Status by status as the providers document them. Of those that are not listed here, more is
# worth another try: a request that failed at a gateway was in all likelihood never served.
RETRYABLE_STATUSES: Final[Mapping[str, AbstractSet[int]]] = MappingProxyType(
    {
        "anthropic": frozenset({429, 500, 529}),
        "google": frozenset({429, 500, 503, 504}),
        "openai": frozenset({429, 500, 502, 503}),
        "openrouter": frozenset({408, 429, *range(500, 600)}),
    }
)
"""HTTP statuses after which the same model may be tried again, by provider."""

OTHER_RETRYABLE_STATUSES: Final[AbstractSet[int]] = frozenset({408, 429, 500, 502, 503, 504, 529})
"""The same for every other provider."""

_COOLDOWN_S: Final = {
    ErrorClass.RATE_LIMIT: 60.0,
    ErrorClass.INSUFFICIENT_CREDITS: 900.0,
    ErrorClass.LOAD_FAILED: 1.0,
}
# Longer than this is more often a date taken for seconds than the truth, and asking once an hour
# costs one failover.
_LONGEST_COOLDOWN_S: Final = 3600.0


def retryable_statuses(
    provider: str, tables: Mapping[str, AbstractSet[int]] = RETRYABLE_STATUSES
) -> AbstractSet[int]:
    """Return the HTTP statuses after which the provider's models may be tried again."""
    return tables.get(provider, OTHER_RETRYABLE_STATUSES)


def consequence_of(
    error: Exception, retryable: AbstractSet[int] = OTHER_RETRYABLE_STATUSES
) -> Consequence:
    """Return what follows from an exception that a model or its queue raised.

    Whether the caller has already received a part of the answer, which forbids every further
    attempt, is not known here.

    Args:
        error: Anything but a cancellation, which says nothing about the model.
        retryable: HTTP statuses after which the same model may be tried again. The kind of
            error may still forbid it: a 429 can mean that the money is spent.
    """
    if isinstance(error, ModelError):
        found = CONSEQUENCES[error.classification]
        refused = error.status is not None and error.status >= 400
        if found.retry_same and refused and error.status not in retryable:
            return replace(found, retry_same=False)
        return found
    if isinstance(error, UnsupportedCapabilityError):
        return _UNSUPPORTED
    if isinstance(error, TryLaterError):
        return _NOT_FOR_THIS_MODEL
    if isinstance(error, RequestError) and not isinstance(error, ConfigurationError):
        return _THE_CALLERS_FAULT
    if isinstance(error, ConnectionError | TimeoutError):
        return _PASSING
    return _BROKEN


def cooldown_s(error: ModelError, cooling_for_s: float = 0.0) -> float:
    """Return for how many seconds from now the endpoint rests.

    Args:
        error: The refusal; the time it asks for goes before our own.
        cooling_for_s: Seconds the endpoint is to rest already; never shortened.
    """
    if error.retry_after_s is None:
        rest_s = _COOLDOWN_S.get(error.classification, 60.0)
    else:
        rest_s = min(error.retry_after_s, _LONGEST_COOLDOWN_S)
    return max(cooling_for_s, rest_s)
