"""What `select_model` hands over: a choice that records its outcome and fails over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from orchestrator.core.decisions import Decision
from orchestrator.core.model import Model
from orchestrator.core.params import (
    EmbeddingParams,
    Params,
    TextRequest,
    as_text_params,
    validated,
)
from orchestrator.core.results import EmbeddingResult, TextResult
from orchestrator.engine.ask import Ask, Chosen
from orchestrator.engine.attempts import Attempts
from orchestrator.engine.parts import Parts
from orchestrator.engine.streaming import OnInterrupt, TextStream
from orchestrator.engine.unary import answer

if TYPE_CHECKING:
    from orchestrator.engine.asking import Asking

__all__ = ["Selection", "Unused"]

_SWEEP_S = 1.0


class Unused:
    """Selections that nobody has used yet; each expires by itself, within a second of its time."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._waiting: dict[int, tuple[float, Selection]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, selection: Selection, lasts_s: float) -> None:
        """Let a selection expire unless it is used within this time."""
        ends_at = self._parts.clock.monotonic() + lasts_s
        self._waiting[selection.decision.sequence] = (ends_at, selection)
        if self._timer is None:
            self._arm()

    def remove(self, selection: Selection) -> None:
        """A selection was used or released."""
        self._waiting.pop(selection.decision.sequence, None)

    def close(self) -> None:
        """Let all expire now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for _, selection in list(self._waiting.values()):
            selection.release()

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        now = self._parts.clock.monotonic()
        for _, selection in [w for w in self._waiting.values() if w[0] <= now]:
            selection.release()
        if self._waiting:
            self._arm()


class Selection:
    """A chosen model, ready to be used.

    Its first call is the decision's outcome; a failure goes to another model under the same
    requirements. Further calls decide anew under them. It holds nothing: one that is never used
    expires by itself and counts neither way.

    Attributes:
        decision: Why this model; see `Decision`.
        model: The chosen model.
    """

    __slots__ = ("_ask", "_asking", "_chosen", "_parts", "_unused", "_used", "decision", "model")

    def __init__(
        self, parts: Parts, asking: Asking, unused: Unused, ask: Ask, chosen: Chosen
    ) -> None:
        self._parts = parts
        self._asking = asking
        self._unused = unused
        self._ask = ask
        self._chosen: Chosen | None = chosen
        self._used = False
        self.decision: Decision = chosen.decision
        self.model: Model = chosen.model

    @property
    def key(self) -> str:
        """Key of the chosen model."""
        return self.decision.key

    async def generate_response(self, prompt: TextRequest, **options: Any) -> str:
        """Answer a prompt and return the text alone; see `generate`."""
        return (await self.generate(prompt, **options)).text

    async def generate(self, request: TextRequest, **options: Any) -> TextResult:
        """Answer a prompt or messages.

        Args:
            request: What to answer.
            options: Fields of `TextGenerationParams`.

        Raises:
            As `Orchestrator.generate`.
        """
        params = as_text_params(request, options)
        result = await answer(self._parts, self._attempts(params), params)
        assert isinstance(result, TextResult)
        return result

    def stream(
        self, request: TextRequest, *, on_interrupt: OnInterrupt = "error", **options: Any
    ) -> TextStream:
        """Answer in pieces, as `Orchestrator.stream` does."""
        params = as_text_params(request, options)
        attempts = self._attempts(params, stream=True)
        return TextStream(self._parts, attempts, params, on_interrupt)

    async def embed(self, texts: str | list[str], **options: Any) -> EmbeddingResult:
        """Turn texts into vectors, as `Orchestrator.embed` does."""
        params = validated(EmbeddingParams, {"input": texts, **options})
        result = await answer(self._parts, self._attempts(params), params)
        assert isinstance(result, EmbeddingResult)
        return result

    def release(self) -> None:
        """Say that it will not be used."""
        chosen = self._take()
        if chosen is not None:
            self._parts.settlement.unused(chosen.decision)

    def _attempts(self, params: Params, *, stream: bool = False) -> Attempts:
        ask = self._asking.narrowed(self._ask, params, stream=stream, again=self._used)
        self._used = True
        if self._chosen is not None and not self._parts.chooser.serves(self.key, ask):
            # The request demands more than the selection was told of.
            self.release()
        return Attempts(self._parts, ask, self._take)

    def _take(self) -> Chosen | None:
        chosen, self._chosen = self._chosen, None
        if chosen is not None:
            self._unused.remove(self)
        return chosen

    def __repr__(self) -> str:
        return f"<Selection {self.key} {self.decision.id}>"
