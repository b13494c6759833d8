"""What a model has shown so far, in the figures that are asked for most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, sqrt
from typing import Final, Self

__all__ = ["ModelMetrics"]

_Z95: Final = 1.6448536269514722
"""95th percentile of the standard normal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMetrics:
    """A model's record over all requests; None is what nothing is known of.

    Attributes:
        calls: Calls that have ended.
        success_rate: Share of them that succeeded, in [0, 1].
        quality: Mean quality of rated answers, in [0, 1].
        latency_p50_s, latency_p95_s: Seconds that a successful call took, at the median and at the
            95th percentile of a log-normal distribution with the moments that were seen: calls are
            counted, not kept.
        first_token_p50_s, first_token_p95_s: The same for the seconds to a stream's first token.
        tokens_per_s: Output tokens per second of successful calls.
        cost_usd: What all calls have cost.
        cost_per_token_usd: What a token read or written by a successful call has cost.
    """

    calls: int
    success_rate: float | None
    quality: float | None
    latency_p50_s: float | None
    latency_p95_s: float | None
    first_token_p50_s: float | None
    first_token_p95_s: float | None
    tokens_per_s: float | None
    cost_usd: float
    cost_per_token_usd: float | None

    @classmethod
    def of(cls, sums: Mapping[str, float]) -> Self:
        """Derive them from sums by the names of `orchestrator.core.statistics.COLUMNS`.

        >>> found = ModelMetrics.of({"calls": 4, "ok": 2, "seconds": 4, "tokens_out": 80})
        >>> found.success_rate, found.tokens_per_s, found.latency_p50_s, found.quality
        (0.5, 20.0, 1.0, None)
        """
        calls, ok, n_quality, n_first = (
            sums.get(name, 0.0) for name in ("calls", "ok", "n_quality", "n_first")
        )
        seconds, cost = sums.get("seconds", 0.0), sums.get("cost", 0.0)
        written = sums.get("tokens_out", 0.0)
        tokens = sums.get("tokens_in", 0.0) + written
        latency = _percentiles(ok, sums.get("log_seconds", 0.0), sums.get("log_seconds_sq", 0.0))
        first = _percentiles(n_first, sums.get("log_first", 0.0), sums.get("log_first_sq", 0.0))
        return cls(
            calls=int(calls),
            success_rate=ok / calls if calls else None,
            quality=sums.get("quality", 0.0) / n_quality if n_quality else None,
            latency_p50_s=latency[0],
            latency_p95_s=latency[1],
            first_token_p50_s=first[0],
            first_token_p95_s=first[1],
            tokens_per_s=written / seconds if seconds and written else None,
            cost_usd=cost,
            cost_per_token_usd=cost / tokens if tokens else None,
        )


def _percentiles(n: float, total: float, squares: float) -> tuple[float | None, float | None]:
    """Return median and 95th percentile of what has these sums of logarithms."""
    if not n:
        return None, None
    mean = total / n
    deviation = sqrt(max(squares / n - mean * mean, 0.0))
    return exp(mean), exp(mean + _Z95 * deviation)
