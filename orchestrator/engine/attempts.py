"""The attempts of one request: who is called, what came of it, and who is called next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, NoReturn, TypeVar

from orchestrator.core.decisions import Decision
from orchestrator.core.errors import (
    AttemptsExhaustedError,
    DeadlineExceededError,
    ErrorClass,
    ModelError,
    NoEligibleModelsError,
    TryLaterError,
    in_words,
)
from orchestrator.core.events import CallStarted, Event, FailedOver, ModelSelected, RetryScheduled
from orchestrator.core.params import Params, TextGenerationParams
from orchestrator.core.results import Attempt, Usage
from orchestrator.engine.ask import Ask, Chosen
from orchestrator.engine.parts import Parts
from orchestrator.routing.attempts import AttemptPlan, GiveUp, GiveUpReason, RetryAfter
from orchestrator.routing.consequences import Consequence

__all__ = ["Attempts"]

_Params = TypeVar("_Params", bound=Params)
_LONGEST_ANSWER: Final = 4096
"""Tokens, where a model's own limit is not known: a provider refuses to be asked for more."""
_ONE_DEATH = (ErrorClass.NETWORK_ERROR, ErrorClass.PARTIAL_FAILURE)
"""How the death of a process looks to each call that it cuts."""
_WHY_NO_MORE: Final = {
    GiveUpReason.NO_MODEL: "no other model may serve it",
    GiveUpReason.ATTEMPTS: "it has had all its attempts",
    GiveUpReason.RETRIES: "it has had all its retries",
    GiveUpReason.RETRY_BUDGET: "all requests together have had their retries for now",
    GiveUpReason.DEADLINE: "its time is over, or would be before the next attempt",
}


class Attempts:
    """Chooses, settles and fails over for one request.

    Args:
        parts: What all requests share.
        ask: What this one wants.
        first: Gives the decision made beforehand for its first attempt, if there still is one.

    Attributes:
        begun: When the request began, in monotonic seconds.
        made: The attempts that ended, in order.
        spent_usd: What they have cost.
    """

    def __init__(
        self, parts: Parts, ask: Ask, first: Callable[[], Chosen | None] = lambda: None
    ) -> None:
        self._parts = parts
        self.ask = ask
        self.begun = parts.clock.monotonic()
        self.deadline_s = ask.deadline_s
        self._first = first
        self._plan: AttemptPlan | None = None
        self.made: list[Attempt] = []
        self.spent_usd = 0.0
        self._attempt_begun = self.begun

    @property
    def left_s(self) -> float:
        """How long the request still has."""
        return max(self.begun + self.deadline_s - self._parts.clock.monotonic(), 0.0)

    @property
    def elapsed_s(self) -> float:
        """How long the request has taken so far."""
        return self._parts.clock.monotonic() - self.begun

    def called(self) -> None:
        """The call itself starts now: waiting for a place was not the model's doing."""
        self._attempt_begun = self._parts.clock.monotonic()

    def begin(self) -> Chosen:
        """Choose for the first attempt.

        Raises:
            NoEligibleModelsError: Nobody may serve.
        """
        parts = self._parts
        self.begun = parts.clock.monotonic()
        parts.retry_budget.deposit()
        chosen = self._first()
        if chosen is None:
            try:
                chosen = parts.chooser.decide(self.ask)
            except NoEligibleModelsError:
                self._lost()
                raise
            if parts.bus.wants(ModelSelected):
                self._say_decided(chosen.decision)
        return self._called(chosen)

    async def begin_by_text(self) -> Chosen:
        """Choose for the first attempt once the request's text has told its segment; as `begin`.

        Where the choice was made beforehand, the segment is only for whoever comes next.
        """
        begun = self.begun = self._parts.clock.monotonic()
        first = self._first()
        if first is None:
            await self._tell_apart()
        self._first = lambda: first
        chosen = self.begin()
        self.begun = begun
        return chosen

    def affordable(self, chosen: Chosen, params: _Params) -> _Params:
        """Return a request as it goes to a model: its answer ends where it would cost too much.

        One that limits its answer by itself was found to be affordable.
        """
        if not isinstance(params, TextGenerationParams) or params.max_tokens is not None:
            return params
        tokens = self._parts.chooser.affordable_output(chosen.decision, self.ask, self.spent_usd)
        if tokens is None:
            return params
        model = chosen.model
        longest = model.default_max_tokens or model.spec.max_output_tokens or _LONGEST_ANSWER
        return params if longest <= tokens else params.model_copy(update={"max_tokens": tokens})

    def answered(
        self,
        chosen: Chosen,
        usage: Usage,
        first_token_s: float | None = None,
        *,
        carried_tokens: int = 0,
    ) -> None:
        """The model answered.

        Args:
            chosen: Who.
            usage: The tokens of its answer.
            first_token_s: Seconds from the call to its first content token, if known.
            carried_tokens: What its prompt held beside the request, as we estimate it.
        """
        decision = chosen.decision
        latency_s = self.since_call_s
        if not usage.estimated:
            prompt = self.ask.size.prompt + carried_tokens
            self._parts.estimator.observe(decision.key, prompt, usage.prompt_tokens)
        usd = self._parts.settlement.answered(
            decision, chosen.model, usage, latency_s, first_token_s
        )
        self._made(chosen, latency_s, usd, None)
        ask = self.ask
        if ask.session is not None:
            self._parts.chooser.stay(ask, decision.key)
        if ask.trial is not None:
            self._parts.trials.answered(ask.trial, decision)

    def cancelled(self, chosen: Chosen, *, late: bool, usage: Usage | None = None) -> None:
        """The caller went away, or (``late``) the deadline passed.

        Args:
            chosen: Who was being called.
            late: It was the deadline.
            usage: Tokens that had been answered by then, which are paid for.
        """
        latency_s = self.since_call_s
        usd = self._parts.settlement.cancelled(
            chosen.decision, chosen.model, latency_s, late=late, usage=usage
        )
        self._made(chosen, latency_s, usd, None)

    async def after(
        self,
        chosen: Chosen,
        error: Exception,
        *,
        process: str | None = None,
        usage: Usage | None = None,
    ) -> Chosen:
        """The model failed: return who is called next, once it is time.

        Args:
            chosen: Who failed.
            error: How.
            process: Identifies the process that served it, or None.
            usage: Tokens that it answered before, which are paid for.

        Raises:
            AttemptsExhaustedError: Everything that was allowed has been tried.
            Exception: The error itself, where no other model could do better.
        """
        consequence = self._settle_failure(chosen, error, process, usage)
        if self.ask.text is not None:
            await self._tell_apart()
        plan = self._plan = self._plan or AttemptPlan(self._parts.attempts)
        now = self._parts.clock.monotonic()
        retry_after_s = getattr(error, "retry_after_s", None)
        plan.failed(chosen.decision.key, consequence, now, retry_after_s)
        untried, again = self._parts.chooser.standing(self.ask, plan.tried, self.spent_usd)
        step = plan.next_step(
            others_eligible=untried,
            same_eligible=again,
            now=now,
            deadline=self.begun + self.deadline_s,
            budget=self._parts.retry_budget,
            rng=self._parts.rng,
        )
        if isinstance(step, GiveUp):
            self._give_up(step.reason, error)
        only = None
        if isinstance(step, RetryAfter):
            only = step.models
            self._say(RetryScheduled, retry=plan.retries, wait_s=step.wait_s)
            await asyncio.sleep(step.wait_s)
        try:
            following = self._parts.chooser.decide(
                self.ask,
                tried=plan.tried,
                only=only,
                spent_usd=self.spent_usd,
                attempt=plan.attempts + 1,
            )
        except NoEligibleModelsError:
            # Somebody else took the last place (a probe, the budget) since we looked.
            self._give_up(GiveUpReason.NO_MODEL, error)
        if following.decision.key != chosen.decision.key:
            self._say(
                FailedOver,
                from_model=chosen.decision.key,
                to_model=following.decision.key,
                classification=_kind(error),
            )
        if self._parts.bus.wants(ModelSelected):
            self._say_decided(following.decision)
        return self._called(following)

    def interrupted(
        self, chosen: Chosen, error: Exception, usage: Usage, process: str | None
    ) -> None:
        """The model failed after its answer had begun, and the request ends with it."""
        if self._settle_failure(chosen, error, process, usage).try_another:
            self._lost()

    def too_late(self, what: str) -> DeadlineExceededError:
        """Return the error for a deadline that passed before there was an answer, or a part."""
        self._lost()
        error = DeadlineExceededError(
            f"no {what} within {self.deadline_s:g} s, after {len(self.made)} attempts",
            deadline_s=self.deadline_s,
            attempts=[a.error for a in self.made if a.error is not None],
        )
        error.request_id = self.ask.request_id
        return error

    # ------------------------------------------------------------------------------------------

    async def _tell_apart(self) -> None:
        text, segments = self.ask.text, self._parts.segments
        assert text is not None
        assert segments is not None
        segment = await segments.segment(text, self.left_s)
        self.ask = self.ask._replace(segment=segment, text=None)

    def _settle_failure(
        self, chosen: Chosen, error: Exception, process: str | None, usage: Usage | None = None
    ) -> Consequence:
        latency_s = self.since_call_s
        one_death = isinstance(error, ModelError) and error.classification in _ONE_DEATH
        consequence, usd = self._parts.settlement.failed(
            chosen.decision,
            chosen.model,
            error,
            latency_s,
            cause_id=process if one_death else None,
            usage=usage,
        )
        self._made(chosen, latency_s, usd, error)
        return consequence

    def _give_up(self, reason: GiveUpReason, error: Exception) -> NoReturn:
        if reason is GiveUpReason.FINAL:
            raise error
        self._lost()
        errors = [a.error for a in self.made if a.error is not None]
        models = len({a.model for a in self.made})
        exhausted = AttemptsExhaustedError(
            f"No providers available for {self.ask.what}: {_counted(len(self.made), 'attempt')} at "
            f"{_counted(models, 'model')} failed, and {_WHY_NO_MORE[reason]}; the last, "
            f"{self.made[-1].model}: {in_words(error)}",
            attempts=errors,
            classification=error.classification if isinstance(error, ModelError) else None,
            model=self.made[-1].model,
            retry_after_s=getattr(error, "retry_after_s", None),
        )
        statuses = {e.http_status for e in errors if isinstance(e, ModelError | TryLaterError)}
        if len(statuses) == 1:
            exhausted.http_status = statuses.pop()
        raise exhausted from error

    def _lost(self) -> None:
        """The request gets no answer: in an experiment that is what its variant has come to."""
        if self.ask.trial is not None:
            self._parts.trials.failed(self.ask.trial)

    def _called(self, chosen: Chosen) -> Chosen:
        self._attempt_begun = self._parts.clock.monotonic()
        if self._parts.bus.wants(CallStarted):
            self._say(
                CallStarted,
                decision_id=chosen.decision.id,
                model=chosen.decision.key,
                attempt=chosen.decision.attempt,
            )
        return chosen

    def _say_decided(self, decision: Decision) -> None:
        self._say(
            ModelSelected,
            decision_id=decision.id,
            model=decision.key,
            selector=decision.selector,
            propensity=decision.propensity,
            attempt=decision.attempt,
        )

    def _made(self, chosen: Chosen, latency_s: float, usd: float, error: Exception | None) -> None:
        self.spent_usd += usd
        self.made.append(
            Attempt(
                decision=chosen.decision,
                started_s=self._attempt_begun - self.begun,
                latency_s=latency_s,
                cost_usd=usd,
                error=error,
            )
        )

    @property
    def since_call_s(self) -> float:
        """How long the present attempt has taken so far."""
        return self._parts.clock.monotonic() - self._attempt_begun

    def _say(self, kind: Callable[..., Event], **facts: object) -> None:
        clock = self._parts.clock
        self._parts.bus.publish(
            kind(at=clock.monotonic(), wall=clock.wall(), request_id=self.ask.request_id, **facts)
        )


def _kind(error: Exception) -> str:
    return error.classification.value if isinstance(error, ModelError) else type(error).__name__


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
