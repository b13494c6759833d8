"""What another policy would have reached, from the log of the one that ran."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from orchestrator.core.errors import InvalidRequestError
from orchestrator.core.estimates import FloatArray

__all__ = [
    "MIN_OVERLAP",
    "Log",
    "Method",
    "PolicyValue",
    "PropensityError",
    "evaluate",
    "repriced",
]

Method: TypeAlias = Literal["ips", "snips", "dm", "dr"]

_Ints: TypeAlias = npt.NDArray[np.int64]

MIN_OVERLAP: Final = 0.9
"""Share of what a policy does that a log must be able to show; the rest it never tried."""
_SURELY: Final = 3.0
"""Standard errors by which a mean weight has to lie below that, so as not to be an accident."""
_MIN_ESS: Final = 50.0
"""Below this the normal approximation says little, whatever the estimator."""
_FOLDS: Final = 5
_KAPPA: Final = 8.0
"""Pulls that an arm's mean over all segments counts for in each, as in serving."""


class PropensityError(InvalidRequestError):
    """A logged propensity lies outside (0, 1]: what could not happen cannot have been logged."""

    code = "invalid_propensity"


@dataclass(frozen=True, slots=True, eq=False)
class Log:
    """Decisions with what came of them; every array has shape ``(n,)``.

    Attributes:
        arm: Which arm was pulled.
        propensity: How likely that was, in (0, 1].
        reward: What it brought, in any unit: quality, USD, or a utility of both.
        segment: The kind of request, counted from 0; nothing for one kind.

    Raises:
        PropensityError: A propensity is 0, above 1 or not a number.
        InvalidRequestError: The arrays are empty, differ in length, or hold what is no number.
    """

    arm: npt.NDArray[Any]
    propensity: npt.NDArray[Any]
    reward: npt.NDArray[Any]
    segment: npt.NDArray[Any] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def __post_init__(self) -> None:
        n = len(self.arm)
        if not len(self.segment):
            object.__setattr__(self, "segment", np.zeros(n, dtype=np.int64))
        for name in ("arm", "propensity", "reward", "segment"):
            shape = getattr(self, name).shape
            if shape != (n,) or not n:
                raise InvalidRequestError(
                    f"{name} has shape {shape}; a log's arrays hold one number per decision",
                    param=name,
                )
        for name in ("arm", "segment"):
            counted = getattr(self, name)
            if not np.issubdtype(counted.dtype, np.integer) or counted.min() < 0:
                raise InvalidRequestError(f"{name} must hold integers from 0 up", param=name)
        if not np.isfinite(self.reward).all():
            raise InvalidRequestError(
                "a reward is not a finite number",
                param="reward",
                hint="leave out decisions whose outcome is not known",
            )
        wrong = np.flatnonzero(~((self.propensity > 0) & (self.propensity <= 1)))
        if wrong.size:
            raise PropensityError(
                f"{wrong.size} of {n} propensities lie outside (0, 1]: "
                f"{self.propensity[wrong[0]]!r} in row {wrong[0]} is the first",
                param="propensity",
                hint="log with a floor above 0, and leave out decisions made without chance",
            )


@dataclass(frozen=True, slots=True)
class PolicyValue:
    """An estimate of a policy's mean reward, and how far to trust it.

    Attributes:
        method: How it was estimated.
        value: The estimate; nan where the log holds nothing that bears on it. Where there is no
            interval, it is not to be trusted.
        standard_error: Of the estimate.
        interval: Low and high, or None where an interval would mislead.
        refused: Why there is no interval, or None.
        ess: Effective sample size: how many decisions of the target itself the log is worth.
        overlap: Mean importance weight. About 1 where the log could have shown all that the
            target does; well below, the target does what the log never did.
        n: Decisions in the log.
    """

    method: Method
    value: float
    standard_error: float
    interval: tuple[float, float] | None
    refused: str | None
    ess: float
    overlap: float
    n: int


def evaluate(
    log: Log,
    target: FloatArray,
    method: Method = "dr",
    *,
    clip: float | None = None,
    confidence: float = 0.95,
) -> PolicyValue:
    """Estimate the mean reward that a target policy would have had on the log's requests.

    `ips` weighs each reward by how much likelier the target was to bring it about; unbiased, and
    noisy. `snips` divides by the weights' sum: a little bias for much less noise. `dm` takes the
    mean reward of each arm in each segment for the truth; its interval says nothing of the bias
    in that. `dr` corrects such means by the weighted errors they make, and is unbiased: each fold
    of the log is judged by means that have not seen it.

    Intervals use Student's t with as many degrees of freedom as the noise in the standard error
    warrants, which are few where few decisions carry most of the weight. There is none below an
    effective sample size of 50, nor where the overlap lies below `MIN_OVERLAP` by more than three
    standard errors of its own: no number of decisions tells what was never tried.

    Args:
        log: What the logging policy did.
        target: How likely the target is to pull each arm, shape ``(n, n_arms)``.
        method: The estimator.
        clip: Weights above this count as this: less noise, and a bias that no interval shows.
        confidence: Level of the interval, in (0, 1).

    Raises:
        InvalidRequestError: The target is no distribution over the log's arms, or a setting is
            out of range.

    Source:
        Horvitz & Thompson (1952), ips. Swaminathan & Joachims (2015), snips. Dudík, Langford &
        Li (2011), dr; Chernozhukov et al. (2018), its cross-fitting. Kish (1965), ess.
        Satterthwaite (1946), degrees of freedom.
    """
    n, n_arms = len(log.arm), _check(log, target, method, clip, confidence)
    rows, arm, reward = np.arange(n), log.arm, log.reward
    weight = target[rows, arm] / log.propensity
    ess = _effective(weight)
    overlap = float(weight.mean())
    refused = _refusal(weight, ess, overlap)
    if clip is not None:
        weight = np.minimum(weight, clip)

    # Whatever the method: the value is the influences' mean plus `centre`.
    centre = 0.0
    if method == "ips":
        influence = weight * reward
    elif method == "snips":
        total = weight.sum()
        centre = float((weight * reward).sum() / total) if total else float("nan")
        influence = n * (weight / total if total else weight) * (reward - centre)
    else:
        fold = rows % _FOLDS if method == "dr" else np.zeros(n, dtype=np.int64)
        means = _means(log, n_arms, fold)
        expected = (target * means).sum(axis=1)
        if method == "dm":
            # What the cell means rest on: weights with the log's own shares for propensities.
            weight = _cell_weights(log, target)
            centre = float(expected.mean())
            influence = expected - centre + weight * (reward - means[rows, arm])
            influence -= influence.mean()
        else:
            influence = expected + weight * (reward - means[rows, arm])

    value = centre + float(influence.mean())
    error = float(influence.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
    interval = None
    if refused is None:
        half = _quantile(influence, weight, confidence) * error
        interval = value - half, value + half
    return PolicyValue(method, value, error, interval, refused, ess, overlap, n)


def repriced(
    arm: npt.NDArray[Any],
    tokens_in: npt.NDArray[Any],
    tokens_out: npt.NDArray[Any],
    usd_in: FloatArray,
    usd_out: FloatArray,
) -> FloatArray:
    """Return what each logged call costs at other prices, in USD, shape ``(n,)``.

    Subtracted from quality with a weight, it is the reward to `evaluate` the log with.

    Args:
        arm: Which arm was called, shape ``(n,)``.
        tokens_in, tokens_out: Of each call, shape ``(n,)``.
        usd_in, usd_out: USD per token of each arm, shape ``(n_arms,)``; nan where unknown.

    Raises:
        InvalidRequestError: An arm of the log has no price.
    """
    cost = tokens_in * usd_in[arm] + tokens_out * usd_out[arm]
    unknown = np.unique(arm[~np.isfinite(cost)])
    if unknown.size:
        raise InvalidRequestError(
            f"arms {unknown.tolist()} of the log have no price", hint="give one for each"
        )
    return np.asarray(cost, dtype=np.float64)


def _check(log: Log, target: FloatArray, method: str, clip: float | None, confidence: float) -> int:
    """Return the number of arms."""
    n = len(log.arm)
    if target.ndim != 2 or target.shape[0] != n or target.shape[1] <= log.arm.max():
        raise InvalidRequestError(
            f"target has shape {target.shape}; it holds a probability for each of {n} decisions "
            f"and each of at least {log.arm.max() + 1} arms",
            param="target",
        )
    if not (target >= 0).all() or not np.allclose(target.sum(axis=1), 1.0):
        raise InvalidRequestError("each row of target must be a distribution", param="target")
    if method not in get_args(Method):
        raise InvalidRequestError(
            f"there is no estimator {method!r}",
            param="method",
            hint=f"known: {', '.join(get_args(Method))}",
        )
    if clip is not None and not clip > 0:
        raise InvalidRequestError(f"clip must be above 0, not {clip!r}", param="clip")
    if not 0 < confidence < 1:
        raise InvalidRequestError(
            f"confidence lies between 0 and 1, not at {confidence!r}", param="confidence"
        )
    return int(target.shape[1])


def _refusal(weight: FloatArray, ess: float, overlap: float) -> str | None:
    """Return why no interval could be trusted, or None."""
    if ess < _MIN_ESS:
        return f"an effective sample size of {ess:.1f} is below {_MIN_ESS:.0f}"
    chance = float(weight.std(ddof=1) / np.sqrt(len(weight)))
    if overlap + _SURELY * chance < MIN_OVERLAP:
        return f"the log can show only {overlap:.0%} of what the selector does"
    return None


def _means(log: Log, n_arms: int, fold: _Ints) -> FloatArray:
    """Return the mean reward of every arm in each row's segment, shape ``(n, n_arms)``.

    A segment's mean is shrunk to the arm's over all segments, and that to the mean of all. Where
    there are several folds, a row's means leave its own fold out.
    """
    shape = (int(fold.max()) + 1, int(log.segment.max()) + 1, n_arms)
    count, total = np.zeros(shape), np.zeros(shape)
    np.add.at(count, (fold, log.segment, log.arm), 1.0)
    np.add.at(total, (fold, log.segment, log.arm), log.reward)
    if shape[0] > 1:
        count, total = count.sum(axis=0) - count, total.sum(axis=0) - total
    of_all = total.sum(axis=(1, 2)) / np.maximum(count.sum(axis=(1, 2)), 1.0)
    of_arm = (total.sum(axis=1) + _KAPPA * of_all[:, None]) / (count.sum(axis=1) + _KAPPA)
    means = (total + _KAPPA * of_arm[:, None]) / (count + _KAPPA)
    return np.asarray(means[fold, log.segment])


def _cell_weights(log: Log, target: FloatArray) -> FloatArray:
    """Return how often the target pulls a row's arm in its segment, over how often the log did."""
    shape = (int(log.segment.max()) + 1, target.shape[1])
    count, mass = np.zeros(shape), np.zeros(shape)
    np.add.at(count, (log.segment, log.arm), 1.0)
    np.add.at(mass, log.segment, target)
    return np.asarray(mass[log.segment, log.arm] / count[log.segment, log.arm])


def _effective(shares: FloatArray) -> float:
    """Return how many equal shares would be as concentrated as these, at least 0 each."""
    largest = shares.max()
    if not largest:
        return 0.0
    scaled = shares / largest  # or tiny ones would vanish when squared
    return float(scaled.sum() ** 2 / (scaled**2).sum())


def _quantile(influence: FloatArray, weight: FloatArray, confidence: float) -> float:
    """Return Student's t at the degrees of freedom that the standard error has.

    Two estimates, by the weights alone and by the influences' kurtosis, and the fewer count: the
    second misses what a few heavy rows have not shown yet.
    """
    from scipy.special import stdtrit  # loads on first use

    n, seen = len(influence), _effective((influence - influence.mean()) ** 2)
    by_kurtosis = 2.0 * n * seen / (n - seen) if seen < n else np.inf
    degrees = max(min(by_kurtosis, _effective((weight / weight.max()) ** 2)), 1.0)
    return float(stdtrit(degrees, 0.5 + confidence / 2))
