"""Quality against cost: the hull of what policies reach, and the figures read off it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from orchestrator.core.errors import InvalidRequestError
from orchestrator.core.estimates import FloatArray

__all__ = ["ParetoFigures", "aiq", "cost_at", "hull", "pareto_figures", "static_mix"]

_ROUNDING: Final = 1e-12
"""Share of a quality by which means of the same values may differ, added up in another order."""
_Points: TypeAlias = npt.ArrayLike
"""(mean cost in USD, mean quality) per row, shape ``(n_points, 2)``."""


@dataclass(frozen=True, slots=True)
class ParetoFigures:
    """What a set of operating points is worth beside the single models.

    Attributes:
        aiq: Mean height of the hull between the cheapest and the best model's mean cost.
        cost_at_95, cost_at_98, cost_at_100: Cost at which the hull reaches this percentage of the
            best single model's quality, as a share of that model's cost; None if it never does.
    """

    aiq: float
    cost_at_95: float | None
    cost_at_98: float | None
    cost_at_100: float | None


def hull(points: _Points) -> FloatArray:
    """Return the vertices of the upper concave, non-decreasing hull, cheapest first.

    Choosing at random between two policies reaches every point on the line between theirs, so
    what lies below the hull is dominated.

    >>> hull([(1.0, 0.2), (2.0, 0.3), (3.0, 0.8), (4.0, 0.7)]).tolist()
    [[1.0, 0.2], [3.0, 0.8]]

    Raises:
        InvalidRequestError: There is no point, or one is not a pair of finite numbers.
    """
    found: list[tuple[float, float]] = []
    for cost, quality in sorted(_checked(points).tolist(), key=lambda point: (point[0], -point[1])):
        if found and quality <= found[-1][1]:
            continue
        # A vertex under the line from the one before it to the new point is none.
        while len(found) > 1 and _slope(found[-2], found[-1]) <= _slope(found[-1], (cost, quality)):
            found.pop()
        found.append((cost, quality))
    return np.array(found)


def aiq(points: _Points, singles: _Points) -> float:
    """Return the mean height of the points' hull between the cheapest and the best model's cost.

    The hull is cut at the left edge; where it starts dearer, the cheapest model's own point is put
    before it. Right of its last vertex it goes on level. Where the cheapest model is the best, the
    height at its cost.

    Args:
        points: What the policies reach.
        singles: What each single model reaches; of the best ones the cheapest counts.

    Source:
        Hu et al. (2024), RouterBench, average improvement in quality.
    """
    cheapest, best = _ends(singles)
    line = hull(points)
    if line[0, 0] > cheapest[0]:
        line = np.vstack([cheapest, line])
    left, right = cheapest[0], best[0]
    if left == right:
        return float(np.interp(left, line[:, 0], line[:, 1]))
    inside = line[(line[:, 0] > left) & (line[:, 0] < right), 0]
    cost = np.concatenate([[left], inside, [right]])
    quality = np.interp(cost, line[:, 0], line[:, 1])
    return float(np.trapezoid(quality, cost) / (right - left))


def cost_at(points: _Points, singles: _Points, share: float) -> float | None:
    """Return the hull's cost where it reaches ``share`` of the best single model's quality.

    Returns:
        A share of that model's mean cost, or None if the hull never reaches so high. A best model
        that is free makes every other cost infinite.
    """
    _, best = _ends(singles)
    line = hull(points)
    target = share * best[1]
    reached = line[line[:, 1] >= target * (1 - _ROUNDING), 1]
    if not reached.size:
        return None
    cost = float(np.interp(min(target, reached[0]), line[:, 1], line[:, 0]))
    if best[0] == 0.0:
        return float("inf") if cost else 1.0
    return float(cost / best[0])


def pareto_figures(points: _Points, singles: _Points) -> ParetoFigures:
    """Return all figures of what some policies reach."""
    at_95, at_98, at_100 = (cost_at(points, singles, share) for share in (0.95, 0.98, 1.0))
    return ParetoFigures(aiq(points, singles), at_95, at_98, at_100)


def static_mix(singles: _Points) -> ParetoFigures:
    """Return the figures of choosing at random among fixed models, which needs no learning."""
    return pareto_figures(singles, singles)


def _ends(singles: _Points) -> tuple[FloatArray, FloatArray]:
    """Return the cheapest model's point and the best one's; ties go to the better, the cheaper."""
    models = _checked(singles)
    cost, quality = models.T
    return models[np.lexsort((-quality, cost))[0]], models[np.lexsort((cost, -quality))[0]]


def _checked(points: _Points) -> FloatArray:
    found = np.asarray(points, dtype=np.float64)
    if found.ndim != 2 or found.shape[1] != 2 or not len(found) or not np.isfinite(found).all():
        raise InvalidRequestError(
            f"operating points are pairs of finite numbers, not an array of shape {found.shape}",
            hint="give one (mean cost in USD, mean quality) per row",
        )
    return found


def _slope(left: tuple[float, float], right: tuple[float, float]) -> float:
    return (right[1] - left[1]) / (right[0] - left[0])
