"""Thompson sampling of a linear reward."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar, Final

import numpy as np

from orchestrator.core.estimates import FloatArray
from orchestrator.core.selector import Candidates
from orchestrator.core.views import ALL, Evidence, Memory
from orchestrator.selectors.linear import LinearSelector
from orchestrator.selectors.odds import Beliefs, odds_of_largest

__all__ = ["LinTSSelector"]

_WIDEST: Final = 6.4
"""Standard deviations beyond which a normal distribution has less than `odds.TAIL`."""


class LinTSSelector(LinearSelector):
    """Choose each arm as often as it is believed to be the best for this very request.

    Arguments as for `LinearSelector`; ``exploration`` is the standard deviation of a reward, the
    paper's v, which for rewards in [0, 1] is at most 0.5. Coefficients drawn from their belief
    give the request's reward, and as arms share none of them, that reward can be drawn itself.

    Source:
        Agrawal & Goyal (2013), "Thompson sampling for contextual bandits with linear payoffs".

    >>> from orchestrator.core.views import View
    >>> selector = LinTSSelector(n_features=1)
    >>> evidence = View(ALL, ["a:m", "b:m"], n_extra=selector.n_extra).evidence("all")
    >>> nothing, yes = np.zeros(2), np.ones(2, dtype=np.bool_)
    >>> dear = np.array([0.0, 0.5 * 2**0.5])
    >>> arms = Candidates(yes, nothing, dear, nothing, yes, yes, nothing, np.array([0.0]))
    >>> selector.odds(evidence, arms)().round(3)  # one standard deviation of their difference
    array([0.841, 0.159])
    """

    name: ClassVar[str] = "lin-ts"

    def __init__(
        self,
        n_features: int = 32,
        exploration: float = 0.5,
        *,
        memory: Memory = ALL,
        floor: float = 0.01,
    ) -> None:
        super().__init__(n_features, exploration, memory=memory, floor=floor)

    def scores(
        self, evidence: Evidence, candidates: Candidates, rng: np.random.Generator
    ) -> FloatArray:
        """Return a draw of each arm's reward for this request, less its penalty."""
        utility, error = self._expected(evidence, candidates)
        error *= rng.standard_normal(error.shape)
        utility += error
        return utility

    def odds(self, evidence: Evidence, candidates: Candidates) -> Callable[[], FloatArray]:
        """See `orchestrator.core.selector.SamplingSelector`."""
        utility, error = self._expected(evidence, candidates)
        eligible = candidates.eligible.copy()

        def work_out() -> FloatArray:
            odds = np.zeros(eligible.size)
            # Without exploration there is no spread, and nothing to draw.
            spread = np.maximum(error[eligible], 1e-9)
            odds[eligible] = odds_of_largest(_beliefs(utility[eligible], spread))
            return odds

        return work_out


def _beliefs(center: FloatArray, spread: FloatArray) -> Beliefs:
    from scipy import special  # slow to load, and never needed to choose

    def density(points: FloatArray) -> FloatArray:
        away = (points - center[:, None]) / spread[:, None]
        return np.asarray(np.exp(-0.5 * away * away) / (spread[:, None] * math.sqrt(math.tau)))

    def below(point: float) -> FloatArray:
        return np.asarray(special.ndtr((point - center) / spread))

    return Beliefs(
        low=center - _WIDEST * spread,
        high=center + _WIDEST * spread,
        center=center,
        spread=spread,
        density=density,
        below=below,
        edges=np.empty(0),
    )
