"""The Kullback-Leibler upper confidence bound."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from orchestrator.core.estimates import FloatArray
from orchestrator.core.selector import BoolArray

__all__ = ["kl_bounds", "kl_index"]

_STEPS: Final = 5
"""Newton's steps, each squaring the error: four were enough to 1e-10 over means and levels of
every size, since the first guess is close."""
_TRIES: Final = 6
"""Arms solved one by one before those left are solved together."""
_TINY: Final = 1e-300
_SURE: Final = 1e-15
"""A chance below this is none: there it would overflow what is divided by it."""


def kl_index(mean: FloatArray, level: FloatArray) -> FloatArray:
    """Return the largest q with kl(mean, q) <= level, for Bernoulli kl, to 1e-9.

    Args:
        mean: In [0, 1], any shape.
        level: At least 0, of a shape that broadcasts with it.

    Source:
        Garivier & Cappé (2011), "The KL-UCB algorithm for bounded stochastic bandits and
        beyond". Found by Newton's method in 1 - q from beyond the root: kl is convex, so that no
        step overshoots.

    >>> kl_index(np.array([0.5, 0.0, 1.0]), np.array([0.5, 0.7, 0.1])).round(4)
    array([0.8975, 0.5034, 1.    ])
    """
    miss = 1.0 - mean
    won, lost = np.maximum(mean, _TINY), np.maximum(miss, _SURE)
    entropy = mean * np.log(won) + miss * np.log(lost)
    # Since -log q >= 0: 1 - q is at least this, however far q is from the mean.
    floor = lost * np.exp((mean * np.log(won) - level) / lost)
    # On this side of 1/2 the variance is widest at q itself, which gives a quadratic.
    wide, half = 1.0 + 2.0 * level, mean + level
    near = (half + np.sqrt(np.maximum(half * half - wide * mean * mean, 0.0))) / wide
    reach = np.where(near <= 0.5, near, _reach(mean, np.sqrt(2.0 * level)))
    left = np.maximum(1.0 - reach, np.maximum(floor, _TINY))
    for _ in range(_STEPS):
        q = np.maximum(1.0 - left, _TINY)
        excess = entropy - mean * np.log(q) - miss * np.log(left) - level
        slope = (miss - left) / (left * q)
        step = np.maximum(excess, 0.0) / np.maximum(slope, _TINY)
        left = np.minimum(left + np.where(slope > 0, step, 0.0), lost)
    return np.asarray(1.0 - left)


def kl_bounds(
    mean: FloatArray, root_level: FloatArray, penalty: FloatArray, eligible: BoolArray
) -> FloatArray:
    """Return scores whose largest is that of `kl_index` - penalty, where eligible.

    To find who is best, few arms need be solved: those whose upper bound in closed form is above
    the best that was solved so far.

    Args:
        mean: In [0, 1], shape ``(n_arms,)``, as all.
        root_level: sqrt(2 level).
        penalty: What is subtracted from the index.
        eligible: Which arms matter; others score minus infinity.

    Returns:
        The best arm's index - penalty; for the others that, or a bound between it and the best.
    """
    bounds = np.where(eligible, np.minimum(_reach(mean, root_level), 1.0) - penalty, -np.inf)
    solved: set[int] = set()
    for _ in range(_TRIES):
        arm = int(bounds.argmax())
        if arm in solved:
            return bounds
        solved.add(arm)
        level = 0.5 * root_level.item(arm) ** 2
        bounds[arm] = min(_kl_index_of(mean.item(arm), level) - penalty.item(arm), bounds[arm])
    top = max(bounds.item(arm) for arm in solved)
    rivals = np.flatnonzero(bounds > top)
    scores = kl_index(mean[rivals], 0.5 * root_level[rivals] ** 2) - penalty[rivals]
    # Arms that are alike stay so, however each was solved.
    bounds[rivals] = np.where(scores > top + 1e-12, scores, np.minimum(scores, top))
    return bounds


def _reach(mean: FloatArray, root_level: FloatArray) -> FloatArray:
    """Return a bound on q: kl(p, q) >= (q - p)^2 / 2v, v the largest q(1 - q) on the way there."""
    widest = np.maximum(mean, 0.5)
    return np.asarray(mean + root_level * np.sqrt(widest - widest * widest))


def _kl_index_of(mean: float, level: float) -> float:
    """Do for one arm what `kl_index` does for many; a property test holds them together."""
    miss = 1.0 - mean
    if miss <= _SURE:
        return 1.0
    won = mean * math.log(mean) if mean > 0 else 0.0
    entropy = won + miss * math.log(miss)
    wide, half = 1.0 + 2.0 * level, mean + level
    reach = (half + math.sqrt(max(half * half - wide * mean * mean, 0.0))) / wide
    if reach > 0.5:
        widest = max(mean, 0.5)
        reach = mean + math.sqrt(2.0 * level * (widest - widest * widest))
    left = max(1.0 - reach, miss * math.exp(max((won - level) / miss, -690.0)), _TINY)
    for _ in range(_STEPS):
        if left >= miss:
            break
        excess = entropy - mean * math.log1p(-left) - miss * math.log(left) - level
        if excess <= 1e-12:
            break
        left += excess * left * (1.0 - left) / (miss - left)
    return 1.0 - left
