"""A segment borrows from the others as much as it lacks itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.estimates import Estimates, Prior
from orchestrator.core.pooling import Pooled
from orchestrator.core.statistics import COLUMNS, Column, Outcome
from orchestrator.core.views import Memory, View

KEYS = ("a:one", "b:two", "c:three")


def rated(n: float, mean: float) -> list[float]:
    sums = [0.0] * len(COLUMNS)
    for column in (Column.CALLS, Column.OK, Column.OPENED, Column.CLOSED, Column.N_QUALITY):
        sums[column] = n
    sums[Column.QUALITY] = sums[Column.QUALITY_SQ] = n * mean
    return sums


def pooled(total: tuple[float, float], segment: tuple[float, float], kappa: float = 8.0) -> Pooled:
    """Pool one arm, of which (n, mean) are known over all and in the segment."""
    whole, part = (Estimates.of(np.array([rated(*known)]).T) for known in (total, segment))
    return Pooled(whole, part, kappa)


def test_an_arm_new_to_a_segment_is_worth_what_it_is_elsewhere():
    assert pooled((1000, 0.8), (0, 0.0)).mean[0] == pytest.approx(0.8, abs=0.001)


def test_a_segment_that_knows_enough_is_not_swayed():
    assert pooled((2000, 0.5), (1000, 0.9)).mean[0] == pytest.approx(0.9, abs=0.01)


def test_kappa_pulls_weigh_as_much_as_all_other_segments_together():
    found = pooled((10_008, 0.4 + 0.4 * 8 / 10_008), (8, 0.8))

    assert found.mean[0] == pytest.approx(0.6, abs=0.001)


def test_nothing_is_counted_twice_where_there_is_one_segment():
    found = pooled((100, 0.9), (100, 0.9))

    assert found.mean[0] == pytest.approx((90 + 0.5 * 8 / 9) / (100 + 8 / 9))
    assert found.counted[0] == pytest.approx(100 + 8 / 9)


def test_an_unknown_arm_is_worth_half():
    found = pooled((0, 0.0), (0, 0.0))

    assert found.mean[0] == pytest.approx(0.5)
    assert found.n_known == 0


def test_what_is_won_or_lost_is_as_spread_out_as_can_be():
    assert pooled((1000, 0.8), (10, 0.5)).dispersion[0] == pytest.approx(1.0)


def test_ratings_that_hardly_differ_are_known_to_after_some_pulls():
    few, many = rated(2, 0.8), rated(1000, 0.8)
    for sums in (few, many):
        sums[Column.QUALITY_SQ] = sums[Column.QUALITY] * 0.8
    estimates = Estimates.of(np.array([few, many]).T)

    unsure, sure = Pooled(estimates, estimates, 8.0).dispersion

    assert unsure == pytest.approx(10 / 12)
    assert sure == pytest.approx(10 / 1010)


@settings(max_examples=60)
@given(data=st.data())
def test_following_arm_by_arm_is_deriving_all_at_once(data: Any):
    view = View(
        Memory(adaptive=True, pooling=data.draw(st.sampled_from([0.5, 8.0]))),
        KEYS,
        segmented=True,
        prior=Prior(np.array([0.0, 2.0, 0.0]), np.array([0.5, 0.9, 0.5])),
    )
    segments = st.sampled_from(["code", "prose"])
    for minute in range(data.draw(st.integers(1, 30))):
        view.advance(minute)
        segment, arm = data.draw(segments), data.draw(st.integers(0, 2))
        match data.draw(st.sampled_from(["open", "end", "rate", "read"])):
            case "open":
                view.open(minute, segment, arm)
            case "end":
                deltas = Outcome(data.draw(st.booleans()), seconds=1.0).deltas()
                view.add(minute, segment, KEYS[arm], [(Column.OPENED, 1.0), *deltas])
            case "rate":
                rating = [(Column.N_QUALITY, 1.0), (Column.QUALITY, 0.5), (Column.QUALITY_SQ, 0.25)]
                view.add(minute, segment, KEYS[arm], rating)
            case _:
                kept = view.evidence(segment).pooled
                assert kept is not None
                kept.upper_bounds(data.draw(st.sampled_from([0.0, 2.0, 7.0])), 1.5)

    for segment in ("code", "prose"):
        evidence = view.evidence(segment)
        assert evidence.segment is not None
        assert evidence.pooled is not None
        assert view.memory.pooling is not None
        fresh = Pooled(evidence.total, evidence.segment, view.memory.pooling)
        for name in ("mean", "counted", "dispersion", "pulls", "n_known"):
            np.testing.assert_allclose(
                getattr(evidence.pooled, name), getattr(fresh, name), rtol=1e-9, atol=1e-9
            )
        np.testing.assert_allclose(
            evidence.pooled.upper_bounds(2.0, 1.5), fresh.upper_bounds(2.0, 1.5), rtol=1e-9
        )
