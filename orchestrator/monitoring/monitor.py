"""Looks after models that no request looks after."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Final

import anyio

from orchestrator.core.errors import ConfigurationError, InvalidRequestError
from orchestrator.core.model import Model
from orchestrator.monitoring.check import Finding, check, checks_itself
from orchestrator.monitoring.subject import Subject
from orchestrator.routing.breaker import BreakerPolicy
from orchestrator.routing.budget import DailyBudget
from orchestrator.routing.consequences import consequence_of, retryable_statuses
from orchestrator.routing.evidence import Checked

__all__ = ["ModelHealthMonitor"]

_CONFIRM_S: Final = 5.0
"""What one check found is confirmed this soon: threshold times a long interval would leave a dead
model in service for a quarter of an hour, and one that is back out of it."""
_AT_ONCE: Final = 8
_LOOK_S: Final = 1.0
"""How often to look whether a request has changed when a check is due."""
_SHORTEST_LOOK_S: Final = 0.02


@dataclass(slots=True)
class _Watch:
    model: Model
    checked_at: float
    wait_s: float
    look_at: float = -inf
    """Before this it cannot be due, unless its breaker opens."""
    busy: bool = False
    failing: bool = False
    checks: int = 0
    failed: int = 0
    cost_usd: float = 0.0


class ModelHealthMonitor:
    """Checks models in the background: ``Orchestrator(health_monitor=ModelHealthMonitor())``.

    Local models are checked every ``check_interval``, others when no request has called them for
    as long, and whoever is out of service when its breaker allows a probe. A check awaits
    `Model.health_check`; a model whose answers cost nothing is then asked for one token, since to
    be reached is less than to answer. What checks find goes into the breaker that requests feed,
    with one restriction: a check that asked for no answer never clears a model of answers that
    failed. Checks of one model never overlap.

    Args:
        check_interval: Seconds from one check of a model to the next.
        failure_threshold: Failures in a row that take a model out of service; stands in the place
            of the same setting of `BreakerPolicy`, and counts those of requests too.
        recovery_threshold: Probes in a row that bring it back, likewise.
        timeout_s: How long one check may take; longer is a failure.
        jitter: The part of the interval by which it varies either way.
        probe_usd_per_day: What questions to models that cost money may cost in a UTC day; 0 asks
            them none.

    Raises:
        InvalidRequestError: A setting is out of range.
    """

    def __init__(
        self,
        check_interval: float = 300.0,
        failure_threshold: int = 3,
        recovery_threshold: int = 2,
        *,
        timeout_s: float = 10.0,
        jitter: float = 0.1,
        probe_usd_per_day: float = 0.0,
    ) -> None:
        for name, value, fits, limits in (
            ("check_interval", check_interval, 0 < check_interval < inf, "above 0 seconds"),
            ("timeout_s", timeout_s, 0 < timeout_s < inf, "above 0 seconds"),
            ("jitter", jitter, 0 <= jitter < 1, "in [0, 1)"),
            ("probe_usd_per_day", probe_usd_per_day, 0 <= probe_usd_per_day < inf, "0 USD or more"),
        ):
            if not fits:
                raise InvalidRequestError(f"{name} must be {limits}, not {value!r}", param=name)
        BreakerPolicy(failure_threshold=failure_threshold, recovery_threshold=recovery_threshold)
        self.check_interval = check_interval
        self.failure_threshold = failure_threshold
        self.recovery_threshold = recovery_threshold
        self.timeout_s = timeout_s
        self.jitter = jitter
        self.probe_usd_per_day = probe_usd_per_day
        self._subject: Subject | None = None
        self._budget: DailyBudget | None = None
        self._watches: dict[str, _Watch] = {}
        self._models: Sequence[Model] = ()
        self._busy = 0

    def policy(self, breaker: BreakerPolicy | None) -> BreakerPolicy:
        """Return a breaker's policy with the thresholds of this monitor."""
        return replace(
            breaker or BreakerPolicy(),
            failure_threshold=self.failure_threshold,
            recovery_threshold=self.recovery_threshold,
        )

    def watch(self, subject: Subject) -> None:
        """Take the engine to look after.

        Raises:
            ConfigurationError: It has one already.
        """
        if self._subject is not None:
            raise ConfigurationError(
                "this health monitor watches an engine already", hint="give each its own"
            )
        self._subject = subject

    def checked(self, key: str) -> Checked:
        """Return what was done about a model, and when the next check is due."""
        watch, subject = self._watches.get(key), self._subject
        if watch is None or subject is None:
            return Checked()
        now = subject.clock.monotonic()
        due_at = now if watch.busy else self._due_at(watch, subject, now)
        return Checked(watch.checks, watch.failed, watch.cost_usd, due_at)

    async def run(self) -> None:
        """Check models until cancelled."""
        subject = self._subject
        assert subject is not None, "an engine runs the monitor that it was given"
        self._busy = 0
        async with anyio.create_task_group() as checks:
            while True:
                now = subject.clock.monotonic()
                self._follow(subject, now)
                for watch in self._due(subject, now):
                    watch.busy, watch.look_at = True, inf
                    self._busy += 1
                    checks.start_soon(self._check, watch, subject)
                soonest = min((w.look_at for w in self._watches.values()), default=inf)
                await asyncio.sleep(min(max(soonest - now, _SHORTEST_LOOK_S), _LOOK_S))

    # ------------------------------------------------------------------------------------------

    def _follow(self, subject: Subject, now: float) -> None:
        """Follow the pool. A model that was replaced starts afresh."""
        models = subject.models()
        if models is self._models:
            return
        watches: dict[str, _Watch] = {}
        for model in models:
            key = model.key.text
            watch = self._watches.get(key)
            if watch is None or watch.model is not model:
                watch = _Watch(model, now, self._wait_s(subject))
            watches[key] = watch
        self._watches, self._models = watches, models

    def _due(self, subject: Subject, now: float) -> list[_Watch]:
        """Return whom to check now, as many as may be checked at once."""
        found: list[_Watch] = []
        unwell = subject.availability.unwell
        for key, watch in self._watches.items():
            if (watch.look_at > now and key not in unwell) or watch.busy:
                continue
            due_at = self._due_at(watch, subject, now)
            watch.look_at = min(due_at, now + self.check_interval)
            if due_at <= now and self._busy + len(found) < _AT_ONCE:
                found.append(watch)
        return found

    def _due_at(self, watch: _Watch, subject: Subject, now: float) -> float:
        model, availability = watch.model, subject.availability
        key = model.key.text
        asks = self._question_usd(model, subject) is not None
        if not (asks or checks_itself(model)):
            return inf
        soon = watch.checked_at + min(_CONFIRM_S, self.check_interval)
        unwell = availability.state(key) != "closed"
        if unwell and not (asks or availability.breaker(key).by_checks):
            return inf  # a request has to find out: no answer may be asked for
        if unwell or watch.failing:
            due_at = soon
        else:
            due_at = watch.checked_at + watch.wait_s
            called_at = availability.evidence(key).called_at
            if model.spec.resident is not None and called_at < watch.checked_at:
                return inf  # to ask is to use it: it would never be idle enough to leave memory
            if not model.spec.local:  # a request says more than a check, and costs no more
                due_at = max(due_at, called_at + watch.wait_s)
        for outage in availability.speaks_against(key, now):
            due_at = inf if outage.until is None else max(due_at, outage.until)
        return due_at

    async def _check(self, watch: _Watch, subject: Subject) -> None:
        model, availability, clock = watch.model, subject.availability, subject.clock
        key = model.key.text
        begun = clock.monotonic()
        ticket, notice = availability.begin(key, begun)
        if notice is not None:
            subject.tell(notice)
        most_usd, budget = self._question_usd(model, subject), self._probe_budget(subject)
        ask = None if most_usd is None else subject.ask
        finding = None
        budget.reserve(most_usd or 0.0)
        try:
            finding = await check(model, ask, self.timeout_s)
        finally:
            watch.busy, watch.look_at = False, -inf
            self._busy -= 1
            watch.checked_at, watch.wait_s = clock.monotonic(), self._wait_s(subject)
            spent_usd = 0.0 if finding is None else finding.usd
            budget.settle(most_usd or 0.0, spent_usd, clock.wall())
            if finding is None:  # cancelled
                availability.neutral(key, ticket, watch.checked_at)
        self._settle(watch, subject, ticket, finding, watch.checked_at - begun)

    def _settle(
        self, watch: _Watch, subject: Subject, ticket: int, finding: Finding, took_s: float
    ) -> None:
        model, availability, now = watch.model, subject.availability, watch.checked_at
        watch.checks += 1
        watch.cost_usd += finding.usd
        watch.failing = False
        if finding.error is None:
            notice = availability.success(
                model.key.text, ticket, now, took_s, by_check=True, shallow=finding.shallow
            )
            notices = [] if notice is None else [notice]
        else:
            consequence = consequence_of(finding.error, retryable_statuses(model.provider))
            watch.failing = consequence.counts_against_health
            watch.failed += watch.failing
            notices = availability.failure(
                model.spec,
                ticket,
                finding.error,
                consequence,
                now,
                subject.rng,
                by_check=True,
                shallow=finding.shallow,
            )
        for each in notices:
            subject.tell(each)

    def _question_usd(self, model: Model, subject: Subject) -> float | None:
        """Return what a question costs at most, or None if none may be asked."""
        usd = subject.price(model)
        if not usd:
            return usd
        return usd if usd <= self._probe_budget(subject).left(subject.clock.wall()) else None

    def _probe_budget(self, subject: Subject) -> DailyBudget:
        if self._budget is None:
            self._budget = DailyBudget(self.probe_usd_per_day, subject.clock.wall())
        return self._budget

    def _wait_s(self, subject: Subject) -> float:
        return self.check_interval * subject.rng.uniform(1 - self.jitter, 1 + self.jitter)
