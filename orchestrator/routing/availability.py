"""Which models are out of service now, and for how long: breakers, cooldowns, quarantines.

Three things, kept apart: a model's breaker opens when it fails, an endpoint cools after a refusal
such as 429, a credential is in quarantine until it changes. A model may be chosen while none of
them speaks against it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import count
from math import inf
from random import Random

import numpy as np

from orchestrator.core.decisions import Refusal, RefusalCode
from orchestrator.core.errors import ErrorClass, ModelError
from orchestrator.core.model import ModelSpec
from orchestrator.core.selector import BoolArray
from orchestrator.routing.breaker import Breaker, BreakerPolicy, Change
from orchestrator.routing.breaker_states import BreakerState
from orchestrator.routing.consequences import Consequence, cooldown_s
from orchestrator.routing.ejection import EjectionPolicy, LastResort
from orchestrator.routing.evidence import Evidence, Failure, Tally
from orchestrator.routing.outliers import find_outliers
from orchestrator.routing.pool import Pool

__all__ = ["Availability", "Notice", "Outage"]


@dataclass(frozen=True, slots=True)
class Outage:
    """Why a model is out of service.

    Attributes:
        code: ``unhealthy``, ``cooling`` or ``credential``.
        reason: What happened, for people.
        until: The monotonic time at which it ends, or None if waiting does not help.
    """

    code: RefusalCode
    reason: str
    until: float | None

    def refusal(self, now: float) -> Refusal:
        """Return it as the reason why the model was refused at ``now``."""
        wait_s = None if self.until is None else max(self.until - now, 0.0)
        return Refusal(self.code, self.reason, wait_s)


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that subscribers should know: a breaker changed or an endpoint cools."""

    model: str
    reason: str
    change: Change | None = None
    """The breaker's change, or None for a cooldown."""
    for_s: float | None = None
    """How long the endpoint rests; None is until the credential changes."""


@dataclass(slots=True)
class _Rest:
    until: float
    reason: str


class Availability:
    """The service state of every model of one pool. Pure: time and randomness are handed in."""

    def __init__(
        self,
        policy: BreakerPolicy | None = None,
        ejection: EjectionPolicy | None = None,
    ) -> None:
        self._policy = policy or BreakerPolicy()
        self._ejection = ejection or EjectionPolicy()
        self._breakers: dict[str, Breaker] = {}
        # One count for all: a call to a model that was replaced says nothing about the new one.
        self._tickets = count(1)
        self._cooling: dict[str, _Rest] = {}
        self._quarantined: dict[str, str] = {}
        self._unwell: set[str] = set()
        self._evidence: defaultdict[str, Evidence] = defaultdict(Evidence)
        self._compares_at = -inf
        self._pool = Pool(0, ())
        self._usable: BoolArray = np.ones(0, dtype=np.bool_)
        self._changes_at = inf
        self.outages: Mapping[str, Outage] = {}
        """Every model that is out of service, by key; replaced, never changed."""

    def arrange(self, pool: Pool) -> None:
        """Follow the pool. A model that was replaced starts afresh."""
        before = dict(zip(self._pool.keys, self._pool.models, strict=True))
        for key, model in before.items():
            arm = pool.index.get(key)
            if arm is None or pool.models[arm] is not model:
                self._breakers.pop(key, None)
                self._evidence.pop(key, None)
                self._cooling.pop(key, None)
                self._unwell.discard(key)
                self._quarantined.pop(key, None)
        self._pool = pool
        credentials = {_credential(model.spec) for model in pool.models}
        self._quarantined = {c: why for c, why in self._quarantined.items() if c in credentials}
        self._changes_at = -inf

    def usable(self, now: float) -> BoolArray:
        """Return which arms are in service, shape ``(n_arms,)``; do not write to it."""
        if now >= self._changes_at:
            self._work_out(now)
        return self._usable

    def last_resort(self, eligible: BoolArray, now: float) -> LastResort | None:
        """Return what to do for a request that only these models could serve, all being out.

        A model whose credential is refused is not one of them: no waiting changes that.
        """
        self.usable(now)
        back_at = np.full(len(self._pool), inf)
        for key, outage in self.outages.items():
            if outage.until is not None:
                back_at[self._pool.index[key]] = outage.until
        return self._ejection.last_resort(back_at, eligible & np.isfinite(back_at), now)

    def state(self, key: str) -> BreakerState:
        """Return the state of a model's breaker."""
        breaker = self._breakers.get(key)
        return "closed" if breaker is None else breaker.state

    # -- what is known of one model --------------------------------------------------------------

    def breaker(self, key: str) -> Breaker:
        """Return the breaker of a model of the pool; only this object may change it."""
        breaker = self._breakers.get(key)
        if breaker is None:
            breaker = self._breakers[key] = Breaker(self._policy, self._tickets)
        return breaker

    def evidence(self, key: str) -> Evidence:
        """Return what was seen of a model; only this object may change it."""
        return self._evidence.get(key) or Evidence()

    def tally(self, key: str, now: float) -> Tally:
        """Return the calls of a model within the breaker's window."""
        breaker = self._breakers.get(key)
        return Tally() if breaker is None else breaker.tally(now)

    @property
    def unwell(self) -> AbstractSet[str]:
        """The models whose breaker is not closed, by key."""
        return self._unwell

    def speaks_against(self, key: str, now: float) -> Iterator[Outage]:
        """Yield everything that keeps a model out of service, the longest-lasting kind first."""
        spec = self._pool.models[self._pool.index[key]].spec
        refused = self._refused(spec)
        if refused is not None:
            yield Outage(RefusalCode.CREDENTIAL, f"its credential was refused: {refused}", None)
        rest = self._cooling.get(key)
        if rest is not None and rest.until > now:
            yield Outage(RefusalCode.COOLING, rest.reason, rest.until)
        breaker = self._breakers.get(key)
        if breaker is not None and breaker.state != "closed" and not breaker.may_probe(now):
            waits = "is probed now" if breaker.state == "half_open" else "has failed too often"
            yield Outage(RefusalCode.UNHEALTHY, f"it {waits}", breaker.probe_at)

    # -- a call's life -------------------------------------------------------------------------

    def begin(self, key: str, now: float) -> tuple[int, Notice | None]:
        """Return the ticket with which a call's result is handed in."""
        breaker = self.breaker(key)
        if breaker.state != "closed":
            probe = breaker.begin_probe(now)
            if probe is not None:
                self._changes_at = -inf
                return probe.ticket, self._notice(key, probe.change)
        return breaker.ticket, None

    def success(
        self,
        key: str,
        ticket: int,
        now: float,
        latency_s: float = 0.0,
        *,
        by_check: bool = False,
        shallow: bool = False,
    ) -> Notice | None:
        """Take note of a call that succeeded; arguments as for `failure` and `Breaker.success`."""
        breaker = self._breakers.get(key)
        if breaker is None:
            return None
        seen = self._evidence[key]
        seen.answered_at = now
        if not by_check:
            seen.called_at = now
        change = breaker.success(now, ticket, latency_s, shallow=shallow)
        return self._after(key, breaker, change)

    def neutral(self, key: str, ticket: int, now: float) -> None:
        """Take note of a call that says nothing about the model."""
        breaker = self._breakers.get(key)
        if breaker is not None:
            breaker.neutral(now, ticket)
            self._after(key, breaker, None)

    def failure(
        self,
        spec: ModelSpec,
        ticket: int,
        error: Exception,
        consequence: Consequence,
        now: float,
        rng: Random,
        cause_id: str | None = None,
        *,
        by_check: bool = False,
        shallow: bool = False,
    ) -> list[Notice]:
        """Take note of a failed call; further arguments as for `Breaker.failure`.

        Args:
            spec: What was called.
            ticket: The one the call took.
            error: How it failed.
            consequence: What follows.
            now: Monotonic seconds.
            rng: Draws the jitter.
            cause_id: What broke.
            by_check: No request called, but an active check.
            shallow: One that asked for no answer.
        """
        key = spec.key.text
        notices: list[Notice] = []
        if key not in self._pool.index:
            return notices
        self._note(key, error, consequence, now, by_check)
        breaker = self._breakers.get(key)
        if breaker is not None:
            change = None
            if consequence.counts_against_health:
                change = breaker.failure(
                    now,
                    ticket,
                    rng,
                    cause_id=cause_id,
                    may_eject=self._may_eject(),
                    shallow=shallow,
                )
            else:
                breaker.neutral(now, ticket)
            notice = self._after(key, breaker, change)
            if notice is not None:
                notices.append(notice)
            if consequence.counts_against_health and now >= self._compares_at:
                notices += self._compare(now, rng)
        if consequence.cools_endpoint and isinstance(error, ModelError):
            notices.append(self._cool(key, error, now))
        if consequence.quarantines_credential:
            self._quarantined[_credential(spec)] = str(error)
            self._changes_at = -inf
            notices.append(Notice(key, "its credential was refused"))
        return notices

    def restore_credential(self, credential_id: str) -> None:
        """End a credential's quarantine, since it has changed."""
        self._quarantined.pop(credential_id, None)
        self._changes_at = -inf

    # ------------------------------------------------------------------------------------------

    def _note(
        self, key: str, error: Exception, consequence: Consequence, now: float, by_check: bool
    ) -> None:
        seen = self._evidence[key]
        if not by_check:
            seen.called_at = now
        if not consequence.says_nothing:
            kind = error.classification if isinstance(error, ModelError) else ErrorClass.UNKNOWN
            counted = consequence.counts_against_health
            seen.failures.appendleft(Failure(now, kind.value, counted, by_check))

    def _may_eject(self) -> bool:
        by_rate = sum(self._breakers[key].by_rate for key in self._unwell)
        return self._ejection.may_eject(by_rate, len(self._pool))

    def _compare(self, now: float, rng: Random) -> list[Notice]:
        """Eject those that fail far more often than the rest, while a rate may eject anybody."""
        policy = self._ejection
        self._compares_at = now + policy.outlier_interval_s
        well = {k: b.tally(now) for k, b in self._breakers.items() if b.state == "closed"}
        notices = []
        for outlier in find_outliers(
            well,
            deviations=policy.outlier_deviations,
            min_models=policy.outlier_min_models,
            min_calls=policy.outlier_min_calls,
        ):
            if not self._may_eject():
                break
            breaker = self._breakers[outlier.model]
            reason = (
                f"{outlier.rate:.0%} of its calls succeed, an outlier below {outlier.threshold:.0%}"
            )
            notice = self._after(outlier.model, breaker, breaker.eject(now, rng, reason))
            assert notice is not None
            notices.append(notice)
        return notices

    def _cool(self, key: str, error: ModelError, now: float) -> Notice:
        present = self._cooling.get(key)
        rest_s = cooldown_s(error, 0.0 if present is None else present.until - now)
        self._cooling[key] = _Rest(now + rest_s, f"{error.classification.value} from its endpoint")
        self._changes_at = -inf
        return Notice(key, error.classification.value, None, rest_s)

    def _after(self, key: str, breaker: Breaker, change: Change | None) -> Notice | None:
        if breaker.state != "closed" or key in self._unwell:
            if breaker.state == "closed":
                self._unwell.discard(key)
            else:
                self._unwell.add(key)
            self._changes_at = -inf
        return self._notice(key, change)

    def _notice(self, key: str, change: Change | None) -> Notice | None:
        return None if change is None else Notice(key, change.reason, change)

    def _work_out(self, now: float) -> None:
        usable = np.ones(len(self._pool), dtype=np.bool_)
        outages: dict[str, Outage] = {}
        self._changes_at = inf
        self._cooling = {k: rest for k, rest in self._cooling.items() if rest.until > now}
        for key in self._affected():
            outage = next(self.speaks_against(key, now), None)
            if outage is not None:
                outages[key] = outage
                usable[self._pool.index[key]] = False
                if outage.until is not None:
                    self._changes_at = min(self._changes_at, outage.until)
        self._usable, self.outages = usable, outages

    def _affected(self) -> Collection[str]:
        keys = {*self._unwell, *self._cooling}
        if self._quarantined:
            keys.update(m.key.text for m in self._pool.models if self._refused(m.spec) is not None)
        return keys & self._pool.index.keys()

    def _refused(self, spec: ModelSpec) -> str | None:
        return self._quarantined.get(_credential(spec))


def _credential(spec: ModelSpec) -> str:
    return spec.credential_id or spec.key.text
