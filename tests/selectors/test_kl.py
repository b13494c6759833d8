from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from orchestrator.core.estimates import FloatArray
from orchestrator.core.selector import BoolArray
from orchestrator.core.statistics import COLUMNS, Column, Outcome, RowId
from orchestrator.core.views import ALL, Memory, View
from orchestrator.selectors import UCBModelSelector
from orchestrator.selectors.kl import KLBounds, kl_index
from orchestrator.selectors.ucb import kl_ucb
from tests.selectors.arms import candidates

means = st.floats(0, 1) | st.floats(0, 1e-6) | st.floats(1 - 1e-6, 1) | st.sampled_from([0, 0.5, 1])
levels = st.floats(1e-6, 1e2) | st.sampled_from([0.01, 0.5])
extremes = levels | st.floats(1e-12, 1e-6) | st.floats(1e2, 1e6) | st.just(0.0)
costs = st.sampled_from([0.0, 0.05, 0.3]) | st.floats(0, 1) | st.floats(0, 1e12)


def by_bisection(mean: float, level: float) -> float:
    low, high = mean, 1.0
    for _ in range(200):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if kl(mean, middle) <= level else (low, middle)
    return low


def kl(p: float, q: float) -> float:
    won = p * np.log(p / q) if p > 0 else 0.0
    with np.errstate(divide="ignore"):
        lost = (1 - p) * (np.log(1 - p) - np.log1p(-q)) if p < 1 else 0.0
    return float(won + lost)


@given(st.lists(st.tuples(means, levels), min_size=1, max_size=8))
def test_newton_finds_what_bisection_does(arms: list[tuple[float, float]]):
    found = kl_index(*np.array(arms).T)

    np.testing.assert_allclose(found, [by_bisection(*arm) for arm in arms], atol=1e-9)


def assert_the_best_is_found(
    kept: KLBounds,
    mean: FloatArray,
    root: FloatArray,
    scale: float,
    penalty: FloatArray,
    eligible: BoolArray,
) -> None:
    """Compare with an index of which every arm's was solved."""
    exact = np.where(eligible, kl_index(mean, (scale * root) ** 2 / 2) - penalty, -np.inf)

    scores = kept.scores(mean, root, scale, penalty, eligible)

    scores = np.where(eligible, scores, -np.inf)
    best = int(scores.argmax())
    close = 1e-9 * max(1.0, abs(exact.max()))
    assert abs(scores.max() - exact.max()) < close
    assert exact[best] > exact.max() - close
    assert (scores >= exact - close)[eligible].all()
    alike = (mean == mean[best]) & (root == root[best]) & (penalty == penalty[best]) & eligible
    assert alike.argmax() == best


def draw_some(draw: Any, n: int) -> BoolArray:
    eligible: BoolArray = draw(arrays(np.bool_, n))
    eligible[draw(st.integers(0, n - 1))] = True
    return eligible


@st.composite
def pools(draw: st.DrawFn) -> Any:
    """Draw up to forty arms, many of them alike or tied at the top, or a single one eligible."""
    n = draw(st.integers(1, 40))
    mean = draw(arrays(float, n, elements=means))
    level = draw(arrays(float, n, elements=extremes))
    penalty = draw(arrays(float, n, elements=costs))
    return mean, np.sqrt(2 * level), 1.0, penalty, draw_some(draw, n)


@given(pools())
def test_who_is_best_is_the_same_as_if_every_arm_were_solved(pool: Any):
    assert_the_best_is_found(KLBounds(), *pool)


@given(st.integers(0, 2**32), st.integers(20, 300), st.sampled_from([0.0, 0.02, 1.0]))
def test_nor_does_it_matter_how_many_are_nearly_the_best(seed: int, n_arms: int, spread: float):
    rng = np.random.default_rng(seed)
    mean = rng.choice([0.0, 0.25, 0.5, 1.0], n_arms) if spread == 1.0 else rng.random(n_arms)
    # What is left of a gap after as many pulls as an arm gets in the long run.
    level = np.minimum((mean.max() + 0.05 - mean) ** 2 / 0.5, 2.0)
    penalty = spread * rng.random(n_arms)
    every = np.ones(n_arms, dtype=np.bool_)

    assert_the_best_is_found(KLBounds(), mean, np.sqrt(2 * level), 1.0, penalty, every)


@given(st.integers(2, 60), st.floats(0, 1))
def test_of_arms_that_are_alike_the_first_is_best(n_arms: int, mean: float):
    alike: FloatArray = np.ones(n_arms)

    scores = KLBounds().scores(mean * alike, alike, 0.9, 0 * alike, np.ones(n_arms, dtype=np.bool_))

    assert scores.argmax() == 0


@given(st.data())
def test_nor_does_it_matter_what_the_arms_were_before(data: st.DataObject):
    """Estimates and scales that rise or fall, few or all; other penalties and other arms."""
    n, kept = data.draw(st.integers(1, 30)), KLBounds()
    few = st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0]) | means
    roots = st.sampled_from([0.05, 0.1, 0.4, 1.0]) | st.floats(1e-3, 2.0)
    mean = data.draw(arrays(float, n, elements=few))
    root = data.draw(arrays(float, n, elements=roots))
    scale = data.draw(st.floats(0, 5))
    for _ in range(data.draw(st.integers(1, 6))):
        changes = data.draw(st.dictionaries(st.integers(0, n - 1), st.tuples(few, roots)))
        for arm, change in changes.items():
            mean[arm], root[arm] = change
        scale *= data.draw(st.sampled_from([1.0, 1.0004, 1.0015, 0.997, 0.5, 3.0]))
        penalty = data.draw(arrays(float, n, elements=costs))

        assert_the_best_is_found(kept, mean, root, scale, penalty, draw_some(data.draw, n))


@pytest.mark.parametrize(
    "memory", [ALL, Memory(window_s=180), Memory(half_life_s=300), Memory(adaptive=True)], ids=str
)
@given(data=st.data())
def test_what_is_kept_follows_whatever_changes_a_view(memory: Memory, data: st.DataObject):
    """Pulls that begin, end and expire, ratings, merged rows, time, other arms."""
    view = View(memory, [f"p:m{number}" for number in range(data.draw(st.integers(1, 12)))])
    view.advance(1)
    minute = 1
    for _ in range(data.draw(st.integers(1, 12))):
        key = data.draw(st.sampled_from(view.keys))
        match data.draw(st.sampled_from(["open", "end", "expire", "merge", "pass", "rearrange"])):
            case "open":
                view.open(minute, "all", view.keys.index(key))
            case "end":
                ends = Outcome(data.draw(st.booleans())).deltas()
                rating = [(Column.N_QUALITY, 1.0), (Column.QUALITY, data.draw(st.floats(0, 1)))]
                view.add(minute, "all", key, [*ends, *(rating if data.draw(st.booleans()) else [])])
            case "expire":
                view.add(minute, "all", key, [(Column.OPENED, 1.0)])
                assert_the_view_knows_its_best(view)
                view.add(minute, "all", key, [(Column.EXPIRED, 1.0)])
            case "merge":
                sums = [0.0] * len(COLUMNS)
                sums[Column.CALLS] = sums[Column.OPENED] = sums[Column.CLOSED] = 9.0
                sums[Column.OK] = float(data.draw(st.integers(0, 9)))
                view.replay([(RowId("other", minute, 1, "all", key), sums)])
            case "pass":
                minute += data.draw(st.integers(1, 5))
                view.advance(minute)
            case "rearrange":
                keys = data.draw(st.permutations([*view.keys, "p:new"]))
                view = view.rearrange(keys[: data.draw(st.integers(1, len(keys)))])

        assert_the_view_knows_its_best(view)


def assert_the_view_knows_its_best(view: View) -> None:
    selector, evidence = UCBModelSelector(index="kl", min_trials=0), view.evidence("all")
    arms = candidates(len(view.keys))
    scale = math.sqrt(2.0 * math.log(max(evidence.total.pulls.item(), 1.0)))

    scores = selector.scores(evidence, arms, np.random.default_rng(0))

    exact = kl_ucb(evidence.total, scale) - arms.penalty
    assert scores.max() == pytest.approx(exact.max(), abs=1e-9)
    assert exact[scores.argmax()] == pytest.approx(exact.max(), abs=1e-9)
