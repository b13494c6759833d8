"""A request that is answered in pieces."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias, get_args

import anyio

from orchestrator.core.errors import (
    InvalidRequestError,
    ModelError,
    ModelResponseError,
    ModelTimeoutError,
    OrchestratorError,
    StreamInterruptedError,
    in_words,
)
from orchestrator.core.model import TextStream as Pieces
from orchestrator.core.params import Message, TextGenerationParams
from orchestrator.core.results import (
    TextChunk,
    TextResult,
    Usage,
)
from orchestrator.core.tokens import estimate_tokens
from orchestrator.engine.ask import Chosen
from orchestrator.engine.attempts import Attempts
from orchestrator.engine.collected import Collected
from orchestrator.engine.parts import Parts, process_of

__all__ = ["OnInterrupt", "TextStream"]

OnInterrupt: TypeAlias = Literal["error", "restart", "continue"]
"""What to do when a stream breaks after its first content token.

``error`` ends it with a `StreamInterruptedError`. ``restart`` lets another model answer from the
beginning; its first chunk says ``restarted``. ``continue`` lets another model go on from what has
arrived, as well as it can.
"""

_CLOSE_S = 2.0
"""How long closing a broken or abandoned stream may take."""


class TextStream:
    """An answer that is arriving: ``async with orchestrator.stream(...) as stream``.

    Entering waits for the first content token; until then failures go to another model unnoticed.
    Iterate over it for the chunks. Leaving early cancels the rest.
    """

    def __init__(
        self,
        parts: Parts,
        attempts: Attempts,
        params: TextGenerationParams,
        on_interrupt: OnInterrupt = "error",
    ) -> None:
        if on_interrupt not in get_args(OnInterrupt):
            raise InvalidRequestError(
                f"on_interrupt is one of {', '.join(get_args(OnInterrupt))}, not {on_interrupt!r}",
                param="on_interrupt",
            )
        self._parts = parts
        self._attempts = attempts
        self._asked = self._params = params
        self._on_interrupt = on_interrupt
        self._prologue: tuple[TextChunk, ...] = ()
        self._waiting: list[TextChunk] = []
        self._answer = Collected()
        self._carried = 0
        """Characters of the answer that an earlier model wrote."""
        self._chosen: Chosen | None = None
        self._unsettled = False
        self._close: Callable[[], Awaitable[object]] | None = None
        self._keeps_timeouts = False
        self._pieces: Pieces | None = None
        self._process: str | None = None
        self._first_token_s: float | None = None
        self._call_first_s: float | None = None
        self._result: TextResult | None = None
        self._left = False

    @property
    def chosen(self) -> Chosen:
        """Who is answering, or has answered.

        Raises:
            InvalidRequestError: The stream has not been entered.
        """
        if self._chosen is None:
            raise _not_entered()
        return self._chosen

    @property
    def model(self) -> str:
        """Key of the model that is answering."""
        return self.chosen.decision.key

    @property
    def decision_id(self) -> str:
        """Id of the decision that is answering."""
        return self.chosen.decision.id

    @property
    def ready(self) -> bool:
        """Whether what comes next, a chunk or the end, is known to be there already."""
        return bool(self._waiting) or getattr(self._pieces, "ready", False)

    @property
    def result(self) -> TextResult:
        """The whole answer and how it came about, once the stream has ended.

        Raises:
            InvalidRequestError: It has not ended, or was left before its end.
        """
        if self._result is not None:
            return self._result
        if self._chosen is None:
            raise _not_entered()
        raise InvalidRequestError(
            "the stream was left before its end" if self._left else "the stream has not ended",
            hint="async for chunk in stream: ... to its end",
        )

    async def __aenter__(self) -> Self:
        attempts = self._attempts
        try:
            with self._parts.deadlines.within(attempts.deadline_s) as deadline:
                try:
                    if attempts.ask.text is None:
                        chosen = attempts.begin()
                    else:
                        chosen = await attempts.begin_by_text()
                    await self._reach_first_token(chosen)
                except BaseException:
                    await self._abandon(late=deadline.expired)
                    raise
        except TimeoutError as error:
            if not deadline.expired:
                raise
            raise attempts.too_late("first token") from error
        except OrchestratorError as error:
            error.request_id = attempts.ask.request_id
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._left = True
        await self._abandon()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TextChunk:
        if self._waiting:
            return self._waiting.pop(0)
        pieces = self._pieces
        if pieces is None:
            if self._chosen is None:
                raise _not_entered()
            raise StopAsyncIteration
        try:
            chunk = await (pieces.__anext__() if self._keeps_timeouts else self._next("idle"))
        except StopAsyncIteration:
            await self._finish()
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the answer broke off
            await self._interrupted(error)
            return await self.__anext__()
        self._answer.add(chunk)
        return chunk

    # -- until the first token -----------------------------------------------------------------

    async def _reach_first_token(self, chosen: Chosen) -> None:
        while True:
            self._chosen, self._unsettled = chosen, True
            try:
                await self._call(chosen)
                await self._read_first()
            except Exception as error:  # noqa: BLE001 - whatever it is, the model did not answer
                await self._end()
                self._unsettled, self._waiting = False, []
                chosen = await self._attempts.after(chosen, error, process=self._process)
            else:
                self._call_first_s = self._attempts.since_call_s
                if self._first_token_s is None:
                    self._first_token_s = self._attempts.elapsed_s
                return

    async def _call(self, chosen: Chosen) -> None:
        model, params = chosen.model, self._attempts.affordable(chosen, self._params)
        self._process = None
        self._keeps_timeouts = model.keeps_timeouts
        call = self._parts.places.free(model, stream=True)
        if call is not None:
            pieces = model.stream(params, call)
            self._pieces = await pieces.__aenter__()
            self._close = partial(pieces.__aexit__, None, None, None)
            return
        opened = AsyncExitStack()
        self._close = opened.aclose
        place = self._parts.places.take(model, self._attempts.left_s, stream=True)
        call = await opened.enter_async_context(place)
        self._process = process_of(call)
        self._attempts.called()
        self._pieces = await opened.enter_async_context(model.stream(params, call))

    async def _read_first(self) -> None:
        """Read up to the first content, or the end of an answer that has none."""
        waiting = self._waiting = [*self._prologue]
        finished = False
        while True:
            try:
                chunk = await self._next("first_token")
            except StopAsyncIteration:
                if not finished:
                    raise ModelResponseError("the stream ended before it began") from None
                break
            waiting.append(chunk)
            finished = finished or chunk.finish_reason is not None
            if chunk.has_content:
                break
        for chunk in waiting:
            self._answer.add(chunk)

    async def _next(self, phase: Literal["first_token", "idle"]) -> TextChunk:
        pieces = self._pieces
        assert pieces is not None
        if self._keeps_timeouts:
            return await pieces.__anext__()
        timeouts = self._parts.timeouts
        limit_s = timeouts.idle_s if phase == "idle" else timeouts.first_token_s
        try:
            async with asyncio.timeout(limit_s) as silence:
                return await pieces.__anext__()
        except TimeoutError as error:
            if not silence.expired():
                raise
            raise ModelTimeoutError(f"silent for {limit_s:g} s", phase=phase) from error

    # -- after it ------------------------------------------------------------------------------

    async def _interrupted(self, error: Exception) -> None:
        chosen, text, usage = self.chosen, self._answer.text, self._usage()
        await self._end()
        self._unsettled = False
        if self._on_interrupt == "error":
            self._attempts.interrupted(chosen, error, usage, self._process)
            raise self._interruption(chosen, error, text) from error
        try:
            following = await self._attempts.after(
                chosen, error, process=self._process, usage=usage
            )
            self._prepare_to_go_on(text)
            await self._reach_first_token(following)
        except OrchestratorError as nobody:
            raise self._interruption(chosen, error, text) from nobody

    def _prepare_to_go_on(self, text: str) -> None:
        if self._on_interrupt == "restart":
            self._answer = Collected()
            self._prologue = (TextChunk(restarted=True),)
        else:
            self._answer.usage = self._answer.finish_reason = None
            self._carried = len(text)
            self._params = _continued(self._asked, text)

    async def _finish(self) -> None:
        self._settle_answer()
        close, self._close, self._pieces = self._close, None, None
        if close is not None:
            with suppress(Exception):  # as in `_end`; nothing is left to be waited for
                await close()

    def _settle_answer(self) -> None:
        chosen, answer, attempts = self.chosen, self._answer, self._attempts
        usage = self._usage()
        self._unsettled = False
        attempts.answered(chosen, usage, self._call_first_s, carried_tokens=self._carried_tokens)
        self._result = TextResult(
            request_id=attempts.ask.request_id,
            decision=chosen.decision,
            attempts=tuple(attempts.made),
            cost_usd=attempts.spent_usd,
            latency_s=attempts.elapsed_s,
            first_token_s=self._first_token_s,
            answer=answer.whole(usage),
        )
        if self._parts.evaluations is not None:
            self._parts.evaluations.offer(chosen.decision, self._asked, self._result.answer)

    async def _abandon(self, *, late: bool = False) -> None:
        """Settle a call that nobody waits for any more, and close it."""
        if self._unsettled and self._answer.finish_reason is not None:
            self._settle_answer()  # all was said; what may have followed is its usage
        if self._unsettled:
            self._unsettled = False
            usage = None if self._first_token_s is None else self._usage()
            self._attempts.cancelled(self.chosen, late=late, usage=usage)
        await self._end()

    def _usage(self) -> Usage:
        """Return the tokens of the present call, as far as it has come."""
        if self._answer.usage is not None:
            return self._answer.usage
        written = estimate_tokens(self._answer.text[self._carried :])
        prompt = self._attempts.ask.size.prompt + self._carried_tokens
        return Usage(prompt, written, estimated=True)

    @property
    def _carried_tokens(self) -> int:
        return estimate_tokens(self._answer.text[: self._carried]) if self._carried else 0

    async def _end(self) -> None:
        """Close the connection and give the place back, also when cancelled."""
        close, self._close, self._pieces = self._close, None, None
        if close is None:
            return
        # How the call ended is known by now; what goes wrong in closing it changes nothing.
        with anyio.move_on_after(_CLOSE_S, shield=True), suppress(Exception):
            await close()

    def _interruption(self, chosen: Chosen, error: Exception, text: str) -> StreamInterruptedError:
        nobody, hint = ", and nobody went on", None
        if self._on_interrupt == "error":
            nobody = ""
            hint = 'stream with on_interrupt="restart" or "continue" to go on with another model'
        facts: dict[str, Any] = {}
        if isinstance(error, ModelError):
            facts = {"status": error.status, "provider_message": error.provider_message}
        interruption = StreamInterruptedError(
            f"{chosen.decision.key} broke off after {len(text)} characters{nobody}: "
            f"{in_words(error)}",
            partial_text=text,
            model=chosen.decision.key,
            hint=hint,
            **facts,
        )
        interruption.request_id = self._attempts.ask.request_id
        return interruption


def _not_entered() -> InvalidRequestError:
    return InvalidRequestError(
        "the stream has not been entered", hint="async with orchestrator.stream(...) as stream"
    )


def _continued(params: TextGenerationParams, text: str) -> TextGenerationParams:
    partial: Message = {"role": "assistant", "content": text}
    messages = [*params.conversation(), partial]
    return params.model_copy(update={"messages": messages, "prompt": None, "system_prompt": None})
