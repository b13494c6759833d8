"""What can be asked of an engine: a choice, an answer, a stream, vectors; and how good it was."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any, Literal, Unpack, overload

from orchestrator.core.errors import InvalidRequestError, UnknownDecisionError
from orchestrator.core.events import ModelSelected
from orchestrator.core.model_types import TEXT_TYPES, ModelType
from orchestrator.core.params import (
    EmbeddingParams,
    OwnParams,
    Params,
    TextGenerationParams,
    TextRequest,
    as_text_params,
    validated,
)
from orchestrator.core.results import EmbeddingResult, HandlerResult, Result, TextResult
from orchestrator.engine.attempts import Attempts
from orchestrator.engine.engine import Engine
from orchestrator.engine.options import (
    EmbedOptions,
    SelectOptions,
    TextOptions,
    UseOptions,
    split,
)
from orchestrator.engine.selection import Selection
from orchestrator.engine.streaming import OnInterrupt, TextStream
from orchestrator.engine.unary import answer
from orchestrator.routing.routes import BY_PRIORITY

__all__ = ["Requests"]

_UNUSED_S = 60.0
"""How long a selection without a deadline waits to be used."""


class Requests(Engine):
    """Answers requests."""

    async def select_model(self, **options: Unpack[SelectOptions]) -> Selection:
        """Choose a model without calling it yet.

        Args:
            options: Requirements (see `Requirements`), ``route`` or ``model``, ``context``,
                ``deadline_s``, and the request's size as ``prompt_tokens`` and ``max_tokens``.

        Raises:
            NoEligibleModelsError: Nobody may serve; the message says why, model by model.
            ModelNotFoundError: There is no such route or model.
            RequestError: A requirement is wrong.
        """
        if self._tasks is None:
            self._running()  # says so
        ask = self._asking.for_selection(options)
        chosen = self._parts.chooser.decide(ask)
        decision = chosen.decision
        if self.events.wants(ModelSelected):
            self._say(
                ModelSelected,
                request_id=ask.request_id,
                decision_id=decision.id,
                model=decision.key,
                selector=decision.selector,
                propensity=decision.propensity,
                attempt=1,
            )
        selection = Selection(self._parts, self._asking, self._unused, ask, chosen)
        self._unused.add(selection, options.get("deadline_s") or _UNUSED_S)
        return selection

    async def generate(self, request: TextRequest, **options: Unpack[TextOptions]) -> TextResult:
        """Answer a prompt, messages, or full parameters, with the best model that may.

        Args:
            request: What to answer.
            options: Requirements, routing, and fields of `TextGenerationParams`.

        Raises:
            NoEligibleModelsError: Nobody may serve; the message says why, model by model.
            AttemptsExhaustedError: Everything that was allowed has failed.
            DeadlineExceededError: ``deadline_s`` passed.
            RequestError: The request is wrong, in our eyes or the provider's.
        """
        routing, needs, rest = split(options)
        params = as_text_params(request, rest)
        result = await self._answer(params, routing, needs)
        assert isinstance(result, TextResult)
        return result

    def stream(
        self,
        request: TextRequest,
        *,
        on_interrupt: OnInterrupt = "error",
        **options: Unpack[TextOptions],
    ) -> TextStream:
        """Answer in pieces: ``async with orchestrator.stream(...) as stream``.

        Arguments and errors as for `generate`; entering raises them. Beside these, iterating
        raises `StreamInterruptedError` if the stream breaks after its first content token and
        ``on_interrupt`` is ``error``.
        """
        self._running()
        routing, needs, rest = split(options)
        params = as_text_params(request, rest)
        ask = self._asking.for_request(params, routing, needs, stream=True)
        return TextStream(self._parts, Attempts(self._parts, ask), params, on_interrupt)

    async def embed(
        self, texts: str | list[str], **options: Unpack[EmbedOptions]
    ) -> EmbeddingResult:
        """Turn texts into vectors, in the same order; errors as for `generate`."""
        routing, needs, rest = split(options)
        params = validated(EmbeddingParams, {"input": texts, **rest})
        result = await self._answer(params, routing, needs)
        assert isinstance(result, EmbeddingResult)
        return result

    @overload
    async def use_model(
        self,
        model_type: Literal[
            ModelType.TEXT_SMALL,
            ModelType.TEXT_MEDIUM,
            ModelType.TEXT_LARGE,
            ModelType.CODE_GENERATION,
        ],
        params: TextGenerationParams | Mapping[str, Any],
        provider: str | None = None,
        **options: Unpack[UseOptions],
    ) -> str: ...
    @overload
    async def use_model(
        self,
        model_type: Literal[ModelType.TEXT_EMBEDDING],
        params: EmbeddingParams | Mapping[str, Any],
        provider: str | None = None,
        **options: Unpack[UseOptions],
    ) -> list[float] | list[list[float]]: ...
    @overload
    async def use_model(
        self,
        model_type: str,
        params: Any,
        provider: str | None = None,
        **options: Unpack[UseOptions],
    ) -> Any: ...
    async def use_model(
        self,
        model_type: ModelType | str,
        params: Any,
        provider: str | None = None,
        **options: Any,
    ) -> Any:
        """Do a kind of work and return its bare result: text, a vector, or what a handler gave.

        Providers are tried in the order of their priority; name another route to let a selector
        choose. ``provider`` pins one, ``prefer`` only puts it first.

        Raises:
            InvalidRequestError: The parameters are not those of this kind of work.
            AttemptsExhaustedError: ``No providers available for`` this type any more.
            As `generate`.
        """
        kind = str(model_type)
        params = _params_for(kind, params)
        routing, needs, rest = split(options)
        if rest:
            raise InvalidRequestError(
                f"there is no option {next(iter(rest))!r}", param=next(iter(rest))
            )
        if not (routing.get("route") or routing.get("model")):
            routing["route"] = BY_PRIORITY
        needs |= {"model_type": kind, "provider": provider or needs.get("provider")}
        result = await self._answer(params, routing, needs, kind)
        if isinstance(result, TextResult):
            return result.text
        if isinstance(result, EmbeddingResult):
            return result.vectors[0] if isinstance(params.input, str) else result.vectors
        assert isinstance(result, HandlerResult)
        return result.answer.value

    async def feedback(self, decision_id: str, *, quality: float) -> None:
        """Say how good an answer was, in [0, 1]; late is fine, twice the same changes nothing.

        With a store, decisions of a process that has ended can be rated too, and those of another
        that writes to the same store.

        Raises:
            InvalidRequestError: The quality is not a number in [0, 1], the id is no text, or it is
                that of a selection which was never used.
            UnknownDecisionError: No decision of this id is remembered.
            StoreError: It is not remembered here, and the store cannot be asked.
            EngineClosedError: The engine is not running.
        """
        self._running()
        try:
            self._ratings.rate(decision_id, quality)
        except UnknownDecisionError:
            earlier = None if self._writer is None else await self._writer.earlier(decision_id)
            if earlier is None:
                raise
            self._ratings.rate(decision_id, quality, earlier=earlier)

    def _answer(
        self,
        params: Params,
        routing: Mapping[str, Any],
        needs: Mapping[str, Any],
        what: str | None = None,
    ) -> Coroutine[Any, Any, Result]:
        self._running()
        ask = self._asking.for_request(params, routing, needs, what=what)
        return answer(self._parts, Attempts(self._parts, ask), params)


def _params_for(kind: str, params: Any) -> Any:
    """Return the parameters of a kind of work; kinds of the user's own take anything."""
    wanted = _PARAMS.get(kind)
    if wanted is None or isinstance(params, wanted):
        return params if isinstance(params, Params) or wanted else OwnParams(value=params)
    if isinstance(params, Mapping):
        return validated(wanted, dict(params))
    raise InvalidRequestError(
        f"{kind} takes {wanted.__name__}, not {type(params).__name__}", param="params"
    )


_PARAMS: dict[str, type[Params]] = {
    **dict.fromkeys((t.value for t in TEXT_TYPES), TextGenerationParams),
    ModelType.CODE_GENERATION.value: TextGenerationParams,
    ModelType.TEXT_EMBEDDING.value: EmbeddingParams,
}
