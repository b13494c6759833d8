"""Estimates corrected per model, by the token counts its provider returned."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["Observed", "TokenEstimator"]

_PRIOR_TOKENS: Final = 200
"""The trust in the estimate as it is: as much as in an answer about a prompt of that length."""
_PRIOR_ERROR: Final = 0.3
"""Root mean square relative error of the estimate as it is: 0.26 over all the texts and
tokenizers of `tests/core/token_counts.json`."""
_MOST: Final = 5
"""Counts further off than this factor hold something the text does not show, such as an image
or a hidden system prompt, and count as this far off."""


@dataclass(slots=True)
class Observed:
    """Sums over the prompts of one model, in whole tokens: exact, and the same in any order."""

    estimated: int = 0
    actual: int = 0
    estimated_squared: int = 0
    estimated_actual: int = 0
    actual_squared: int = 0

    def add(self, estimated: int, actual: int) -> None:
        """Add one prompt."""
        self.estimated += estimated
        self.actual += actual
        self.estimated_squared += estimated * estimated
        self.estimated_actual += estimated * actual
        self.actual_squared += actual * actual

    def merge(self, other: Observed) -> None:
        """Add all prompts of another."""
        self.estimated += other.estimated
        self.actual += other.actual
        self.estimated_squared += other.estimated_squared
        self.estimated_actual += other.estimated_actual
        self.actual_squared += other.actual_squared

    @property
    def ratio(self) -> float:
        """Actual tokens per estimated token."""
        return (self.actual + _PRIOR_TOKENS) / (self.estimated + _PRIOR_TOKENS)

    @property
    def relative_error(self) -> float:
        """Root mean square of the corrected estimate's relative error, weighted by length."""
        ratio = self.ratio
        squares = (
            self.actual_squared
            - 2 * ratio * self.estimated_actual
            + ratio * ratio * self.estimated_squared
        )
        scale = ratio * ratio
        prior = _PRIOR_TOKENS**2
        spread = max(0.0, squares) / scale + _PRIOR_ERROR**2 * prior
        return math.sqrt(spread / (self.estimated_squared + prior))


class TokenEstimator:
    """Learns for each model how its tokens compare with the estimate from characters.

    The ratio converges to actual over estimated tokens as counts come in, and starts from 1, so
    that a first short prompt moves it little. Learning is adding whole numbers: order does not
    matter, and estimators of several processes merge exactly.
    """

    def __init__(self) -> None:
        self._observed: dict[str, Observed] = {}

    def calibrated(self, key: str, raw_estimate: int) -> int:
        """Return the estimate as this model would count, rounded up.

        Args:
            key: The model's key.
            raw_estimate: What `estimate_message_tokens` or `estimate_tokens` said.
        """
        observed = self._observed.get(key)
        return raw_estimate if observed is None else math.ceil(raw_estimate * observed.ratio)

    def observe(self, key: str, raw_estimate: int, actual: int) -> None:
        """Learn from a provider's count.

        Counts below 1 teach nothing: there was no text, or the provider did not say.

        Args:
            key: The model's key.
            raw_estimate: The uncorrected estimate of the prompt.
            actual: Prompt tokens as returned.
        """
        if raw_estimate < 1 or actual < 1:
            return
        observed = self._observed.get(key)
        if observed is None:
            observed = self._observed[key] = Observed()
        observed.add(
            raw_estimate, min(max(actual, -(-raw_estimate // _MOST)), raw_estimate * _MOST)
        )

    def ratios(self) -> Iterator[tuple[str, float]]:
        """Iterate over the models that were seen and their actual over estimated tokens."""
        return ((key, observed.ratio) for key, observed in self._observed.items())

    def error_bound(self, key: str) -> float:
        """Return how far off a calibrated estimate may well be: 0.2 is a fifth, either way.

        Twice the root mean square relative error of the prompts seen, weighted by their length,
        which about 19 of 20 further prompts like them keep; 0.6 before anything was seen.
        """
        return 2 * self._observed.get(key, _NOTHING).relative_error

    def merge(self, other: TokenEstimator) -> None:
        """Add what another estimator has seen; each sighting is to be merged once."""
        for key, observed in other._observed.items():
            self._observed.setdefault(key, Observed()).merge(observed)


_NOTHING: Final = Observed()
