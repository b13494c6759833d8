from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from orchestrator.core.errors import ConfigurationError
from orchestrator.selectors import PerformanceSelector
from tests.selectors.arms import best, calls, candidates, evidence_of, score, sums_of

NAN = np.nan


def chosen(selector: PerformanceSelector, *arms: list[tuple[int, float]], **known: Any) -> int:
    return best(selector, evidence_of(sums_of(*arms)), **known)


def test_of_equally_reliable_models_the_fastest_is_chosen():
    assert chosen(PerformanceSelector(), *[calls(10)] * 3, speed=[20, 50, 30]) == 1


def test_of_equally_fast_models_the_most_reliable_is_chosen():
    assert chosen(PerformanceSelector(), calls(10, 5), calls(10, 9), speed=[50, 50]) == 1


def test_reliability_and_speed_count_alike():
    found = score(
        PerformanceSelector(),
        evidence_of(sums_of(calls(10, 8), calls(10, 10))),
        candidates(2, speed=[100, 25]),
    )

    assert found.tolist() == pytest.approx([0.8 + 1.0, 1.0 + 0.25])


def test_speed_is_compared_with_the_fastest_that_may_serve():
    known: dict[str, Any] = {"speed": [1000, 50, 10], "eligible": [False, True, True]}
    arms = calls(10), calls(10, 8), calls(10, 10)

    assert chosen(PerformanceSelector(), *arms, **known) == 1


def test_a_model_of_unknown_speed_is_no_fast_one():
    assert chosen(PerformanceSelector(), calls(10), calls(10), speed=[NAN, 1]) == 1


def test_slower_than_wanted_comes_after_all_that_are_fast_enough():
    choosy = PerformanceSelector(min_tokens_per_second=20)

    assert chosen(choosy, calls(10), calls(10, 1), speed=[19, 20]) == 1
    assert chosen(choosy, calls(10), calls(10, 1), speed=[19, 18]) == 0


def test_an_unknown_speed_has_missed_nothing_yet():
    choosy = PerformanceSelector(min_tokens_per_second=20)

    assert chosen(choosy, calls(10), calls(10), speed=[19, NAN]) == 1


def test_answers_that_take_too_long_come_after_all_others():
    hurried = PerformanceSelector(max_response_time=2.0)

    assert chosen(hurried, calls(10, seconds=2.1), calls(10, 1, seconds=2.0), speed=9) == 1


def test_models_that_stream_may_be_preferred():
    assert chosen(PerformanceSelector(), calls(10), calls(10, 1), streaming=[0, 1]) == 0
    assert (
        chosen(
            PerformanceSelector(prefer_streaming=True), calls(10), calls(10, 1), streaming=[0, 1]
        )
        == 1
    )


def test_who_misses_less_comes_first():
    choosy = PerformanceSelector(20, 2.0, True)

    arms = calls(10, seconds=3.0), calls(10, 1, seconds=3.0)
    assert chosen(choosy, *arms, speed=[9, 30], streaming=[1, 1]) == 1


@pytest.mark.parametrize("min_trials", [1, 5, 500])
def test_every_model_is_tried_before_it_is_judged(min_trials: int):
    fair = PerformanceSelector(min_trials=min_trials)

    assert chosen(fair, calls(1000), calls(min_trials - 1, 0), speed=[100, 1]) == 1
    assert chosen(fair, calls(1000), calls(min_trials, 0), speed=[100, 1]) == 0


@pytest.mark.parametrize(
    "bad", [{"min_tokens_per_second": -1}, {"max_response_time": NAN}, {"min_trials": -1}]
)
def test_a_limit_out_of_range_is_refused_by_name(bad: dict[str, Any]):
    with pytest.raises(ConfigurationError, match=next(iter(bad))):
        PerformanceSelector(**bad)
