from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import ConfigurationError, InvalidRequestError
from orchestrator.core.estimates import FloatArray, Prior
from orchestrator.core.regressions import (
    Regressions,
    columns_added,
    kind_of,
    n_columns,
    n_columns_of,
    n_features_of,
)
from orchestrator.core.statistics import Column, Outcome

WON, LOST = Outcome(True).deltas(), Outcome(False).deltas()

features = st.tuples(st.floats(-3, 3), st.floats(-3, 3)).map(np.array)
pulls = st.lists(st.tuples(features, st.booleans()), max_size=30)


def solved(pulls: list[tuple[FloatArray, float]], prior: tuple[float, float] = (0.0, 0.0)) -> Any:
    """Return A and theta by the textbook: ridge 1 around an intercept of 1."""
    weight, mean = prior
    a, b = np.eye(3), np.array([1.0, 0.0, 0.0])
    a[0, 0] += weight
    b[0] += weight * mean
    for x, reward in pulls:
        x = np.concatenate([[1.0], x])
        a += np.outer(x, x)
        b += reward * x
    return a, np.linalg.solve(a, b)


def rated(quality: float, count: float = 1.0) -> list[tuple[int, float]]:
    return [(Column.N_QUALITY, count), (Column.QUALITY, quality)]


@given(pulls, features)
def test_pull_by_pull_it_predicts_what_the_whole_history_does(pulls: list[Any], asked: FloatArray):
    found = Regressions((2,), 2)
    for x, ok in pulls:
        found.learn(1, WON if ok else LOST, x)
    a, theta = solved(pulls)
    x = np.concatenate([[1.0], asked])

    mean, squared = found.predict(asked)

    assert mean[1] == pytest.approx(x @ theta, abs=1e-8)
    assert squared[1] == pytest.approx(x @ np.linalg.solve(a, x), rel=1e-8)
    assert (mean[0], squared[0]) == (1.0, pytest.approx(x @ x))


@given(pulls, st.floats(0, 5), st.floats(0, 1))
def test_a_prior_counts_as_requests_without_features(
    pulls: list[Any], weight: float, quality: float
):
    found = Regressions((1,), 2, prior=Prior(np.array([weight]), np.array([quality])))
    for x, ok in pulls:
        found.learn(0, WON if ok else LOST, x)
    live = found.predict(np.ones(2))
    found.add(0, np.zeros(n_columns(2)))
    found.refresh()

    for mean, squared in (live, found.predict(np.ones(2))):
        a, theta = solved(pulls, (weight, quality))
        assert mean[0] == pytest.approx(np.ones(3) @ theta, abs=1e-7)
        assert squared[0] == pytest.approx(np.ones(3) @ np.linalg.solve(a, np.ones(3)), rel=1e-7)


def test_before_the_first_pull_the_best_is_expected_whatever_is_asked():
    mean, _ = Regressions((3,), 2).predict(np.array([-5.0, 9.0]))

    assert mean.tolist() == [1.0, 1.0, 1.0]


@given(pulls, st.permutations(range(30)))
def test_the_order_of_pulls_does_not_matter(pulls: list[Any], order: list[int]):
    straight, shuffled = Regressions((1,), 2), Regressions((1,), 2)
    for x, ok in pulls:
        straight.learn(0, WON if ok else LOST, x)
    for number in order:
        if number < len(pulls):
            x, ok = pulls[number]
            shuffled.learn(0, WON if ok else LOST, x)

    np.testing.assert_allclose(straight.theta, shuffled.theta, atol=1e-8)
    np.testing.assert_allclose(straight.inverse, shuffled.inverse, atol=1e-8)


@given(features, st.floats(0, 1), st.floats(0, 1))
def test_a_corrected_quality_counts_as_if_it_had_been_given_at_first(
    x: FloatArray, was: float, quality: float
):
    corrected, at_once = Regressions((1,), 2), Regressions((1,), 2)
    for regressions in (corrected, at_once):
        regressions.rate_quality()
        regressions.learn(0, rated(0.3), np.ones(2))
    corrected.learn(0, rated(was), x)
    corrected.learn(0, rated(quality - was, count=0.0), x)
    at_once.learn(0, rated(quality), x)

    np.testing.assert_allclose(corrected.theta, at_once.theta, atol=1e-9)
    np.testing.assert_allclose(corrected.inverse, at_once.inverse, atol=1e-9)


def test_once_quality_counts_success_no_longer_does():
    judged, rated_only = Regressions((1,), 2), Regressions((1,), 2)
    judged.learn(0, LOST, np.ones(2))
    judged.learn(0, rated(0.7), np.ones(2))
    rated_only.rate_quality()
    rated_only.learn(0, rated(0.7), np.ones(2))

    judged.rate_quality()
    judged.refresh()
    judged.learn(0, LOST, np.ones(2))

    np.testing.assert_allclose(judged.theta, rated_only.theta)


@given(pulls)
def test_columns_of_two_nodes_add_up_to_what_one_would_have_learned(pulls: list[Any]):
    one, merged = Regressions((1,), 2), Regressions((1,), 2)
    halves = np.zeros((2, n_columns(2)))
    for number, (x, ok) in enumerate(pulls):
        deltas = WON if ok else LOST
        one.learn(0, deltas, x)
        added = columns_added(deltas, x, 2)
        assert added is not None
        halves[number % 2] += added

    for half in halves:
        merged.add(0, half)
    merged.refresh()

    np.testing.assert_allclose(merged.theta, one.theta, atol=1e-8)


def test_ten_thousand_rank_one_updates_are_as_exact_as_one_inverse():
    rng = np.random.default_rng(3)
    found = Regressions((1,), 8)
    for _ in range(10_000):
        found.learn(0, WON if rng.random() < 0.6 else LOST, rng.standard_normal(8))
    live = found.theta.copy(), found.inverse.copy()

    found.add(0, np.zeros(n_columns(8)))
    found.refresh()

    np.testing.assert_allclose(live[0], found.theta, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(live[1], found.inverse, rtol=1e-9, atol=1e-14)


def test_many_runs_at_once_learn_as_each_alone():
    rng = np.random.default_rng(4)
    runs, arms, rounds = 6, 3, 20
    together = Regressions((runs, arms), 2)
    alone = [Regressions((arms,), 2) for _ in range(runs)]
    for _ in range(rounds):
        arm, x = rng.integers(arms, size=runs), rng.standard_normal((runs, 2))
        ok = rng.random(runs) < 0.5
        together.update((np.arange(runs), arm), x, 1.0, ok.astype(float))
        for run in range(runs):
            alone[run].learn(int(arm[run]), WON if ok[run] else LOST, x[run])
    asked = rng.standard_normal((runs, 2))

    mean, squared = together.predict(asked)

    for run in range(runs):
        expected = alone[run].predict(asked[run])
        np.testing.assert_allclose((mean[run], squared[run]), expected, rtol=1e-9)


@given(st.integers(1, 40), st.sampled_from([(), (3,)]), st.integers(1, 5))
def test_no_row_straddles_more_lines_of_the_cache_than_it_has_to(
    n_features: int, lead: tuple[int, ...], n_arms: int
):
    """Products of rows that do took nearly twice as long."""
    found = Regressions((*lead, n_arms), n_features)

    for where in np.ndindex(*lead, n_arms):
        assert found.inverse[where].ctypes.data % 64 == 0


@pytest.mark.parametrize("deltas", [[(Column.OPENED, 1.0)], [(Column.EXPIRED, 1.0)], []])
def test_what_is_no_outcome_adds_nothing(deltas: list[tuple[int, float]]):
    assert columns_added(deltas, np.ones(2), 2) is None
    assert Regressions((1,), 2).learn(0, deltas, np.ones(2)) is None


@given(st.integers(1, 300), st.floats(0.1, 1))
def test_what_an_outcome_adds_may_be_known_already(n_features: int, weight: float):
    x = np.linspace(-1, 1, n_features)
    known, anew = Regressions((1,), n_features), Regressions((1,), n_features)
    columns = columns_added(WON, x, n_features)
    assert columns is not None
    before = columns.copy()

    known.learn(0, WON, x, weight, columns)
    anew.learn(0, WON, x, weight)
    for regressions in (known, anew):
        regressions.add(0, np.zeros(n_columns(n_features)))
        regressions.refresh()

    assert (columns == before).all()
    assert (known.theta == anew.theta).all()


@given(st.integers(1, 300))
def test_the_kind_of_a_row_tells_how_long_it_is(n_features: int):
    assert n_columns_of(kind_of(n_features)) == n_columns(n_features)


@pytest.mark.parametrize("kind", ["all", "regression-2", "~regression-", "~regression-x", "~x-2"])
def test_other_rows_are_no_regressions(kind: str):
    assert n_columns_of(kind) is None


@given(st.integers(1, 300))
def test_columns_tell_how_many_features_they_are_of(n_features: int):
    assert n_features_of(n_columns(n_features)) == n_features
    with pytest.raises(ConfigurationError, match="columns"):
        n_features_of(n_columns(n_features) + 1)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.ones(3), "learns from 2 features, not 3"),
        (np.array([1.0, np.nan]), "not a finite number"),
        (np.array([1.0, np.inf]), "not a finite number"),
    ],
)
def test_features_that_cannot_be_learned_from_are_refused_before_anything_is(
    bad: FloatArray, message: str
):
    found = Regressions((1,), 2)

    with pytest.raises(InvalidRequestError, match=message):
        found.predict(bad)
    with pytest.raises(InvalidRequestError, match=message):
        found.learn(0, WON, bad)

    assert (found.theta == Regressions((1,), 2).theta).all()
