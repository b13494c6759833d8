"""A request that is answered in whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from orchestrator.core.errors import ModelTimeoutError, OrchestratorError
from orchestrator.core.model import Answer, Call, Model
from orchestrator.core.params import Params
from orchestrator.core.results import (
    EmbeddingAnswer,
    EmbeddingResult,
    HandlerAnswer,
    HandlerResult,
    Result,
    TextAnswer,
    TextResult,
    Usage,
)
from orchestrator.core.tokens import estimate_tokens
from orchestrator.engine.ask import Chosen
from orchestrator.engine.attempts import Attempts
from orchestrator.engine.deadlines import Deadline
from orchestrator.engine.parts import Parts, process_of

__all__ = ["answer"]


async def answer(parts: Parts, attempts: Attempts, params: Params) -> Result:
    """Serve a request.

    Raises:
        NoEligibleModelsError: Nobody may serve it.
        AttemptsExhaustedError: Everything that was allowed has failed.
        DeadlineExceededError: Its deadline passed.
        RequestError, ModelError: It failed in a way that no other model could mend.
    """
    deadline = parts.deadlines.within(attempts.deadline_s)
    try:
        with deadline:
            return await _answer(parts, attempts, params, deadline)
    except TimeoutError as error:
        if not deadline.expired:
            raise
        raise attempts.too_late("answer") from error
    except OrchestratorError as error:
        error.request_id = attempts.ask.request_id
        raise


async def _answer(parts: Parts, attempts: Attempts, params: Params, deadline: Deadline) -> Result:
    chosen = attempts.begin() if attempts.ask.text is None else await attempts.begin_by_text()
    while True:
        process: str | None = None
        model, asked = chosen.model, attempts.affordable(chosen, params)
        try:
            call = parts.places.free(model, stream=False)
            if call is None:
                async with parts.places.take(model, attempts.left_s, stream=False) as call:
                    process = process_of(call)
                    attempts.called()
                    found = await _ask(parts, model, asked, call)
            elif model.keeps_timeouts:
                found = await model.answer(asked, call)
            else:
                found = await _ask(parts, model, asked, call)
            usage = found.usage or _estimated(found, attempts)
        except asyncio.CancelledError:
            attempts.cancelled(chosen, late=deadline.expired)
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the model did not answer
            chosen = await attempts.after(chosen, error, process=process)
        else:
            attempts.answered(chosen, usage)
            if found.usage is None:
                found = replace(found, usage=usage)
            if parts.evaluations is not None:
                parts.evaluations.offer(chosen.decision, params, found)
            return _result(found, chosen, attempts)


async def _ask(parts: Parts, model: Model, params: Params, call: Call) -> Answer:
    """Call a model, and watch the time for one that does not do so itself."""
    if model.keeps_timeouts:
        return await model.answer(params, call)
    limit_s = call.timeouts.first_token_s
    try:
        with parts.deadlines.within(limit_s) as patience:
            return await model.answer(params, call)
    except TimeoutError as error:
        if not patience.expired:
            raise
        raise ModelTimeoutError(f"silent for {limit_s:g} s", phase="first_token") from error


def _estimated(found: Answer, attempts: Attempts) -> Usage:
    written = estimate_tokens(found.text) if isinstance(found, TextAnswer) else 0
    return Usage(attempts.ask.size.prompt, written, estimated=True)


_RESULTS: Final[dict[type[Answer], Callable[..., Result]]] = {
    TextAnswer: TextResult,
    EmbeddingAnswer: EmbeddingResult,
    HandlerAnswer: HandlerResult,
}


def _result(found: Answer, chosen: Chosen, attempts: Attempts) -> Result:
    return _RESULTS[type(found)](
        request_id=attempts.ask.request_id,
        decision=chosen.decision,
        attempts=tuple(attempts.made),
        cost_usd=attempts.spent_usd,
        latency_s=attempts.elapsed_s,
        answer=found,
    )
