"""One choice: which model, how likely it was, how each scored, and why each other lost."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from orchestrator.core.errors import InvalidRequestError
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
    UNKNOWN_SPEED = "unknown_speed"
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


@runtime_checkable
class _Countable(Protocol):
    """Refusals that are counted without being told one by one."""

    def counts(self) -> dict[RefusalCode, int]: ...


_NUMBER = "(0|[1-9a-f][0-9a-f]{0,15})"
_DECISION_ID = re.compile(f"d-([^-]+)-{_NUMBER}-{_NUMBER}")


def decision_id(node: str, bucket: int, sequence: int) -> str:
    """Return the text of a decision's id; node and bucket let late feedback find its row."""
    return f"d-{node}-{bucket:x}-{sequence:x}"


def parse_decision_id(text: object) -> tuple[str, int, int] | None:
    """Return (node, bucket, sequence), or None if this is not the id of a decision.

    Raises:
        InvalidRequestError: It is not even a text.
    """
    if not isinstance(text, str):
        raise InvalidRequestError(
            f"decision_id is a text, not {type(text).__name__}", param="decision_id"
        )
    found = _DECISION_ID.fullmatch(text)
    return None if found is None else (found[1], int(found[2], 16), int(found[3], 16))


class Decision:
    """One choice among the eligible models.

    A plain slotted class: one is built per attempt on the hot path, so whatever can be derived
    (its id's text, the propensity, the scores by name, the refusals) is derived when somebody asks.

    Attributes:
        node: The process that decided.
        bucket: Start of the minute it was made in, in minutes since 1970.
        sequence: Counts the decisions of the node.
        request_id: The request it belongs to; failovers share it.
        key: The chosen model.
        arm: Its position among ``keys``.
        keys: All models of the pool.
        eligible: Which of them could be chosen, shape ``(n_arms,)``.
        raw_scores: How each scored, shape ``(n_arms,)``; those of the others mean nothing.
        greedy: Whether it is the one that scored best, rather than one explored at random.
        selector: Name of the selector that chose.
        floor: Probability that was spread evenly over the eligible models.
        segment: The kind of request statistics are kept for.
        requirements: What was demanded.
        cost_usd: What one attempt at the chosen model is expected to cost, at most; None if
            unknown.
        attempt: Which attempt of the request this is, counted from 1.
        ticket: With which the call's result is handed to the model's breaker.
        share: How likely an experiment was to send the request this way; 1 without one.
    """

    __slots__ = (
        "_odds",
        "_propensity",
        "_refused",
        "arm",
        "attempt",
        "bucket",
        "cost_usd",
        "eligible",
        "floor",
        "greedy",
        "key",
        "keys",
        "node",
        "raw_scores",
        "request_id",
        "requirements",
        "segment",
        "selector",
        "sequence",
        "share",
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
        greedy: bool,
        selector: str,
        floor: float,
        scores: npt.NDArray[np.float64],
        eligible: npt.NDArray[np.bool_],
        segment: str,
        requirements: Requirements,
        cost_usd: float | None,
        attempt: int,
        refused: Mapping[str, Refusal] | Callable[[], Mapping[str, Refusal]],
        ticket: int = 0,
        odds: Callable[[], npt.NDArray[np.float64]] | None = None,
        share: float = 1.0,
    ) -> None:
        self.node = node
        self.bucket = bucket
        self.sequence = sequence
        self.request_id = request_id
        self.key = keys[arm]
        self.arm = arm
        self.greedy = greedy
        self.selector = selector
        self.floor = floor
        self.segment = segment
        self.requirements = requirements
        self.cost_usd = cost_usd
        self.attempt = attempt
        self._refused = refused
        self.ticket = ticket
        self.share = share
        self.keys = keys
        self.raw_scores = scores
        self.eligible = eligible
        self._odds = odds
        self._propensity: float | None = None

    @property
    def refused(self) -> Mapping[str, Refusal]:
        """Why each other model may not serve, by key."""
        found = self._refused
        if callable(found):
            found = self._refused = found()
        return found

    @property
    def id(self) -> str:
        """Give this to `feedback`."""
        return decision_id(self.node, self.bucket, self.sequence)

    @property
    def propensity(self) -> float:
        """Probability in (0, 1] with which this selector chose this model, times ``share``.

        The first reading counts the eligible models; for a selector that samples it also works
        out how often its draw is the largest, which may take milliseconds.
        """
        if self._propensity is None:
            odds = self._odds
            best = float(self.greedy) if odds is None else float(odds()[self.arm])
            spread = self.floor / int(np.count_nonzero(self.eligible))
            self._propensity = self.share * ((1.0 - self.floor) * best + spread)
            self._odds = None
        return self._propensity

    @property
    def scores(self) -> dict[str, float]:
        """How each eligible model scored, best first; higher is better."""
        found = np.flatnonzero(self.eligible)
        order = found[np.argsort(-self.raw_scores[found], kind="stable")]
        return {self.keys[i]: float(self.raw_scores[i]) for i in order}

    @property
    def refusal_counts(self) -> dict[RefusalCode, int]:
        """How many models were refused for each reason."""
        refused = self.refused
        if isinstance(refused, _Countable):
            return refused.counts()
        return dict(Counter(refusal.code for refusal in refused.values()))

    def __repr__(self) -> str:
        return f"<Decision {self.id} {self.key} by {self.selector}>"
