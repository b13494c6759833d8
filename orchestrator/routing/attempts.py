"""What a request does after a failure: try another model, wait and retry, or give up."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from random import Random
from typing import TypeAlias

from orchestrator.core.errors import InvalidRequestError
from orchestrator.routing.backoff import backoff_s
from orchestrator.routing.consequences import Consequence
from orchestrator.routing.retry_budget import RetryBudget

__all__ = [
    "AttemptPlan",
    "AttemptPolicy",
    "GiveUp",
    "GiveUpReason",
    "NextStep",
    "RetryAfter",
    "TryAnother",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptPolicy:
    """How often one request may try.

    Attributes:
        max_attempts: Attempts in all, on whichever models.
        retries: Attempts at models that have failed the request before; one model alone is
            tried once more than this.
    """

    max_attempts: int = 8
    retries: int = 3

    def __post_init__(self) -> None:
        for name, lowest in (("max_attempts", 1), ("retries", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not value >= lowest:
                raise InvalidRequestError(
                    f"{name} must be at least {lowest}, not {value!r}", param=name
                )


class GiveUpReason(StrEnum):
    """Why a request is not tried again."""

    FINAL = "final"
    """No model could do better."""
    NO_MODEL = "no_model"
    """Nothing is left to try."""
    ATTEMPTS = "attempts"
    """It has had all its attempts."""
    RETRIES = "retries"
    """It has had all its retries."""
    RETRY_BUDGET = "retry_budget"
    """All requests together have had theirs."""
    DEADLINE = "deadline"
    """Its time is over, or would be before it could be tried."""


@dataclass(frozen=True, slots=True)
class TryAnother:
    """Choose among the models that have not been tried, at once."""


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """Wait, then choose among these models, which have all failed the request before."""

    wait_s: float
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GiveUp:
    """End the request."""

    reason: GiveUpReason


NextStep: TypeAlias = TryAnother | RetryAfter | GiveUp


class AttemptPlan:
    """The attempts of one request; needed only once the first has failed.

    After each failure the engine calls `failed`, looks who may serve under what is left of the
    cost limit, and asks for the `next_step`.

    Attributes:
        attempts: Attempts that have failed.
        retries: Attempts granted at models that had failed before.
        tried: By model, the monotonic time from which it may be tried again: ``-inf`` if its
            provider asked for none, ``inf`` if trying it again is of no use.
    """

    __slots__ = ("_final", "_policy", "attempts", "retries", "tried")

    def __init__(self, policy: AttemptPolicy) -> None:
        self._policy = policy
        self._final = False
        self.attempts = 0
        self.retries = 0
        self.tried: dict[str, float] = {}

    def failed(
        self,
        model: str,
        consequence: Consequence,
        now: float,
        retry_after_s: float | None = None,
    ) -> None:
        """Take note of a failed attempt.

        Args:
            model: Key of the model that failed.
            consequence: What follows from its error.
            now: Monotonic seconds.
            retry_after_s: Seconds its provider asked to wait, or None.
        """
        self.attempts += 1
        self._final = not consequence.try_another
        if not consequence.retry_same:
            self.tried[model] = inf
        else:
            self.tried[model] = -inf if retry_after_s is None else now + retry_after_s

    def next_step(
        self,
        *,
        others_eligible: bool,
        same_eligible: Collection[str],
        now: float,
        deadline: float,
        budget: RetryBudget,
        rng: Random,
    ) -> NextStep:
        """Return what to do now. Only a retry that is granted draws on the budget.

        Args:
            others_eligible: A model that is not in `tried` may serve.
            same_eligible: Those of `tried` that could serve, whatever their breaker and
                cooldown say: these rest on failures that the request has just seen itself.
            now: Monotonic seconds.
            deadline: The monotonic time at which the request ends, ``inf`` if never.
            budget: The retries of all requests.
            rng: Draws the backoff.
        """
        if self._final:
            return GiveUp(GiveUpReason.FINAL)
        if now >= deadline:
            return GiveUp(GiveUpReason.DEADLINE)
        if self.attempts >= self._policy.max_attempts:
            return GiveUp(GiveUpReason.ATTEMPTS)
        if others_eligible:
            return TryAnother()
        return self._retry(same_eligible, now, deadline, budget, rng)

    def _retry(
        self,
        models: Collection[str],
        now: float,
        deadline: float,
        budget: RetryBudget,
        rng: Random,
    ) -> RetryAfter | GiveUp:
        first_at = min((self.tried[model] for model in models), default=inf)
        if first_at == inf:
            return GiveUp(GiveUpReason.NO_MODEL)
        if self.retries >= self._policy.retries:
            return GiveUp(GiveUpReason.RETRIES)
        asked_s = None if first_at == -inf else first_at - now
        wait_s = backoff_s(self.retries + 1, asked_s, deadline - now, rng)
        if wait_s is None:
            return GiveUp(GiveUpReason.DEADLINE)
        if not budget.withdraw(now):
            return GiveUp(GiveUpReason.RETRY_BUDGET)
        self.retries += 1
        ready_at = max(first_at, now + wait_s)
        return RetryAfter(wait_s, tuple(m for m in models if self.tried[m] <= ready_at))
