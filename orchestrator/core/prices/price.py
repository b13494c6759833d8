"""What tokens of one model cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from orchestrator.core.money import Amount, to_float, usd

__all__ = ["Price", "PriceTier"]


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for tokens: exact per million for ledgers, floats per token for arrays.

    Build it with `per_million`, `per_1k` or `free`, which check what they are given.

    Attributes:
        input_per_million: USD for a million prompt tokens.
        output_per_million: USD for a million completion tokens.
        cached_input_per_million: USD for a million prompt tokens read from the provider's cache;
            None where they cost what other prompt tokens do.
        cache_write_per_million: The same for prompt tokens written to that cache.
        input_usd: USD for one prompt token.
        output_usd: USD for one completion token.
        cached_input_usd: USD for one prompt token read from the provider's cache.
    """

    input_per_million: Decimal
    output_per_million: Decimal
    cached_input_per_million: Decimal | None = None
    cache_write_per_million: Decimal | None = None
    input_usd: float = field(init=False, repr=False, compare=False)
    output_usd: float = field(init=False, repr=False, compare=False)
    cached_input_usd: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        cached = self.cached_input_per_million
        for name, per_million in (
            ("input_usd", self.input_per_million),
            ("output_usd", self.output_per_million),
            ("cached_input_usd", self.input_per_million if cached is None else cached),
        ):
            object.__setattr__(self, name, to_float(per_million.scaleb(-6)))

    @classmethod
    def per_million(
        cls,
        input: Amount,
        output: Amount,
        *,
        cached_input: Amount | None = None,
        cache_write: Amount | None = None,
    ) -> Price:
        """Build from USD per million tokens.

        Raises:
            InvalidRequestError: An amount is not a number of dollars, zero or more.
        """
        return cls._of(1, input, output, cached_input, cache_write)

    @classmethod
    def per_1k(
        cls,
        input: Amount,
        output: Amount,
        *,
        cached_input: Amount | None = None,
        cache_write: Amount | None = None,
    ) -> Price:
        """Build from USD per thousand tokens; raises as `per_million` does."""
        return cls._of(1000, input, output, cached_input, cache_write)

    @classmethod
    def _of(
        cls,
        factor: int,
        input: Amount,
        output: Amount,
        cached_input: Amount | None,
        cache_write: Amount | None,
    ) -> Price:
        return cls(
            usd(input, param="input price") * factor,
            usd(output, param="output price") * factor,
            None if cached_input is None else usd(cached_input, param="cached price") * factor,
            None if cache_write is None else usd(cache_write, param="cache write price") * factor,
        )

    @classmethod
    def free(cls) -> Price:
        """Return the price of what costs nothing, which is not an unknown price."""
        return cls(Decimal(0), Decimal(0))

    def to_dict(self) -> dict[str, str]:
        """Return the USD per million tokens as JSON-ready text, exactly."""
        return {
            "input_per_million": str(self.input_per_million),
            "output_per_million": str(self.output_per_million),
        }

    def cost(
        self,
        prompt_tokens: int,
        completion_tokens: int,
        *,
        cached_tokens: int = 0,
        cache_write_tokens: int = 0,
    ) -> Decimal:
        """Return what a call costs in USD, exactly.

        Args:
            prompt_tokens: All tokens of the prompt, those of the provider's cache among them.
            completion_tokens: All tokens of the answer, reasoning among them.
            cached_tokens: Prompt tokens read from the provider's cache.
            cache_write_tokens: Prompt tokens written to it.
        """
        plain = self.input_per_million
        read, write = self.cached_input_per_million, self.cache_write_per_million
        # A provider may report more cached tokens than prompt tokens; those are still charged.
        fresh = max(0, prompt_tokens - cached_tokens - cache_write_tokens)
        return (
            fresh * plain
            + cached_tokens * (plain if read is None else read)
            + cache_write_tokens * (plain if write is None else write)
            + completion_tokens * self.output_per_million
        ).scaleb(-6)


class PriceTier(NamedTuple):
    """The price of a call whose prompt is longer than a threshold."""

    above_tokens: int
    price: Price
