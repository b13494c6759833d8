"""Estimates of many runs at once, kept current pull by pull.

`Estimates.of` derives everything from whole sums; a round of a simulation changes one arm of each
run, so only that is derived anew. Runs lie innermost in memory, which is what makes a reduction
over the arms of each run quick.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from orchestrator.core.changes import after_change, spread_after
from orchestrator.core.estimates import Estimates, FloatArray
from orchestrator.core.statistics import COLUMNS

__all__ = ["IntArray", "Tally"]

IntArray: TypeAlias = npt.NDArray[np.integer[Any]]
_Where: TypeAlias = IntArray | slice

_FAINT: Final = 1e-9
"""As in `orchestrator.core.estimates`: counts below this are forgotten."""
_ALL: Final = slice(None)


class Tally:
    """What each run has seen of each arm, apart for each group of its rounds.

    Every call succeeds and is rated when it ends, so calls, ratings and successes are one count.

    Args:
        n_groups: Groups of rounds: segments, or 1 for all rounds together.
        n_arms: Arms of every run.
        runs: Independent runs.
        adapts: Whether ratings may be revised, so that fewer of them count than there were calls.
    """

    def __init__(self, n_groups: int, n_arms: int, runs: int, *, adapts: bool = False) -> None:
        self._n_arms, self._runs, self._lanes = n_arms, runs, np.arange(runs)
        shape = (n_groups, n_arms, runs)
        self._n, self._total, self._squares, self._counted = np.zeros((4, *shape))
        self._mean, self._variance, self._root_inverse = np.zeros((3, *shape))
        self._pulls = np.zeros((n_groups, runs))
        # Pulls begun, and those that count: two things only where ratings are revised.
        self._trials = np.zeros(shape) if adapts else self._counted
        self._begun = np.zeros((n_groups, runs)) if adapts else self._pulls
        self._adapts = adapts
        self._derive()
        self._read = (self._n, self._mean, self._variance, self._root_inverse, self._trials)
        # What no round of a simulation touches, such as seconds, stays as it is derived here.
        blank = np.zeros((len(COLUMNS), runs, n_arms))
        self.first = Estimates.of(blank)
        """The estimates of group 0 in every run; they follow what happens."""
        self._some = Estimates.of(blank)
        shown = [held[0].T for held in self._read]
        self._show(self.first, shown, self._pulls[:1].T, self._begun[:1].T)

    def add(self, n: FloatArray, total: FloatArray, squares: FloatArray) -> None:
        """Add what every run knows beforehand: counts, sums and sums of squares of rewards.

        Args:
            n, total, squares: Shape ``(n_groups, n_arms)``.
        """
        for held in (self._n, self._counted, *((self._trials,) if self._adapts else ())):
            held += n[:, :, None]
        self._total += total[:, :, None]
        self._squares += squares[:, :, None]
        self._derive()

    def open(self, arms: IntArray, groups: IntArray | None, weight: float = 1.0) -> None:
        """Count a pull that has begun in each run; a negative weight takes it back."""
        where = self._where(arms, groups)
        self._flat(self._counted)[where] += weight
        whose: Any = 0 if groups is None else (groups, self._lanes)
        self._pulls[whose] += weight
        if self._adapts:
            self._flat(self._trials)[where] += weight
            self._begun[whose] += weight
        self._derive_counted(where)

    def close(
        self, arms: IntArray, groups: IntArray | None, rewards: FloatArray, weight: float = 1.0
    ) -> None:
        """Take the reward of a pull in each run; a negative weight takes it back."""
        where = self._where(arms, groups)
        won = weight * rewards
        self._flat(self._n)[where] += weight
        self._flat(self._total)[where] += won
        self._flat(self._squares)[where] += won * rewards
        self._derive_rewards(where)

    def known(self, arms: IntArray, groups: IntArray | None) -> tuple[FloatArray, FloatArray]:
        """Return count and mean of the rewards of one arm of each run, shape ``(runs,)`` both."""
        where = self._where(arms, groups)
        return self._flat(self._n)[where], self._flat(self._mean)[where]

    def revise(
        self, arms: IntArray, lanes: IntArray, share: FloatArray, shift: FloatArray
    ) -> FloatArray:
        """Believe, of arms that have changed, what came since, as serving does.

        Args:
            arms, lanes: Which arm of which run, one entry per change, each run at most once.
            share, shift: See `orchestrator.core.changes.Changes`.

        Returns:
            What was added to counts, sums and sums of squares over all groups, shape
            ``(3, n_changes)``.
        """
        n, total, squares = (held[:, arms, lanes] for held in (self._n, self._total, self._squares))
        some = np.where(n > 0, n, 1.0)
        before = total / some
        left, mean = after_change(n, before, share, shift)
        spread = spread_after(squares / some - before**2, before, mean)
        added = np.stack([left, left * mean, left * (spread + mean**2)]) - (n, total, squares)
        self.change(arms, lanes, added)
        return np.asarray(added.sum(axis=1))

    def change(self, arms: IntArray, lanes: IntArray, added: FloatArray) -> None:
        """Add to counts, sums and sums of squares, shape ``(3, [n_groups,] n_changes)``."""
        for held, what in zip((self._n, self._total, self._squares), added, strict=True):
            held[:, arms, lanes] += what
        self._counted[:, arms, lanes] += added[0]
        self._pulls[:, lanes] += added[0]
        for group in range(len(self._n)):
            where = self._place(group, arms, lanes)
            self._derive_counted(where)
            self._derive_rewards(where)

    def fade(self, factor: float) -> None:
        """Multiply every sum, as a memory that fades does."""
        for held in (self._n, self._total, self._squares, self._counted):
            held *= factor
        self._derive()

    def of(self, groups: IntArray) -> Estimates:
        """Return the estimates of one group of each run, shape ``(runs,)``, until the next call."""
        shown = [held[groups, :, self._lanes] for held in self._read]
        pulls, begun = (held[groups, self._lanes, None] for held in (self._pulls, self._begun))
        self._show(self._some, shown, pulls, begun)
        return self._some

    # ------------------------------------------------------------------------------------------

    @staticmethod
    def _flat(held: FloatArray) -> FloatArray:
        return held.reshape(-1)

    def _where(self, arms: IntArray, groups: IntArray | None) -> IntArray:
        return self._place(0 if groups is None else groups, arms, self._lanes)

    def _place(self, groups: int | IntArray, arms: IntArray, lanes: IntArray) -> IntArray:
        return np.asarray((groups * self._n_arms + arms) * self._runs + lanes)

    def _derive(self) -> None:
        np.sum(self._counted, axis=1, out=self._pulls)
        np.sum(self._trials, axis=1, out=self._begun)
        self._derive_counted(_ALL)
        self._derive_rewards(_ALL)

    def _derive_counted(self, where: _Where) -> None:
        counted = self._flat(self._counted)[where]
        inverse = 1.0 / np.sqrt(np.where(counted > _FAINT, counted, 1.0))
        self._flat(self._root_inverse)[where] = inverse

    def _derive_rewards(self, where: _Where) -> None:
        count = np.maximum(self._flat(self._n)[where], _FAINT)
        mean = self._flat(self._total)[where] / count
        spread = np.maximum(self._flat(self._squares)[where] / count - mean * mean, 0.0)
        forgotten = count <= _FAINT
        if forgotten.any():
            mean[forgotten], spread[forgotten] = 0.5, 0.25
        self._flat(self._mean)[where], self._flat(self._variance)[where] = mean, spread

    @staticmethod
    def _show(
        estimates: Estimates, shown: Sequence[FloatArray], pulls: FloatArray, begun: FloatArray
    ) -> None:
        estimates.n, estimates.mean, estimates.variance = shown[:3]
        estimates.root_inverse, estimates.trials = shown[3:]
        estimates.pulls, estimates.begun = pulls, begun
