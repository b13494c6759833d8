"""Partial pooling: what is believed of an arm in one segment, with the others' help."""

from __future__ import annotations

from typing import Final

import numpy as np

from orchestrator.core.estimates import Estimates, FloatArray
from orchestrator.core.optimism import upper_bound, upper_bounds

__all__ = ["Pooled"]

_PRIOR_N, _PRIOR_WON = 1.0, 0.5
"""An arm of which nothing is known has won half of one pull."""
_DOUBT: Final = 10.0
"""Pulls for which rewards are taken to be as spread out as those that are won or lost."""
_FAINT: Final = 1e-9
"""As in `orchestrator.core.estimates`: what is below is rounding."""
_FEW: Final = 16
"""Arms that are derived one by one sooner than all at once, and one more for each 64."""


class Pooled:
    """Posterior of every arm in one segment; arrays have shape ``(*lead, n_arms)``.

    It refreshes what it derives all at once from; before an arm alone, the total has to be fresh.

    An arm's mean over all other segments counts for up to ``kappa`` pulls in this one, and the
    less it is known itself the fewer: n + w pulls with mean (n mean + w other mean) / (n + w),
    w = kappa m / (kappa + m), m being the pulls elsewhere and a prior of one.

    Attributes:
        mean: Mean reward in [0, 1].
        counted: Pulls of this segment, pending ones included, and what the others count for.
        dispersion: How far its rewards are spread out, over all segments, beside rewards of the
            same mean that are won or lost, which have 1: the variance as a share of theirs.
        pulls: Sum of counted over the arms that are known, shape ``(*lead, 1)``; of one run, as
            when serving, a number.
        n_known: Arms of which anything is known in any segment; as pulls.

    Source:
        Gelman & Hill (2007), Data Analysis Using Regression, chapter 12: partial pooling.
        McCullagh & Nelder (1989), Generalized Linear Models, chapter 9: dispersion.
    """

    __slots__ = (
        "_behind",
        "_bounds",
        "_counts_alone",
        "_followed",
        "_kappa",
        "_known",
        "_scale",
        "_segment",
        "_total",
        "counted",
        "dispersion",
        "mean",
        "n_known",
        "pulls",
    )

    def __init__(self, total: Estimates, segment: Estimates, kappa: float) -> None:
        self._total, self._segment, self._kappa = total, segment, kappa
        self._followed: list[int] = []
        self._behind = 0
        self._derive()

    pulls: float | FloatArray
    n_known: float | FloatArray
    _bounds: FloatArray
    _counts_alone: list[bool]
    _scale: tuple[float, float] | None

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
        if not self._counts_alone[arm]:
            return False
        self.counted[arm] = counted = self.counted.item(arm) + 1.0
        self.pulls += 1.0
        if self._scale is not None:
            self._bound(arm, self.mean.item(arm), counted, self._scale)
        return True

    def upper_bounds(self, level: float, boost: float) -> FloatArray:
        """Return `orchestrator.core.optimism.upper_bounds` of one run, kept while level stays.

        Nobody may write to it.
        """
        scale = (level, boost)
        if scale != self._scale:
            self._bounds = upper_bounds(self.mean, self.counted, level, boost * self.dispersion)
            self._scale = scale
        return self._bounds

    def _derive(self) -> None:
        total, segment, kappa = self._total, self._segment, self._kappa
        total.refresh()
        segment.refresh()
        won = segment.n * segment.mean
        elsewhere = total.n - segment.n + _PRIOR_N
        won_elsewhere = total.n * total.mean - won + _PRIOR_WON
        shrunk = kappa / (kappa + elsewhere)
        weight = elsewhere * shrunk
        self.mean = (won + shrunk * won_elsewhere) / (segment.n + weight)
        self.counted = segment.root_inverse**-2 + weight
        widest = total.mean * (1.0 - total.mean)
        varied = widest > _FAINT
        spread = np.where(varied, total.variance / np.where(varied, widest, 1.0), 1.0)
        self.dispersion = (total.n * spread + _DOUBT) / (total.n + _DOUBT)
        self._known = (total.n > 0) | (total.trials > 0)
        self._scale = None
        if self.counted.ndim == 1:
            self.pulls = float(self.counted[self._known].sum())
            self.n_known = float(np.count_nonzero(self._known))
            # An arm's first pull in a segment counts for no more than that it is the first.
            self._counts_alone = (self._known & (segment.root_inverse < 1.0)).tolist()
        else:
            self.pulls = np.asarray((self.counted * self._known).sum(axis=-1, keepdims=True))
            self.n_known = np.asarray(self._known.sum(axis=-1, keepdims=True, dtype=float))

    def _derive_arm(self, arm: int) -> None:
        """Do for one arm what `_derive` does for all; a property test holds them together."""
        total, segment, kappa = self._total, self._segment, self._kappa
        n, mean, counted = segment.of_arm(arm)
        n_total, mean_total = total.n.item(arm), total.mean.item(arm)
        won = n * mean
        elsewhere = n_total - n + _PRIOR_N
        shrunk = kappa / (kappa + elsewhere)
        weight = elsewhere * shrunk
        won += shrunk * (n_total * mean_total - won + _PRIOR_WON)
        self.mean[arm] = mean = won / (n + weight)
        counts_alone = counted > 1.0
        counted = (counted if counted > _FAINT else 1.0) + weight
        widest = mean_total * (1.0 - mean_total)
        spread = total.variance.item(arm) / widest if widest > _FAINT else 1.0
        self.dispersion[arm] = (n_total * spread + _DOUBT) / (n_total + _DOUBT)
        if self._known.item(arm):
            self.pulls -= self.counted.item(arm)
            self.n_known -= 1.0
        self._known[arm] = known = n_total > 0 or total.trials.item(arm) > 0
        self.counted[arm] = counted
        self._counts_alone[arm] = known and counts_alone
        if known:
            self.pulls += counted
            self.n_known += 1.0
        if self._scale is not None:
            self._bound(arm, mean, counted, self._scale)

    def _bound(self, arm: int, mean: float, counted: float, scale: tuple[float, float]) -> None:
        level, boost = scale
        self._bounds[arm] = upper_bound(mean, counted, level, boost * self.dispersion.item(arm))
