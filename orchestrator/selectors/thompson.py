"""Thompson sampling of chances: draw what each arm may be, take the best draw."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final

import numpy as np

from orchestrator.core.errors import ConfigurationError
from orchestrator.core.estimates import Estimates, FloatArray
from orchestrator.core.selector import Candidates
from orchestrator.core.views import ALL, Evidence, Memory
from orchestrator.selectors.odds import TAIL, Beliefs, odds_of_largest

__all__ = ["ThompsonSelector"]

# Without axes: numpy adds it in two thirds of the time of a number.
_ONE: Final = np.array(1.0)
_SMOOTH: Final = 16
"""Derivatives of a density that are continuous where it ends, from which on it counts as smooth."""


class ThompsonSelector:
    """Choose each arm as often as it is believed to be the best, by a Beta belief of each.

    The belief begins as Beta(1, 1), every quality alike; a reward r in [0, 1] adds r to the first
    parameter and 1 - r to the second.

    Args:
        memory: How long it remembers; with a window or a half-life it follows arms that change.
        floor: Probability spread evenly over the eligible arms.

    Source:
        Thompson (1933); Chapelle & Li (2011), "An empirical evaluation of Thompson sampling".

    >>> from orchestrator.core.statistics import COLUMNS, Column
    >>> sums = np.zeros((len(COLUMNS), 2))
    >>> sums[Column.CALLS] = 100, 100
    >>> sums[Column.OK] = 90, 80
    >>> evidence = Evidence(Estimates.of(sums, rates_quality=False))
    >>> nothing, yes = np.zeros(2), np.ones(2, dtype=np.bool_)
    >>> arms = Candidates(yes, nothing, nothing, nothing, yes, yes, nothing)
    >>> ThompsonSelector().odds(evidence, arms)().round(4)
    array([0.9752, 0.0248])
    """

    name: ClassVar[str] = "thompson"
    segmented: ClassVar[bool] = False
    n_extra: int = 0

    def __init__(self, *, memory: Memory = ALL, floor: float = 0.01) -> None:
        if not 0 <= floor <= 1:
            raise ConfigurationError(f"floor lies in [0, 1], not at {floor!r}")
        self.memory = memory
        self.floor = floor

    def scores(
        self, evidence: Evidence, candidates: Candidates, rng: np.random.Generator
    ) -> FloatArray:
        """Return a draw of each arm's quality, less its penalty."""
        # A Beta draw is the share of two Gamma draws; one call for both is the fastest way.
        won, lost = rng.standard_gamma(_counts(evidence.total))
        lost += won
        won /= lost
        draw: FloatArray = won.T
        draw -= candidates.penalty
        return draw

    def odds(self, evidence: Evidence, candidates: Candidates) -> Callable[[], FloatArray]:
        """See `orchestrator.core.selector.SamplingSelector`."""
        counts = _counts(evidence.total)
        penalty, eligible = candidates.penalty.copy(), candidates.eligible.copy()

        def work_out() -> FloatArray:
            odds = np.zeros(eligible.size)
            won, lost = counts[:, eligible]
            odds[eligible] = odds_of_largest(_beliefs(won, lost, penalty[eligible]))
            return odds

        return work_out


def _counts(estimates: Estimates) -> FloatArray:
    """Return the parameters of each arm's Beta, shape ``(2, n_arms, *lead)``.

    The arms come first, since a simulation's runs lie innermost in memory.
    """
    n = estimates.n.T
    counts = np.empty((2, *n.shape))
    won = counts[0]
    np.multiply(n, estimates.mean.T, out=won)
    np.subtract(n, won, out=counts[1])
    counts += _ONE
    return counts


def _beliefs(won: FloatArray, lost: FloatArray, penalty: FloatArray) -> Beliefs:
    from scipy import special  # slow to load, and never needed to choose

    n = won + lost
    center = won / n
    log_scale = special.betaln(won, lost)[:, None]

    def density(points: FloatArray) -> FloatArray:
        quality = points + penalty[:, None]
        inside = (quality > 0) & (quality < 1)
        quality = np.where(inside, quality, 0.5)
        height = (won[:, None] - 1) * np.log(quality) + (lost[:, None] - 1) * np.log1p(-quality)
        return np.where(inside, np.exp(height - log_scale), 0.0)

    def below(point: float) -> FloatArray:
        return np.asarray(special.betainc(won, lost, np.clip(point + penalty, 0.0, 1.0)))

    return Beliefs(
        low=special.betaincinv(won, lost, TAIL) - penalty,
        high=special.betainccinv(won, lost, TAIL) - penalty,
        center=center - penalty,
        spread=np.sqrt(center * (1 - center) / (n + 1)),
        density=density,
        below=below,
        # Elsewhere a belief ends so smoothly that its end need not be known.
        edges=np.concatenate([-penalty[won < _SMOOTH], 1 - penalty[lost < _SMOOTH]]),
    )
