"""A model whose answers, delays and failures are written down, or drawn from a seed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from random import Random
from typing import Any, Literal, TypeAlias

from orchestrator.core.errors import ErrorClass, ModelAPIError
from orchestrator.core.model import Model
from orchestrator.testing.openai_wire import DEFAULT_DIMENSIONS, embedding, tokens_of

__all__ = ["Behaviour", "Drawn", "ScriptedCall", "ScriptedModel", "Turn"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What a scripted model does with one call.

    Attributes:
        text: What it says; a stream says it word by word.
        after_s: Seconds before its answer or failure; for ever is never.
        every_s: Seconds between the words of a stream.
        error: Raised in place of the answer; of a stream, after `words_before_error` words.
        lingers_s: Seconds that it takes to close a stream before its end.
    """

    text: str = ""
    after_s: float = 0.0
    every_s: float = 0.0
    error: Exception | None = None
    words_before_error: int = 0
    lingers_s: float = 0.0


Behaviour: TypeAlias = Callable[[str], Turn]
"""From a prompt to what happens."""


class Drawn:
    """Behaviour drawn from distributions, the same for the same seed and order of calls.

    Args:
        quality: Probability of the right answer.
        p_fail: Probability of a failure, which takes as long as an answer would.
        latency_s: Mean seconds of an answer, exponentially distributed.
        seed: Of the draws.
        right: The right answer, or what returns it for a prompt.
        wrong: The wrong one.
    """

    def __init__(
        self,
        *,
        quality: float = 1.0,
        p_fail: float = 0.0,
        latency_s: float = 0.0,
        seed: int = 0,
        right: str | Callable[[str], str] = "right",
        wrong: str = "wrong",
    ) -> None:
        self.quality = quality
        self.p_fail = p_fail
        self.latency_s = latency_s
        self.right = right
        self.wrong = wrong
        self._rng = Random(seed)

    def __call__(self, prompt: str) -> Turn:
        """Draw what happens; always as many draws, so that no setting shifts what follows."""
        fails, is_right = self._rng.random() < self.p_fail, self._rng.random() < self.quality
        after_s = self._rng.expovariate(1.0) * self.latency_s
        if fails:
            return Turn(after_s=after_s, error=_unavailable())
        right = self.right if isinstance(self.right, str) else self.right(prompt)
        return Turn(text=right if is_right else self.wrong, after_s=after_s)


def _unavailable() -> ModelAPIError:
    return ModelAPIError("unavailable on purpose", classification=ErrorClass.SERVICE_UNAVAILABLE)


@dataclass(slots=True, eq=False)
class ScriptedCall:
    """One call, and how it ended: None while it is in flight.

    Attributes:
        begun_s, ended_s: When, in seconds of the loop.
    """

    prompt: str
    options: dict[str, Any]
    turn: Turn
    begun_s: float
    ended_s: float | None = None
    end: Literal["answered", "failed", "left"] | None = None


class ScriptedModel(Model):
    """A model that does as it is told: ``ScriptedModel("steady", ["one", "two", TimeoutError()])``.

    It writes text, streams it word by word, and embeds.

    Args:
        name: Its name in the pool.
        behaviour: What it does: turns, answers or errors for the calls in order, of which the last
            goes for all that follow; or a function of the prompt, such as `Drawn`.
        provider: Who it stands for.
        spec: Further keywords of `Model`.

    Attributes:
        calls: Every call, in order.
    """

    def __init__(
        self,
        name: str = "scripted",
        behaviour: Behaviour | Iterable[Turn | str | Exception] = ("scripted",),
        provider: str = "scripted",
        **spec: Any,
    ) -> None:
        spec.setdefault("capabilities", ("text_generation", "chat_completion", "embeddings"))
        super().__init__(name, provider, **spec)
        self.behaviour = behaviour if callable(behaviour) else _Script(behaviour)
        self.calls: list[ScriptedCall] = []

    @property
    def in_flight(self) -> int:
        """Calls that have not ended."""
        return sum(call.end is None for call in self.calls)

    async def generate_response(self, prompt: str, **options: Any) -> str:
        """Answer a prompt."""
        with self._called(prompt, options) as turn:
            await _pause(turn.after_s)
            if turn.error is not None:
                raise turn.error
            return turn.text

    async def stream_response(self, prompt: str, **options: Any) -> AsyncIterator[str]:
        """Answer word by word."""
        with self._called(prompt, options) as turn:
            try:
                await _pause(turn.after_s)
                words = tokens_of(turn.text)
                for number, word in enumerate(words):
                    if turn.error is not None and number >= turn.words_before_error:
                        break
                    if number:
                        await _pause(turn.every_s)
                    yield word
            except GeneratorExit:
                await _pause(turn.lingers_s)
                raise
            if turn.error is not None:
                raise turn.error

    async def embed(self, texts: list[str], **options: Any) -> list[list[float]]:
        """Turn each text into a vector; texts that share words are near each other."""
        with self._called(texts[0], options) as turn:
            await _pause(turn.after_s)
            if turn.error is not None:
                raise turn.error
            return [embedding(text, DEFAULT_DIMENSIONS) for text in texts]

    @contextmanager
    def _called(self, prompt: str, options: dict[str, Any]) -> Iterator[Turn]:
        clock = asyncio.get_running_loop().time
        call = ScriptedCall(prompt, options, self.behaviour(prompt), clock())
        self.calls.append(call)
        try:
            yield call.turn
        except Exception:
            call.end = "failed"
            raise
        except BaseException:
            call.end = "left"
            raise
        else:
            call.end = "answered"
        finally:
            call.ended_s = clock()


class _Script:
    """The turns in order; the last again and again."""

    def __init__(self, turns: Iterable[Turn | str | Exception]) -> None:
        self._turns = [_turn(turn) for turn in turns] or [Turn()]
        self._taken = 0

    def __call__(self, prompt: str) -> Turn:
        turn = self._turns[min(self._taken, len(self._turns) - 1)]
        self._taken += 1
        return turn


def _turn(turn: Turn | str | Exception) -> Turn:
    if isinstance(turn, Turn):
        return turn
    return Turn(text=turn) if isinstance(turn, str) else Turn(error=turn)


async def _pause(seconds: float) -> None:
    if seconds == inf:
        await asyncio.get_running_loop().create_future()
    elif seconds > 0:
        await asyncio.sleep(seconds)
