from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from orchestrator.analysis.clusters import MAX_ROUNDS, k_means
from orchestrator.core.errors import InvalidRequestError
from orchestrator.core.estimates import FloatArray


def unit(vectors: FloatArray) -> FloatArray:
    found: FloatArray = vectors / np.linalg.norm(vectors, axis=1)[:, None]
    return found


def directions(n: int, seed: int, spread: float = 0.02) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """Return vectors near four directions at right angles, and which each is near."""
    rng = np.random.default_rng(seed)
    near = rng.integers(4, size=n)
    return unit(np.eye(8)[near] + spread * rng.standard_normal((n, 8))), near


@pytest.mark.parametrize("seed", range(5))
def test_groups_that_lie_apart_are_found(seed: int):
    vectors, near = directions(200, seed)

    found = k_means(vectors, 4, np.random.default_rng(seed))

    assert len({*zip(near.tolist(), found.cluster.tolist(), strict=True)}) == 4
    assert found.similarity > 0.98


@pytest.mark.parametrize("seed", range(10))
def test_a_small_group_is_found_beside_a_large_one(seed: int):
    large = np.eye(3)[np.zeros(1_000, dtype=int)]
    noise = 0.001 * np.random.default_rng(seed).standard_normal((1_003, 3))
    vectors = unit(np.concatenate([large, np.eye(3)]) + noise)

    found = k_means(vectors, 3, np.random.default_rng(seed))

    assert sorted(np.bincount(found.cluster)) == [1, 1, 1_001]


def test_each_vector_is_with_the_centroid_it_is_most_like():
    vectors = unit(np.random.default_rng(1).standard_normal((300, 5)))

    found = k_means(vectors, 6, np.random.default_rng(1))

    cosine = vectors @ found.centroids.T
    assert found.rounds < MAX_ROUNDS
    assert (found.cluster == cosine.argmax(axis=1)).all()
    assert found.similarity == pytest.approx(cosine.max(axis=1).mean())
    for number in range(6):
        mean = vectors[found.cluster == number].sum(axis=0)
        assert found.centroids[number] == pytest.approx(mean / np.linalg.norm(mean))


def test_rounds_bring_vectors_closer_to_their_centroids():
    vectors = unit(np.random.default_rng(2).standard_normal((300, 5)))
    rng = np.random.default_rng(3)
    drawn = vectors[rng.choice(300, 6, replace=False)]

    found = k_means(vectors, 6, np.random.default_rng(3))

    assert found.similarity > (vectors @ drawn.T).max(axis=1).mean()


def test_the_same_seed_finds_the_same():
    vectors, _ = directions(100, 1, spread=0.5)
    first, second = (k_means(vectors, 5, np.random.default_rng(7)) for _ in range(2))

    assert (first.centroids == second.centroids).all()
    assert (first.centroids != k_means(vectors, 5, np.random.default_rng(8)).centroids).any()


def test_as_many_groups_as_different_vectors_is_the_most():
    vectors = np.repeat(np.eye(3), 5, axis=0)

    found = k_means(vectors, 3, np.random.default_rng(1))

    assert sorted(np.bincount(found.cluster)) == [5, 5, 5]
    with pytest.raises(InvalidRequestError, match="3 different texts, too few for 4 segments"):
        k_means(vectors, 4, np.random.default_rng(1))


def test_a_group_that_cancels_out_takes_another_vector():
    vectors = np.array([[1.0, 0.0], [-1.0, 0.0]])

    found = k_means(vectors, 1, np.random.default_rng(1))

    assert found.centroids.shape == (1, 2)
    assert np.isfinite(found.centroids).all()


def test_rounds_are_told():
    told: list[int] = []
    found = k_means(directions(50, 1)[0], 4, np.random.default_rng(1), told.append)

    assert told == list(range(1, found.rounds + 1))
