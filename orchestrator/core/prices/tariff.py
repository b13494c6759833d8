"""When a price is in force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time

from orchestrator.core.prices.price import Price, PriceTier
from orchestrator.core.prices.snapshot import RatesRecord, TariffRecord

__all__ = ["Tariff", "tariff_in_force"]


@dataclass(frozen=True, slots=True)
class Tariff:
    """A price with its tiers, the date it starts, or the hours of the day it is for (UTC)."""

    price: Price | None
    tiers: tuple[PriceTier, ...] = ()
    since: date | None = None
    daily: tuple[time, time] | None = None

    @classmethod
    def from_record(cls, record: TariffRecord) -> Tariff:
        """Build from a line of the price list."""
        daily = record.get("daily")
        return cls(
            price=_price(record["rates"]) if "rates" in record else None,
            tiers=tuple(
                PriceTier(tier["above"], _price(tier["rates"])) for tier in record.get("tiers", ())
            ),
            since=date.fromisoformat(record["since"]) if "since" in record else None,
            daily=(time.fromisoformat(daily[0]), time.fromisoformat(daily[1])) if daily else None,
        )

    def in_force(self, moment: datetime) -> bool:
        """Say whether it applies at a moment given in UTC."""
        if self.since is not None and moment.date() < self.since:
            return False
        if self.daily is None:
            return True
        start, end = self.daily
        now = moment.time()
        return start <= now < end if start <= end else now >= start or now < end


def tariff_in_force(tariffs: Sequence[Tariff], moment: datetime) -> Tariff:
    """Return the last tariff in force at a moment in UTC, the first where none is."""
    return next((tariff for tariff in reversed(tariffs) if tariff.in_force(moment)), tariffs[0])


def _price(rates: RatesRecord) -> Price:
    return Price.per_million(
        rates["input"],
        rates["output"],
        cached_input=rates.get("cached_input"),
        cache_write=rates.get("cache_write"),
    )
