"""Has an arm changed? A test over its stream of rewards, and what is believed afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from orchestrator.core.estimates import FloatArray

__all__ = ["MIN_KNOWN", "ChangeDetector", "Changes", "after_change", "spread_after"]

_IntArray: TypeAlias = npt.NDArray[np.integer[Any]]

MIN_KNOWN: Final = 8.0
"""Rewards that make an expectation: of an arm that has fewer, none is news.

As many stay believed after a change, as a memory of how segments differ from each other.
"""
_PER_LEVEL: Final = 2
"""Buckets of one size; the third makes the oldest two one of the next size."""
_LEAST: Final = 5.0
"""Rewards on either side of a change, without which a test sees ghosts."""
_FREE: Final = 7.0
"""The test fires above ln n + 7, n being the rewards looked at, so that false alarms become rarer
as a stream goes on. Of 2,500 Bernoulli streams that stood still, with means .05 to .98 and what
was expected learned from themselves, three raised one within 5,000 rewards.
"""


class Changes(NamedTuple):
    """Streams that have changed; every array has one entry per change.

    Attributes:
        streams: Which.
        share: Which share of the rewards that were remembered lies after the change.
        shift: How far above all that were remembered the mean reward lies since.
    """

    streams: _IntArray
    share: FloatArray
    shift: FloatArray


class ChangeDetector:
    """Watches streams of rewards in [0, 1] for a change of what they are worth.

    Each stream is kept as an exponential histogram: buckets of (n, rewards, rewards expected),
    of which older ones are merged into ever wider ones, so that a stream of n buckets takes
    O(log n) and a new one O(1). The test is a generalised likelihood ratio at every border
    between two buckets: were the rewards before and after it drawn from one Bernoulli law? Both
    sides are first corrected by what was expected of them, so that a stream does not seem to
    change when it meets harder requests.

    Args:
        n_streams: One per arm, or per arm of each run.

    Source:
        Bifet & Gavaldà (2007), ADWIN, for the histogram; Besson, Kaufmann, Maillard & Seznec
        (2022), GLR-klUCB, for the test.

    >>> detector = ChangeDetector(1)
    >>> for reward in [1.0] * 60 + [0.0] * 20:
    ...     found = detector.add([0], [1.0], [reward], [1.0])
    ...     if found.streams.size:
    ...         break
    >>> found.shift.round(2)
    array([-0.92])
    """

    def __init__(self, n_streams: int) -> None:
        # One place more than stays, for the bucket that makes a level overflow; newest first.
        self._cells = np.zeros((n_streams, 1, _PER_LEVEL + 1, 3))
        self._filled = np.zeros((n_streams, 1), dtype=np.intp)

    def add(
        self,
        streams: npt.ArrayLike,
        n: npt.ArrayLike,
        rewards: npt.ArrayLike,
        expected: npt.ArrayLike,
    ) -> Changes:
        """Add a bucket to each of these streams and say which of them have changed.

        What a changed stream held from before its change is forgotten.

        Args:
            streams: Which, each at most once.
            n: Rewards in its bucket.
            rewards: Their sum.
            expected: The sum of what was expected of each before it was seen.
        """
        found = np.asarray(streams, dtype=np.intp)
        self._push(found, np.stack([np.asarray(v, dtype=float) for v in (n, rewards, expected)], 1))
        return self._test(found)

    def rearranged(self, sources: Sequence[int | None]) -> ChangeDetector:
        """Return a detector of other streams; ``sources`` says where each was, or None."""
        found = ChangeDetector(0)
        places = np.array([-1 if was is None else was for was in sources], dtype=np.intp)
        # None takes the last place, which is empty.
        found._cells = np.pad(self._cells, ((0, 1), *((0, 0),) * 3))[places]
        found._filled = np.pad(self._filled, ((0, 1), (0, 0)))[places]
        return found

    def _push(self, streams: _IntArray, buckets: FloatArray) -> None:
        level = 0
        while streams.size:
            if level == self._cells.shape[1]:
                self._cells = np.concatenate([self._cells, np.zeros_like(self._cells[:, :1])], 1)
                self._filled = np.concatenate([self._filled, np.zeros_like(self._filled[:, :1])], 1)
            cells = self._cells[streams, level]
            cells[:, 1:] = cells[:, :-1]
            cells[:, 0] = buckets
            self._filled[streams, level] += 1
            full = self._filled[streams, level] > _PER_LEVEL
            buckets = cells[full, -1] + cells[full, -2]
            cells[full, -2:] = 0.0
            self._cells[streams, level] = cells
            streams = streams[full]
            self._filled[streams, level] = _PER_LEVEL - 1
            level += 1

    def _test(self, streams: _IntArray) -> Changes:
        _, levels, places, sums = self._cells.shape
        buckets = self._cells[streams].reshape(len(streams), levels * places, sums)
        since = buckets.cumsum(axis=1)
        n_all, won_all, expected_all = since[:, -1].T[:, :, None]
        n_since, won_since, expected_since = since.transpose(2, 0, 1)
        tested = (n_since >= _LEAST) & (n_all - n_since >= _LEAST)
        # Where there is nothing to test, anything above 0 will do to divide by.
        after, before = np.where(tested, (n_since, n_all - n_since), 1.0)
        usual = expected_all / np.maximum(n_all, 1.0)
        surplus, surplus_since = won_all - expected_all, won_since - expected_since
        mean_after = usual + surplus_since / after
        p = np.clip(mean_after, 0.0, 1.0)
        q = np.clip(usual + (surplus - surplus_since) / before, 0.0, 1.0)
        both = (after * p + before * q) / (after + before)
        ratio = np.where(tested, after * _kl(p, both) + before * _kl(q, both), 0.0)
        border = ratio.argmax(axis=1)
        rows = np.arange(len(streams))
        n = np.maximum(n_all[:, 0], 1.0)
        fired = np.flatnonzero(ratio[rows, border] > _FREE + np.log(n))
        where = fired, border[fired]
        shift = mean_after[where] - won_all[fired, 0] / n[fired]
        self._forget(streams[fired], border[fired], shift)
        return Changes(streams[fired], n_since[where] / n[fired], shift)

    def _forget(self, streams: _IntArray, border: _IntArray, shift: FloatArray) -> None:
        cells = self._cells[streams]
        shape = cells.shape
        kept = (np.arange(shape[1] * shape[2]) <= border[:, None]).reshape(shape[:3])
        cells[~kept] = 0.0
        # Had the change been known, so much more would have been expected.
        cells[..., 2] += shift[:, None, None] * cells[..., 0]
        self._cells[streams] = cells
        self._filled[streams] = np.minimum(self._filled[streams], kept.sum(axis=2))


def after_change(
    n: FloatArray, mean: FloatArray, share: FloatArray, shift: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the count and the mean of rewards that an arm's segments are left with.

    A change moves an arm in all its segments alike, as far as anyone can tell at first: each
    keeps its distance to the others, and counts for what was seen since, or a little.

    Args:
        n: Rewards per segment; all arrays broadcast.
        mean: Their mean.
        share: See `Changes`.
        shift: See `Changes`.
    """
    return np.maximum(n * share, np.minimum(n, MIN_KNOWN)), np.clip(mean + shift, 0.0, 1.0)


def spread_after(spread: FloatArray, before: FloatArray, after: FloatArray) -> FloatArray:
    """Return the variance of rewards whose mean has moved.

    It stays the same share of what rewards that are won or lost would have.

    Args:
        spread: The variance as it was; all arrays broadcast.
        before: The mean as it was.
        after: The mean as it is.
    """
    most = before - before**2
    share = np.where(most > 0.0, spread / np.where(most > 0.0, most, 1.0), 1.0)
    return np.asarray(np.clip(share, 0.0, 1.0) * (after - after**2))


def _kl(p: FloatArray, q: FloatArray) -> FloatArray:
    tiny = 1e-12
    p, q = np.clip(p, tiny, 1 - tiny), np.clip(q, tiny, 1 - tiny)
    return np.asarray(p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)))
