"""A request that is answered in whole."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from orchestrator.core.errors import ModelTimeoutError, OrchestratorError
from orchestrator.core.model import Answer, Call, Model
from orchestrator.core.params import Params
from orchestrator.core.results import (
    EmbeddingAnswer,
    EmbeddingResult,
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
    try:
        with parts.deadlines.within(attempts.deadline_s) as deadline:
            return await _answer(parts, attempts, params, deadline)
    except TimeoutError as error:
        if not deadline.expired:
            raise
        raise attempts.too_late("answer") from error
    except OrchestratorError as error:
        error.request_id = attempts.ask.request_id
        raise


async def _answer(parts: Parts, attempts: Attempts, params: Params, deadline: Deadline) -> Result:
    chosen = attempts.begin()
    while True:
        process: str | None = None
        try:
            call = parts.places.free(chosen.model, stream=False)
            if call is not None:
                found = await _ask(parts, chosen.model, params, call)
            else:
                async with parts.places.take(chosen.model, attempts.left_s, stream=False) as call:
                    process = process_of(call)
                    attempts.called()
                    found = await _ask(parts, chosen.model, params, call)
            usage = _usage(found, attempts)
        except asyncio.CancelledError:
            attempts.cancelled(chosen, late=deadline.expired)
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the model did not answer
            chosen = await attempts.after(chosen, error, process=process)
        else:
            attempts.answered(chosen, usage)
            if found.usage is None:
                found = replace(found, usage=usage)
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


def _usage(found: Answer, attempts: Attempts) -> Usage:
    if found.usage is not None:
        return found.usage
    written = estimate_tokens(found.text) if isinstance(found, TextAnswer) else 0
    return Usage(attempts.ask.size.prompt, written, estimated=True)


def _result(found: Answer, chosen: Chosen, attempts: Attempts) -> Result:
    facts: dict[str, Any] = {
        "request_id": attempts.ask.request_id,
        "decision": chosen.decision,
        "attempts": tuple(attempts.made),
        "cost_usd": attempts.spent_usd,
        "latency_s": attempts.elapsed_s,
    }
    if isinstance(found, TextAnswer):
        return TextResult(answer=found, **facts)
    if isinstance(found, EmbeddingAnswer):
        return EmbeddingResult(answer=found, **facts)
    return HandlerResult(answer=found, **facts)
