"""Thompson sampling of means: rewards of any spread, which is learned too."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final

import numpy as np

from orchestrator.core.estimates import Estimates, FloatArray
from orchestrator.core.selector import Candidates
from orchestrator.core.views import Evidence
from orchestrator.selectors.odds import TAIL, Beliefs, odds_of_largest
from orchestrator.selectors.thompson import ThompsonSelector

__all__ = ["NIGThompsonSelector"]

_MEAN: Final = 0.5
"""The middle of what a quality can be; believed in as after one pull (kappa 1)."""
_SHAPE, _SCALE = 1.0, 0.1
"""Of the variance: about 0.1, believed in as after two pulls."""


class NIGThompsonSelector(ThompsonSelector):
    """Choose each arm as often as it is believed to be the best, by a Student-t belief of each.

    The belief of mean and variance is normal-inverse-gamma. It narrows faster than a Beta where
    qualities vary little, as ratings do. Arguments as for `ThompsonSelector`.

    Source:
        Honda & Takemura (2014), "Optimality of Thompson sampling for Gaussian bandits depends on
        priors"; conjugate form as in Murphy (2007), with mean 0.5, kappa 1, alpha 1, beta 0.1.

    >>> from orchestrator.core.statistics import COLUMNS, Column
    >>> sums = np.zeros((len(COLUMNS), 2))
    >>> sums[Column.CALLS] = 100, 100
    >>> sums[Column.OK] = 90, 80
    >>> evidence = Evidence(Estimates.of(sums, rates_quality=False))
    >>> nothing, yes = np.zeros(2), np.ones(2, dtype=np.bool_)
    >>> arms = Candidates(yes, nothing, nothing, nothing, yes, yes, nothing)
    >>> NIGThompsonSelector().odds(evidence, arms)().round(3)
    array([0.975, 0.025])
    """

    name: ClassVar[str] = "nig-thompson"

    def scores(
        self, evidence: Evidence, candidates: Candidates, rng: np.random.Generator
    ) -> FloatArray:
        """Return a draw of each arm's mean quality, less its penalty."""
        mean, freedom, spread = _posterior(evidence.total)
        # A Student-t draw is a normal one over the root of a chi-square one. Arms come first as
        # it is drawn, since a simulation's runs lie innermost in memory.
        spread /= rng.chisquare(freedom.T).T
        draw = np.sqrt(spread, out=spread)
        draw *= rng.standard_normal(draw.T.shape).T
        draw += mean
        draw -= candidates.penalty
        return np.asarray(draw)

    def odds(self, evidence: Evidence, candidates: Candidates) -> Callable[[], FloatArray]:
        """See `orchestrator.core.selector.SamplingSelector`."""
        mean, freedom, spread = _posterior(evidence.total)
        center, eligible = mean - candidates.penalty, candidates.eligible.copy()

        def work_out() -> FloatArray:
            odds = np.zeros(eligible.size)
            scale = np.sqrt(spread / freedom)
            odds[eligible] = odds_of_largest(
                _beliefs(center[eligible], scale[eligible], freedom[eligible])
            )
            return odds

        return work_out


def _posterior(estimates: Estimates) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return m, 2 alpha and 2 beta / kappa: m + sqrt(that / chi-square of 2 alpha) * normal."""
    n = estimates.n
    weight = n + 1.0
    away = estimates.mean - _MEAN
    moved = n / weight
    moved *= away
    spread = n * estimates.variance
    away *= moved
    spread += away
    spread += 2 * _SCALE
    spread /= weight
    moved += _MEAN
    return moved, n + 2 * _SHAPE, spread


def _beliefs(center: FloatArray, scale: FloatArray, freedom: FloatArray) -> Beliefs:
    from scipy import special  # slow to load, and never needed to choose

    width = -special.stdtrit(freedom, TAIL) * scale
    height = np.exp(special.gammaln((freedom + 1) / 2) - special.gammaln(freedom / 2))
    height = (height / (np.sqrt(freedom * np.pi) * scale))[:, None]

    def density(points: FloatArray) -> FloatArray:
        away = (points - center[:, None]) / scale[:, None]
        log = np.log1p(away * away / freedom[:, None])
        return np.asarray(height * np.exp(-0.5 * (freedom[:, None] + 1) * log))

    def below(point: float) -> FloatArray:
        return np.asarray(special.stdtr(freedom, (point - center) / scale))

    return Beliefs(
        low=center - width,
        high=center + width,
        center=center,
        spread=scale,
        density=density,
        below=below,
        edges=np.empty(0),
    )
