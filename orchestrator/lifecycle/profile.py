"""How fast and how reliable a model is, measured over a few calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

__all__ = ["Profile", "ProfileEstimate", "Sample", "Spread"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One call. Times count from the call itself, without waiting for a load or a place.

    Attributes:
        latency_s: Until the whole answer, or the failure.
        first_token_s: Until the first content token; None if it failed or came in whole.
        tokens_out: Tokens of the answer.
        cost_usd: What it cost.
        error: The kind of failure, or None.
    """

    latency_s: float
    first_token_s: float | None = None
    tokens_out: int = 0
    cost_usd: float = 0.0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Spread:
    """How a quantity is spread over calls; between two of them percentiles are interpolated."""

    mean: float
    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self | None:
        """Return the spread of these values; None if there are none."""
        if not values:
            return None
        return cls(float(np.mean(values)), *np.percentile(values, (50, 95, 99)).tolist())


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a few calls to a model have shown.

    Attributes:
        model: Its key.
        at: When it was measured, in seconds since 1970.
        calls: Calls made, at most as many as were asked for.
        success_rate: Share of them that were answered, in [0, 1].
        first_token_s: Seconds to the first content token, of answers; None if unknown.
        latency_s: Seconds to the whole answer, of answers; None if there were none.
        tokens_per_s: Output tokens per second of answering, the first token's wait included, as
            ``min_speed`` counts; None if there were none.
        tokens_out: Output tokens in all.
        cost_usd: What all calls cost.
        memory_bytes: What it takes of memory, or None if unknown.
        errors: Kinds of failures and how often each happened, the most frequent first.
        stopped: Why fewer calls were made than asked for, or None.
    """

    model: str
    at: float
    calls: int
    success_rate: float
    first_token_s: Spread | None
    latency_s: Spread | None
    tokens_per_s: float | None
    tokens_out: int
    cost_usd: float
    memory_bytes: int | None = None
    errors: tuple[tuple[str, int], ...] = ()
    stopped: str | None = None

    @classmethod
    def of(
        cls,
        model: str,
        at: float,
        samples: Sequence[Sample],
        *,
        memory_bytes: int | None = None,
        stopped: str | None = None,
    ) -> Self:
        """Sum up at least one call."""
        answered = [sample for sample in samples if sample.error is None]
        seconds = sum(sample.latency_s for sample in answered)
        tokens = sum(sample.tokens_out for sample in answered)
        firsts = [s.first_token_s for s in answered if s.first_token_s is not None]
        return cls(
            model=model,
            at=at,
            calls=len(samples),
            success_rate=len(answered) / len(samples),
            first_token_s=Spread.of(firsts),
            latency_s=Spread.of([sample.latency_s for sample in answered]),
            tokens_per_s=tokens / seconds if tokens and seconds else None,
            tokens_out=tokens,
            cost_usd=sum(sample.cost_usd for sample in samples),
            memory_bytes=memory_bytes,
            errors=tuple(Counter(s.error for s in samples if s.error is not None).most_common()),
            stopped=stopped,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready data."""
        return {**asdict(self), "errors": dict(self.errors)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileEstimate:
    """What a profile would take; nothing was called.

    Attributes:
        model: Its key.
        calls: Calls it would make.
        prompt_tokens: Of all prompts, estimated.
        max_output_tokens: The most that all answers may have.
        cost_usd: What these tokens cost, about the most it takes; None if the price is unknown.
        seconds: The most it takes at the speed that is measured, else declared; None if neither
            is.
    """

    model: str
    calls: int
    prompt_tokens: int
    max_output_tokens: int
    cost_usd: float | None
    seconds: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready data."""
        return asdict(self)
