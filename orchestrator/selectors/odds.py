"""How likely each of several independent draws is to be the largest, by quadrature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.polynomial import legendre

from orchestrator.core.estimates import FloatArray

__all__ = ["TAIL", "Beliefs", "odds_of_largest"]

TAIL: Final = 1e-10
"""What may be cut from each end of a belief: far below 1e-6, to which odds are exact."""
_NODES: Final = 16
_PANEL: Final = 2.0
"""Width of a panel in standard deviations, where it is narrowest. With 16 nodes a smooth density is
integrated to 1e-9."""
_PIECE: Final = 1 << 19
"""Numbers per array, of which some ten live at once."""
_AT, _WEIGHTS = legendre.leggauss(_NODES)


def _cumulative() -> FloatArray:
    """Return the matrix that takes values at the nodes to their integrals from -1 to each node."""
    to_series = np.linalg.inv(legendre.legvander(_AT, _NODES - 1))
    return np.asarray(legendre.legval(_AT, legendre.legint(to_series, lbnd=-1.0)).T)


_CUMULATIVE: Final = _cumulative()


class Beliefs(NamedTuple):
    """What is believed of the utility of each arm, shapes ``(n_arms,)``.

    Attributes:
        low, high: Where each arm's belief begins and ends, but for `TAIL`.
        center, spread: Of each: about where it is widest, and its standard deviation or what comes
            near; they decide how fine the panels are.
        density: Takes points of shape ``(n_points,)`` to densities ``(n_arms, n_points)``.
        below: Takes a point to the chance that each arm lies below it.
        edges: Points where a density jumps or bends.
    """

    low: FloatArray
    high: FloatArray
    center: FloatArray
    spread: FloatArray
    density: Callable[[FloatArray], FloatArray]
    below: Callable[[float], FloatArray]
    edges: FloatArray


def odds_of_largest(beliefs: Beliefs) -> FloatArray:
    """Return the probability that each arm's draw is the largest, shape ``(n_arms,)``.

    It is the integral of its density times the chance that all others lie below, over where the
    largest can lie, in panels of 16 Gauss-Legendre nodes that are finer where a belief is narrow.
    The chances come from integrating the densities along: an incomplete beta function costs
    twenty times more.
    """
    lowest = float(beliefs.low.max())
    cuts = _panels(beliefs, lowest, float(beliefs.high.max()))
    chance = beliefs.below(lowest)
    odds = np.zeros(chance.size)
    # In pieces: a thousand arms whose beliefs end each elsewhere need a thousand panels.
    size = max(_PIECE // (chance.size * _NODES), 1)
    for first in range(0, cuts.size - 1, size):
        piece = cuts[first : first + size + 1]
        half = 0.5 * np.diff(piece)
        points = piece[:-1, None] + half[:, None] * (_AT + 1.0)
        density = beliefs.density(points.ravel()).reshape(-1, *points.shape) * half[:, None]
        whole = density @ _WEIGHTS
        after = chance[:, None] + np.cumsum(whole, axis=1)
        below = density @ _CUMULATIVE.T + (after - whole)[:, :, None]
        below = np.log(np.clip(below, 1e-300, 1.0))
        others = np.exp(below.sum(axis=0) - below)
        odds += np.einsum("apn,apn,n->a", density, others, _WEIGHTS)
        chance = after[:, -1]
    return np.asarray(odds / odds.sum())


def _panels(beliefs: Beliefs, lowest: float, highest: float) -> FloatArray:
    """Cut the line where the largest can lie, nowhere wider than any belief there allows."""
    cuts, at = [lowest], lowest
    center, spread, high = beliefs.center, beliefs.spread, beliefs.high
    while at < highest:
        # Away from its center a belief is smooth over the distance to it.
        width = np.maximum(_PANEL * spread, 0.5 * np.abs(at - center))
        at += float(width[high > at].min())
        cuts.append(min(at, highest))
    edges = beliefs.edges
    return np.union1d(cuts, edges[(edges > lowest) & (edges < highest)])
