"""The Kullback-Leibler upper confidence bound."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from orchestrator.core.estimates import FloatArray
from orchestrator.core.selector import BoolArray

__all__ = ["kl_bounds", "kl_index"]

_STEPS: Final = 4
"""Newton's steps, each squaring the error: three were enough to 1e-12 over means and levels of
every size, since the first guess is within 0.03."""
# Arrays without axes: numpy compares with them in two thirds of the time of numbers.
_ZERO: Final = np.array(0.0)
_ONE: Final = np.array(1.0 + 1e-12)
"""A little more, so that who may reach 1 is solved, rather than tied with who does."""
_FEW: Final = 8
"""Rivals up to which it is quicker to solve one after the other than to narrow all at once."""
_TINY: Final = 1e-300
_SURE: Final = 1e-15
"""A chance below this is none: there it would overflow what is divided by it."""
_ENOUGH: Final = 1e-13
"""How far kl may be from the level."""
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


def kl_bounds(
    mean: FloatArray, width: FloatArray, penalty: FloatArray, eligible: BoolArray
) -> FloatArray:
    """Return scores of which the largest of eligible arms is that of `kl_index` - penalty.

    To find who is best, few arms need be solved: those whose upper bound in closed form is above
    the best that was solved so far.

    Args:
        mean: In [0, 1] but for rounding, shape ``(n_arms,)``, as all.
        width: sqrt(2 level) / 3.
        penalty: What is subtracted from the index.
        eligible: Which arms matter, at least one; the scores of others mean nothing.

    Returns:
        The best arm's index - penalty; for the others that, or a bound between it and the best.
    """
    bounds = _reach(mean, width)
    np.minimum(bounds, _ONE, out=bounds)
    bounds -= penalty
    top, n_solved = -math.inf, 0
    while True:
        arm = int(bounds.argmax())
        bound = bounds.item(arm)
        if not bound > top:
            return bounds
        if not eligible.item(arm):
            bounds = np.where(eligible, bounds, -np.inf)
            continue
        less = penalty.item(arm)
        index = _index_of(mean.item(arm), 4.5 * width.item(arm) ** 2, bound + less)
        bounds[arm] = score = min(index - less, bound)
        top = max(top, score)
        n_solved += 1
        if n_solved % 4 == 2:
            _narrow(bounds, top, mean, width, penalty)


def _reach(mean: FloatArray, width: FloatArray) -> FloatArray:
    """Return a bound on the index that needs no search; width as for `kl_bounds`.

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


def _narrow(
    bounds: FloatArray, top: float, mean: FloatArray, width: FloatArray, penalty: FloatArray
) -> None:
    """Lower the bounds of many rivals of the best so far, by Newton's step from where it is.

    As kl is convex in log(1 - q), a step from either side of the root ends beyond it.
    """
    rivals = (bounds > top).nonzero()[0]
    if rivals.size <= _FEW:
        return
    p, less = np.maximum(mean[rivals], _SURE), penalty[rivals]
    q = np.maximum(top + less, p)
    left, miss = np.maximum(1.0 - q, _SURE), np.maximum(1.0 - p, _SURE)
    excess = p * np.log(p / q) + miss * np.log(miss / left)
    excess -= 4.5 * width[rivals] ** 2
    left *= np.exp(excess * q / np.maximum(q - p, _SURE))
    # A little lower, so that whoever is the best but for rounding is no rival.
    bounds[rivals] = np.minimum(bounds[rivals], 1.0 - _ALIKE - left - less)


def _index_of(mean: float, level: float, above: float) -> float:
    """Do for one arm what `kl_index` does for many; a property test holds them together.

    Args:
        mean: As for `kl_index`, but for rounding.
        level: As for `kl_index`.
        above: No less than the index.
    """
    miss = 1.0 - mean
    if miss <= _SURE:
        return 1.0
    won = mean * math.log(mean) if mean > 0.0 else 0.0
    target = won + miss * math.log(miss) - level
    left = target / miss
    if above < 1.0:
        left = max(left, math.log1p(-above))
    for _ in range(_STEPS):
        q = -math.expm1(left)
        if q <= mean:
            break
        excess = target - mean * math.log(q) - miss * left
        if excess <= _ENOUGH:
            break
        left += excess * q / (q - mean)
    return -math.expm1(left)
