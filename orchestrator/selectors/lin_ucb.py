"""Optimism over a linear reward."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from orchestrator.core.estimates import FloatArray
from orchestrator.core.selector import Candidates
from orchestrator.core.views import Evidence
from orchestrator.selectors.linear import LinearSelector

__all__ = ["LinUCBSelector"]


class LinUCBSelector(LinearSelector):
    """Choose the arm that may plausibly be the best for this very request.

    Arguments as for `LinearSelector`; ``exploration`` is the paper's alpha. A reward in [0, 1] has
    a standard deviation of at most 0.5, so that 1 is two standard errors or more.

    Source:
        Li, Chu, Langford & Schapire (2010), "A contextual-bandit approach to personalized news
        article recommendation", algorithm 1: disjoint linear models.

    >>> from orchestrator.core.statistics import Column
    >>> from orchestrator.core.views import ALL, View
    >>> selector = LinUCBSelector(n_features=1)
    >>> view = View(ALL, ["a:m", "b:m"], n_extra=selector.n_extra)
    >>> for feature in -1.0, 1.0:
    ...     for key, ok in ("a:m", feature > 0), ("b:m", feature < 0):
    ...         for _ in range(50):
    ...             deltas = [(Column.CALLS, 1.0), (Column.OK, float(ok))]
    ...             view.add(0, "all", key, deltas, np.array([feature]))
    >>> nothing, yes = np.zeros(2), np.ones(2, dtype=np.bool_)
    >>> arms = Candidates(yes, nothing, nothing, nothing, yes, yes, nothing, np.array([0.8]))
    >>> selector.scores(view.evidence("all"), arms, np.random.default_rng()).round(2)
    array([1.03, 0.24])
    """

    name: ClassVar[str] = "lin-ucb"

    def scores(
        self, evidence: Evidence, candidates: Candidates, rng: np.random.Generator
    ) -> FloatArray:
        """Return x^T theta + exploration * sqrt(x^T A^-1 x) - penalty."""
        utility, error = self._expected(evidence, candidates)
        utility += error
        return utility
