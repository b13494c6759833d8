"""What a model is: the data it declares, and the base class that users subclass."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass, field
from math import inf
from typing import Any, ClassVar

from orchestrator.core.capabilities import ModelCapabilities, capability_mask, capability_names
from orchestrator.core.errors import (
    InvalidRequestError,
    ModelResponseError,
    UnsupportedCapabilityError,
)
from orchestrator.core.keys import ModelKey, canonical_provider
from orchestrator.core.model_types import types_served_by
from orchestrator.core.params import EmbeddingParams, Params, TextGenerationParams
from orchestrator.core.ports import Endpoint, ResidentSpec, Timeouts, Transport
from orchestrator.core.prices import Price
from orchestrator.core.results import (
    EmbeddingAnswer,
    HandlerAnswer,
    TextAnswer,
    TextChunk,
    ToolCallDelta,
)

__all__ = ["Answer", "Call", "Model", "ModelConstraints", "ModelSpec", "TextStream"]

Answer = TextAnswer | EmbeddingAnswer | HandlerAnswer
TextStream = AsyncIterator[TextChunk]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConstraints:
    """How much a model may be used at once. None is no limit."""

    max_requests_per_minute: int | None = None
    max_concurrent_requests: int | None = None
    max_queue: int = 256
    """Requests that may wait for a free place; one more is refused at once."""
    max_wait_s: float = 30.0
    """How long one may wait."""
    required_memory_gb: float | None = None
    required_gpu_memory_gb: float | None = None

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is not None and (isinstance(value, bool) or not value >= 0):
                raise InvalidRequestError(f"{name} must be at least 0, not {value!r}", param=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """What is declared of a model before anything is measured.

    Attributes:
        key: Its name in the pool.
        capabilities: Bits of `orchestrator.core.capabilities`.
        types: Kinds of work it serves.
        context_window: Tokens its window holds, or None if unknown.
        max_output_tokens: Most tokens of one answer, or None if unknown.
        price: None if unknown, `Price.free()` if it costs nothing.
        speed: Declared output tokens per second, or None.
        quality: Declared quality in [0, 1], or None.
        priority: Higher is preferred; ties go to the one registered first.
        local: Runs on a machine of ours.
        credential_id: Models with the same one share a credential (and its failures), or None.
        resident: Name of the engine process it needs in memory, or None.
        aliases: Further names for it.
        constraints: How much it may be used at once.
    """

    key: ModelKey
    capabilities: int
    types: frozenset[str]
    context_window: int | None = None
    max_output_tokens: int | None = None
    price: Price | None = None
    speed: float | None = None
    quality: float | None = None
    priority: int = 0
    local: bool = False
    credential_id: str | None = None
    resident: str | None = None
    aliases: tuple[str, ...] = ()
    constraints: ModelConstraints = field(default_factory=ModelConstraints)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready data."""
        return {
            "key": self.key.text,
            "provider": self.key.provider,
            "name": self.key.name,
            "capabilities": sorted(capability_names(self.capabilities)),
            "types": sorted(self.types),
            "context_window": self.context_window,
            "max_output_tokens": self.max_output_tokens,
            "price": None if self.price is None else self.price.to_dict(),
            "speed": self.speed,
            "quality": self.quality,
            "priority": self.priority,
            "local": self.local,
            "aliases": list(self.aliases),
        }


@dataclass(frozen=True, slots=True)
class Call:
    """What the engine hands to a model beside the parameters.

    Attributes:
        endpoint: Where a leased resident serves, or None for models that know it themselves.
        timeouts: How long each phase may take.
    """

    endpoint: Endpoint | None
    timeouts: Timeouts


class Model:
    """A model that can be chosen. Subclass it and write `generate_response`.

    A subclass implements what it can: `generate_response`, `stream_response`, `embed`,
    `health_check`, `initialize` (before the first call) and `cleanup` (when it leaves). What it
    does not implement raises `UnsupportedCapabilityError`. Integrations that speak a wire format
    override `answer` and `stream` instead, which take and return everything.
    """

    resident: ResidentSpec | None = None
    """The process that it needs in memory, or None."""

    default_max_tokens: int | None = None
    """Most tokens of an answer whose request sets no limit, or None."""

    keeps_timeouts: ClassVar[bool] = False
    """Whether `answer` and `stream` keep to ``call.timeouts`` by themselves."""

    def __init__(
        self,
        name: str,
        provider: str = "custom",
        capabilities: ModelCapabilities | Iterable[str] = ("text_generation",),
        *,
        model_types: Iterable[str] | None = None,
        context_window: int | None = None,
        max_output_tokens: int | None = None,
        price: Price | None = None,
        speed: float | None = None,
        quality: float | None = None,
        priority: int = 0,
        local: bool = False,
        credential_id: str | None = None,
        resident: str | None = None,
        aliases: Iterable[str] = (),
        constraints: ModelConstraints | None = None,
    ) -> None:
        if isinstance(capabilities, ModelCapabilities):
            mask = capabilities.mask
            if max_output_tokens is None:
                max_output_tokens = capabilities.max_tokens
        else:
            mask = capability_mask(capabilities)
        mask = _implied(type(self), mask)
        if model_types is None:
            model_types = types_served_by(capability_names(mask))
        if quality is not None and not 0 <= quality <= 1:
            raise InvalidRequestError(f"quality is in [0, 1], not {quality!r}", param="quality")
        for fact, value in (
            ("context_window", context_window),
            ("max_output_tokens", max_output_tokens),
            ("speed", speed),
        ):
            if value is not None and not 0 < value < inf:
                raise InvalidRequestError(f"{fact} must be above 0, not {value!r}", param=fact)
        if price is not None and not isinstance(price, Price):
            raise InvalidRequestError(f"price is a Price, not {price!r}", param="price")
        if not -inf < priority < inf:
            raise InvalidRequestError(f"priority is not a number: {priority!r}", param="priority")
        self.spec = ModelSpec(
            key=ModelKey(canonical_provider(provider), name),
            capabilities=mask,
            types=frozenset(_listed("model_types", model_types)),
            context_window=context_window,
            max_output_tokens=max_output_tokens,
            price=price,
            speed=speed,
            quality=quality,
            priority=priority,
            local=local,
            credential_id=credential_id,
            resident=resident,
            aliases=_listed("aliases", aliases),
            constraints=constraints or ModelConstraints(),
        )

    @property
    def key(self) -> ModelKey:
        """Its name in the pool."""
        return self.spec.key

    @property
    def name(self) -> str:
        """Its name at its provider."""
        return self.spec.key.name

    @property
    def provider(self) -> str:
        """Who runs it."""
        return self.spec.key.provider

    # -- what a subclass writes ----------------------------------------------------------------

    async def initialize(self) -> None:
        """Prepare; awaited once before the first call."""

    async def generate_response(self, prompt: str, **options: Any) -> str:
        """Answer a prompt; options are the set fields of `TextGenerationParams`."""
        raise self._unsupported("generate text")

    def stream_response(self, prompt: str, **options: Any) -> AsyncIterator[str]:
        """Answer in pieces; without it a stream is the whole answer in one piece."""
        raise self._unsupported("stream")

    async def embed(self, texts: list[str], **options: Any) -> list[list[float]]:
        """Turn each text into a vector."""
        raise self._unsupported("embed")

    async def health_check(self) -> bool:
        """Say whether it could answer now."""
        return True

    async def cleanup(self) -> None:
        """Release what `initialize` took."""

    def file_facts(self) -> Mapping[str, Any] | None:
        """Return the metadata of its model file, or None if there is no such file here."""
        return None

    async def listing(self) -> Mapping[str, Any] | None:
        """Return what its server's list of models says of it, or None if that says nothing."""
        return None

    # -- what the engine calls -----------------------------------------------------------------

    def bind(self, transport: Transport, runtime: object) -> None:
        """Take what the engine provides, before the first call.

        Args:
            transport: Sends HTTP requests.
            runtime: The engine itself, for handlers that call further models.
        """

    async def answer(self, params: Params, call: Call) -> Answer:
        """Answer in whole.

        Raises:
            ModelError: It failed; the classification says how.
            UnsupportedCapabilityError: It does not do this kind of work.
        """
        if isinstance(params, TextGenerationParams):
            return self._text(await self.generate_response(_prompt(params), **_options(params)))
        if isinstance(params, EmbeddingParams):
            options = params.model_dump(exclude={"input"}, exclude_none=True)
            return self._vectors(await self.embed(params.texts, **options), params)
        raise self._unsupported(f"serve {type(params).__name__}")

    def stream(
        self, params: TextGenerationParams, call: Call
    ) -> AbstractAsyncContextManager[TextStream]:
        """Answer in pieces; raises as `answer` does, also in the middle."""
        return self._stream(params, call)

    @asynccontextmanager
    async def _stream(self, params: TextGenerationParams, call: Call) -> AsyncIterator[TextStream]:
        if type(self).stream_response is Model.stream_response:
            yield self._whole(params, call)
            return
        pieces = self.stream_response(_prompt(params), **_options(params))
        try:
            yield self._chunks(pieces)
        finally:
            if inspect.isasyncgen(pieces):
                await pieces.aclose()

    async def _whole(self, params: TextGenerationParams, call: Call) -> TextStream:
        answer = await self.answer(params, call)
        if not isinstance(answer, TextAnswer):
            raise ModelResponseError(f"{self.key} gave no text")
        yield TextChunk(
            text=answer.text,
            reasoning=answer.reasoning or "",
            refusal=answer.refusal or "",
            tool_calls=tuple(
                ToolCallDelta(index, tool.id, tool.name, tool.arguments)
                for index, tool in enumerate(answer.tool_calls)
            ),
            finish_reason=answer.finish_reason,
            usage=answer.usage,
            model_version=answer.model_version,
            warnings=answer.warnings,
        )

    async def _chunks(self, pieces: AsyncIterator[str]) -> TextStream:
        async for piece in pieces:
            yield TextChunk(text=self._text(piece).text)
        yield TextChunk(finish_reason="stop")

    # -- data ----------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return what it declares as JSON-ready data."""
        return self.spec.to_dict()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Model) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.key}>"

    def _unsupported(self, what: str) -> UnsupportedCapabilityError:
        return UnsupportedCapabilityError(f"{self.key} cannot {what}")

    def _text(self, found: object) -> TextAnswer:
        if not isinstance(found, str):
            raise ModelResponseError(f"{self.key} gave {type(found).__name__}, not text")
        return TextAnswer(text=found)

    def _vectors(self, found: list[list[float]], params: EmbeddingParams) -> EmbeddingAnswer:
        n_texts, dimensions = len(params.texts), params.dimensions
        if len(found) != n_texts:
            raise ModelResponseError(f"{self.key} gave {len(found)} vectors for {n_texts} texts")
        if dimensions is not None and any(len(vector) != dimensions for vector in found):
            raise ModelResponseError(f"{self.key} gave vectors of another length than {dimensions}")
        return EmbeddingAnswer(vectors=found)


_TEXT = capability_mask(("text_generation",))
_CHAT = capability_mask(("chat_completion",))
_STREAMING = capability_mask(("streaming",))
_JSON_MODE = capability_mask(("json_mode",))
_JSON_SCHEMA = capability_mask(("json_schema",))


def _implied(kind: type[Model], mask: int) -> int:
    """Add what follows from what is declared: who chats writes text, who keeps to a schema keeps
    to JSON, who implements `stream_response` streams."""
    if mask & _CHAT:
        mask |= _TEXT
    if mask & _JSON_SCHEMA:
        mask |= _JSON_MODE
    if kind.stream_response is not Model.stream_response:
        mask |= _STREAMING
    return mask


def _listed(fact: str, names: Iterable[str]) -> tuple[str, ...]:
    if isinstance(names, str):
        raise InvalidRequestError(f"{fact} takes a list of names, not {names!r}", param=fact)
    return tuple(str(name) for name in names)


def _prompt(params: TextGenerationParams) -> str:
    """Return the prompt, or the conversation's texts for a model that knows only prompts."""
    if params.messages is None:
        return params.prompt or ""
    lines = []
    for message in params.messages:
        content = message.get("content") or ""
        if not isinstance(content, str):
            content = "".join(part.get("text", "") for part in content)
        lines.append(content if len(params.messages) == 1 else f"{message['role']}: {content}")
    return "\n".join(lines)


def _options(params: TextGenerationParams) -> dict[str, Any]:
    return params.model_dump(exclude={"prompt", "messages", "extra"}, exclude_none=True)
