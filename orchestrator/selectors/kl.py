"""The Kullback-Leibler upper confidence bound."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from orchestrator.core.estimates import Estimates, FloatArray
from orchestrator.core.selector import BoolArray

__all__ = ["KLBounds", "kl_index"]

_STEPS: Final = 4
"""Newton's steps, each squaring the error: three were enough to 1e-12 over means and levels of
every size, since the first guess is within 0.03."""
# Arrays without axes: numpy compares with them in two thirds of the time of numbers.
_ZERO: Final = np.array(0.0)
_MOST: Final = 1.0 + 1e-12
"""A little more than 1, so that who may reach it is solved, rather than tied with who does."""
_FEW: Final = 8
"""Arms up to which it is quicker to take one after the other than all at once."""
_AHEAD: Final = 1.001
"""How far ahead of ln t the scale is: enough for its next 0.2 %."""
_FAR: Final = 1.01
"""How far ahead it may be; beyond that its bounds would be of little use."""
_TINY: Final = 1e-300
_SURE: Final = 1e-15
"""A chance below this is none: there it would overflow what is divided by it."""
_ENOUGH: Final = 1e-12
"""How far kl may be from the level, as a share of it."""
_ALIKE: Final = 1e-12
"""Utilities closer than this are one and the same, but for rounding."""


def kl_index(mean: FloatArray, level: FloatArray) -> FloatArray:
    """Return the largest q with kl(mean, q) <= level, for Bernoulli kl, to 1e-9.

    Args:
        mean: In [0, 1], any shape.
        level: At least 0, of a shape that broadcasts with it.

    Source:
        Garivier & Cappé (2011), "The KL-UCB algorithm for bounded stochastic bandits and
        beyond". Found by Newton's method in log(1 - q) from beyond the root: kl is convex in it,
        so that no step overshoots, and nearly a straight line where q is close to 1.

    >>> kl_index(np.array([0.5, 0.0, 1.0]), np.array([0.5, 0.7, 0.1])).round(4)
    array([0.8975, 0.5034, 1.    ])
    """
    miss = 1.0 - mean
    lost = np.maximum(miss, _SURE)
    most = np.log(lost)
    target = mean * np.log(np.maximum(mean, _TINY)) + miss * most - level
    above = _reach(mean, np.sqrt(2.0 * level) / 3.0)
    # Since -log q >= 0: log(1 - q) is at least target / lost, however far q is from the mean.
    left = np.maximum(np.log(np.maximum(1.0 - above, _TINY)), target / lost)
    for _ in range(_STEPS):
        q = -np.expm1(left)
        excess = target - mean * np.log(np.maximum(q, _TINY)) - miss * left
        step = np.maximum(excess, 0.0) * q / np.maximum(q - mean, _TINY)
        left = np.minimum(left + step, most)
    return np.asarray(-np.expm1(left))


class KLBounds:
    """Upper bounds on every arm's `kl_index`, kept from decision to decision.

    To find who is best, few arms need be solved: those whose bound is no lower than the best that
    was solved so far. A bound holds for the mean, root and scale that it was found for, and for
    all that are lower, since the index grows with each. So a pull that begins changes none of
    them, an outcome that of its own arm, and all are found anew only when ln t has outgrown the
    scale they are for, which is a little ahead of it.
    """

    __slots__ = ("_bounds", "_mean", "_root", "_scale")

    _bounds: FloatArray
    _mean: FloatArray
    _root: FloatArray

    def __init__(self) -> None:
        self._scale = math.nan

    @classmethod
    def of(cls, estimates: Estimates) -> KLBounds:
        """Return the bounds that are kept with these estimates, of one run."""
        found = estimates.kept.get(cls)
        if found is None:
            found = estimates.kept[cls] = cls()
        return found

    def scores(
        self,
        mean: FloatArray,
        root: FloatArray,
        scale: float,
        penalty: FloatArray,
        eligible: BoolArray,
    ) -> FloatArray:
        """Return scores of which the largest of eligible arms is that of `kl_index` - penalty.

        Args:
            mean: In [0, 1] but for rounding, shape ``(n_arms,)``, as all; of the same arms every
                time.
            root: An arm's level is (scale root)^2 / 2.
            scale: At least 0.
            penalty: What is subtracted from the index.
            eligible: Which arms matter, at least one; the scores of others mean nothing.

        Returns:
            The best arm's index - penalty; for the others that, or a bound between it and the
            best. The array is the caller's.
        """
        self._follow(mean, root, scale)
        scores = self._bounds - penalty
        solved: dict[int, float] = {}
        while True:
            arm = int(scores.argmax())
            if arm in solved or scores.item(arm) == -math.inf:
                return scores
            if not eligible.item(arm):
                scores = np.where(eligible, scores, -np.inf)
                continue
            index = self._solve(arm, mean.item(arm), root.item(arm), scale)
            scores[arm] = solved[arm] = index - penalty.item(arm)
            if len(solved) % 4 == 2:
                self._narrow(scores, max(solved.values()), mean, root, scale, penalty)

    def _follow(self, mean: FloatArray, root: FloatArray, scale: float) -> None:
        if scale <= self._scale <= scale * _FAR:
            risen = mean > self._mean
            risen |= root > self._root
            arms = risen.nonzero()[0]
            if arms.size <= _FEW:
                for arm in arms.tolist():
                    self._keep(arm, _MOST, mean.item(arm), root.item(arm))
                return
        self._scale = scale * _AHEAD
        self._mean, self._root = mean.copy(), root.copy()
        self._bounds = _reach(mean, (self._scale / 3.0) * root)
        np.minimum(self._bounds, _MOST, out=self._bounds)

    def _keep(self, arm: int, bound: float, mean: float, root: float) -> None:
        self._bounds[arm], self._mean[arm], self._root[arm] = bound, mean, root

    def _solve(self, arm: int, mean: float, root: float, scale: float) -> float:
        """Return an arm's index, and keep what follows for the scale ahead.

        As kl is convex in q, it lies above its tangent in the index.
        """
        level = 0.5 * (scale * root) ** 2
        index = _index_of(mean, level)
        if index > mean:
            ahead = 0.5 * (self._scale * root) ** 2 - level
            bound = index + ahead * index * (1.0 - index) / (index - mean) + _ALIKE
            self._keep(arm, min(bound, _MOST), mean, root)
        return index

    def _narrow(
        self,
        scores: FloatArray,
        top: float,
        mean: FloatArray,
        root: FloatArray,
        scale: float,
        penalty: FloatArray,
    ) -> None:
        """Lower the scores of many rivals of the best so far, by Newton's step from where it is.

        As kl is convex in log(1 - q), a step from either side of the root ends beyond it. What is
        kept is lowered as in `_solve`.
        """
        rivals = (scores > top).nonzero()[0]
        if rivals.size <= _FEW:
            return
        means, roots, less = mean[rivals], root[rivals], penalty[rivals]
        p = np.maximum(means, _SURE)
        q = np.maximum(top + less, p)
        left, miss = np.maximum(1.0 - q, _SURE), np.maximum(1.0 - p, _SURE)
        half = 0.5 * roots**2
        excess = p * np.log(p / q) + miss * np.log(miss / left) - scale**2 * half
        left *= np.exp(excess * q / np.maximum(q - p, _SURE))
        bound = 1.0 - left
        lower = bound - less
        # Whoever is the best but for rounding ties with it, and is no rival.
        lower[np.abs(lower - top) <= _ALIKE] = top
        scores[rivals] = np.minimum(scores[rivals], lower)
        slope = bound * left / np.maximum(bound - p, _SURE)
        bound += (self._scale**2 - scale**2) * half * slope + _ALIKE
        self._bounds[rivals] = np.minimum(self._bounds[rivals], bound)
        self._mean[rivals], self._root[rivals] = means, roots


def _reach(mean: FloatArray, width: FloatArray) -> FloatArray:
    """Return a bound on the index that needs no search; width is sqrt(2 level) / 3.

    kl(p, q) is the integral of (x - p) / x(1 - x) from p to q, so that by Jensen's inequality it
    is at least (q - p)^2 / 2m(1 - m), m two thirds of the way. Where that is the level, m is the
    upper end of Wilson's interval.
    """
    square = width * width
    half = mean * 0.5
    bound = mean * mean
    np.subtract(mean, bound, out=bound)
    np.maximum(bound, _ZERO, out=bound)
    bound += square
    np.sqrt(bound, out=bound)
    bound *= width
    bound += square
    bound += half
    square *= 4.0 / 3.0
    square += 1.0 / 3.0
    bound /= square
    bound -= half
    return bound


def _index_of(mean: float, level: float) -> float:
    """Do for one arm what `kl_index` does for many; a property test holds them together.

    Args:
        mean: As for `kl_index`, but for rounding.
        level: As for `kl_index`.
    """
    miss = 1.0 - mean
    if miss <= _SURE:
        return 1.0
    square = level * (2.0 / 9.0)
    above = math.sqrt(square * (square + max(mean * miss, 0.0))) + square + 0.5 * mean
    above = above / (square * (4.0 / 3.0) + 1.0 / 3.0) - 0.5 * mean
    won = mean * math.log(mean) if mean > 0.0 else 0.0
    most = math.log(miss)
    target = won + miss * most - level
    left = target / miss
    if above < 1.0:
        left = max(left, math.log1p(-above))
    for _ in range(_STEPS):
        q = -math.expm1(left)
        if q <= mean:
            break
        excess = target - mean * math.log(q) - miss * left
        if excess <= _ENOUGH * level:
            break
        left = min(left + excess * q / (q - mean), most)
    return -math.expm1(left)
