"""What was seen of a model: when it last answered, how it last failed, what it did of late."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import inf
from typing import Final, NamedTuple

__all__ = ["Checked", "Evidence", "Failure", "Tally"]

_FAILURES_KEPT: Final = 5


class Failure(NamedTuple):
    """One failure.

    Attributes:
        at: When, in monotonic seconds.
        kind: The error's class, such as ``service_unavailable`` or ``rate_limit``.
        counted: It counts against the model's health.
        by_check: An active check met it, not a request.
    """

    at: float
    kind: str
    counted: bool
    by_check: bool


class Tally(NamedTuple):
    """The calls of the last while.

    Attributes:
        calls: How many ended well, or badly by the model's fault.
        failures: How many of them badly.
        seconds: What those that ended well took together.
    """

    calls: int = 0
    failures: int = 0
    seconds: float = 0.0

    @property
    def error_rate(self) -> float | None:
        """The share that failed, or None if there were none."""
        return self.failures / self.calls if self.calls else None

    @property
    def response_s(self) -> float | None:
        """How long an answer took on average, or None if there was none."""
        answers = self.calls - self.failures
        return self.seconds / answers if answers else None


@dataclass(slots=True)
class Evidence:
    """What was seen of one model.

    Attributes:
        answered_at: Its last success, in monotonic seconds, or None.
        called_at: When a request's call last ended, however it did.
        failures: Its last five failures, the latest first.
    """

    answered_at: float | None = None
    called_at: float = -inf
    failures: deque[Failure] = field(default_factory=lambda: deque(maxlen=_FAILURES_KEPT))


@dataclass(frozen=True, slots=True)
class Checked:
    """What a monitor did about one model.

    Attributes:
        checks: Checks that have ended.
        failed: How many of them failed.
        cost_usd: What they cost; requests do not pay for it.
        next_at: When the next is due, in monotonic seconds; inf if none is.
    """

    checks: int = 0
    failed: int = 0
    cost_usd: float = 0.0
    next_at: float = inf
