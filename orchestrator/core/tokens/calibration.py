"""Estimates corrected per model, by the token counts its provider returned."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

__all__ = ["Observed", "TokenEstimator"]

_PRIOR_TOKENS: Final = 200
"""The trust in the estimate as it is: as much as in an answer about a prompt of that length."""
_SCALE: Final = 1 << 53
"""Sums of what is divided by a length are kept in so many parts of one, to remain whole: enough
that ten thousand million prompts of one length still tell the offset from the slope."""
_PRIOR_OFFSET: Final = 0.00045
"""How little is known of what a model adds: about 200 tokens, where a prompt of 200 is estimated
30 % wrong (root mean square over `tests/core/token_counts.json`: 26 %), for (0.3 * 200)^2 / 200
divided by 200^2 is 0.00045."""
_STEEPEST: Final = 5
"""Tokens per estimated token, at most; one part in as many, at least. Scripts that a vocabulary
hardly knows come to 3."""
_MOST_ADDED: Final = 1000
"""Tokens that a model may add to every request. Counts beyond both limits hold something that
comes and goes, such as an image, and count as just within."""


@dataclass(slots=True)
class Observed:
    """Sums over the prompts of one model, in whole numbers: exact, and the same in any order.

    They are those of the line actual = offset + slope * estimated by least squares, where the
    square of an error is expected to grow as the prompt does: long prompts tell of the slope,
    short ones of the offset, and the line is right in total for all that was seen.
    """

    prompts: int = 0
    estimated: int = 0
    actual: int = 0
    inverse: int = 0
    """Sum of 1 / estimated, in parts of `_SCALE`."""
    ratios: int = 0
    """Sum of actual / estimated, in parts of `_SCALE`."""
    _line: tuple[float, float] | None = field(default=None, compare=False, repr=False)

    def add(self, estimated: int, actual: int) -> None:
        """Add one prompt."""
        self.prompts += 1
        self.estimated += estimated
        self.actual += actual
        # Rounded up: below the truth, many prompts of one length would leave nothing to divide by.
        self.inverse -= -_SCALE // estimated
        self.ratios += _SCALE * actual // estimated
        self._line = None

    def merge(self, other: Observed) -> None:
        """Add all prompts of another."""
        self.prompts += other.prompts
        self.estimated += other.estimated
        self.actual += other.actual
        self.inverse += other.inverse
        self.ratios += other.ratios
        self._line = None

    @property
    def line(self) -> tuple[float, float]:
        """What the model adds to every prompt, and its tokens per estimated token.

        The most likely ones, where beforehand they are 0 and 1 give or take the priors; neither
        leaves its limits, and the offset is never below 0.
        """
        if self._line is None:
            self._line = self._fitted()
        return self._line

    def _fitted(self) -> tuple[float, float]:
        estimated, actual = self.estimated + _PRIOR_TOKENS, self.actual + _PRIOR_TOKENS
        inverse, ratios = self.inverse / _SCALE + _PRIOR_OFFSET, self.ratios / _SCALE
        prompts = self.prompts
        slope = (inverse * actual - prompts * ratios) / (inverse * estimated - prompts * prompts)
        if slope * estimated > actual:
            slope = actual / estimated  # nothing is added: the best line through 0
        slope = min(max(slope, 1 / _STEEPEST), _STEEPEST)
        return min(max((ratios - prompts * slope) / inverse, 0.0), _MOST_ADDED), slope


class TokenEstimator:
    """Learns for each model how its tokens compare with the estimate from characters.

    A model adds the same to every prompt (its template, a system prompt of its own), and makes
    more or fewer tokens of a text than we estimate. The two are told apart by prompts of several
    lengths; as long as all are short, what is over counts as added, so that short chats say
    nothing about long documents. Learning is adding whole numbers: order does not matter, and
    estimators of several processes merge exactly.
    """

    def __init__(self) -> None:
        self._observed: dict[str, Observed] = {}

    def calibrated(self, key: str, raw_estimate: int, prompts: int = 1) -> int:
        """Return the estimate as this model would count, rounded up.

        Args:
            key: The model's key.
            raw_estimate: What `estimate_message_tokens` or `estimate_tokens` said.
            prompts: How many prompts that is together.
        """
        observed = self._observed.get(key)
        if observed is None:
            return raw_estimate
        offset, slope = observed.line
        return math.ceil(prompts * offset + slope * raw_estimate)

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
        least, most = -(-raw_estimate // _STEEPEST), _MOST_ADDED + raw_estimate * _STEEPEST
        observed.add(raw_estimate, min(max(actual, least), most))

    def lines(self) -> Iterator[tuple[str, float, float]]:
        """Iterate over the models that were seen: key, tokens added, tokens per estimated one."""
        return ((key, *observed.line) for key, observed in self._observed.items())

    def merge(self, other: TokenEstimator) -> None:
        """Add what another estimator has seen; each sighting is to be merged once."""
        for key, observed in other._observed.items():
            self._observed.setdefault(key, Observed()).merge(observed)
