"""Groups of vectors that point the same way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from orchestrator.core.errors import InvalidRequestError
from orchestrator.core.estimates import FloatArray

__all__ = ["MAX_ROUNDS", "Clusters", "k_means"]

MAX_ROUNDS: Final = 100
"""After which what little still moves is left as it is."""
_SAME: Final = 1e-9
"""Squared distance below which two vectors of length 1 are one, but for rounding."""


class Clusters(NamedTuple):
    """Groups of vectors.

    Attributes:
        centroids: The mean direction of each, of length 1, shape ``(k, n_features)``.
        cluster: Which each vector is in, shape ``(n,)``.
        similarity: Mean cosine of a vector and its centroid.
        rounds: After how many rounds nothing moved any more, or `MAX_ROUNDS`.
    """

    centroids: FloatArray
    cluster: npt.NDArray[np.intp]
    similarity: float
    rounds: int


def k_means(
    vectors: FloatArray,
    k: int,
    rng: np.random.Generator,
    on_round: Callable[[int], object] = lambda rounds: None,
) -> Clusters:
    """Group vectors of length 1 by the cosine of their angle.

    Args:
        vectors: Shape ``(n, n_features)``.
        k: How many groups.
        rng: Chooses where to begin.
        on_round: Told after each round how many there were.

    Raises:
        InvalidRequestError: There are fewer different vectors than groups.

    Source:
        Arthur & Vassilvitskii (2007), "k-means++: the advantages of careful seeding"; Dhillon &
        Modha (2001) for directions instead of points.
    """
    centroids = _beginning(vectors, k, rng)
    cluster = np.full(len(vectors), -1, dtype=np.intp)
    for rounds in range(1, MAX_ROUNDS + 1):
        cosine = vectors @ centroids.T
        before, cluster = cluster, cosine.argmax(axis=1)
        on_round(rounds)
        if (cluster == before).all():
            break
        nearest = cosine[np.arange(len(vectors)), cluster]
        sums = np.zeros_like(centroids)
        np.add.at(sums, cluster, vectors)
        lengths = np.sqrt(np.vecdot(sums, sums))
        empty = np.flatnonzero(lengths <= _SAME)
        # A group that nobody is in takes whom the others fit worst.
        sums[empty] = vectors[np.argsort(nearest, kind="stable")[: len(empty)]]
        lengths[empty] = 1.0
        centroids = sums / lengths[:, None]
    return Clusters(centroids, cluster, float(cosine.max(axis=1).mean()), rounds)


def _beginning(vectors: FloatArray, k: int, rng: np.random.Generator) -> FloatArray:
    """Return vectors far from each other: each is drawn by its squared distance from the last."""
    chosen: list[int] = []
    squared = np.full(len(vectors), 4.0)  # the most there can be
    for _ in range(k):
        total = squared.sum()
        if not total:
            raise InvalidRequestError(
                f"there are {len(chosen):,} different texts, too few for {k:,} segments",
                param="segments",
            )
        chosen.append(int(rng.choice(len(vectors), p=squared / total)))
        distance = 2.0 - 2.0 * (vectors @ vectors[chosen[-1]])
        squared = np.minimum(squared, np.where(distance < _SAME, 0.0, distance))
    return vectors[chosen]
