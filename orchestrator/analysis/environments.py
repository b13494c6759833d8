"""What answers pulls: arms whose rewards are drawn, at rates that may shift."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from orchestrator.analysis.tally import IntArray
from orchestrator.core.errors import InvalidRequestError
from orchestrator.core.estimates import FloatArray
from orchestrator.core.selector import Candidates

__all__ = ["Bernoulli", "Environment", "Episode", "Seen", "alike"]


@dataclass(frozen=True, slots=True)
class Seen:
    """What every run has seen before its first round, as sums.

    Attributes:
        n: Pulls, shape ``(n_segments, n_arms)``, as all.
        quality: Sum of their rewards.
        quality_sq: Sum of the squares of their rewards.
        cost_usd: Sum of what they cost.
    """

    n: FloatArray
    quality: FloatArray
    quality_sq: FloatArray
    cost_usd: FloatArray


class Episode(Protocol):
    """An environment during one simulation: many runs that know nothing of each other."""

    def candidates(self, t: int) -> Candidates:
        """Return what is known of the arms in round ``t`` of each run; leading axis: runs or 1."""
        ...

    def segments(self, t: int) -> IntArray | None:
        """Return the segment of each run's round, shape ``(runs,)``; None if there is but one."""
        ...

    def reveal(self, t: int, arms: IntArray) -> FloatArray:
        """Return the rewards in [0, 1] of these pulls of round ``t``, shape ``(runs,)``.

        Called once for every round, in order, when they are seen.
        """
        ...

    def gaps(self, first: int, arms: IntArray) -> FloatArray:
        """Return what pulls fall short of the best arm's mean of their rounds.

        Args:
            first: The round of the first row.
            arms: Shape ``(rounds, runs)``.

        Returns:
            Shape ``(rounds, runs)``, at least 0.
        """
        ...


class Environment(Protocol):
    """Arms, and how they answer.

    Attributes:
        arms: Their names.
        n_segments: Kinds of rounds.
        delay: Rounds after which a round's reward is seen; 0: before the next decision.
        seen: What every run has seen before, or None.
        shifts: Rounds from which on the arms are others than before.
    """

    @property
    def arms(self) -> Sequence[str]: ...
    @property
    def n_segments(self) -> int: ...
    @property
    def delay(self) -> int: ...
    @property
    def seen(self) -> Seen | None: ...
    @property
    def shifts(self) -> Sequence[int]: ...

    def episode(self, horizon: int, runs: int, rng: np.random.Generator) -> Episode:
        """Begin so many runs of so many rounds.

        Raises:
            InvalidRequestError: It has not that many rounds.
        """
        ...


def alike(n_arms: int) -> Candidates:
    """Return candidates that are all eligible and that nothing but evidence sets apart."""
    shape = (1, n_arms)
    nothing, no = np.zeros(shape), np.zeros(shape, dtype=np.bool_)
    return Candidates(~no, nothing, nothing, nothing, no, no, np.full(shape, np.nan))


class Bernoulli:
    """Arms that win or lose, each at a rate of its own.

    Args:
        means: How likely each arm is to win.
        later: From which round on the rates are others, and which; in order of rounds.
        delay: Rounds after which a round's reward is seen.

    Raises:
        InvalidRequestError: There is no arm, a rate is none, or the phases do not fit together.
    """

    n_segments: Final = 1
    seen: Final = None

    def __init__(
        self,
        means: Sequence[float],
        *,
        later: Sequence[tuple[int, Sequence[float]]] = (),
        delay: int = 0,
    ) -> None:
        starts = [0, *(start for start, _ in later)]
        if sorted(set(starts)) != starts:
            raise InvalidRequestError(f"shifts must come in order, not at {starts[1:]}")
        if {len(rates) for _, rates in later} - {len(means)}:
            raise InvalidRequestError("every phase needs a rate for each arm", param="means")
        if delay < 0:
            raise InvalidRequestError(f"a delay is at least 0, not {delay}", param="delay")
        self.means = np.array([means, *(rates for _, rates in later)], dtype=np.float64)
        if not (self.means.size and np.all((self.means >= 0) & (self.means <= 1))):
            raise InvalidRequestError(
                f"rates must be one or more numbers in [0, 1], not {self.means.tolist()}",
                param="means",
            )
        self.arms: Final = tuple(str(arm) for arm in range(len(means)))
        self.shifts: Final = tuple(starts[1:])
        self.delay: Final = delay

    def episode(self, horizon: int, runs: int, rng: np.random.Generator) -> Episode:
        """Begin so many runs; any number of rounds will do."""
        return _BernoulliEpisode(self, runs, rng)


class _BernoulliEpisode:
    def __init__(self, environment: Bernoulli, runs: int, rng: np.random.Generator) -> None:
        self._means, self._shifts = environment.means, environment.shifts
        self._candidates = alike(len(environment.arms))
        self._runs, self._rng = runs, rng

    def candidates(self, t: int) -> Candidates:
        return self._candidates

    def segments(self, t: int) -> IntArray | None:
        return None

    def reveal(self, t: int, arms: IntArray) -> FloatArray:
        means = self._means[bisect(self._shifts, t)]
        return np.asarray(self._rng.random(self._runs) < means[arms], dtype=np.float64)

    def gaps(self, first: int, arms: IntArray) -> FloatArray:
        phases = np.searchsorted(self._shifts, np.arange(first, first + len(arms)), side="right")
        means = self._means[phases]
        pulled: FloatArray = np.take_along_axis(means, arms, axis=1)
        return np.asarray(means.max(axis=1, keepdims=True) - pulled)
