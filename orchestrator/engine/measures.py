"""What models cost and how fast they are, as far as it is known: prices times experience."""

from __future__ import annotations

from typing import Any

import numpy as np

from orchestrator.core.estimates import Estimates, FloatArray
from orchestrator.core.tokens import TokenEstimator
from orchestrator.routing.derive import DEFAULT_OUTPUT_TOKENS, Size
from orchestrator.routing.eligibility import Counting
from orchestrator.routing.pool import Pool

__all__ = ["Measures"]

_SIZES_KEPT = 32


class Measures:
    """Costs and speeds of one pool, as they were when they were last brought up to date.

    They change with every outcome. Decisions do not follow each of these: what they compare
    stands still between two updates, so that whoever is eligible can be remembered.

    Attributes:
        speed: Output tokens per second, measured else declared; nan where unknown.
        counting: How each model counts the tokens of a prompt.
    """

    def __init__(self, pool: Pool, estimator: TokenEstimator, seen: Estimates) -> None:
        self._pool = pool
        self._estimator = estimator
        prices = pool.usd_in + pool.usd_out
        self._free = not np.any(prices)
        self._known = not np.any(np.isnan(prices))
        self.update(seen)

    def update(self, seen: Estimates) -> None:
        """Take over what outcomes have shown."""
        pool = self._pool
        self.speed = np.where(np.isnan(seen.speed), pool.declared_speed, seen.speed)
        mean = self._written(seen.tokens_out)
        self._usd_out_mean = pool.usd_out * mean
        self._longest_mean = float(mean.max(initial=0.0))
        self._usd_out_p95 = pool.usd_out * self._written(seen.tokens_out_p95)
        added, slopes = np.zeros(len(pool)), np.ones(len(pool))
        for key, offset, slope in self._estimator.lines():
            arm = pool.index.get(key)
            if arm is not None:
                added[arm], slopes[arm] = offset, slope
        self.counting = Counting(added, slopes)
        # A model that makes more tokens of a prompt is dearer by as much.
        self._usd_added, self._usd_in = pool.usd_in * added, pool.usd_in * slopes
        # Requests of one size, such as selections of no known one, cost the same until then.
        self._most: dict[Size, FloatArray] = {}
        self._mean: dict[Size, tuple[FloatArray, FloatArray]] = {}

    def _written(self, tokens: FloatArray) -> FloatArray:
        """Return tokens of answers whose requests set no limit, of a length that may be unknown."""
        known = np.nan_to_num(tokens, nan=DEFAULT_OUTPUT_TOKENS)
        return np.minimum(known, self._pool.default_output)

    def most_usd(self, size: Size) -> FloatArray:
        """Return what one attempt costs at most; nan where the price is unknown."""
        usd = self._most.get(size)
        if usd is None:
            usd = self._usd_added + size.prompt * self._usd_in
            usd += self._usd_out_p95 if size.output is None else size.output * self._pool.usd_out
            _make_room(self._most)
            self._most[size] = usd
        return usd

    def most_usd_of(self, arm: int, size: Size) -> float | None:
        """Return what one attempt at this model costs at most, or None if that is unknown."""
        output = self._usd_out_p95.item(arm)
        if size.output is not None:
            output = size.output * self._pool.usd_out.item(arm)
        usd = self._usd_added.item(arm) + size.prompt * self._usd_in.item(arm) + output
        return usd if usd == usd else None

    def output_for(self, arm: int, size: Size, usd: float) -> int | None:
        """Return how many tokens of output this much pays for; None if that is unknown or free."""
        price = self._pool.usd_out.item(arm)
        if not price > 0:  # nan neither
            return None
        read = self._usd_added.item(arm) + size.prompt * self._usd_in.item(arm)
        return max(int((usd - read) / price), 1)

    def mean_usd(self, size: Size) -> tuple[FloatArray, FloatArray]:
        """Return what one attempt costs on average, with nan and with 0 where that is unknown."""
        if self._free:
            return self._usd_in, self._usd_in
        found = self._mean.get(size)
        if found is None:
            usd: FloatArray = self._usd_added + size.prompt * self._usd_in
            if size.output is None or size.output >= self._longest_mean:
                usd += self._usd_out_mean
            else:
                usd += np.minimum(self._usd_out_mean, size.output * self._pool.usd_out)
            found = (usd, usd if self._known else np.nan_to_num(usd, nan=0.0))
            _make_room(self._mean)
            self._mean[size] = found
        return found


def _make_room(kept: dict[Size, Any]) -> None:
    if len(kept) >= _SIZES_KEPT:
        kept.clear()
