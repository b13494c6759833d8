"""An environment that answers from a script, and a selector that notes how it scored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from orchestrator.analysis.environments import Seen, alike
from orchestrator.analysis.tally import IntArray
from orchestrator.core.estimates import FloatArray
from orchestrator.core.selector import Candidates, Selector
from orchestrator.core.views import Evidence

__all__ = ["Noting", "Scripted", "scripted"]


@dataclass
class Scripted:
    """Rewards of every round, run and arm; segment and features of every round and run."""

    rewards: FloatArray
    segment: IntArray
    features: FloatArray
    delay: int = 0
    n_segments: int = 3
    seen: Seen | None = None
    shifts: tuple[int, ...] = ()

    @property
    def arms(self) -> tuple[str, ...]:
        return tuple(f"arm:{n}" for n in range(self.rewards.shape[2]))

    def episode(self, horizon: int, runs: int, rng: np.random.Generator) -> Scripted:
        return self

    def candidates(self, t: int) -> Candidates:
        return alike(len(self.arms))._replace(features=self.features[t])

    def segments(self, t: int) -> IntArray | None:
        return np.asarray(self.segment[t])

    def reveal(self, t: int, arms: IntArray) -> FloatArray:
        return np.asarray(self.rewards[t, np.arange(len(arms)), arms])

    def gaps(self, first: int, arms: IntArray) -> FloatArray:
        raise NotImplementedError("what is written down is learned from, not regretted")


def scripted(seed: int, *, horizon: int, runs: int, arms: int = 3, **settings: Any) -> Scripted:
    """Draw a script: rewards in [0, 1], many of them won or lost."""
    rng = np.random.default_rng(seed)
    rewards = rng.random((horizon, runs, arms))
    rewards = np.where(rng.random(rewards.shape) < 0.7, rewards.round(), rewards)
    segment, features = rng.integers(0, 3, (horizon, runs)), rng.normal(size=(horizon, runs, 2))
    return Scripted(rewards, segment, features, **settings)


@dataclass
class Noting:
    """A selector that does as another does, and keeps the scores of every round."""

    other: Any
    noted: list[FloatArray] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.other, name)

    def scores(
        self, evidence: Evidence, candidates: Candidates, rng: np.random.Generator
    ) -> FloatArray:
        scores: FloatArray = self.other.scores(evidence, candidates, rng)
        self.noted.append(scores.copy())
        return scores

    def as_selector(self) -> Selector:
        """Return this as what type checkers hold to be a selector: it answers for the other."""
        return cast(Selector, self)
