"""The engine for programs without an event loop of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Any, Self, Unpack

from anyio.from_thread import BlockingPortal, start_blocking_portal

from orchestrator.core.errors import EngineClosedError
from orchestrator.core.params import TextRequest
from orchestrator.core.results import EmbeddingResult, TextChunk, TextResult
from orchestrator.engine.explanation import Explanation
from orchestrator.engine.options import EmbedOptions, SelectOptions, TextOptions, UseOptions
from orchestrator.engine.orchestrator import Orchestrator
from orchestrator.engine.selection import Selection
from orchestrator.engine.streaming import OnInterrupt

__all__ = ["SyncOrchestrator", "SyncSelection"]


class SyncOrchestrator:
    """The same engine on an event loop in a background thread: ``with SyncOrchestrator(...)``.

    Works wherever code does not await, in notebooks too. Takes the arguments of `Orchestrator`;
    from several threads it can be used at once.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._build: Callable[[], Orchestrator] = lambda: Orchestrator(*args, **kwargs)
        self._exits = ExitStack()
        self._portal: BlockingPortal | None = None
        self._engine: Orchestrator | None = None

    @classmethod
    def from_config(cls, path: str | None = None, **overrides: Any) -> Self:
        """Build as `Orchestrator.from_config` does."""
        found = cls()
        found._build = lambda: Orchestrator.from_config(path, **overrides)
        return found

    def __enter__(self) -> Self:
        with ExitStack() as exits:
            portal = exits.enter_context(start_blocking_portal("asyncio"))
            engine = self._build()
            exits.enter_context(portal.wrap_async_context_manager(engine))
            self._exits, self._portal, self._engine = exits.pop_all(), portal, engine
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._exits.close()
        self._portal = self._engine = None

    @property
    def engine(self) -> Orchestrator:
        """The engine itself; call into it only through this object."""
        if self._engine is None:
            raise EngineClosedError(
                "the engine is not running", hint="with SyncOrchestrator(...) as orchestrator"
            )
        return self._engine

    def select_model(self, **options: Unpack[SelectOptions]) -> SyncSelection:
        """Choose a model, as `Orchestrator.select_model` does."""
        return SyncSelection(self, self._call(lambda: self.engine.select_model(**options)))

    def generate(self, request: TextRequest, **options: Unpack[TextOptions]) -> TextResult:
        """Answer, as `Orchestrator.generate` does."""
        found: TextResult = self._call(lambda: self.engine.generate(request, **options))
        return found

    def stream(
        self,
        request: TextRequest,
        *,
        on_interrupt: OnInterrupt = "error",
        **options: Unpack[TextOptions],
    ) -> AbstractContextManager[Iterator[TextChunk]]:
        """Answer in pieces, as `Orchestrator.stream` does: ``with ... as chunks``."""
        engine = self.engine
        return _SyncStream(
            self._running(), lambda: engine.stream(request, on_interrupt=on_interrupt, **options)
        )

    def embed(self, texts: str | list[str], **options: Unpack[EmbedOptions]) -> EmbeddingResult:
        """Turn texts into vectors, as `Orchestrator.embed` does."""
        found: EmbeddingResult = self._call(lambda: self.engine.embed(texts, **options))
        return found

    def use_model(
        self,
        model_type: str,
        params: Any,
        provider: str | None = None,
        **options: Unpack[UseOptions],
    ) -> Any:
        """Do a kind of work, as `Orchestrator.use_model` does."""
        return self._call(lambda: self.engine.use_model(model_type, params, provider, **options))

    def feedback(self, decision_id: str, *, quality: float) -> None:
        """Say how good an answer was, as `Orchestrator.feedback` does."""
        self._call(lambda: self.engine.feedback(decision_id, quality=quality))

    def explain(
        self, request: TextRequest | None = None, **options: Unpack[TextOptions]
    ) -> Explanation:
        """Say how a request would be decided, as `Orchestrator.explain` does."""
        return self._running().call(lambda: self.engine.explain(request, **options))

    def _running(self) -> BlockingPortal:
        if self._portal is None:
            raise EngineClosedError(
                "the engine is not running", hint="with SyncOrchestrator(...) as orchestrator"
            )
        return self._portal

    def _call(self, make: Callable[[], Any]) -> Any:
        async def run() -> Any:
            return await make()

        return self._running().call(run)


class SyncSelection:
    """A chosen model for a program that does not await; see `Selection`."""

    def __init__(self, owner: SyncOrchestrator, selection: Selection) -> None:
        self._owner = owner
        self._selection = selection
        self.key = selection.key
        self.decision = selection.decision

    def generate(self, request: TextRequest, **options: Any) -> TextResult:
        """Answer with the chosen model."""
        found: TextResult = self._owner._call(lambda: self._selection.generate(request, **options))
        return found

    def generate_response(self, prompt: TextRequest, **options: Any) -> str:
        """Answer with the chosen model and return the text alone."""
        return self.generate(prompt, **options).text

    def release(self) -> None:
        """Say that it will not be used."""
        self._owner._running().call(self._selection.release)


class _SyncStream:
    def __init__(self, portal: BlockingPortal, make: Callable[[], Any]) -> None:
        self._portal = portal
        self._make = make
        self._context: Any = None
        self._stream: Any = None

    def __enter__(self) -> Iterator[TextChunk]:
        self._context = self._portal.wrap_async_context_manager(self._portal.call(self._make))
        self._stream = self._context.__enter__()
        return self._chunks()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._context.__exit__(kind, error, trace)

    def _chunks(self) -> Iterator[TextChunk]:
        done = object()

        async def following() -> Any:
            return await anext(self._stream, done)

        while (chunk := self._portal.call(following)) is not done:
            yield chunk
