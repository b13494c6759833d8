"""What each arm is worth by itself, and what the choice among them has cost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from orchestrator.cli.demo.questions import Question
from orchestrator.cli.demo.story import Answered, Story, ask
from orchestrator.engine import Orchestrator

__all__ = ["Arm", "Audit", "audited", "judged"]


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm, asked every question.

    Attributes:
        key: The arm.
        pulls: Questions of the story that it answered.
        right: How many of those it answered right.
        spent_usd: What those cost.
        quality: Share of right answers when asked every question.
        cost_usd: Mean cost of an answer then.
        latency_s: Mean seconds of an answer then.
        worth: Quality less cost, in points of quality.
        regret: What its pulls lost against the best arm, in right answers.
    """

    key: str
    pulls: int
    right: int
    spent_usd: float
    quality: float
    cost_usd: float
    latency_s: float
    worth: float
    regret: float


@dataclass(frozen=True, slots=True)
class Audit:
    """The arms, the best first.

    Attributes:
        arms: All of them.
        regret: What the story lost against the best arm, in right answers.
        regret_of_chance: What a choice by lot would have lost on average.
    """

    arms: tuple[Arm, ...]
    regret: float
    regret_of_chance: float


async def audited(
    orchestrator: Orchestrator,
    story: Story,
    questions: Sequence[Question],
    *,
    cost_weight: float,
    seed: int,
) -> Audit:
    """Ask every arm every question, all arms at the same time, and judge the story by that.

    Args:
        orchestrator: Has the arms.
        story: What is judged.
        questions: Each once.
        cost_weight: Points of quality per USD.
        seed: Of the models' own randomness.
    """
    alone: dict[str, list[Answered]] = {}

    async def ask_all(key: str) -> None:
        rng = random.Random(seed)
        alone[key] = [
            await ask(orchestrator, question, rng.randrange(2**31), only=key)
            for question in questions
        ]

    async with asyncio.TaskGroup() as tasks:
        for key in orchestrator.registry.list_models():
            tasks.create_task(ask_all(key))
    return judged(story, alone, cost_weight=cost_weight)


def judged(story: Story, alone: dict[str, list[Answered]], *, cost_weight: float) -> Audit:
    """Return what a story is worth, given the answers of each arm to every question."""
    worth = {key: _worth(answers, cost_weight) for key, answers in alone.items()}
    best = max(worth.values())
    arms = []
    for key in sorted(worth, key=lambda key: -worth[key]):
        pulled = [answer for answer in story.answers if answer.model == key]
        arms.append(
            Arm(
                key=key,
                pulls=len(pulled),
                right=sum(answer.quality > 0 for answer in pulled),
                spent_usd=sum(answer.cost_usd for answer in pulled),
                quality=fmean(answer.quality for answer in alone[key]),
                cost_usd=fmean(answer.cost_usd for answer in alone[key]),
                latency_s=fmean(answer.latency_s for answer in alone[key]),
                worth=worth[key],
                regret=len(pulled) * (best - worth[key]),
            )
        )
    by_lot = best - fmean(worth.values())
    return Audit(tuple(arms), sum(arm.regret for arm in arms), len(story.answers) * by_lot)


def _worth(answers: Sequence[Answered], cost_weight: float) -> float:
    return fmean(answer.quality - cost_weight * answer.cost_usd for answer in answers)
