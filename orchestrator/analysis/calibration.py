"""How far to trust the estimators: on logs drawn from a table, where the truth is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from orchestrator.analysis.ope import Log, Method, evaluate
from orchestrator.analysis.tables import OutcomeTable
from orchestrator.core.errors import InvalidRequestError
from orchestrator.core.estimates import FloatArray

__all__ = ["Calibration", "calibrate"]

_METHODS: Final[tuple[Method, ...]] = ("ips", "snips", "dm", "dr")


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """What an estimator made of many logs of one policy.

    Attributes:
        truth: What the target policy reaches.
        values: The estimates, shape ``(logs,)``.
        intervals: Low and high of each, shape ``(logs, 2)``; nan where it was refused.
    """

    truth: float
    values: FloatArray
    intervals: FloatArray

    @property
    def bias(self) -> float:
        """Mean of the estimates less the truth."""
        return float(self.values.mean() - self.truth)

    @property
    def rmse(self) -> float:
        """Root of the mean squared error."""
        return float(np.sqrt(((self.values - self.truth) ** 2).mean()))

    @property
    def given(self) -> float:
        """Share of the logs for which there is an interval."""
        return float(np.isfinite(self.intervals[:, 0]).mean())

    @property
    def coverage(self) -> float:
        """Share of the intervals that hold the truth; nan if there is none."""
        known = self.intervals[np.isfinite(self.intervals[:, 0])]
        inside = (known[:, 0] <= self.truth) & (self.truth <= known[:, 1])
        return float(inside.mean()) if len(known) else float("nan")


def calibrate(
    table: OutcomeTable,
    logging: FloatArray,
    target: FloatArray,
    *,
    size: int,
    logs: int,
    seed: int,
    methods: Sequence[Method] = _METHODS,
    confidence: float = 0.95,
) -> Mapping[Method, Calibration]:
    """Log one policy again and again, and estimate each time what another would have reached.

    Requests are prompts of the table, drawn with replacement; its tasks are their segments.

    Args:
        table: Every outcome.
        logging: How likely the logging policy pulls each arm, shape ``(n_prompts, n_models)``.
        target: Likewise, of the policy that is asked about.
        size: Decisions of a log, at least 1.
        logs: How many, at least 1.
        seed: The same seed, the same logs.
        methods: The estimators, which see the same logs.
        confidence: Level of the intervals, in (0, 1).

    Raises:
        InvalidRequestError: A policy has another shape, or there is nothing to draw.
        PropensityError: The logging policy never pulls what it is found to have pulled.
    """
    shape = table.quality.shape
    if logging.shape != shape or target.shape != shape:
        raise InvalidRequestError(f"policies must have shape {shape}, as the table's outcomes")
    if size < 1 or logs < 1:
        raise InvalidRequestError("size and logs must be at least 1")
    rng = np.random.default_rng(seed)
    truth = float((target * table.quality).sum(axis=1).mean())
    edges = logging.cumsum(axis=1)[:, :-1]
    values = {method: np.empty(logs) for method in methods}
    intervals = {method: np.full((logs, 2), np.nan) for method in methods}
    for number in range(logs):
        rows = rng.integers(shape[0], size=size)
        arm = (edges[rows] < rng.random((size, 1))).sum(axis=1)
        log = Log(arm, logging[rows, arm], table.quality[rows, arm], table.task[rows])
        for method in methods:
            found = evaluate(log, target[rows], method, confidence=confidence)
            values[method][number] = found.value
            if found.interval is not None:
                intervals[method][number] = found.interval
    return {method: Calibration(truth, values[method], intervals[method]) for method in methods}
