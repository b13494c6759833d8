"""How an attempt ends: money, statistics, health and events, in that order."""

from __future__ import annotations

import random
from collections.abc import Callable

from orchestrator.core.bus import EventBus
from orchestrator.core.clock import Clock
from orchestrator.core.decisions import Decision
from orchestrator.core.errors import ErrorClass, ModelError, UnsupportedCapabilityError
from orchestrator.core.events import (
    BudgetExceeded,
    CallFailed,
    DecisionExpired,
    EndpointCooled,
    Event,
    HealthChanged,
    ModelUsed,
)
from orchestrator.core.model import Model
from orchestrator.core.results import Usage
from orchestrator.core.statistics import Outcome
from orchestrator.engine.recorder import Recorder
from orchestrator.routing.availability import Availability, Notice
from orchestrator.routing.budget import DailyBudget
from orchestrator.routing.consequences import Consequence, consequence_of, retryable_statuses
from orchestrator.routing.pacer import BudgetPacer

__all__ = ["Settlement"]


class Settlement:
    """Ends attempts. Everything here is synchronous: an attempt ends whole or not at all."""

    def __init__(
        self,
        recorder: Recorder,
        availability: Availability,
        bus: EventBus,
        clock: Clock,
        rng: random.Random,
        budget: DailyBudget | None = None,
        pacer: BudgetPacer | None = None,
    ) -> None:
        self._recorder = recorder
        self._availability = availability
        self._bus = bus
        self._clock = clock
        self._rng = rng
        self._budget = budget
        self._pacer = pacer

    def answered(
        self,
        decision: Decision,
        model: Model,
        usage: Usage,
        latency_s: float,
        first_token_s: float | None,
    ) -> float:
        """The model answered; returns what that cost in USD."""
        usd = _usd(model, usage)
        self._settle_money(decision, usd)
        self._recorder.close(
            decision,
            Outcome(
                True,
                usd,
                usage.prompt_tokens,
                usage.completion_tokens,
                latency_s,
                first_token_s,
            ),
        )
        now = self._clock.monotonic()
        notice = self._availability.success(decision.key, decision.ticket, now, latency_s)
        if notice is not None:
            self.tell(notice)
        if self._bus.wants(ModelUsed):
            self._publish(
                ModelUsed,
                request_id=decision.request_id,
                decision_id=decision.id,
                model=decision.key,
                attempt=decision.attempt,
                latency_s=latency_s,
                first_token_s=first_token_s,
                prompt_tokens=usage.prompt_tokens,
                completion_tokens=usage.completion_tokens,
                cost_usd=usd,
            )
        return usd

    def failed(
        self,
        decision: Decision,
        model: Model,
        error: Exception,
        latency_s: float,
        *,
        cause_id: str | None = None,
        usage: Usage | None = None,
    ) -> tuple[Consequence, float]:
        """The model failed; returns what follows for the request, and what it cost in USD.

        Args:
            decision: The decision that chose it.
            model: The model.
            error: How it failed.
            latency_s: How long that took.
            cause_id: Failures that share one (the death of one process) are one failure.
            usage: Tokens that were answered before it failed, which are paid for.
        """
        if isinstance(error, ModelError):
            error.model = decision.key
            error.attempt = decision.attempt
        consequence = consequence_of(error, retryable_statuses(model.provider))
        usd = 0.0 if usage is None else _usd(model, usage)
        self._settle_money(decision, usd)
        kind = _kind(error)
        outcome = _failure(usd, usage, latency_s)
        if consequence.says_nothing:
            self._recorder.expire(decision, outcome, kind)
        else:
            self._recorder.close(decision, outcome, kind)
        for notice in self._availability.failure(
            model.spec,
            decision.ticket,
            error,
            consequence,
            self._clock.monotonic(),
            self._rng,
            cause_id,
        ):
            self.tell(notice)
        self._say_failed(decision, latency_s, usd, kind, str(error))
        return consequence, usd

    def cancelled(
        self,
        decision: Decision,
        model: Model,
        latency_s: float,
        *,
        late: bool = False,
        usage: Usage | None = None,
    ) -> float:
        """The caller went away, or (``late``) the request's deadline passed; returns the cost.

        Neither says anything about the model's health. A deadline missed is an outcome all the
        same: for requests like this one the model was too slow.
        """
        usd = 0.0 if usage is None else _usd(model, usage)
        self._settle_money(decision, usd)
        kind = "deadline" if late else "cancelled"
        outcome = _failure(usd, usage, latency_s)
        if late:
            self._recorder.close(decision, outcome, kind)
        else:
            self._recorder.expire(decision, outcome, kind)
        self._availability.neutral(decision.key, decision.ticket, self._clock.monotonic())
        self._say_failed(decision, latency_s, usd, kind, "the deadline passed" if late else kind)
        return usd

    def unused(self, decision: Decision) -> None:
        """Nobody will call the chosen model."""
        if not self._recorder.withdraw(decision):
            return
        self._settle_money(decision, 0.0)
        self._availability.neutral(decision.key, decision.ticket, self._clock.monotonic())
        if self._bus.wants(DecisionExpired):
            self._publish(
                DecisionExpired,
                request_id=decision.request_id,
                decision_id=decision.id,
                model=decision.key,
            )

    def _settle_money(self, decision: Decision, usd: float) -> None:
        budget = self._budget
        if self._pacer is not None and usd:
            self._pacer.spend(usd, self._clock.wall())
        if budget is None:
            return
        wall = self._clock.wall()
        before = budget.spent(wall)
        budget.settle(decision.cost_usd or 0.0, usd, wall)
        if before < budget.limit_usd <= budget.spent_usd:
            self._publish(
                BudgetExceeded,
                budget="day",
                limit_usd=budget.limit_usd,
                spent_usd=budget.spent_usd,
            )

    def _say_failed(
        self, decision: Decision, latency_s: float, usd: float, kind: str, why: str
    ) -> None:
        if self._bus.wants(CallFailed):
            self._publish(
                CallFailed,
                request_id=decision.request_id,
                decision_id=decision.id,
                model=decision.key,
                attempt=decision.attempt,
                latency_s=latency_s,
                cost_usd=usd,
                classification=kind,
                message=why,
            )

    def tell(self, notice: Notice) -> None:
        """Let subscribers know what became of a model's service state."""
        change = notice.change
        if change is None:
            self._publish(
                EndpointCooled, model=notice.model, reason=notice.reason, for_s=notice.for_s
            )
        else:
            self._publish(
                HealthChanged,
                model=notice.model,
                was=change.was,
                now=change.now,
                reason=notice.reason,
                probe_in_s=change.probe_in_s,
            )

    def _publish(self, kind: Callable[..., Event], **facts: object) -> None:
        self._bus.publish(kind(at=self._clock.monotonic(), wall=self._clock.wall(), **facts))


def _kind(error: Exception) -> str:
    if isinstance(error, UnsupportedCapabilityError):
        return ErrorClass.UNSUPPORTED.value
    return error.classification.value if isinstance(error, ModelError) else "unexpected"


def _failure(usd: float, usage: Usage | None, latency_s: float) -> Outcome:
    """Return the outcome of a call that did not end well; only its cost enters the statistics."""
    if usage is None:
        return Outcome(False, usd, seconds=latency_s)
    return Outcome(False, usd, usage.prompt_tokens, usage.completion_tokens, latency_s)


def _usd(model: Model, usage: Usage) -> float:
    """Return what these tokens cost; an unknown price counts as nothing."""
    price = model.spec.price
    if price is None:
        return 0.0
    # A provider may report more cached tokens than prompt tokens; those are still charged.
    fresh_tokens = max(usage.prompt_tokens - usage.cached_tokens, 0)
    return (
        fresh_tokens * price.input_usd
        + usage.cached_tokens * price.cached_input_usd
        + usage.completion_tokens * price.output_usd
    )
