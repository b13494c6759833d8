"""What models cost, by date and by prompt length.

Here: prices, the snapshot of public list prices, the book that answers from it with the user's
own entries on top. Not here: budgets, what a request did cost, and who pays for it.
"""

from orchestrator.core.prices.book import CatalogEntry, PriceBook
from orchestrator.core.prices.price import Price, PriceTier

__all__ = ["CatalogEntry", "Price", "PriceBook", "PriceTier"]
