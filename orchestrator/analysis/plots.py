"""Plots: regret, quality against cost, and estimates with their intervals.

What draws takes matplotlib axes, so that notebooks put several side by side. Colours are those of
Okabe and Ito, which the colour-blind can tell apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from orchestrator.analysis.pareto import hull
from orchestrator.analysis.regret import RegretCurve
from orchestrator.core.errors import InvalidRequestError, MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["COLOURS", "check_plot", "draw_estimates", "draw_pareto", "draw_regret", "plot_regret"]

COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES: Final = ("-", "--", ":")
"""Past the last colour they begin anew, dashed."""


def check_plot(path: Path) -> None:
    """Make sure that a plot can be drawn there, before the work that it is to show.

    Raises:
        MissingExtraError: matplotlib is not installed.
        InvalidRequestError: It is not the name of a PNG file in a folder that exists.
    """
    if find_spec("matplotlib") is None:
        raise MissingExtraError("plotting", "analysis")
    if path.suffix != ".png" or not path.parent.is_dir():
        raise InvalidRequestError(
            f"a plot goes to a .png file in a folder that exists, not to {path}", param="plot"
        )


def plot_regret(
    curves: Mapping[str, RegretCurve],
    path: Path,
    *,
    title: str,
    lai_robbins: float | None = None,
    shifts: Sequence[int] = (),
) -> None:
    """Draw regret into a file of its own; see `draw_regret`.

    Args:
        curves: One or more, by name of the selector.
        path: See `check_plot`.
        title: Stands above.
        lai_robbins: Constant of the lower bound, which is drawn dashed; None draws none.
        shifts: Rounds at which to draw a vertical line.

    Raises:
        MissingExtraError: matplotlib is not installed.
        InvalidRequestError: The file cannot be written.
    """
    check_plot(path)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), dpi=150, layout="constrained")
    axes = figure.add_subplot(title=title)
    draw_regret(axes, curves, lai_robbins=lai_robbins, shifts=shifts)
    try:
        figure.savefig(path)
    except OSError as error:
        raise InvalidRequestError(f"cannot write {path}: {error}", param="plot") from error


def draw_regret(
    axes: Axes,
    curves: Mapping[str, RegretCurve],
    *,
    lai_robbins: float | None = None,
    shifts: Sequence[int] = (),
    legend: bool = True,
) -> None:
    """Draw mean regret over rounds, with bands from the 5th to the 95th percentile of the runs.

    Arguments as for `plot_regret`; the legend lists the curves from the highest to the lowest.
    """
    axes.set(xlabel="round", ylabel="cumulative regret")
    lines = []
    for number, (name, curve) in enumerate(curves.items()):
        colour, dash = _style(number)
        lines += axes.plot(curve.rounds, curve.mean, dash, color=colour, label=name)
        axes.fill_between(
            curve.rounds, curve.low, curve.high, color=colour, alpha=0.12, linewidth=0
        )
    if lai_robbins is not None:
        rounds = next(iter(curves.values())).rounds
        bound = lai_robbins * np.log(rounds)
        lines += axes.plot(rounds, bound, "k--", linewidth=1, label="Lai-Robbins")
    for shift in shifts:
        axes.axvline(shift, color="grey", linestyle=":", linewidth=1)
    axes.margins(x=0)
    if legend:
        lines.sort(key=lambda line: -float(np.asarray(line.get_ydata())[-1]))
        axes.legend(handles=lines, fontsize="small")


def draw_pareto(
    axes: Axes,
    models: Mapping[str, tuple[float, float]],
    policies: Mapping[str, npt.ArrayLike],
) -> None:
    """Draw quality against cost: single models as named dots, policies as points with their hull.

    Args:
        axes: Cost goes along a logarithmic axis, unless a model is free.
        models: Mean cost in USD and mean quality of each.
        policies: Such points of each policy, shape ``(n_points, 2)``.
    """
    costs = [usd for usd, _ in models.values()]
    cheapest, dearest = min(costs), max(costs)
    axes.set(xlabel="mean cost of a request, USD", ylabel="mean quality")
    axes.set_xscale("log" if cheapest else "linear")
    for number, (name, points) in enumerate(policies.items(), start=1):
        colour, dash = _style(number)
        spots, line = np.asarray(points), hull(points)
        axes.plot(line[:, 0], line[:, 1], dash, color=colour, label=name)
        axes.plot(spots[:, 0], spots[:, 1], "o", color=colour, markersize=4, alpha=0.6)
    line = hull(list(models.values()))
    axes.plot(line[:, 0], line[:, 1], ":", color=COLOURS[0], label="a mix of single models")
    edge = cheapest**0.1 * dearest**0.9 if cheapest else 0.9 * dearest
    for name, (usd, quality) in models.items():
        axes.plot(usd, quality, "s", color=COLOURS[0], markersize=6)
        # At the right edge there is no room for a long name.
        side, align = (-6, "right") if usd > edge else (6, "left")
        axes.annotate(
            name,
            (usd, quality),
            (side, -4),
            textcoords="offset points",
            ha=align,
            va="top",
            fontsize="small",
        )
    axes.margins(x=0.12, y=0.1)
    axes.legend(loc="best", fontsize="small")


def draw_estimates(
    axes: Axes,
    estimates: Mapping[str, tuple[float, tuple[float, float] | None]],
    *,
    reference: tuple[float, str] | None = None,
) -> None:
    """Draw estimates as dots with their intervals, the first on top.

    Args:
        axes: Names go along the vertical axis.
        estimates: By name: the value, and low and high, or None for a hollow dot without.
        reference: Where to draw a line, and what it is, such as the truth; None draws none.
    """
    for place, (value, interval) in enumerate(estimates.values()):
        face = COLOURS[0] if interval is not None else "white"
        if interval is not None:
            axes.hlines(place, *interval, color=COLOURS[0], linewidth=2)
        axes.plot(value, place, "o", color=COLOURS[0], markerfacecolor=face)
    if reference is not None:
        where, label = reference
        axes.axvline(where, color=COLOURS[1], linestyle="--", label=label)
        axes.legend(fontsize="small")
    axes.set_yticks(range(len(estimates)), list(estimates))
    axes.set_ylim(len(estimates) - 0.5, -0.5)


def _style(number: int) -> tuple[str, str]:
    """Return colour and dashes of the n-th line."""
    turns, place = divmod(number, len(COLOURS))
    return COLOURS[place], _DASHES[turns % len(_DASHES)]
