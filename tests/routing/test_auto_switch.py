"""When a current model is left for another: by how well each does, and not for a trifle."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import ConfigurationError
from orchestrator.routing.auto_switch import AutoSwitchPolicy, scores

share = st.floats(0, 1)
policies = st.builds(AutoSwitchPolicy, threshold=share, hysteresis=share)
arms = st.lists(
    st.tuples(
        st.one_of(share, st.just(math.nan)),
        st.one_of(st.floats(0.1, 1000), st.just(math.nan)),
        st.floats(0, 100),
    ),
    min_size=1,
    max_size=6,
)


def judged(found: list[tuple[float, float, float]]) -> Any:
    success, speed, seconds = (np.array(column) for column in zip(*found, strict=True))
    return scores(success, speed, seconds)


@given(arms)
def test_a_score_lies_between_0_and_1_and_nobody_unjudged_has_one(
    found: list[tuple[float, float, float]],
):
    for score, (success, _, _) in zip(judged(found), found, strict=True):
        assert math.isnan(score) == math.isnan(success)
        assert math.isnan(score) or 0.0 <= score <= 1.0 + 1e-12


@given(arms, policies, st.data())
def test_who_is_chosen_is_better_by_more_than_the_hysteresis(
    found: list[tuple[float, float, float]], policy: AutoSwitchPolicy, data: st.DataObject
):
    current, marks = data.draw(st.integers(0, len(found) - 1)), judged(found)

    chosen = policy.choose(current, marks)

    if chosen is not None:
        assert marks[current] < policy.threshold
        assert marks[chosen] - marks[current] > policy.hysteresis
        assert marks[chosen] == np.nanmax(marks)
    elif marks[current] < policy.threshold:
        assert np.nanmax(marks) - marks[current] <= policy.hysteresis


@given(arms, policies)
def test_after_a_switch_nothing_more_happens(
    found: list[tuple[float, float, float]], policy: AutoSwitchPolicy
):
    marks = judged(found)

    chosen = policy.choose(0, marks)

    if chosen is not None:
        assert policy.choose(chosen, marks) is None


def test_success_weighs_most_then_speed_then_latency():
    alike = judged([(1.0, 40.0, 1.0), (0.5, 40.0, 1.0), (1.0, 20.0, 1.0), (1.0, 40.0, 2.0)])

    assert alike == pytest.approx([1.0, 0.75, 0.85, 0.9])


@pytest.mark.parametrize(
    "wrong", [{"threshold": 1.1}, {"hysteresis": -0.1}, {"min_calls": 0}, {"every_s": 0.0}]
)
def test_a_setting_out_of_range_is_refused_by_name(wrong: dict[str, Any]):
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        AutoSwitchPolicy(**wrong)
