"""How long a provider asks us to wait, in the several ways providers say it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

__all__ = ["MAX_RETRY_AFTER_S", "retry_after_s"]

MAX_RETRY_AFTER_S: Final = 3600.0
"""A longer wait is cut to this: asking once an hour whether it still holds is cheap."""

_UNITS_S: Final = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[dhms]))+")
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|[dhms])")


def retry_after_s(headers: Mapping[str, str], now_wall: float, *, by_limit: bool) -> float | None:
    """Return the seconds to wait, between 0 and `MAX_RETRY_AFTER_S`, or None if nobody says.

    Args:
        headers: Looked up without regard to case: ``retry-after-ms`` (OpenAI, Azure), then
            ``Retry-After`` (RFC 9110: seconds or a date), then ``x-ratelimit-reset-after`` and
            the reset times of the request and token limits (OpenAI, Groq: ``6m0s``, ``12ms``).
        now_wall: Seconds since 1970, for a date.
        by_limit: Whether a limit was the reason; else its reset times say nothing.
    """
    asked = _asked(headers, now_wall)
    if asked is None and by_limit:
        asked = _reset(headers)
    return None if asked is None else min(max(asked, 0.0), MAX_RETRY_AFTER_S)


def _asked(headers: Mapping[str, str], now_wall: float) -> float | None:
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    if text := headers.get("retry-after"):
        seconds = _number(text)
        return _until(text, now_wall) if seconds is None else seconds
    return None


def _reset(headers: Mapping[str, str]) -> float | None:
    names = ["x-ratelimit-reset-after", "x-ratelimit-reset-tokens"]
    # Tokens that remain can be too few for this request; a request that remains is enough.
    if not (_number(headers.get("x-ratelimit-remaining-requests")) or 0) > 0:
        names.append("x-ratelimit-reset-requests")
    waits = [_duration(headers.get(name)) or 0.0 for name in names]
    return max(waits) if max(waits) > 0 else None  # Azure says 0 or -1 where it does not know


def _duration(text: str | None) -> float | None:
    """Read ``6m0s``, ``1.5s``, ``12ms``, or plain seconds."""
    if text is None or not _DURATION.fullmatch(text):
        return _number(text)
    return sum(float(amount) * _UNITS_S[unit] for amount, unit in _DURATION_PART.findall(text))


def _until(date: str, now_wall: float) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        return None
    # "-0000" says UTC without claiming to know the zone; HTTP dates are UTC.
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now_wall


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return None if math.isnan(number) else number
