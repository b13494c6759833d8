"""How good a simulated selector was: regret and its spread, who was pulled, who recovered.

Regret is what pulls fall short of the best arm of their own round, by true means (pseudo-regret).
Where arms shift, the best arm of a round does too: this is dynamic regret.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from orchestrator.analysis.simulation import Trace
from orchestrator.core.estimates import FloatArray

__all__ = [
    "RegretCurve",
    "lai_robbins",
    "pull_fractions",
    "recovery_rounds",
    "regret_curve",
]

_Z95: Final = 1.96
_AT_ONCE: Final = 1 << 22
"""Pulls whose gaps are held in memory together."""


@dataclass(frozen=True, slots=True, eq=False)
class RegretCurve:
    """Cumulative regret over the runs; every array has shape ``(n_points,)``.

    Attributes:
        rounds: After how many rounds.
        mean: Mean over the runs.
        ci95: Half the width of the mean's 95 % interval, 1.96 standard errors; nan for one run.
        low, high: The 5th and the 95th percentile of the runs.
        final: Regret of each run at its end, shape ``(runs,)``.
    """

    rounds: FloatArray
    mean: FloatArray
    ci95: FloatArray
    low: FloatArray
    high: FloatArray
    final: FloatArray


def regret_curve(trace: Trace, points: int = 200) -> RegretCurve:
    """Return the regret of a trace after so many rounds, evenly spread, the last among them."""
    horizon, runs = trace.arms.shape
    rounds = np.unique(np.linspace(1, horizon, min(points, horizon)).round().astype(int))
    reached = np.empty((len(rounds), runs))
    sofar = np.zeros(runs)
    for first, gaps in _gaps(trace):
        inside = (rounds > first) & (rounds <= first + len(gaps))
        summed = sofar + gaps.cumsum(axis=0)
        reached[inside] = summed[rounds[inside] - first - 1]
        sofar = summed[-1]
    deviation = reached.std(axis=1, ddof=1) if runs > 1 else np.full(len(rounds), np.nan)
    low, high = np.quantile(reached, (0.05, 0.95), axis=1)
    return RegretCurve(
        rounds.astype(float),
        reached.mean(axis=1),
        _Z95 * deviation / np.sqrt(runs),
        low,
        high,
        reached[-1],
    )


def pull_fractions(trace: Trace) -> FloatArray:
    """Return the share of all pulls that went to each arm, shape ``(n_arms,)``."""
    counts = np.bincount(trace.arms.ravel(), minlength=len(trace.environment.arms))
    return np.asarray(counts / trace.arms.size)


def recovery_rounds(
    trace: Trace, shift: int, *, share: float = 0.9, window: int = 100
) -> FloatArray:
    """Return after how many rounds each run was back on a best arm after a shift.

    A run is back where, of the next ``window`` pulls, ``share`` go to a best arm.

    Args:
        trace: What was pulled.
        shift: The round from which on the arms are others.
        share: In (0, 1].
        window: Rounds, at least 1.

    Returns:
        Shape ``(runs,)``; nan where a run was not back before the next shift, or the end.
    """
    horizon, runs = trace.arms.shape
    end = min([horizon, *(other for other in trace.environment.shifts if other > shift)])
    right = trace.episode.gaps(shift, trace.arms[shift:end]) <= 0.0
    if len(right) < window:
        return np.full(runs, np.nan)
    summed = np.concatenate([np.zeros((1, runs)), right.cumsum(axis=0)])
    back = summed[window:] - summed[:-window] >= share * window
    return np.where(back.any(axis=0), back.argmax(axis=0), np.nan)


def lai_robbins(means: Sequence[float]) -> float:
    """Return the constant times ln T below which no consistent policy's regret stays for long.

    Args:
        means: Of Bernoulli arms.

    Returns:
        Sum of gap / kl(mean, best) over the arms that are not best; infinite arms' parts, such as
        beside an arm that always wins, are 0.

    Source:
        Lai & Robbins (1985), "Asymptotically efficient adaptive allocation rules".

    >>> round(lai_robbins([0.9, 0.8]) * np.log(10_000), 1)
    20.7
    """
    best = max(means)
    return float(sum((best - mean) / _kl(mean, best) for mean in means if mean < best))


def _kl(p: float, q: float) -> float:
    with np.errstate(divide="ignore"):
        won = p * np.log(np.divide(p, q)) if p else 0.0
        return float(won + (1 - p) * np.log(np.divide(1 - p, 1 - q)))


def _gaps(trace: Trace) -> Iterator[tuple[int, FloatArray]]:
    """Iterate over the gaps of a trace, some rounds at a time."""
    horizon, runs = trace.arms.shape
    step = max(1, _AT_ONCE // runs)
    for first in range(0, horizon, step):
        yield first, trace.episode.gaps(first, trace.arms[first : first + step])
