from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from orchestrator.core.estimates import FloatArray
from orchestrator.selectors.kl import kl_bounds, kl_index

means = st.floats(0, 1) | st.floats(0, 1e-6) | st.floats(1 - 1e-6, 1) | st.sampled_from([0, 0.5, 1])
levels = st.floats(1e-6, 1e2) | st.sampled_from([0.01, 0.5])


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


@st.composite
def pools(draw: st.DrawFn) -> Any:
    """Draw up to forty arms, many of them alike or tied at the top."""
    n = draw(st.integers(1, 40))
    mean = draw(arrays(float, n, elements=means))
    level = draw(arrays(float, n, elements=levels))
    penalty = draw(arrays(float, n, elements=st.sampled_from([0.0, 0.05, 0.3]) | st.floats(0, 1)))
    eligible = draw(arrays(np.bool_, n))
    eligible[draw(st.integers(0, n - 1))] = True
    return mean, level, penalty, eligible


@given(pools())
def test_who_is_best_is_the_same_as_if_every_arm_were_solved(pool: Any):
    mean, level, penalty, eligible = pool
    exact = np.where(eligible, kl_index(mean, level) - penalty, -np.inf)

    bounds = np.where(eligible, kl_bounds(mean, np.sqrt(2 * level) / 3, penalty, eligible), -np.inf)

    assert abs(bounds.max() - exact.max()) < 1e-9
    assert exact[bounds.argmax()] > exact.max() - 1e-9
    assert (bounds >= exact - 1e-9).all()


@given(st.integers(0, 2**32), st.integers(20, 300), st.sampled_from([0.0, 0.02, 1.0]))
def test_nor_does_it_matter_how_many_are_nearly_the_best(seed: int, n_arms: int, spread: float):
    rng = np.random.default_rng(seed)
    mean = rng.choice([0.0, 0.25, 0.5, 1.0], n_arms) if spread == 1.0 else rng.random(n_arms)
    # What is left of a gap after as many pulls as an arm gets in the long run.
    level = np.minimum((mean.max() + 0.05 - mean) ** 2 / 0.5, 2.0)
    penalty = spread * rng.random(n_arms)
    exact = kl_index(mean, level) - penalty

    bounds = kl_bounds(mean, np.sqrt(2 * level) / 3, penalty, np.ones(n_arms, dtype=np.bool_))

    assert exact[bounds.argmax()] > exact.max() - 1e-9
    assert abs(bounds.max() - exact.max()) < 1e-9
    assert (bounds >= exact - 1e-9).all()


@given(st.integers(2, 60), st.floats(0, 1))
def test_of_arms_that_are_alike_the_first_is_best(n_arms: int, mean: float):
    alike: FloatArray = np.ones(n_arms)

    bounds = kl_bounds(mean * alike, 0.3 * alike, 0 * alike, np.ones(n_arms, dtype=np.bool_))

    assert bounds.argmax() == 0
