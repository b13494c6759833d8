from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from orchestrator.core.errors import ConfigurationError, InvalidRequestError
from orchestrator.core.estimates import FloatArray
from orchestrator.core.views import View
from orchestrator.selectors import LinTSSelector, LinUCBSelector, UCBModelSelector
from tests.selectors.arms import calls, candidates, evidence_of, score, sums_of

KEYS = ("a:m", "b:m", "c:m")


def view_of(selector: Any) -> View:
    return View(selector.memory, KEYS, n_extra=selector.n_extra)


def scores_of(selector: Any, view: View, features: FloatArray | None, **known: Any) -> FloatArray:
    return score(selector, view.evidence("all"), candidates(3, features=features, **known))


def test_the_index_is_what_the_paper_says():
    selector = LinUCBSelector(2, exploration=0.7)
    view, a, b = view_of(selector), np.eye(3), np.array([1.0, 0.0, 0.0])
    rng = np.random.default_rng(1)
    for _ in range(30):
        features, ok = rng.standard_normal(2), bool(rng.random() < 0.5)
        view.add(0, "all", "b:m", calls(1, int(ok)), features)
        x = np.array([1.0, *features])
        a, b = a + np.outer(x, x), b + ok * x
    asked = np.array([0.3, -1.2])
    x = np.array([1.0, *asked])
    index = x @ np.linalg.solve(a, b) + 0.7 * math.sqrt(x @ np.linalg.solve(a, x))

    found = scores_of(selector, view, asked, penalty=[0.0, 0.2, 0.0])

    assert found[1] == pytest.approx(index - 0.2)
    assert found[0] == pytest.approx(1 + 0.7 * math.sqrt(x @ x))


def test_each_kind_of_request_gets_the_model_that_is_good_at_it():
    """Without features the first two models look alike: each is good at half of the requests."""
    rng = np.random.default_rng(2)
    for selector in LinUCBSelector(1), LinTSSelector(1):
        view, right = view_of(selector), []
        for _ in range(600):
            features = rng.choice([-1.0, 1.0], 1)
            scores = selector.scores(
                view.evidence("all"), candidates(3, features=features, penalty=[0, 0, 9.0]), rng
            )
            arm = int(scores.argmax())
            good = (arm == 0) == (features[0] > 0)
            ok = rng.random() < (0.9 if good else 0.3)
            view.add(0, "all", KEYS[arm], calls(1, int(ok)), features)
            right.append(good)

        assert np.mean(right[300:]) > 0.8


def test_a_request_without_features_is_one_whose_features_are_nothing():
    selector = LinUCBSelector(2)
    view = view_of(selector)
    view.add(0, "all", "a:m", calls(10, 3))

    assert scores_of(selector, view, None) == pytest.approx(scores_of(selector, view, np.zeros(2)))


def test_pending_pulls_make_an_arm_less_tempting():
    selector = LinUCBSelector(1)
    view = view_of(selector)
    for key in KEYS[:2]:
        view.add(0, "all", key, calls(10, 5))
    for _ in range(30):
        view.open(0, "all", 0)

    found = scores_of(selector, view, np.ones(1))

    assert found[0] < found[1] < found[2]


def test_every_arm_is_tried_without_being_forced():
    """Optimism alone does it: what was never tried is expected to be the best there is."""
    selector = LinUCBSelector(2)
    view, rng, tried = view_of(selector), np.random.default_rng(3), set()
    for _ in range(12):
        features = rng.uniform(-1, 1, 2)
        arms = candidates(3, features=features)
        arm = int(selector.scores(view.evidence("all"), arms, rng).argmax())
        view.add(0, "all", KEYS[arm], calls(1, 0), features)
        tried.add(arm)

    assert tried == {0, 1, 2}


def test_without_exploration_both_expect_and_draw_the_same():
    greedy, drawn = LinUCBSelector(1, 0.0), LinTSSelector(1, 0.0)
    view = view_of(greedy)
    view.add(0, "all", "a:m", calls(10, 3), np.ones(1))

    assert scores_of(greedy, view, np.ones(1)) == pytest.approx(scores_of(drawn, view, np.ones(1)))


def test_features_of_another_length_are_refused_by_both_lengths():
    selector = LinUCBSelector(2)

    with pytest.raises(InvalidRequestError, match="2 features, not 5"):
        scores_of(selector, view_of(selector), np.ones(5))


def test_where_no_regressions_are_kept_it_says_so():
    evidence = evidence_of(sums_of(calls(1), calls(1), calls(1)), UCBModelSelector())

    with pytest.raises(ConfigurationError, match="regressions"):
        score(LinUCBSelector(2), evidence, candidates(3))


@pytest.mark.parametrize("build", [LinUCBSelector, LinTSSelector])
@pytest.mark.parametrize(
    "bad",
    [
        {"n_features": 0},
        {"exploration": -1},
        {"exploration": math.inf},
        {"exploration": math.nan},
        {"floor": 2},
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(build: Any, bad: dict[str, Any]):
    with pytest.raises(ConfigurationError, match=next(iter(bad))):
        build(**bad)
