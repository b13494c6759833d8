"""Partial pooling: what is believed of an arm in one segment, with the others' help."""

from __future__ import annotations

from math import log
from typing import Final

import numpy as np

from orchestrator.core.estimates import Estimates, FloatArray

__all__ = ["Pooled"]

_PRIOR_N, _PRIOR_WON = 1.0, 0.5
"""An arm of which nothing is known has won half of one pull."""
_FEW: Final = 16
"""Arms that are derived one by one sooner than all at once, and one more for each 64."""


class Pooled:
    """Posterior of every arm in one segment; arrays have shape ``(*lead, n_arms)``.

    An arm's mean over all other segments counts for up to ``kappa`` pulls in this one, and the
    less it is known itself the fewer: n + w pulls with mean (n mean + w other mean) / (n + w),
    w = kappa m / (kappa + m), m being the pulls elsewhere and a prior of one.

    Attributes:
        mean: Mean reward in [0, 1].
        lean: 1/2 - mean.
        spread: Twice the variance of a reward with this mean that is won or lost.
        inverse: 1 / counted, where counted are the pulls of this segment, pending ones included,
            and what the others count for.
        log_inverse: ln(1 / counted).
        pulls: Sum of counted over the arms that are known, shape ``(*lead, 1)``; of one run, as
            when serving, a number.
        n_known: Arms of which anything is known in any segment; as pulls.

    Source:
        Gelman & Hill (2007), Data Analysis Using Regression, chapter 12: partial pooling.
    """

    __slots__ = (
        "_behind",
        "_counted",
        "_followed",
        "_kappa",
        "_known",
        "_segment",
        "_total",
        "inverse",
        "lean",
        "log_inverse",
        "mean",
        "n_known",
        "pulls",
        "spread",
    )

    def __init__(self, total: Estimates, segment: Estimates, kappa: float) -> None:
        self._total, self._segment, self._kappa = total, segment, kappa
        self._followed: list[int] = []
        self._behind = 0
        self._derive()

    pulls: float | FloatArray
    n_known: float | FloatArray

    def follow(self, touched: list[int]) -> None:
        """Derive anew what has changed.

        Args:
            touched: Arms in the order in which they changed; a list that only grows. Another
                list than last time says that anything may have changed.
        """
        if touched is self._followed:
            if len(touched) == self._behind:
                return
            arms = set(touched[self._behind :])
            if len(arms) <= _FEW + self.mean.size // 64:
                for arm in arms:
                    self._derive_arm(arm)
                self._behind = len(touched)
                return
        self._followed, self._behind = touched, len(touched)
        self._derive()

    def open(self, arm: int) -> bool:
        """Count a pull of this segment that has begun, as `follow` would; False if it has to."""
        # An arm's first pull in a segment counts for no more than that it is the first.
        if not self._known.item(arm) or self._segment.root_inverse.item(arm) >= 1.0:
            return False
        counted = self._counted[arm] = self._counted[arm] + 1.0
        self.inverse[arm] = 1.0 / counted
        self.log_inverse[arm] = -log(counted)
        self.pulls += 1.0
        return True

    def _derive(self) -> None:
        total, segment, kappa = self._total, self._segment, self._kappa
        won = segment.n * segment.mean
        elsewhere = total.n - segment.n + _PRIOR_N
        won_elsewhere = total.n * total.mean - won + _PRIOR_WON
        shrunk = kappa / (kappa + elsewhere)
        weight = elsewhere * shrunk
        self.mean = (won + shrunk * won_elsewhere) / (segment.n + weight)
        self.lean = 0.5 - self.mean
        self.spread = 2.0 * self.mean * (1.0 - self.mean)
        counted = segment.root_inverse**-2 + weight
        self.inverse = 1.0 / counted
        self.log_inverse = -np.log(counted)
        self._known = (total.n > 0) | (total.trials > 0)
        if counted.ndim == 1:
            self._counted = counted.tolist()
            self.pulls = float(counted[self._known].sum())
            self.n_known = float(np.count_nonzero(self._known))
        else:
            self.pulls = np.asarray((counted * self._known).sum(axis=-1, keepdims=True))
            self.n_known = np.asarray(self._known.sum(axis=-1, keepdims=True, dtype=float))

    def _derive_arm(self, arm: int) -> None:
        """Do for one arm what `_derive` does for all; a property test holds them together."""
        total, segment, kappa = self._total, self._segment, self._kappa
        n, n_total = segment.n.item(arm), total.n.item(arm)
        won = n * segment.mean.item(arm)
        elsewhere = n_total - n + _PRIOR_N
        shrunk = kappa / (kappa + elsewhere)
        weight = elsewhere * shrunk
        won += shrunk * (n_total * total.mean.item(arm) - won + _PRIOR_WON)
        self.mean[arm] = mean = won / (n + weight)
        self.lean[arm] = 0.5 - mean
        self.spread[arm] = 2.0 * mean * (1.0 - mean)
        counted = segment.root_inverse.item(arm) ** -2 + weight
        self.inverse[arm] = 1.0 / counted
        self.log_inverse[arm] = -log(counted)
        if self._known.item(arm):
            self.pulls -= self._counted[arm]
            self.n_known -= 1.0
        self._known[arm] = known = n_total > 0 or total.trials.item(arm) > 0
        self._counted[arm] = counted
        if known:
            self.pulls += counted
            self.n_known += 1.0
