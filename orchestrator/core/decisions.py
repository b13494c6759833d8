"""One choice: which model, how likely it was, how each scored, and why each other lost."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from orchestrator.core.requirements import Requirements

__all__ = ["Decision", "Refusal", "RefusalCode", "decision_id", "parse_decision_id"]


class RefusalCode(StrEnum):
    """Why a model may not serve a request."""

    EXCLUDED = "excluded"
    NOT_CANDIDATE = "not_candidate"
    OTHER_PROVIDER = "other_provider"
    MODEL_TYPE = "model_type"
    CAPABILITY = "capability"
    CONTEXT_LENGTH = "context_length"
    MAX_TOKENS = "max_tokens"
    MAX_COST = "max_cost"
    UNKNOWN_COST = "unknown_cost"
    MIN_SPEED = "min_speed"
    UNHEALTHY = "unhealthy"
    COOLING = "cooling"
    CREDENTIAL = "credential"
    BUDGET = "budget"
    TRIED = "tried"
    PASSED_OVER = "passed_over"
    """It could serve, but another was to be taken: a preference, or a retry."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one model was refused: a code to count by and a sentence to read."""

    code: RefusalCode
    reason: str
    retry_after_s: float | None = None
    """Seconds until this reason is gone, or None if waiting does not help."""

    def __str__(self) -> str:
        return self.reason


_NUMBER = "(0|[1-9a-f][0-9a-f]{0,15})"
_DECISION_ID = re.compile(f"d-([^-]+)-{_NUMBER}-{_NUMBER}")


def decision_id(node: str, bucket: int, sequence: int) -> str:
    """Return the text of a decision's id; node and bucket let late feedback find its row."""
    return f"d-{node}-{bucket:x}-{sequence:x}"


def parse_decision_id(text: str) -> tuple[str, int, int] | None:
    """Return (node, bucket, sequence), or None if this is not the id of a decision."""
    found = _DECISION_ID.fullmatch(text)
    return None if found is None else (found[1], int(found[2], 16), int(found[3], 16))


class Decision:
    """One choice among the eligible models.

    A plain slotted class: one is built per attempt on the hot path, so whatever can be derived
    (its id's text, the scores by name, the refusals) is derived when somebody asks.

    Attributes:
        node: The process that decided.
        bucket: Start of the minute it was made in, in minutes since 1970.
        sequence: Counts the decisions of the node.
        request_id: The request it belongs to; failovers share it.
        key: The chosen model.
        selector: Name of the selector that chose.
        propensity: Probability in (0, 1] with which this selector chose this model, or None
            for a sampling selector, whose propensities are computed off the hot path.
        segment: The kind of request statistics are kept for.
        requirements: What was demanded.
        cost_usd: What one attempt at the chosen model is expected to cost, at most; None if
            unknown.
        attempt: Which attempt of the request this is, counted from 1.
        refused: Why each other model may not serve, by key.
        ticket: With which the call's result is handed to the model's breaker.
    """

    __slots__ = (
        "_keys",
        "_scores",
        "arm",
        "attempt",
        "bucket",
        "cost_usd",
        "key",
        "node",
        "propensity",
        "refused",
        "request_id",
        "requirements",
        "segment",
        "selector",
        "sequence",
        "ticket",
    )

    def __init__(
        self,
        node: str,
        bucket: int,
        sequence: int,
        request_id: str,
        keys: Sequence[str],
        arm: int,
        selector: str,
        propensity: float | None,
        scores: npt.NDArray[np.float64] | None,
        segment: str,
        requirements: Requirements,
        cost_usd: float | None,
        attempt: int,
        refused: Mapping[str, Refusal],
        ticket: int = 0,
    ) -> None:
        self.node = node
        self.bucket = bucket
        self.sequence = sequence
        self.request_id = request_id
        self.key = keys[arm]
        self.arm = arm
        self.selector = selector
        self.propensity = propensity
        self.segment = segment
        self.requirements = requirements
        self.cost_usd = cost_usd
        self.attempt = attempt
        self.refused = refused
        self.ticket = ticket
        self._keys = keys
        self._scores = scores

    @property
    def id(self) -> str:
        """Give this to `feedback`."""
        return decision_id(self.node, self.bucket, self.sequence)

    @property
    def scores(self) -> dict[str, float]:
        """How each eligible model scored, best first; higher is better."""
        if self._scores is None:
            return {}
        found = np.flatnonzero(self._scores > -np.inf)
        order = found[np.argsort(-self._scores[found], kind="stable")]
        return {self._keys[i]: float(self._scores[i]) for i in order}

    def __repr__(self) -> str:
        return f"<Decision {self.id} {self.key} by {self.selector}>"
