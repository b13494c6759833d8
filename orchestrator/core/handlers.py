"""Models made of a plain function, and plugins that bring several at once."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import anyio.to_thread

from orchestrator.core.capabilities import capability_mask
from orchestrator.core.model import Answer, Call, Model
from orchestrator.core.model_types import TEXT_TYPES, ModelType
from orchestrator.core.params import EmbeddingParams, OwnParams, Params, TextGenerationParams
from orchestrator.core.ports import Transport
from orchestrator.core.results import EmbeddingAnswer, HandlerAnswer, TextAnswer

__all__ = ["HandlerModel", "ModelHandler", "ModelRegistration", "Plugin"]

ModelHandler: TypeAlias = Callable[[Any, Any], Awaitable[Any] | Any]
"""``(runtime, params) -> result``; a plain function runs in a worker thread."""

_TEXT = capability_mask(("text_generation",))
_CAPABILITIES_OF: dict[str, tuple[str, ...]] = {
    **dict.fromkeys((t.value for t in TEXT_TYPES), ("text_generation", "chat_completion")),
    ModelType.CODE_GENERATION.value: ("text_generation", "code_generation"),
    ModelType.TEXT_EMBEDDING.value: ("embeddings",),
    ModelType.IMAGE_GENERATION.value: ("image_generation",),
    ModelType.IMAGE_ANALYSIS.value: ("vision", "text_generation"),
    ModelType.SPEECH_TO_TEXT.value: ("speech_to_text",),
    ModelType.TEXT_TO_SPEECH.value: ("text_to_speech",),
    ModelType.CLASSIFICATION.value: ("classification",),
    ModelType.RERANK.value: ("rerank",),
}


class HandlerModel(Model):
    """A function that serves one kind of work.

    Args:
        model_type: The kind of work; any string will do.
        handler: What is called.
        provider: Who it stands for.
        priority: Higher is preferred.
        name: Its name at the provider; the model type if not given.
        facts: Further keywords of `Model`.
    """

    def __init__(
        self,
        model_type: ModelType | str,
        handler: ModelHandler,
        provider: str,
        priority: int = 0,
        *,
        name: str | None = None,
        **facts: Any,
    ) -> None:
        kind = str(model_type)
        facts.setdefault("capabilities", _CAPABILITIES_OF.get(kind, ()))
        super().__init__(name or kind, provider, model_types=(kind,), priority=priority, **facts)
        self._runtime: object = None
        self._handler = handler
        self._is_async = inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
            getattr(handler, "__call__", None)  # noqa: B004 - an instance may be async
        )

    def bind(self, transport: Transport, runtime: object) -> None:
        """Keep the engine for the handler's first argument."""
        self._runtime = runtime

    async def answer(self, params: Params, call: Call) -> Answer:
        """Call the handler; text becomes a `TextAnswer`, vectors an `EmbeddingAnswer`.

        Raises:
            ModelResponseError: It gave something else than this kind of work gives.
        """
        given = params.value if isinstance(params, OwnParams) else params
        if self._is_async:
            value = await self._handler(self._runtime, given)
        else:
            value = await anyio.to_thread.run_sync(
                partial(self._handler, self._runtime, given), abandon_on_cancel=True
            )
            if inspect.isawaitable(value):
                value = await value
        if isinstance(value, TextAnswer | EmbeddingAnswer | HandlerAnswer):
            return value
        if isinstance(params, EmbeddingParams):
            return self._vectors([value] if isinstance(params.input, str) else value, params)
        writes = isinstance(params, TextGenerationParams) and self.spec.capabilities & _TEXT
        if writes or isinstance(value, str):
            return self._text(value)
        return HandlerAnswer(value=value)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRegistration:
    """A handler and where it stands; `Plugin` holds several."""

    type: ModelType | str
    handler: ModelHandler
    provider: str
    priority: int = 0
    name: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return its data; the handler itself as its qualified name."""
        handler = getattr(self.handler, "__qualname__", repr(self.handler))
        return {
            "type": str(self.type),
            "handler": handler,
            "provider": self.provider,
            "priority": self.priority,
            "name": self.name or str(self.type),
        }

    def model(self) -> HandlerModel:
        """Return the model it stands for."""
        return HandlerModel(self.type, self.handler, self.provider, self.priority, name=self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """Models that come and go together."""

    name: str
    models: Sequence[ModelRegistration | Model] = field(default_factory=tuple)

    def built(self) -> list[Model]:
        """Return its models."""
        return [m if isinstance(m, Model) else m.model() for m in self.models]
