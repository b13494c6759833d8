from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.analysis.pareto import aiq, cost_at, hull, pareto_figures, static_mix
from orchestrator.core.errors import InvalidRequestError

# Sixteenths, so that sums and slopes of the examples are exact.
_sixteenths = st.integers(0, 16).map(lambda n: n / 16)
clouds = st.lists(st.tuples(_sixteenths, _sixteenths), min_size=1, max_size=12).map(np.array)

SINGLES = [(1.0, 0.4), (2.0, 0.5), (5.0, 0.8)]
"""The middle one lies below the line between the others."""


def test_the_hull_leaves_out_what_a_mix_of_others_beats():
    assert hull(SINGLES).tolist() == [[1.0, 0.4], [5.0, 0.8]]


def test_the_hull_ends_where_quality_is_best():
    assert hull([(1.0, 0.4), (2.0, 0.9), (5.0, 0.8)]).tolist() == [[1.0, 0.4], [2.0, 0.9]]


def test_of_points_at_one_cost_the_best_counts():
    assert hull([(1.0, 0.2), (1.0, 0.4), (1.0, 0.3)]).tolist() == [[1.0, 0.4]]


def test_static_mixes_have_the_figures_worked_out_by_hand():
    found = static_mix(SINGLES)

    assert found.aiq == pytest.approx(0.6)  # halfway up the line from 0.4 to 0.8
    assert found.cost_at_95 == pytest.approx((1 + 4 * 0.36 / 0.4) / 5)  # 0.76 on that line
    assert found.cost_at_98 == pytest.approx((1 + 4 * 0.384 / 0.4) / 5)
    assert found.cost_at_100 == 1.0


def test_the_hull_is_cut_at_the_cheapest_models_cost():
    # At cost 1 the line from (0, 0.2) to (2, 0.8) is at 0.5; level from 2 to 5.
    assert aiq([(0.0, 0.2), (2.0, 0.8)], SINGLES) == pytest.approx((0.65 * 1 + 0.8 * 3) / 4)


def test_a_hull_that_starts_dearer_begins_at_the_cheapest_model():
    # (1, 0.4) is put before (3, 0.8): a slope of two, then level from 3 to 5.
    assert aiq([(3.0, 0.8)], SINGLES) == pytest.approx((0.6 * 2 + 0.8 * 2) / 4)


def test_what_is_dearer_than_the_best_model_counts_for_nothing_beyond_its_cost():
    # Of the line from (1, 0.4) to (9, 0.8) only the half up to cost 5 counts.
    assert aiq([(9.0, 0.8)], SINGLES) == pytest.approx(0.5)


def test_where_the_cheapest_model_is_the_best_the_height_at_its_cost_counts():
    assert aiq([(1.0, 0.9)], [(1.0, 0.7), (2.0, 0.6)]) == 0.9


def test_of_models_equally_good_the_cheaper_is_the_best():
    assert aiq([(1.0, 0.4), (3.0, 0.8)], [(1.0, 0.4), (3.0, 0.8), (9.0, 0.8)]) == pytest.approx(0.6)


def test_of_models_equally_cheap_the_better_is_where_it_begins():
    singles = [(1.0, 0.2), (1.0, 0.4), (5.0, 0.8)]

    assert aiq([(3.0, 0.8)], singles) == aiq([(3.0, 0.8)], SINGLES)


def test_what_is_good_enough_from_the_start_costs_what_it_costs_there():
    assert cost_at([(2.0, 0.79), (4.0, 0.8)], SINGLES, 0.95) == 0.4


def test_a_quality_never_reached_has_no_cost():
    found = pareto_figures([(1.0, 0.4), (2.0, 0.77)], SINGLES)

    assert found.cost_at_95 is not None
    assert (found.cost_at_98, found.cost_at_100) == (None, None)


def test_a_quality_that_only_rounding_keeps_from_the_best_is_reached():
    below = np.nextafter(0.8, 0.0)

    assert cost_at([(5.0, below)], SINGLES, 1.0) == 1.0
    assert cost_at([(4.0, below), (5.0, 0.8)], SINGLES, 1.0) == 0.8
    assert cost_at([(5.0, 0.8 - 1e-9)], SINGLES, 1.0) is None


def test_beside_a_best_model_that_is_free_everything_else_is_infinitely_dear():
    free = [(0.0, 0.8), (1.0, 0.4)]

    assert cost_at([(0.0, 0.8)], free, 1.0) == 1.0
    assert cost_at([(1.0, 0.8)], free, 1.0) == float("inf")


@given(clouds)
def test_the_hull_rises_ever_less_steeply_and_lies_above_every_point(points: Any):
    line = hull(points)

    run, rise = np.diff(line[:, 0]), np.diff(line[:, 1])
    assert (run > 0).all()
    assert (rise > 0).all()
    assert (np.diff(rise / run) < 0).all()
    reached = points[points[:, 0] >= line[0, 0]]
    assert (np.interp(reached[:, 0], line[:, 0], line[:, 1]) >= reached[:, 1] - 1e-12).all()
    assert line[0, 0] == points[:, 0].min()


@given(clouds)
def test_every_vertex_is_a_point_and_the_hull_of_a_hull_is_itself(points: Any):
    line = hull(points)

    assert {tuple(vertex) for vertex in line} <= {tuple(point) for point in points}
    np.testing.assert_array_equal(hull(line), line)


@given(clouds, clouds, clouds)
def test_another_policy_never_makes_the_figures_worse_once_the_cheapest_is_there(
    points: Any, more: Any, singles: Any
):
    before = pareto_figures(np.vstack([singles, points]), singles)
    after = pareto_figures(np.vstack([singles, points, more]), singles)

    assert after.aiq >= before.aiq - 1e-12
    for share in ("cost_at_95", "cost_at_98", "cost_at_100"):
        assert getattr(after, share) <= getattr(before, share) + 1e-12


@given(clouds, st.floats(0.1, 10), st.floats(0.1, 10))
def test_the_currency_does_not_matter(points: Any, rate: float, scale: float):
    stretched = points * np.array([rate, scale])

    before, after = static_mix(points), static_mix(stretched)

    assert after.aiq == pytest.approx(before.aiq * scale)
    assert after.cost_at_100 == pytest.approx(before.cost_at_100)


@given(clouds)
def test_a_static_mix_lies_between_the_cheapest_and_the_best_model(points: Any):
    found = static_mix(points)

    assert found.cost_at_100 is not None
    assert found.cost_at_100 == pytest.approx(1.0)
    cheapest = max(points[points[:, 0] == points[:, 0].min(), 1])
    assert cheapest - 1e-12 <= found.aiq <= points[:, 1].max() + 1e-12


@pytest.mark.parametrize("points", [[], [1.0, 2.0], [(1.0, 2.0, 3.0)], [(1.0, float("nan"))]])
def test_what_is_no_list_of_points_is_refused(points: Any):
    with pytest.raises(InvalidRequestError, match="pairs of finite numbers"):
        hull(points)
