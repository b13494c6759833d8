"""The price list as a file: its format, and how a model's name finds its line.

`scripts/export_prices.py` writes the file. A model's line may hold several tariffs; the last one
in force counts, and the first where none is.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NotRequired, TypedDict

import orjson

from orchestrator.core.errors import ConfigurationError

__all__ = [
    "SNAPSHOT",
    "ModelRecord",
    "ProviderIndex",
    "ProviderRecord",
    "RatesRecord",
    "SnapshotRecord",
    "SourceRecord",
    "TariffRecord",
    "TierRecord",
    "read_snapshot",
]

SNAPSHOT: Final = Path(__file__).parent.parent / "data" / "prices.json"


class RatesRecord(TypedDict):
    """USD per million tokens, as decimal texts."""

    input: str
    output: str
    cached_input: NotRequired[str]
    cache_write: NotRequired[str]


class TierRecord(TypedDict):
    """Rates of every token of a call whose prompt is longer than ``above`` tokens."""

    above: int
    rates: RatesRecord


class TariffRecord(TypedDict):
    """Rates, the dates (UTC) or daily hours (UTC, end excluded) they are for, and tiers.

    Without ``rates`` the price is unknown: it depends on more than tokens, or nobody says.
    """

    since: NotRequired[str]
    daily: NotRequired[tuple[str, str]]
    rates: NotRequired[RatesRecord]
    tiers: NotRequired[list[TierRecord]]


class ModelRecord(TypedDict):
    """A model: names that mean it, in lower case, and a pattern to search further names for."""

    id: str
    names: NotRequired[list[str]]
    pattern: NotRequired[str]
    window: NotRequired[int]
    tariffs: list[TariffRecord]


class ProviderRecord(TypedDict):
    """A provider's models, the first that matches counting, and whose models it also sells."""

    also_sells: list[str]
    models: list[ModelRecord]


class SourceRecord(TypedDict):
    """Where the prices come from, under which licence."""

    name: str
    version: str
    url: str
    exported: str
    licence: str


class SnapshotRecord(TypedDict):
    """The whole file."""

    source: SourceRecord
    providers: dict[str, ProviderRecord]


def read_snapshot(path: Path) -> SnapshotRecord:
    """Return what the file holds.

    Raises:
        ConfigurationError: It is missing or is not JSON.
    """
    try:
        snapshot: SnapshotRecord = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise ConfigurationError(
            f"the price list {path} cannot be read ({error})",
            hint="reinstall orchestrator, or write the file anew with scripts/export_prices.py",
        ) from error
    return snapshot


class ProviderIndex:
    """Finds a provider's model by any of its names."""

    def __init__(self, provider: ProviderRecord) -> None:
        self._models = provider["models"]
        self._by_name: dict[str, int] = {}
        self._patterns: list[tuple[int, re.Pattern[str]]] = []
        for position, model in enumerate(self._models):
            for name in model.get("names", ()):
                self._by_name.setdefault(name, position)
            if "pattern" in model:
                self._patterns.append((position, re.compile(model["pattern"])))

    def find(self, name: str) -> ModelRecord | None:
        """Return the first model this name means, or None.

        Args:
            name: A model's name in lower case.
        """
        exact = self._by_name.get(name, len(self._models))
        for position, pattern in self._patterns:
            if position > exact:
                break
            if pattern.search(name):
                return self._models[position]
        return self._models[exact] if exact < len(self._models) else None
