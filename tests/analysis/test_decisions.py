from __future__ import annotations

import math
from typing import Any

import pytest

from orchestrator.analysis.decisions import DecisionLogError
from orchestrator.analysis.ope import PropensityError
from tests.analysis.logged import START, entry, gathered


def test_decisions_are_in_the_order_of_time_whoever_made_them():
    log = gathered(*(entry(wall=START + n, segment=f"s{n}") for n in (2, 0, 1)))

    assert [log.segments[n] for n in log.segment] == ["s0", "s1", "s2"]


def test_arms_are_all_models_that_could_ever_be_chosen():
    log = gathered(entry(), entry(model="c:z", eligible='["c:z","a:x"]'))

    assert log.models == ("a:x", "b:y", "c:z")
    assert log.eligible_sets[log.eligible_set].tolist() == [
        [True, True, False],
        [True, False, True],
    ]
    assert log.arm.tolist() == [0, 2]


def test_a_request_without_features_has_zeros_where_others_have_some():
    log = gathered(entry(features="[0.5,-1.0]"), entry())

    assert log.features is not None
    assert log.features.tolist() == [[0.5, -1.0], [0.0, 0.0]]
    assert gathered(entry()).features is None


def test_rewards_are_those_that_are_known():
    unrated = {"quality": None, "rated_wall": None}
    unended = dict.fromkeys(("ok", "counts", "cost_usd", "tokens_in", "tokens_out", "seconds"))
    log = gathered(
        entry(),
        entry(**unrated, ok=False, propensity=0.25),
        entry(**unrated, **unended, ended_wall=None),
        entry(**unrated, counts=False),
    )

    quality, rated = log.rewards("quality")
    cost_usd, ended = log.rewards("cost_usd")
    success, _ = log.rewards("success")
    assert (rated.tolist(), quality.reward.tolist()) == ([0], [0.75])
    assert (ended.tolist(), cost_usd.reward.tolist()) == ([0, 1], [0.25, 0.25])
    assert cost_usd.propensity.tolist() == [0.5, 0.25]
    assert success.reward.tolist() == [1.0, 0.0]


def test_success_stands_in_for_quality_where_nobody_gave_any():
    unrated = entry(quality=None, rated_wall=None)

    assert gathered(unrated).rated_by() == "success"
    assert gathered(unrated, entry()).rated_by() == "quality"
    with pytest.raises(DecisionLogError, match="no decision has a known quality"):
        gathered(unrated).rewards("quality")


@pytest.mark.parametrize("propensity", [0.0, -0.1, 1.5, math.nan, None, "often"])
def test_a_choice_without_a_probability_is_refused(propensity: Any):
    with pytest.raises(PropensityError, match=r"decision 2, d-n-0-7: a propensity of .* \(0, 1\]"):
        gathered(entry(), entry(decision_id="d-n-0-7", propensity=propensity))


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"quality": math.nan}, r"quality must be in \[0, 1\], not nan"),
        ({"quality": 1.5}, r"quality must be in \[0, 1\], not 1.5"),
        ({"cost_usd": -1.0}, "cost_usd must be a finite number of at least 0"),
        ({"seconds": math.inf}, "seconds must be a finite number"),
        ({"tokens_in": "ten"}, "tokens_in must be a finite number"),
        ({"wall": None}, "wall is not known"),
        ({"cost_usd": None, "seconds": None}, "cost_usd, seconds is not known"),
        ({"model": "c:z"}, "model 'c:z' is not among those that could be chosen"),
        ({"eligible": "[]"}, "model 'a:x' is not among those that could be chosen"),
        ({"eligible": '["a:x"'}, "eligible is not a JSON list of texts"),
        ({"eligible": "[1]"}, "eligible is not a JSON list of texts"),
        ({"eligible": None}, "eligible is not a JSON list of texts"),
        ({"features": "3"}, "features is not a JSON list of numbers"),
        ({"features": '["3"]'}, "features is not a JSON list of numbers"),
        ({"features": "[1e999]"}, "features is not a JSON list of numbers"),
    ],
)
def test_what_cannot_be_true_is_refused_by_its_number(facts: dict[str, Any], told: str):
    with pytest.raises(DecisionLogError, match=f"decision 2: {told}") as caught:
        gathered(entry(), entry(**facts))

    assert caught.value.row == 2


def test_a_decision_counts_once():
    twice = entry()

    with pytest.raises(DecisionLogError, match=r"decision 3: d-n-0-.* is there twice") as caught:
        gathered(twice, entry(), twice)

    assert (caught.value.row, caught.value.hint) == (
        3,
        "of exports that overlap, keep each decision once",
    )


def test_features_are_as_many_for_each():
    with pytest.raises(DecisionLogError, match=r"feature vectors have \[1, 2\] numbers"):
        gathered(entry(features="[1.0]"), entry(features="[1.0,2.0]"))


def test_a_log_without_decisions_is_none():
    with pytest.raises(DecisionLogError, match="there is no decision in it"):
        gathered()
