"""The price book: what a model costs at a date, the user's own entries first."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import lru_cache
from pathlib import Path

from orchestrator.core.capabilities import capability_mask
from orchestrator.core.clock import Clock, SystemClock
from orchestrator.core.keys import ModelKey
from orchestrator.core.prices.price import Price, PriceTier
from orchestrator.core.prices.snapshot import (
    SNAPSHOT,
    ModelRecord,
    ProviderIndex,
    read_snapshot,
)
from orchestrator.core.prices.tariff import Tariff, tariff_in_force

__all__ = ["CatalogEntry", "PriceBook"]

_REMEMBERED_NAMES = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogEntry:
    """What is publicly known of a model, or said by the user.

    Attributes:
        price: The price of prompts below every tier, which is what rankings compare; None if
            unknown.
        tiers: Prices of longer prompts, by rising threshold.
        context_window: Tokens its window holds, or None if unknown.
        capabilities: Names of what it can do, or None if nobody said; the list does not.
        listed_as: Its name in the price list, or None if it is not there.
    """

    price: Price | None = None
    tiers: tuple[PriceTier, ...] = ()
    context_window: int | None = None
    capabilities: frozenset[str] | None = None
    listed_as: str | None = None

    def price_for(self, prompt_tokens: int) -> Price | None:
        """Return the price of a call with so long a prompt.

        A prompt above a tier's threshold pays that tier for all of its tokens and for those of
        the answer, not only for what exceeds the threshold.
        """
        for above_tokens, price in reversed(self.tiers):
            if prompt_tokens > above_tokens:
                return price
        return self.price

    def over(self, listed: CatalogEntry) -> CatalogEntry:
        """Return this entry with what it leaves open taken from the price list."""
        unpriced = self.price is None
        return CatalogEntry(
            price=listed.price if unpriced else self.price,
            tiers=listed.tiers if unpriced else (),
            context_window=self.context_window or listed.context_window,
            capabilities=self.capabilities,
            listed_as=listed.listed_as,
        )


@dataclass(frozen=True, slots=True)
class _Listing:
    """A line of the price list, ready to use."""

    name: str
    context_window: int | None
    tariffs: tuple[Tariff, ...]


class PriceBook:
    """Answers from the price list shipped with the package, read once for each provider."""

    def __init__(self, path: Path = SNAPSHOT, clock: Clock | None = None) -> None:
        """Prepare a book.

        Args:
            path: The price list.
            clock: Says what day it is when a look-up does not.
        """
        self._path = path
        self._clock = clock or SystemClock()
        self._own: dict[tuple[str, str], CatalogEntry] = {}
        self._sold: dict[str, tuple[ProviderIndex, ...]] = {}
        self._listing = lru_cache(_REMEMBERED_NAMES)(self._find_listing)

    def override(
        self,
        key: ModelKey,
        price: Price | None = None,
        *,
        context_window: int | None = None,
        capabilities: frozenset[str] | None = None,
    ) -> None:
        """Set what holds for this model from now on; what is left None stays as listed.

        Raises:
            UnknownCapabilityError: A capability is none of ours.
        """
        capability_mask(capabilities or ())
        self._own[key.provider, key.name.lower()] = CatalogEntry(
            price=price, context_window=context_window, capabilities=capabilities
        )

    def lookup(
        self, provider: str, model: str, when: date | datetime | None = None
    ) -> CatalogEntry | None:
        """Return what is known of a model, or None if nothing is.

        Args:
            provider: Our name of the provider, as in a model key.
            model: The model's name there, dated or not, in upper or lower case.
            when: The moment of the call: a date is its midnight, a time without a zone is UTC,
                None is now.

        Raises:
            ConfigurationError: The price list cannot be read.
        """
        name = model.lower()
        own = self._own.get((provider, name))
        listing = self._listing(provider, name)
        if listing is None:
            return own
        tariff = tariff_in_force(listing.tariffs, self._moment(when))
        listed = CatalogEntry(
            price=tariff.price,
            tiers=tariff.tiers,
            context_window=listing.context_window,
            listed_as=listing.name,
        )
        return listed if own is None else own.over(listed)

    def _moment(self, when: date | datetime | None) -> datetime:
        if when is None:
            return datetime.fromtimestamp(self._clock.wall(), UTC)
        if not isinstance(when, datetime):
            return datetime.combine(when, time(), UTC)
        return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)

    def _find_listing(self, provider: str, name: str) -> _Listing | None:
        record = self._find_record(provider, name)
        if record is None:
            return None
        return _Listing(
            record["id"],
            record.get("window"),
            tuple(Tariff.from_record(tariff) for tariff in record["tariffs"]),
        )

    def _find_record(self, provider: str, name: str) -> ModelRecord | None:
        """Look among the provider's own models, then among those it resells."""
        for spelling in dict.fromkeys((name, _dashed(name))):
            for seller in self._sellers(provider):
                if record := seller.find(spelling):
                    return record
        return None

    def _sellers(self, provider: str) -> tuple[ProviderIndex, ...]:
        """Return whose models a provider sells, its own first; nothing if it is not listed.

        Of the list only this is kept: the whole takes 3 MB, and most of it is never asked for.
        """
        sellers = self._sold.get(provider)
        if sellers is None:
            providers = read_snapshot(self._path)["providers"]
            names = [provider, *providers[provider]["also_sells"]] if provider in providers else []
            sellers = tuple(ProviderIndex(providers[name]) for name in names)
            self._sold[provider] = sellers
        return sellers


_COMPACT_DATE = re.compile(r"-(20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)")


def _dashed(name: str) -> str:
    """Return the name with a date like 20251211 in it written 2025-12-11.

    Routers write dates the short way where the model's own provider, and the list, do not.
    """
    return _COMPACT_DATE.sub(r"-\1-\2-\3", name)
