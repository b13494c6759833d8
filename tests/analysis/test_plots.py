from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.analysis import plots
from orchestrator.analysis.plots import (
    COLOURS,
    check_plot,
    draw_estimates,
    draw_pareto,
    draw_regret,
    plot_regret,
)
from orchestrator.analysis.problems import problem
from orchestrator.analysis.regret import regret_curve
from orchestrator.analysis.simulation import simulate
from orchestrator.core.errors import InvalidRequestError, MissingExtraError
from orchestrator.selectors import UCBModelSelector
from tests.conftest import require


@pytest.fixture
def axes() -> Any:
    require("matplotlib", "pip install 'orchestrator[analysis]'")
    from matplotlib.figure import Figure

    return Figure().add_subplot()


PNG = b"\x89PNG\r\n\x1a\n"


def test_a_plot_is_a_png_with_something_in_it(tmp_path: Path):
    require("matplotlib", "pip install 'orchestrator[analysis]'")
    from matplotlib.image import imread

    trace = simulate(UCBModelSelector(), problem("N1"), horizon=4000, runs=3, seed=1)
    for name, shifts in (("still.png", ()), ("shifting.png", (3000,))):
        plot_regret(
            {"ucb": regret_curve(trace)},
            tmp_path / name,
            title="N1",
            lai_robbins=None if shifts else 3.0,
            shifts=shifts,
        )

    assert (tmp_path / "still.png").read_bytes().startswith(PNG)
    still, shifting = (imread(tmp_path / name) for name in ("still.png", "shifting.png"))
    assert still.shape[:2] == (750, 1200)
    assert not np.array_equal(still, shifting)


@pytest.mark.parametrize("name", ["plot.pdf", "plot", "missing/plot.png"])
def test_where_no_plot_can_go_is_said_before_anything_is_drawn(tmp_path: Path, name: str):
    require("matplotlib", "pip install 'orchestrator[analysis]'")
    with pytest.raises(InvalidRequestError, match=r"goes to a \.png file in a folder that exists"):
        check_plot(tmp_path / name)


def test_without_its_extra_a_plot_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(plots, "find_spec", lambda name: None)

    with pytest.raises(MissingExtraError, match=r"orchestrator\[analysis\]"):
        plot_regret({}, tmp_path / "plot.png", title="")


def test_a_file_that_cannot_be_written_is_an_error_of_ours(tmp_path: Path):
    require("matplotlib", "pip install 'orchestrator[analysis]'")
    (tmp_path / "plot.png").mkdir()
    trace = simulate(UCBModelSelector(), problem("A"), horizon=5, runs=2, seed=1)

    with pytest.raises(InvalidRequestError, match="cannot write"):
        plot_regret({"ucb": regret_curve(trace)}, tmp_path / "plot.png", title="")


# -- what draws on axes of others --------------------------------------------------------------


def test_curves_are_listed_as_they_lie_from_the_highest_to_the_lowest(axes: Any):
    trace = simulate(UCBModelSelector(), problem("F"), horizon=50, runs=3, seed=1)
    low = regret_curve(trace)
    high = replace(low, mean=low.mean + 1_000)

    draw_regret(axes, {"low": low, "high": high}, lai_robbins=2_000.0)

    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["Lai-Robbins", "high", "low"]


def test_more_curves_than_colours_are_told_apart_by_dashes(axes: Any):
    trace = simulate(UCBModelSelector(), problem("F"), horizon=5, runs=2, seed=1)

    draw_regret(axes, {str(n): regret_curve(trace) for n in range(2 * len(COLOURS))})

    styles = {(line.get_color(), line.get_linestyle()) for line in axes.lines}
    assert len(styles) == 2 * len(COLOURS)


def test_the_hull_of_a_policy_is_drawn_beside_the_mix_of_single_models(axes: Any):
    models = {"cheap": (1.0, 0.2), "dear": (4.0, 0.8)}

    draw_pareto(axes, models, {"policy": [(1.0, 0.3), (2.0, 0.4), (3.0, 0.9)]})

    lines = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert lines["policy"] == [[1.0, 0.3], [3.0, 0.9]]
    assert lines["a mix of single models"] == [[1.0, 0.2], [4.0, 0.8]]
    assert {text.get_text() for text in axes.texts} == {"cheap", "dear"}


def test_where_a_model_is_free_costs_go_along_a_linear_axis(axes: Any):
    draw_pareto(axes, {"free": (0.0, 0.2), "dear": (4.0, 0.8)}, {})

    assert axes.get_xscale() == "linear"


def test_an_estimate_without_an_interval_is_a_hollow_dot(axes: Any):
    draw_estimates(axes, {"known": (0.5, (0.4, 0.6)), "unknown": (0.7, None)}, reference=(0.4, "t"))

    known, unknown = (line for line in axes.lines if line.get_marker() == "o")
    assert known.get_markerfacecolor() != unknown.get_markerfacecolor() == "white"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["known", "unknown"]
    assert axes.yaxis_inverted()
