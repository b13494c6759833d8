"""From scores to a choice, and how likely each choice is."""

from __future__ import annotations

import random
from typing import NamedTuple

import numpy as np

from orchestrator.core.estimates import FloatArray
from orchestrator.core.selector import BoolArray

__all__ = ["Choice", "choose", "propensities"]


class Choice(NamedTuple):
    """The chosen arm, and whether it is the one that scored best."""

    arm: int
    greedy: bool


def choose(scores: FloatArray, eligible: BoolArray, floor: float, rng: random.Random) -> Choice:
    """Choose the best eligible arm, or with probability ``floor`` any eligible one.

    Args:
        scores: Shape ``(n_arms,)``. Ties go to the arm registered first.
        eligible: Shape ``(n_arms,)``, at least one true.
        floor: Probability in [0, 1] spread evenly over the eligible arms.
        rng: Draws where to explore; not touched while the floor is 0.
    """
    best = int(scores.argmax())
    if not eligible[best]:
        best = int(np.where(eligible, scores, -np.inf).argmax())
        if not eligible[best]:  # the eligible ones score no better than minus infinity
            best = int(eligible.argmax())
    if floor == 0.0 or rng.random() >= floor:
        # NamedTuple's own constructor is a Python function, and takes three times as long.
        return tuple.__new__(Choice, (best, True))
    among = np.flatnonzero(eligible)
    arm = int(among[int(rng.random() * among.size)])
    return Choice(arm, arm == best)


def propensities(scores: FloatArray, eligible: BoolArray, floor: float) -> FloatArray:
    """Return how likely `choose` is to take each arm; any leading axes, sums to 1 over arms."""
    # Above minus infinity, so that the best is eligible whatever its score.
    masked = np.where(eligible, np.maximum(scores, np.finfo(float).min), -np.inf)
    best = np.zeros_like(masked)
    np.put_along_axis(best, masked.argmax(axis=-1, keepdims=True), 1.0, axis=-1)
    spread = eligible / eligible.sum(axis=-1, keepdims=True)
    return np.asarray((1.0 - floor) * best + floor * spread)
