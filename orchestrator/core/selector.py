"""The promise every selector keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from orchestrator.core.errors import ConfigurationError
from orchestrator.core.estimates import FloatArray
from orchestrator.core.statistics import Outcome
from orchestrator.core.views import ALL, Evidence, Memory

__all__ = [
    "BoolArray",
    "Candidates",
    "SamplingSelector",
    "Selector",
    "UpdatedSelector",
    "checked_scores",
    "demand_selector",
]

BoolArray = npt.NDArray[np.bool_]
_PROMISED: Final = ("name", "memory", "segmented", "n_extra", "floor", "scores")


class Candidates(NamedTuple):
    """What is known of the arms for one request, beside the evidence.

    Every array has shape ``(*lead, n_arms)`` or one that broadcasts to it.

    Attributes:
        eligible: Which arms may be chosen.
        cost_usd: What one attempt is expected to cost; nan where unknown.
        penalty: What the objective subtracts from an index of quality, in units of quality.
        priority: Higher is preferred.
        local: Which arms run on machines of ours.
        streaming: Which arms can stream.
        speed: Output tokens per second, measured or declared; nan where unknown.
        features: The request's feature vector, shape ``(*lead, n_features)``, or None.
        keys: The arms' names; empty where they have none, as in a simulation.
    """

    eligible: BoolArray
    cost_usd: FloatArray
    penalty: FloatArray
    priority: FloatArray
    local: BoolArray
    streaming: BoolArray
    speed: FloatArray
    features: FloatArray | None = None
    keys: Sequence[str] = ()


class Selector(Protocol):
    """A pure policy: evidence and candidates in, a score per arm out.

    A selector holds settings only. What it learns from are sums that the engine keeps; what it
    declares below says which.

    Attributes:
        name: How configuration and decisions call it.
        memory: How long it wants to remember.
        segmented: Whether it reads estimates of the request's segment.
        n_extra: Additive columns of its own, kept as rows of another kind beside those of
            `orchestrator.core.statistics`; see `orchestrator.core.regressions`.
        floor: Probability spread evenly over the eligible arms, so that every choice could have
            been another and its log can judge other policies; 0 for rules that do not explore.
    """

    name: ClassVar[str]
    memory: Memory = ALL
    segmented: ClassVar[bool] = False
    n_extra: int = 0
    floor: float = 0.0

    def scores(
        self, evidence: Evidence, candidates: Candidates, rng: np.random.Generator
    ) -> FloatArray:
        """Score every arm; higher is better.

        Works on any leading axes. Scores of arms that are not eligible mean nothing.

        Returns:
            Shape ``(*lead, n_arms)``.
        """
        ...


class SamplingSelector(Selector, Protocol):
    """A selector whose scores are draws from what it believes of each arm."""

    def odds(self, evidence: Evidence, candidates: Candidates) -> Callable[[], FloatArray]:
        """Return a function that works out how likely each arm's draw is to be the largest.

        It is cheap and copies what it needs, since the evidence changes with the next outcome;
        the function it returns may take milliseconds and can be called at any later time.

        Args:
            evidence: As for `scores`, of one decision: arrays of shape ``(n_arms,)``.
            candidates: As for `scores`.

        Returns:
            A function that returns probabilities of shape ``(n_arms,)``: they sum to 1, and are 0
            where an arm is not eligible.
        """
        ...


@runtime_checkable
class UpdatedSelector(Selector, Protocol):
    """A selector that keeps by itself what it learns, and so has to be told what happened.

    Its knowledge is local to this process: it is not merged with other nodes, nor kept over a
    restart, as sums are.
    """

    def update(self, model: str, reward: float, outcome: Outcome | None = None) -> None:
        """Learn from one call.

        Args:
            model: Its key.
            reward: In [0, 1]: whether the call succeeded; later, the quality it was given.
            outcome: What came of the call, or None when it is rated.
        """
        ...


def demand_selector(given: object) -> None:
    """Take nothing for a selector that is none.

    Raises:
        ConfigurationError: It is a class, or lacks something of `Selector`.
    """
    if isinstance(given, type):
        raise ConfigurationError(
            f"{given.__name__} is a class, not a selector", hint=f"{given.__name__}()"
        )
    missing = [name for name in _PROMISED if not hasattr(given, name)]
    if missing:
        raise ConfigurationError(
            f"{given!r} is no selector: it has no {', '.join(missing)}",
            hint="subclass orchestrator.selectors.ModelSelector",
        )


def checked_scores(name: str, scores: Any, candidates: Candidates) -> FloatArray:
    """Return the scores of somebody's selector if they are a number for each arm that may serve.

    An infinite one is a number: an arm to be tried before, or after, all others.

    Raises:
        ConfigurationError: They are not.
    """
    eligible = candidates.eligible
    if not (isinstance(scores, np.ndarray) and scores.dtype.kind in "fiu"):
        raise ConfigurationError(f"selector {name!r} gave {scores!r}, not an array of scores")
    if scores.shape != eligible.shape:
        raise ConfigurationError(
            f"selector {name!r} gave scores of shape {scores.shape}, not {eligible.shape}"
        )
    if np.isnan(scores[eligible]).any():
        keys = [
            candidates.keys[arm] for arm in np.flatnonzero(eligible & np.isnan(scores)).tolist()
        ]
        raise ConfigurationError(f"selector {name!r} gave no number to {', '.join(keys[:3])}")
    return scores
