"""Keeps an eye on the arms of a view: what each was worth, and what it turned out to be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

import numpy as np

from orchestrator.core.changes import MIN_KNOWN, ChangeDetector, after_change, spread_after
from orchestrator.core.estimates import Estimates
from orchestrator.core.statistics import Column

__all__ = ["Watch", "revision"]

_Deltas: TypeAlias = Iterable[tuple[int, float]]
_RATED = (Column.N_QUALITY, Column.QUALITY)
_ANSWERED = (Column.CALLS, Column.OK)


class Watch:
    """Gathers the rewards of each arm in buckets of time and tests them for a change.

    Args:
        n_arms: Arms of the view.
    """

    def __init__(self, n_arms: int) -> None:
        self._n_arms = n_arms
        self._detector = ChangeDetector(n_arms)
        self._open: dict[int, list[float]] = {}

    def see(self, arm: int, deltas: _Deltas, known: Estimates) -> None:
        """Take an outcome or a rating of an arm.

        Args:
            arm: Which.
            deltas: What it adds to which column.
            known: The estimates from which a reward was expected, not yet changed by it.
        """
        count, won = _RATED if known.rates_quality else _ANSWERED
        n = reward = 0.0
        for column, delta in deltas:
            if column == count:
                n += delta
            elif column == won:
                reward += delta
        if not (n or reward):
            return
        n_known, mean, _ = known.of_arm(arm)
        if n_known >= MIN_KNOWN:
            bucket = self._open.setdefault(arm, [0.0, 0.0, 0.0])
            bucket[0] += n
            bucket[1] += reward
            bucket[2] += n * mean

    def close(self) -> Iterator[tuple[int, float, float]]:
        """End the present bucket; yield each arm that has changed, its share and its shift."""
        if not self._open:
            return
        arms, buckets = list(self._open), np.array(list(self._open.values()))
        self._open = {}
        for arm, share, shift in zip(*self._detector.add(arms, *buckets.T), strict=True):
            yield int(arm), float(share), float(shift)

    def forget(self) -> None:
        """Forget every reward."""
        self._detector, self._open = ChangeDetector(self._n_arms), {}

    def rearranged(self, sources: Sequence[int | None]) -> Watch:
        """Return a watch over another list of arms; ``sources`` says where each was, or None."""
        found = Watch(len(sources))
        found._detector = self._detector.rearranged(sources)
        places = {was: now for now, was in enumerate(sources)}
        found._open = {places[arm]: b for arm, b in self._open.items() if arm in places}
        return found


def revision(
    sums: Sequence[float], rates_quality: bool, share: float, shift: float
) -> list[tuple[int, float]]:
    """Return what to add to a segment's sums of an arm that has changed.

    Args:
        sums: In the order of `COLUMNS`.
        rates_quality: Whether the reward is quality, or else success.
        share: See `orchestrator.core.changes.Changes`.
        shift: See there.
    """
    count, won = _RATED if rates_quality else _ANSWERED
    n, total = sums[count], sums[won]
    if n <= 0:
        return []
    left, mean = (float(v) for v in after_change(*map(np.asarray, (n, total / n, share, shift))))
    deltas = [(count, left - n), (won, left * mean - total)]
    if rates_quality:
        squares, before = sums[Column.QUALITY_SQ], total / n
        spread = float(spread_after(*map(np.asarray, (squares / n - before**2, before, mean))))
        deltas.append((Column.QUALITY_SQ, left * (spread + mean * mean) - squares))
    elif total > 0:
        # Tokens and seconds are those of successful calls: for each as many as before.
        factor = left * mean / total - 1.0
        successful = range(Column.TOKENS_IN, Column.OPENED)
        deltas += ((column, sums[column] * factor) for column in successful if sums[column])
    return deltas
