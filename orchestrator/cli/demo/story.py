"""The story: questions, answers, feedback, and in the middle a death."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from orchestrator.cli.demo.questions import Question
from orchestrator.core.errors import OrchestratorError
from orchestrator.core.events import (
    CallStarted,
    Event,
    FailedOver,
    HealthChanged,
    ModelLoaded,
    ProcessExited,
)
from orchestrator.engine import Orchestrator
from orchestrator.lifecycle.exit_codes import describe_exit

__all__ = ["Answered", "Audience", "Death", "Story", "Theatre", "ask"]

_IN_THE_ACT_S: Final = 0.05
"""How long after a call began its engine is killed: no answer is ready by then."""


@dataclass(frozen=True, slots=True)
class Answered:
    """One question, and who answered it how well."""

    question: Question
    model: str
    text: str
    quality: float
    cost_usd: float
    latency_s: float
    failed: tuple[str, ...]
    """Who had failed it before."""


@dataclass(frozen=True, slots=True)
class Death:
    """An engine process that was killed.

    Attributes:
        model: The arm that was answering.
        pid: The process.
        question: Which question it was answering, counted from 1.
    """

    model: str
    pid: int
    question: int


@dataclass(slots=True)
class Story:
    """What happened.

    Attributes:
        asked: Questions asked.
        answers: Those that were answered, in order.
        lost: The errors of those that were not.
        death: Who was killed, and when; None before.
        failovers: How often a question went on to another arm.
    """

    asked: int = 0
    answers: list[Answered] = field(default_factory=list)
    lost: list[OrchestratorError] = field(default_factory=list)
    death: Death | None = None
    failovers: int = 0


class Audience(Protocol):
    """Whoever watches."""

    def answered(self, story: Story, answer: Answered) -> None:
        """A question was answered."""
        ...

    def happened(self, text: str) -> None:
        """Something else happened."""
        ...


class Theatre:
    """Plays the story on a stage, whose engines are not loaded yet.

    Args:
        orchestrator: Chooses and answers.
        audience: Told of everything.
    """

    def __init__(self, orchestrator: Orchestrator, audience: Audience) -> None:
        self.story = Story()
        self._orchestrator = orchestrator
        self._audience = audience
        self._pids: dict[str, int] = {}
        self._victim: str | None = None
        orchestrator.events.on(Event, self._see)

    async def play(self, questions: Sequence[Question], *, seed: int) -> Story:
        """Ask every question, rate each answer, and half way kill the engine of the favourite.

        Args:
            questions: What to ask, in this order.
            seed: Of the models' own randomness.
        """
        story, rng = self.story, random.Random(seed)
        for number, question in enumerate(questions):
            if number == len(questions) // 2:
                self._victim = self._favourite()
            story.asked += 1
            try:
                answer = await ask(self._orchestrator, question, rng.randrange(2**31))
            except OrchestratorError as error:
                story.lost.append(error)
                self._audience.happened(f"LOST: {error}")
            else:
                story.answers.append(answer)
                self._audience.answered(story, answer)
        return story

    def _favourite(self) -> str | None:
        """Return the arm with an engine of ours that has answered most."""
        pulls = Counter(answer.model for answer in self.story.answers)
        return next((key for key, _ in pulls.most_common() if self._resident(key)), None)

    def _resident(self, key: str) -> str | None:
        return self._orchestrator.registry.get_model(key).spec.resident

    def _see(self, event: Event) -> None:
        match event:
            case CallStarted(model=model) if model == self._victim:
                self._victim = None
                asyncio.get_running_loop().call_later(_IN_THE_ACT_S, self._kill, model)
            case ModelLoaded():
                self._pids[event.resident] = event.pid
                self._audience.happened(f"the engine {event.resident!r} serves, pid {event.pid}")
            case ProcessExited(expected=False):
                how = describe_exit(event.exit_code)
                self._audience.happened(f"the engine {event.resident!r} ended with {how}")
            case FailedOver():
                self.story.failovers += 1
                self._audience.happened(f"{event.from_model} failed, {event.to_model} took over")
            case HealthChanged():
                self._audience.happened(f"the breaker of {event.model} is {event.now}")

    def _kill(self, model: str) -> None:
        pid = self._pids[self._resident(model) or ""]
        self.story.death = Death(model, pid, self.story.asked)
        self._audience.happened(f"kill -9 {pid}, while {model} answers question {self.story.asked}")
        os.kill(pid, signal.SIGKILL)


async def ask(
    orchestrator: Orchestrator, question: Question, seed: int, *, only: str | None = None
) -> Answered:
    """Ask the pool and rate the answer, or ask one arm alone, from which nothing is learned."""
    result = await orchestrator.generate(question.text, seed=seed, model=only)
    quality = question.quality(result.text)
    if only is None:
        await orchestrator.feedback(result.decision_id, quality=quality)
    *failed, _ = (attempt.model for attempt in result.attempts)
    return Answered(
        question,
        result.model,
        result.text,
        quality,
        result.cost_usd,
        result.latency_s,
        tuple(failed),
    )
