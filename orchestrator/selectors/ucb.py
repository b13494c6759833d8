"""Upper confidence bounds: the best that an arm may plausibly be."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar, Final, Literal, TypeAlias

import numpy as np

from orchestrator.core.errors import ConfigurationError
from orchestrator.core.estimates import Estimates, FloatArray
from orchestrator.core.selector import Candidates
from orchestrator.core.views import ALL, Evidence, Memory
from orchestrator.selectors.burn_in import BurnIn
from orchestrator.selectors.kl import KLBounds, kl_index

__all__ = ["UCBModelSelector", "kl_ucb", "ucb1", "ucb_tuned"]

_Scale: TypeAlias = float | FloatArray
# Arrays without axes: numpy takes half as long to work with them as with numbers.
_QUARTER: Final = np.array(0.25)
_HALF: Final = np.array(0.5)


def ucb1(estimates: Estimates, root_log: _Scale) -> FloatArray:
    """Return mean + sqrt(2 ln t / n), shape ``(*lead, n_arms)``.

    Args:
        estimates: Rewards in [0, 1]; pending pulls count in n.
        root_log: sqrt(exploration_factor * ln t), shape ``(*lead, 1)`` or a number; the factor
            2 is each index as its paper writes it.

    Source:
        Auer, Cesa-Bianchi & Fischer (2002), UCB1.
    """
    return np.asarray(root_log * estimates.root_inverse + estimates.mean)


def ucb_tuned(estimates: Estimates, root_log: _Scale) -> FloatArray:
    """Return mean + sqrt(ln t / n * min(1/4, V)) with V = variance + sqrt(2 ln t / n).

    Arguments as for `ucb1`.

    Source:
        Auer, Cesa-Bianchi & Fischer (2002), UCB1-tuned.
    """
    width = np.asarray(root_log * estimates.root_inverse)
    bound = estimates.variance + width
    np.minimum(bound, _QUARTER, out=bound)
    bound *= _HALF
    np.sqrt(bound, out=bound)
    width *= bound
    width += estimates.mean
    return width


def kl_ucb(estimates: Estimates, root_log: _Scale) -> FloatArray:
    """Return the largest q with n * kl(mean, q) <= ln t, for Bernoulli kl, to 1e-9.

    Arguments as for `ucb1`.

    Source:
        Garivier & Cappé (2011), KL-UCB with c = 0.
    """
    mean = np.clip(estimates.mean, 0.0, 1.0)
    return kl_index(mean, 0.5 * (root_log * estimates.root_inverse) ** 2)


_Index: TypeAlias = Literal["tuned", "ucb1", "kl"]
_INDICES: Final[dict[str, Callable[[Estimates, _Scale], FloatArray]]] = {
    "tuned": ucb_tuned,
    "ucb1": ucb1,
    "kl": kl_ucb,
}


class UCBModelSelector:
    """Choose the arm that may plausibly be the best.

    Args:
        exploration_factor: Multiplies ln t; 2 is each index as its paper writes it, 0 is greedy.
        min_trials: Pulls that every arm gets before it is judged, over all segments.
        confidence_level: Level in (0, 1) of the intervals that `interval` gives.
        index: ``tuned``, ``ucb1`` or ``kl``.
        exploration_cap: Pulls of all arms together after which none is forced any more, so that
            10,000 arms do not cost 50,000 forced calls. Optimism goes on by itself.
        memory: How long it remembers; with a window or a half-life it follows arms that change.
        floor: Probability spread evenly over the eligible arms.

    >>> from orchestrator.core.estimates import Estimates
    >>> estimates = Estimates(2)
    >>> estimates.mean[:] = 0.5, 0.6
    >>> estimates.root_inverse[:] = 10**-0.5, 1000**-0.5
    >>> ucb1(estimates, math.sqrt(2 * math.log(1010))).round(2)
    array([1.68, 0.72])
    """

    name: ClassVar[str] = "ucb"
    segmented: ClassVar[bool] = False
    n_extra: int = 0

    def __init__(
        self,
        exploration_factor: float = 2.0,
        min_trials: int = 5,
        confidence_level: float = 0.95,
        *,
        index: _Index = "tuned",
        exploration_cap: int = 1000,
        memory: Memory = ALL,
        floor: float = 0.01,
    ) -> None:
        if not (exploration_factor >= 0 and math.isfinite(exploration_factor)):
            raise ConfigurationError(
                f"exploration_factor must be at least 0, not {exploration_factor!r}"
            )
        if not 0 < confidence_level < 1:
            raise ConfigurationError(
                f"confidence_level lies between 0 and 1, not at {confidence_level!r}"
            )
        if not 0 <= floor <= 1:
            raise ConfigurationError(f"floor lies in [0, 1], not at {floor!r}")
        if index not in _INDICES:
            raise ConfigurationError(
                f"there is no index {index!r}", hint=f"known: {', '.join(_INDICES)}"
            )
        self.exploration_factor = exploration_factor
        self.min_trials = min_trials
        self.confidence_level = confidence_level
        self.index: _Index = index
        self.exploration_cap = exploration_cap
        self.memory = memory
        self.floor = floor
        self._index = _INDICES[index]
        self._burn_in = BurnIn(min_trials, exploration_cap)

    def scores(
        self, evidence: Evidence, candidates: Candidates, rng: np.random.Generator
    ) -> FloatArray:
        """Return index - penalty, arms with too few trials above all others.

        Of one run's KL-UCB only the best arm's need be exact: the others' may lie above their
        index, though never above the best.
        """
        estimates, pulls = evidence.total, evidence.total.pulls
        root_log: _Scale
        if pulls.size == 1:
            # One run, as when serving: a number costs a tenth of an array of one.
            root_log = math.sqrt(self.exploration_factor * math.log(max(pulls.item(), 1.0)))
        else:
            root_log = np.sqrt(self.exploration_factor * np.log(np.maximum(pulls, 1.0)))
        if self.index == "kl" and pulls.ndim == 1:
            scores = KLBounds.of(estimates).scores(
                estimates.mean,
                estimates.root_inverse,
                float(root_log),
                candidates.penalty,
                candidates.eligible,
            )
        else:
            scores = self._index(estimates, root_log)
            scores -= candidates.penalty
        return self._burn_in.first(scores, estimates)

    def interval(self, evidence: Evidence) -> tuple[FloatArray, FloatArray]:
        """Return bounds that hold each arm's mean reward with probability ``confidence_level``.

        Source:
            Hoeffding (1963) for rewards in [0, 1], at each arm's present n.
        """
        estimates = evidence.total
        width = np.sqrt(
            math.log(2 / (1 - self.confidence_level)) / (2 * np.maximum(estimates.n, 1e-12))
        )
        return (
            np.clip(estimates.mean - width, 0.0, 1.0),
            np.clip(estimates.mean + width, 0.0, 1.0),
        )
