"""Whether a model is well enough to be chosen, judged by the calls it served.

`breaker_states` has the table of its transitions. A probe that fails doubles the time until the
next, and so does a breaker that opens again before it has been closed for as long as it was open,
and for a window at least: a model that recovers only for its probes is out ever longer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from math import inf
from random import Random
from typing import Final, NamedTuple

from orchestrator.core.errors import InvalidRequestError
from orchestrator.routing.breaker_states import TRANSITIONS, BreakerState, Cause
from orchestrator.routing.evidence import Tally

__all__ = ["Breaker", "BreakerPolicy", "Change", "Probe"]

_BUCKETS: Final = 10
_CAUSES_REMEMBERED: Final = 4
_NO_TICKET: Final = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    """When a model counts as unhealthy, and when as healthy again.

    Attributes:
        failure_threshold: Failures in a row that open the breaker.
        recovery_threshold: Probes in a row that close it.
        window_s: How far back the failure rate looks.
        min_calls: Calls within the window below which there is no rate.
        failure_rate: The share of failed calls above which the breaker opens.
        open_s: How long it stays open at first; each failed probe, and each relapse, doubles it.
        max_open_s: Where doubling ends.
        jitter: The part of that time by which it varies either way, so that the probes of
            many processes do not arrive together.
        probe_lease_s: After this long a probe without a result no longer keeps others out.
    """

    failure_threshold: int = 3
    recovery_threshold: int = 2
    window_s: float = 60.0
    min_calls: int = 10
    failure_rate: float = 0.5
    open_s: float = 10.0
    max_open_s: float = 300.0
    jitter: float = 0.2
    probe_lease_s: float = 120.0

    def __post_init__(self) -> None:
        ranges: dict[str, tuple[float, float]] = {
            "failure_threshold": (1, inf),
            "recovery_threshold": (1, inf),
            "window_s": (1e-3, inf),
            "min_calls": (1, inf),
            "failure_rate": (0, 1),
            "open_s": (0, inf),
            "max_open_s": (self.open_s, inf),
            "jitter": (0, 1),
            "probe_lease_s": (0, inf),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not low <= value <= high:
                limits = f"in [{low:g}, {high:g}]" if high < inf else f"at least {low:g}"
                raise InvalidRequestError(f"{name} must be {limits}, not {value!r}", param=name)


@dataclass(frozen=True, slots=True)
class Change:
    """The breaker went from one state to another.

    Attributes:
        reason: Why, for people.
        probe_in_s: Seconds until it may be probed, where it opened.
    """

    was: BreakerState
    now: BreakerState
    reason: str
    probe_in_s: float | None = None


class Probe(NamedTuple):
    """The right to make the one call that tests an unhealthy model."""

    ticket: int
    change: Change | None


class Breaker:
    """The health of one model.

    Every call takes a ticket before it starts, `ticket` or that of a `Probe`, and hands it in
    with its result. Results that come too late say nothing about now, and their tickets no
    longer count: those of calls in flight when the breaker opened, and of a probe whose lease
    had ended. Calls made although the model is unhealthy do not count either.

    Args:
        policy: When it opens and closes.
        tickets: Numbers from 1 up; breakers that share them tell each other's tickets apart.

    Attributes:
        state: ``closed`` is healthy.
        ticket: For a call that is no probe; a new one each time the breaker closes.
        probe_at: The monotonic time from which a call may go through: ``-inf`` while closed,
            the end of the open time, or the end of the lease of the probe in flight.
        by_rate: It is unhealthy by its failure rate, not by failures in a row.
        by_checks: Nothing but shallow checks speaks against it: no call has failed since one
            succeeded.
    """

    __slots__ = (
        "_causes",
        "_closed_at",
        "_counted",
        "_failures_in_a_row",
        "_open_s",
        "_policy",
        "_successes",
        "_tickets",
        "_window",
        "by_checks",
        "by_rate",
        "probe_at",
        "state",
        "ticket",
    )

    state: BreakerState
    by_checks: bool
    _successes: int

    def __init__(self, policy: BreakerPolicy, tickets: Iterator[int] | None = None) -> None:
        self._policy = policy
        self._window = _Window(policy.window_s)
        self._tickets = tickets or count(1)
        self._causes: tuple[str, ...] = ()
        self._open_s = policy.open_s
        self.state = "closed"
        self._close(-inf)

    def may_probe(self, now: float) -> bool:
        """Say whether the model is unhealthy and one call may test it."""
        return self.state != "closed" and now >= self.probe_at

    def begin_probe(self, now: float) -> Probe | None:
        """Give the right to test the model to this caller only, or None if it may not be."""
        if not self.may_probe(now):
            return None
        change = None
        if self.state == "open":
            change = Change("open", self._go("a probe is due"), "a probe is due")
        self._counted = next(self._tickets)
        self.probe_at = now + self._policy.probe_lease_s
        return Probe(self._counted, change)

    def success(
        self, now: float, ticket: int, latency_s: float = 0.0, *, shallow: bool = False
    ) -> Change | None:
        """Count a call that succeeded, or a check.

        Args:
            now: Monotonic seconds.
            ticket: The one the call took.
            latency_s: How long the answer took.
            shallow: It was a check that asked for no answer. That the model can be reached says
                nothing of calls that reached it and failed.
        """
        if ticket != self._counted:
            return None
        if shallow and not self.by_checks:
            self.neutral(now, ticket)
            return None
        if self.state == "closed":
            self._failures_in_a_row = 0
            if not shallow:
                self.by_checks = True
                self._window.add(now, 0, latency_s)
            return None
        self._successes += 1
        if self._successes < self._policy.recovery_threshold:
            self._release_probe(now)
            return None
        reason = f"{self._successes} probes in a row succeeded"
        self._close(now)
        return Change("half_open", self._go("enough probes succeeded"), reason)

    def failure(
        self,
        now: float,
        ticket: int,
        rng: Random,
        *,
        cause_id: str | None = None,
        may_eject: bool = True,
        shallow: bool = False,
    ) -> Change | None:
        """Count a call that failed by the model's fault, or a check.

        Args:
            now: Monotonic seconds.
            ticket: The one the call took.
            rng: Draws the jitter.
            cause_id: What broke, where one thing can break many calls, such as a process;
                failures with the same cause count once.
            may_eject: The failure rate may open the breaker, see `EjectionPolicy`.
            shallow: It was a check that asked for no answer, which is no call of the rate.
        """
        if ticket != self._counted:
            return None
        policy, window = self._policy, self._window
        self.by_checks &= shallow
        if self.state == "half_open":
            return self._open(now, rng, "the probe failed", "the probe failed")
        if cause_id is not None:
            if cause_id in self._causes:
                return None
            self._causes = (cause_id, *self._causes[: _CAUSES_REMEMBERED - 1])
        self._failures_in_a_row += 1
        if not shallow:
            window.add(now, 1)
        if self._failures_in_a_row >= policy.failure_threshold:
            reason = f"{self._failures_in_a_row} failures in a row"
            return self._open(now, rng, "failures in a row", reason)
        enough = may_eject and window.calls >= policy.min_calls
        if enough and window.failures > policy.failure_rate * window.calls:
            self.by_rate = True
            reason = f"{window.failures} of {window.calls} calls failed in {policy.window_s:g} s"
            return self._open(now, rng, "its failure rate", reason)
        return None

    def eject(self, now: float, rng: Random, reason: str) -> Change:
        """Open it, closed as it is, since the model does far worse than the others of its pool."""
        self.by_rate, self.by_checks = True, False
        return self._open(now, rng, "an outlier of the pool", reason)

    def tally(self, now: float) -> Tally:
        """Return the calls of the last window, as far as they are since it last closed."""
        return self._window.tally(now)

    def neutral(self, now: float, ticket: int) -> None:
        """Take note of a call that says nothing: cancelled, or failed by the caller's fault."""
        if ticket == self._counted and self.state == "half_open":
            self._release_probe(now)

    def _go(self, cause: Cause) -> BreakerState:
        self.state = TRANSITIONS[self.state, cause]
        return self.state

    def _open(self, now: float, rng: Random, cause: Cause, reason: str) -> Change:
        was, policy = self.state, self._policy
        well_s = now - self._closed_at if was == "closed" else 0.0
        relapse = well_s < max(self._open_s, policy.window_s)
        self._open_s = min(2 * self._open_s, policy.max_open_s) if relapse else policy.open_s
        open_s = self._open_s * rng.uniform(1 - policy.jitter, 1 + policy.jitter)
        self.probe_at = now + open_s
        self._counted = _NO_TICKET
        self._successes = 0
        return Change(was, self._go(cause), reason, open_s)

    def _release_probe(self, now: float) -> None:
        self.probe_at = now
        self._counted = _NO_TICKET

    def _close(self, now: float) -> None:
        self._closed_at = now
        self.ticket = self._counted = next(self._tickets)
        self.probe_at = -inf
        self.by_rate, self.by_checks = False, True
        self._failures_in_a_row = 0
        self._window.clear()


class _Window:
    """Calls and failures of the last while, which is measured to a tenth of its length."""

    __slots__ = (
        "_bucket",
        "_bucket_s",
        "_calls",
        "_failures",
        "_seconds",
        "calls",
        "failures",
    )

    def __init__(self, window_s: float) -> None:
        self._bucket_s = window_s / _BUCKETS
        self._bucket = 0
        self.clear()

    def clear(self) -> None:
        self.calls = self.failures = 0
        self._calls = [0] * _BUCKETS
        self._failures = [0] * _BUCKETS
        self._seconds = [0.0] * _BUCKETS

    def add(self, now: float, failed: int, latency_s: float = 0.0) -> None:
        bucket = int(now / self._bucket_s)
        if bucket > self._bucket:
            self._advance(bucket)
        place = bucket % _BUCKETS
        self._calls[place] += 1
        self._failures[place] += failed
        self._seconds[place] += latency_s
        self.calls += 1
        self.failures += failed

    def tally(self, now: float) -> Tally:
        self._advance(max(int(now / self._bucket_s), self._bucket))
        return Tally(self.calls, self.failures, sum(self._seconds))

    def _advance(self, bucket: int) -> None:
        for passed in range(self._bucket + 1, min(bucket, self._bucket + _BUCKETS) + 1):
            place = passed % _BUCKETS
            self.calls -= self._calls[place]
            self.failures -= self._failures[place]
            self._calls[place] = self._failures[place] = 0
            self._seconds[place] = 0.0
        self._bucket = bucket
