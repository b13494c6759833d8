"""Has answers judged, beside the requests that they answer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, NamedTuple

from anyio.abc import TaskGroup

from orchestrator.core.clock import Clock
from orchestrator.core.decisions import Decision
from orchestrator.core.errors import ConfigurationError
from orchestrator.core.events import EvaluationFailed, EvaluationsDropped
from orchestrator.core.model import Answer
from orchestrator.core.params import Params
from orchestrator.engine.evaluators import Evaluator

if TYPE_CHECKING:
    from orchestrator.engine.orchestrator import Orchestrator

__all__ = ["Evaluations"]

_AT_ONCE: Final = 4
_MOST_WAITING: Final = 256
"""Answers and their requests are kept until they are judged."""
_LIMIT_S: Final = 60.0
"""How long one evaluator may take: one that hangs must not keep the others from judging."""
_GOLDEN: Final = 0.6180339887498949
_evaluating: ContextVar[bool] = ContextVar("evaluating", default=False)


class _Answered(NamedTuple):
    decision: Decision
    params: Params
    answer: Answer
    evaluators: Sequence[Evaluator]


class Evaluations:
    """The evaluators of one engine, and the answers that wait for them.

    An answer's quality is the lowest that any of them gives; after a 0 no other is asked. It
    counts only where nobody has rated the decision meanwhile.

    Args:
        evaluators: In the order in which they are asked: the cheap ones first.
        engine: What they judge for.
        clock: Time.
        rate: Takes a decision, a quality and who gave it.
        say: Publishes an event of a kind with these facts, if anybody wants it.

    Attributes:
        dropped: Answers that were not judged, since too many waited.

    Raises:
        ConfigurationError: A share is none.
    """

    def __init__(
        self,
        evaluators: Iterable[Evaluator],
        engine: Orchestrator,
        clock: Clock,
        rate: Callable[[Decision, float, str], object],
        say: Callable[..., None],
    ) -> None:
        self._evaluators = [(one, _share(one)) for one in evaluators]
        self._rate = rate
        self._say = say
        self._tasks: TaskGroup | None = None
        self._waiting: deque[_Answered] = deque()
        self._busy = 0
        self.dropped = 0
        for evaluator, _ in self._evaluators:
            bind = getattr(evaluator, "bind", None)
            if bind is not None:
                bind(engine, clock)

    def start(self, tasks: TaskGroup) -> None:
        """Judge in tasks of this group from now on."""
        self._tasks = tasks

    def close(self) -> None:
        """Judge no more; what waits is left as it is."""
        self._tasks = None
        self._waiting.clear()

    def offer(self, decision: Decision, params: Params, answer: Answer) -> None:
        """Have an answer judged, by those whose turn it is."""
        if self._tasks is None or _evaluating.get():
            return
        place = decision.sequence * _GOLDEN % 1.0
        asked = [evaluator for evaluator, share in self._evaluators if place < share]
        if not asked:
            return
        if len(self._waiting) >= _MOST_WAITING:
            self.dropped += 1
            # Said at 1, 2, 4, 8 ...: a flood of drops must not become a flood of events.
            if self.dropped & (self.dropped - 1) == 0:
                self._say(EvaluationsDropped, dropped=self.dropped)
            return
        self._waiting.append(_Answered(decision, params, answer, asked))
        if self._busy < _AT_ONCE:
            self._busy += 1
            self._tasks.start_soon(self._work)

    async def _work(self) -> None:
        _evaluating.set(True)  # of this task alone: what it asks of the engine is not judged
        try:
            while self._waiting:
                await self._judge(self._waiting.popleft())
        finally:
            self._busy -= 1

    async def _judge(self, answered: _Answered) -> None:
        decision, params, answer, evaluators = answered
        lowest, by = 2.0, ""
        for evaluator in evaluators:
            name = _name(evaluator)
            try:
                async with asyncio.timeout(_LIMIT_S):
                    found = _checked(await evaluator(params, answer))
            except Exception as error:  # noqa: BLE001 - whatever it is, there is no judgement
                self._say(
                    EvaluationFailed,
                    evaluator=name,
                    decision_id=decision.id,
                    model=decision.key,
                    error=f"{type(error).__name__}: {error}",
                )
                continue
            if found is not None and found < lowest:
                lowest, by = found, name
            if not lowest:
                break
        if by:
            self._rate(decision, lowest, by)


def _share(evaluator: Evaluator) -> float:
    share = getattr(evaluator, "sample", 1.0)
    if not 0 <= share <= 1:
        raise ConfigurationError(f"{_name(evaluator)}: sample lies in [0, 1], not at {share!r}")
    return float(share)


def _checked(quality: object) -> float | None:
    """Return what an evaluator gave as a quality; a truth value is 0 or 1."""
    if quality is None:
        return None
    if not isinstance(quality, int | float) or not 0 <= quality <= 1:
        raise ValueError(f"a quality is a number in [0, 1], not {quality!r}")
    return float(quality)


def _name(evaluator: Evaluator) -> str:
    return str(
        getattr(evaluator, "name", None)
        or getattr(evaluator, "__name__", None)
        or type(evaluator).__name__
    )
