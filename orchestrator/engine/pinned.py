"""Calls to one model that the engine makes of its own accord, within a limit on what they cost."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from orchestrator.core.decisions import RefusalCode
from orchestrator.core.errors import NoEligibleModelsError, OrchestratorError
from orchestrator.core.params import Params, TextGenerationParams
from orchestrator.core.requirements import Requirements
from orchestrator.core.results import Result
from orchestrator.engine.asking import Asking
from orchestrator.engine.attempts import Attempts
from orchestrator.engine.parts import Parts
from orchestrator.engine.streaming import TextStream
from orchestrator.engine.unary import answer
from orchestrator.routing.attempts import AttemptPolicy

__all__ = ["Called", "Pinned"]

_ONCE: Final = AttemptPolicy(max_attempts=1, retries=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """What came of one call.

    Attributes:
        result: The answer, or None if it failed.
        error: How it failed, in the model's own words, or None.
        latency_s: Seconds of the call itself, without waiting for a load or a place.
        first_token_s: Seconds of it to the first content token, of a stream.
        pieces: Chunks with content, of a stream.
        cost_usd: What it cost.
    """

    result: Result | None
    error: Exception | None
    latency_s: float
    first_token_s: float | None = None
    pieces: int = 0
    cost_usd: float = 0.0


class Pinned:
    """Calls one model by the way of ordinary requests, so that budgets, health, statistics and
    events take part. Only, nothing is tried twice, and no evaluator judges the answers.

    Args:
        parts: What all requests share.
        asking: Writes what each of them asks.
        model: Key of the model.
        task: The segment that the calls count for.
        max_cost: USD that all of them together may cost, or None.
        undeclared: Call also for what the model is not declared to do.
        deadline_s: The whole time of each, or None for the engine's.

    Attributes:
        model: Its key.
        spent_usd: What the calls have cost so far.
    """

    def __init__(
        self,
        parts: Parts,
        asking: Asking,
        model: str,
        *,
        task: str,
        max_cost: float | None,
        undeclared: bool = False,
        deadline_s: float | None = None,
    ) -> None:
        self._parts = replace(parts, attempts=_ONCE, evaluations=None)
        self._asking = asking
        self.model = model
        self._routing = {"model": model, "context": {"task": task}, "deadline_s": deadline_s}
        self._max_cost = max_cost
        self._undeclared = undeclared
        self.spent_usd = 0.0

    async def call(self, params: Params, *, stream: bool = False) -> Called:
        """Make one call; how it fails is part of what is returned.

        Raises:
            NoEligibleModelsError: It may not be made: the rest of the money does not do, or the
                model is out of service.
        """
        limit = None if self._max_cost is None else max(self._max_cost - self.spent_usd, 0.0)
        limits = {"max_cost": limit}
        ask = self._asking.for_request(params, self._routing, limits, stream=stream)
        if self._undeclared:
            ask = ask._replace(needs=Requirements.of(limits))
        attempts = Attempts(self._parts, ask)
        result: Result | None = None
        failure: Exception | None = None
        first_token_s, pieces = None, 0
        try:
            if stream:
                assert isinstance(params, TextGenerationParams)
                async with TextStream(self._parts, attempts, params) as chunks:
                    async for chunk in chunks:
                        pieces += chunk.has_content
                result = chunks.result
            else:
                result = await answer(self._parts, attempts, params)
        except OrchestratorError as error:
            if not attempts.made:
                raise
            failure = attempts.made[0].error or error
        finally:
            self.spent_usd += attempts.spent_usd
        (made,) = attempts.made
        if result is not None and result.first_token_s is not None:
            first_token_s = result.first_token_s - made.started_s
        return Called(
            result=result,
            error=failure,
            latency_s=made.latency_s,
            first_token_s=first_token_s,
            pieces=pieces,
            cost_usd=attempts.spent_usd,
        )

    def refusal(self, error: NoEligibleModelsError) -> str:
        """Return why no call could be made: ``max_cost``, or a sentence."""
        refusal = error.refused.get(self.model)
        if refusal is None:
            return "it has left the pool"
        return "max_cost" if refusal.code is RefusalCode.MAX_COST else refusal.reason
