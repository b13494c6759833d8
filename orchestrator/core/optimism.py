"""How good an arm may plausibly be, in a few operations."""

from __future__ import annotations

from math import log, sqrt
from typing import TypeAlias

import numpy as np

from orchestrator.core.estimates import FloatArray

__all__ = ["upper_bound", "upper_bounds"]

_Scale: TypeAlias = float | FloatArray


def upper_bounds(
    mean: FloatArray, pulls: FloatArray, level: _Scale, boost: _Scale = 1.0
) -> FloatArray:
    """Return how good each arm may plausibly be, shape ``(*lead, n_arms)``.

    With f = boost * max(0, level - ln n) / n and b = (1/2 - mean) f, it is

        mean + b + sqrt(b^2 + 2 mean (1 - mean) f), at most 1,

    which stands in for the largest q with kl(mean, q) <= f, Bernoulli: the distance to the mean is
    within a fifth of that for f up to a tenth, and no root has to be searched for.

    Args:
        mean: Mean rewards in [0, 1], shape ``(*lead, n_arms)``.
        pulls: n above, more than 0; as mean.
        level: ln of the pulls at which an arm needs no optimism; shape ``(*lead, 1)`` or a number.
        boost: Multiplies the exploration; as level.

    >>> upper_bounds(np.array([0.5, 0.5, 0.6]), np.array([90.0, 9.0, 9.0]), log(36)).round(2)
    array([0.5 , 0.78, 0.86])
    """
    rate = np.asarray(level - np.log(pulls))
    np.maximum(rate, 0.0, out=rate)
    rate *= boost
    rate /= pulls
    lean = (0.5 - mean) * rate
    rate *= 2.0 * mean * (1.0 - mean)
    rate += lean * lean
    np.sqrt(rate, out=rate)
    rate += lean
    rate += mean
    np.minimum(rate, 1.0, out=rate)
    return rate


def upper_bound(mean: float, pulls: float, level: float, boost: float) -> float:
    """Do for one arm what `upper_bounds` does for all; a property test holds them together."""
    excess = level - log(pulls)
    if excess <= 0.0:
        return mean
    rate = boost * excess / pulls
    lean = (0.5 - mean) * rate
    found = mean + lean + sqrt(lean * lean + 2.0 * mean * (1.0 - mean) * rate)
    return found if found < 1.0 else 1.0
