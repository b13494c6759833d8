"""The part of a log that another selector could have made: its decisions, kept by chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from orchestrator.analysis.decisions import DecisionLog, Metric
from orchestrator.analysis.ope import MIN_OVERLAP, evaluate
from orchestrator.core.estimates import FloatArray

__all__ = ["MIN_KEPT", "Replayed", "kept_by_rejection", "value_by_replay"]

MIN_KEPT: Final = 50
"""Decisions below which a mean over those that were kept says little."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """A mean of what was logged where the selector would have done the same.

    Attributes:
        by: ``rejection``: a mean over what was kept; or ``dm``: by each model's mean reward.
        value: The estimate.
        standard_error: Of it; for ``dm`` it says nothing of the bias.
        kept: How many decisions with a known reward were kept.
        refused: Why it is not by rejection, or None.
    """

    by: Literal["rejection", "dm"]
    value: float
    standard_error: float
    kept: int
    refused: str | None


def kept_by_rejection(
    log: DecisionLog, target: FloatArray, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Return the decisions that are kept, so that choices are distributed as the selector's.

    Each is kept with its importance weight over the largest one: of a log whose choices had equal
    odds those that agree, of a log with rare choices few.

    Source:
        Li, Chu, Langford & Wang (2011), replay; Dudík, Erhan, Langford & Li (2012), with
        propensities. The largest weight is that of the log: Caffo, Booth & Davis (2002).
    """
    weight = target[np.arange(len(log)), log.arm] / log.numbers["propensity"]
    return np.flatnonzero(rng.random(len(log)) * weight.max(initial=0.0) < weight)


def value_by_replay(
    log: DecisionLog, target: FloatArray, metric: Metric, kept: npt.NDArray[np.int64]
) -> Replayed:
    """Return the mean of a metric over what was kept, or by models' means where that misleads.

    Raises:
        DecisionLogError: No decision's metric is known.
    """
    rewards, known = log.rewards(metric)
    means = evaluate(rewards, target[known], "dm")
    seen = rewards.reward[np.isin(known, kept)]
    refused = None
    if len(seen) < MIN_KEPT:
        refused = f"{len(seen)} decisions were kept, fewer than {MIN_KEPT}"
    elif means.overlap < MIN_OVERLAP:
        refused = f"the log can show only {means.overlap:.0%} of what the selector does"
    if refused is not None:
        return Replayed("dm", means.value, means.standard_error, len(seen), refused)
    error = float(seen.std(ddof=1) / np.sqrt(len(seen)))
    return Replayed("rejection", float(seen.mean()), error, len(seen), None)
