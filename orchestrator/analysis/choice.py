"""From the scores of many runs to a choice in each."""

from __future__ import annotations

import numpy as np

from orchestrator.analysis.tally import IntArray
from orchestrator.core.errors import ConfigurationError
from orchestrator.core.estimates import FloatArray
from orchestrator.core.selector import BoolArray

__all__ = ["choose_each"]


def choose_each(
    scores: FloatArray, eligible: BoolArray, floor: float, rng: np.random.Generator
) -> IntArray:
    """Choose in each run the best eligible arm, or with probability ``floor`` any eligible one.

    As `orchestrator.selectors.choose`, but ties are broken at random: arms that are registered
    first deserve no better regret.

    Args:
        scores: Shape ``(runs, n_arms)``.
        eligible: Shape ``(runs, n_arms)`` or one that broadcasts to it; one arm or more per run.
        floor: Probability in [0, 1] spread evenly over the eligible arms.
        rng: Breaks ties and draws where to explore.

    Returns:
        The arm of each run, shape ``(runs,)``.

    Raises:
        ConfigurationError: A run's scores are not numbers.
    """
    runs = len(scores)
    whole = bool(eligible.all())
    if not whole:
        # Above minus infinity, so that the best is eligible whatever its score.
        scores = np.where(eligible, np.maximum(scores, np.finfo(float).min), -np.inf)
    # Of runs with ties the last one written stays, so these are written in random order.
    best = np.flatnonzero((scores == scores.max(axis=-1, keepdims=True)).T)
    if best.size > runs:
        best = rng.permutation(best)
    chosen = np.full(runs, -1)
    arms = best // runs
    chosen[best - arms * runs] = arms
    if chosen.min() < 0:
        raise ConfigurationError("the selector's scores are not numbers")
    if floor:
        explores = np.flatnonzero(rng.random(runs) < floor)
        allowed = np.broadcast_to(eligible, scores.shape)[explores].cumsum(axis=-1)
        rank = rng.random(len(explores)) * allowed[:, -1]
        chosen[explores] = (allowed > rank[:, None]).argmax(axis=-1)
    return chosen
