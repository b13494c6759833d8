"""How reward follows from a request's features, per arm: ridge regressions kept current.

What is added up are two sets of columns: for calls, whose reward is success, and for rated answers,
whose reward is quality. Each is the packed upper triangle of the sum of x x^T, then the sum of r x,
where x is the features behind a 1. They are rows of statistics of a kind of their own, another for
each number of features, and so are kept, merged and forgotten as others are. What a decision needs,
the inverse and the coefficients, is derived: by a rank-one update per outcome, and from the sums
when they change otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from orchestrator.core.errors import ConfigurationError, InvalidRequestError
from orchestrator.core.estimates import FloatArray, Prior
from orchestrator.core.statistics import RESERVED, Column

__all__ = [
    "Regressions",
    "columns_added",
    "kind_of",
    "n_columns",
    "n_columns_of",
    "n_features_of",
]

# Without axes: numpy compares with it in two thirds of the time of a number.
_ZERO: Final = np.array(0.0)
_KIND: Final = f"{RESERVED}regression-"
_OPTIMISM: Final = 1.0
"""The reward that is expected before there is evidence: the best there is. The ridge of 1 makes it
count for one pull."""
_LINE: Final = 8
"""Numbers in a line of the cache, 64 bytes."""
_Where: TypeAlias = int | tuple[npt.NDArray[np.intp], ...]
_Deltas: TypeAlias = Iterable[tuple[int, float]]
_Evidence: TypeAlias = tuple[tuple[float, float], tuple[float, float]]


class _Layout(NamedTuple):
    """Where in a packed upper triangle each entry of a symmetric matrix lies."""

    row: npt.NDArray[np.intp]
    column: npt.NDArray[np.intp]
    position: npt.NDArray[np.intp]
    times: FloatArray
    lengths: npt.NDArray[np.intp]
    """Of the triangle's rows."""


@cache
def _layout(size: int) -> _Layout:
    row, column = np.triu_indices(size)
    position = np.empty((size, size), dtype=np.intp)
    position[row, column] = position[column, row] = np.arange(row.size)
    return _Layout(row, column, position, np.where(row == column, 1.0, 2.0), np.bincount(row))


def n_columns(n_features: int) -> int:
    """Return how many additive columns regressions on so many features keep.

    >>> n_columns(32)
    1188
    """
    size = n_features + 1
    return size * (size + 3)


def n_features_of(columns: int) -> int:
    """Return how many features have so many columns: `n_columns` the other way round.

    Raises:
        ConfigurationError: No number of features does.
    """
    found = (math.isqrt(9 + 4 * columns) - 5) // 2
    if columns != n_columns(found):
        raise ConfigurationError(f"no regression has {columns!r} columns", hint="see n_columns")
    return found


def kind_of(n_features: int) -> str:
    """Return what rows of regressions on so many features are called.

    >>> kind_of(32)
    '~regression-32'
    """
    return f"{_KIND}{n_features}"


def n_columns_of(kind: str) -> int | None:
    """Return how long the sums of such rows are; None if these are no regressions.

    >>> n_columns_of("~regression-32")
    1188
    """
    features = kind.removeprefix(_KIND)
    if features == kind or not (features.isascii() and features.isdecimal()):
        return None
    return n_columns(int(features))


def columns_added(
    deltas: _Deltas, features: FloatArray | None, n_features: int
) -> FloatArray | None:
    """Return what an outcome or a rating adds to the columns.

    A corrected quality changes no count, and so adds to the sum of r x alone.

    Args:
        deltas: What it adds to the columns of `orchestrator.core.statistics`.
        features: The request's, shape ``(n_features,)``; None: all 0.
        n_features: How many there are.

    Returns:
        Shape ``(n_columns(n_features),)``; None if it says nothing about rewards.

    Raises:
        InvalidRequestError: There are more or fewer features, or one is not finite.
    """
    evidence = _rewards(deltas)
    return None if evidence is None else _columns(_with_intercept(features, n_features), evidence)


class Regressions:
    """One regression per arm, with a ridge of 1 around an optimistic intercept.

    Args:
        shape: ``(*lead, n_arms)``.
        n_features: Length of a request's features.
        prior: Belief in each arm's mean reward: as if so many requests without features had
            earned it.

    Attributes:
        inverse: Packed upper triangle of the inverse of I + sum of x x^T, shape
            ``(*shape, n_packed)``.
        theta: Coefficients, the intercept's first, shape ``(*shape, n_features + 1)``.
        rates_quality: Whether rewards are qualities; else success.

    >>> found = Regressions((2,), 1)
    >>> found.predict(np.array([3.0]))
    (array([1., 1.]), array([10., 10.]))
    >>> found.update(0, np.array([3.0]), 1.0, 0.0)
    >>> mean, squared = found.predict(np.array([3.0]))
    >>> mean.round(2), squared.round(2)
    (array([0.09, 1.  ]), array([ 0.91, 10.  ]))
    """

    __slots__ = (
        "_base",
        "_stale",
        "_start",
        "_sums",
        "inverse",
        "n_features",
        "rates_quality",
        "theta",
    )

    def __init__(
        self, shape: tuple[int, ...], n_features: int, *, prior: Prior | None = None
    ) -> None:
        size = n_features + 1
        weight, mean = (0.0, 0.0) if prior is None else (prior.weight, prior.mean)
        self.n_features = n_features
        self.rates_quality = False
        self._sums: dict[int, FloatArray] = {}
        self._stale: set[int] = set()
        # The ridge and what it holds the intercept to, with the prior in them.
        self._base = np.broadcast_to(1.0 + np.asarray(weight), shape)
        self._start = np.broadcast_to(_OPTIMISM + np.asarray(weight * mean), shape)
        row, column, *_ = _layout(size)
        self.inverse = _aligned((*shape, row.size))
        self.inverse[:] = row == column
        self.inverse[..., 0] = 1.0 / self._base
        self.theta = np.zeros((*shape, size))
        self.theta[..., 0] = self._start / self._base

    def predict(self, features: FloatArray | None) -> tuple[FloatArray, FloatArray]:
        """Return each arm's expected reward and x^T A^-1 x, both of shape ``shape``.

        The second is the square of its standard error where one reward's is 1.

        Args:
            features: Shape ``(*lead, n_features)``; None: all 0.

        Raises:
            InvalidRequestError: There are more or fewer features, or one is not finite.
        """
        x = _with_intercept(features, self.n_features)
        # x^T A^-1 x over the triangle, in which each entry off the diagonal stands for two.
        outer = _outer(x)
        outer *= _layout(x.shape[-1]).times
        # Row by row: a product of matrices would share this little work out over threads, and
        # where other work keeps these busy that takes a hundred times as long.
        if x.ndim > 1:
            outer, x = outer[..., None, :], x[..., None, :]
        squared = np.vecdot(self.inverse, outer)
        np.maximum(squared, _ZERO, out=squared)
        return np.vecdot(self.theta, x), squared

    def update(
        self, where: _Where, features: FloatArray | None, count: float, reward: float | FloatArray
    ) -> None:
        """Let derived state follow one more pull, by the formula of Sherman and Morrison.

        Args:
            where: The arm, or an index array per axis of ``shape``: one arm of each run.
            features: The request's, shape ``(*runs, n_features)``; None: all 0.
            count: 1 for a pull, 0 where only its reward changes, less for one that fades.
            reward: What is added to the sum of rewards, shape ``runs``.

        Source:
            Sherman & Morrison (1950).
        """
        self._update(where, _with_intercept(features, self.n_features), count, reward)

    def learn(
        self,
        arm: int,
        deltas: _Deltas,
        features: FloatArray | None,
        weight: float = 1.0,
        added: FloatArray | None = None,
    ) -> FloatArray | None:
        """Take an outcome or a rating, and return what it added to the columns, if anything.

        Args:
            arm: Whose it is.
            deltas: What it adds to the columns of `orchestrator.core.statistics`.
            features: The request's, shape ``(n_features,)``; None: all 0.
            weight: What it counts, where it fades.
            added: What `columns_added` returns for these, where that is known already.

        Raises:
            InvalidRequestError: There are more or fewer features, or one is not finite.
        """
        evidence = _rewards(deltas)
        if evidence is None:
            return None
        x = _with_intercept(features, self.n_features)
        if added is None:
            added = _columns(x, evidence)
        if weight != 1.0:
            added = added * weight
        self._into(arm, added)
        count, reward = evidence[self.rates_quality]
        if arm not in self._stale and (count or reward):
            self._update(arm, x, weight * count, weight * reward)
        return added

    def add(self, arm: int, columns: FloatArray) -> None:
        """Add to an arm's columns, as from a merged row, or take away what is forgotten."""
        self._into(arm, columns)
        self._stale.add(arm)

    def scale(self, factor: float) -> None:
        """Multiply every sum, as a memory that fades does."""
        for columns in self._sums.values():
            columns *= factor
        self._stale.update(self._sums)

    def rate_quality(self) -> None:
        """Judge by quality from now on, since some arm of the pool has one."""
        if not self.rates_quality:
            self.rates_quality = True
            self._stale.update(self._sums)

    def refresh(self) -> None:
        """Derive from the sums what they have outrun: to be called before `predict`."""
        if not self._stale:
            return
        arms = sorted(self._stale)
        self._stale.clear()
        size = self.n_features + 1
        row, column, position, *_ = _layout(size)
        lanes = np.stack([self._sums[arm] for arm in arms]).reshape(len(arms), 2, -1)
        sums = lanes[:, int(self.rates_quality)]
        matrix = sums[:, position] + np.eye(size)
        matrix[:, 0, 0] += self._base[arms] - 1.0
        target = sums[:, row.size :].copy()
        target[:, 0] += self._start[arms]
        inverse = np.linalg.inv(matrix)
        self.inverse[arms] = inverse[:, row, column]
        self.theta[arms] = np.matvec(inverse, target)

    def rearranged(self, sources: Sequence[int | None], prior: Prior | None = None) -> Regressions:
        """Return regressions for another list of arms; ``sources`` says where each was, or None."""
        found = Regressions((len(sources),), self.n_features, prior=prior)
        found.rates_quality = self.rates_quality
        found._sums = {
            arm: self._sums[source]
            for arm, source in enumerate(sources)
            if source is not None and source in self._sums
        }
        found._stale = set(found._sums)
        return found

    def _update(
        self, where: _Where, x: FloatArray, count: float, reward: float | FloatArray
    ) -> None:
        inverse = self.inverse[where].take(_layout(x.shape[-1]).position, axis=-1)
        one = x.ndim == 1  # as when serving: `dot` costs half as much, and numbers less yet
        gain = inverse.dot(x) if one else np.matvec(inverse, x)
        share = 1.0 / (1.0 + count * _dot(x, gain))
        step = share * (reward - count * _dot(x, self.theta[where]))
        self.theta[where] += gain * (step if one else step[..., None])
        if count:
            off = _outer(gain)
            off *= count * (share if one else share[..., None])
            self.inverse[where] -= off

    def _into(self, arm: int, columns: FloatArray) -> None:
        known = self._sums.get(arm)
        if known is None:
            self._sums[arm] = columns.copy()
        else:
            known += columns


def _aligned(shape: tuple[int, ...]) -> FloatArray:
    """Return an array that is empty, each row of which begins with a line of the cache.

    Processors read what straddles two lines twice: products of such rows take up to twice as long.
    """
    *lead, size = shape
    padded = -(-size // _LINE) * _LINE
    held = np.empty(math.prod(lead) * padded + _LINE)
    start = -held.ctypes.data // held.itemsize % _LINE
    return held[start : start - _LINE].reshape(*lead, padded)[..., :size]


def _rewards(deltas: _Deltas) -> _Evidence | None:
    """Return what is added to (count, reward) of calls and of ratings, or None for nothing."""
    calls = ok = rated = quality = 0.0
    for column, delta in deltas:
        if column == Column.CALLS:
            calls += delta
        elif column == Column.OK:
            ok += delta
        elif column == Column.N_QUALITY:
            rated += delta
        elif column == Column.QUALITY:
            quality += delta
    return ((calls, ok), (rated, quality)) if calls or ok or rated or quality else None


def _columns(x: FloatArray, evidence: _Evidence) -> FloatArray:
    outer = _outer(x)
    return np.concatenate(
        [part for count, reward in evidence for part in (_times(outer, count), _times(x, reward))]
    )


def _times(x: FloatArray, factor: float) -> FloatArray:
    return x if factor == 1.0 else x * factor


def _outer(x: FloatArray) -> FloatArray:
    """Return the upper triangle of x x^T, shape ``(*lead, n_packed)``."""
    layout = _layout(x.shape[-1])
    if x.ndim == 1:  # as when serving: to repeat is quicker than to look up
        found = x.repeat(layout.lengths)
        found *= x.take(layout.column)
        return found
    return np.asarray(x[..., layout.row] * x[..., layout.column])


def _dot(a: FloatArray, b: FloatArray) -> Any:
    return a.dot(b) if a.ndim == 1 else np.vecdot(a, b)


def _with_intercept(features: FloatArray | None, n_features: int) -> FloatArray:
    if features is None:
        x = np.zeros(n_features + 1)
        x[0] = 1.0
        return x
    if features.shape[-1] != n_features:
        raise InvalidRequestError(
            f"the selector learns from {n_features} features, not {features.shape[-1]}",
            param="features",
        )
    if features.ndim == 1:  # as when serving: written and summed up in half the time
        x = np.empty(n_features + 1)
        x[0], x[1:] = 1.0, features
        square = x.dot(x)
    else:
        x = np.empty((*features.shape[:-1], n_features + 1))
        x[..., 0], x[..., 1:] = 1.0, features
        square = np.vdot(x, x)
    # A square that is not finite is that of a number that is none, or of one too large to add up.
    if not math.isfinite(square):
        raise InvalidRequestError("a feature is not a finite number", param="features")
    return x
