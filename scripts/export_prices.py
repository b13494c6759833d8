"""Write the price list that ships with the package from the installed `genai-prices`.

Only what a call in text needs is kept: standard rates per token of input, output and the
provider's cache, with their dates, hours and tiers, and context windows. Left out are rates of
batches and service tiers, of audio and images, of searches, and of cache entries kept for long.

    python scripts/export_prices.py             write the file
    python scripts/export_prices.py --check     say whether it would change, date aside
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import distribution
from pathlib import Path

import orjson
from genai_prices.data import providers as source_providers
from genai_prices.types import (
    ClauseAnd,
    ClauseContains,
    ClauseEndsWith,
    ClauseEquals,
    ClauseOr,
    ClauseRegex,
    ClauseStartsWith,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)

from orchestrator.core.prices.snapshot import (
    SNAPSHOT,
    ModelRecord,
    ProviderRecord,
    RatesRecord,
    SnapshotRecord,
    SourceRecord,
    TariffRecord,
    read_snapshot,
)

Clause = (
    ClauseStartsWith
    | ClauseEndsWith
    | ClauseContains
    | ClauseRegex
    | ClauseEquals
    | ClauseOr
    | ClauseAnd
)

OUR_NAMES = {"x-ai": "xai"}
"""Providers we know under another name."""

TOKEN_RATES = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    parser.add_argument("--output", type=Path, default=SNAPSHOT, metavar="FILE")
    options = parser.parse_args(arguments)
    fresh = snapshot()
    if options.check:
        existing = read_snapshot(options.output)
        existing["source"]["exported"] = fresh["source"]["exported"]
        changed = serialise(existing) != serialise(fresh)
        sys.stdout.write(f"{options.output} {'would change' if changed else 'is up to date'}\n")
        return int(changed)
    options.output.write_bytes(serialise(fresh))
    models = sum(len(provider["models"]) for provider in fresh["providers"].values())
    sys.stdout.write(f"{options.output}: {models} models of {len(fresh['providers'])} providers\n")
    return 0


def serialise(whole: SnapshotRecord) -> bytes:
    """Return compact JSON with one model per line, so that a new version can be reviewed."""
    lines = [b'{"source":', orjson.dumps(whole["source"]), b',"providers":{']
    for number, (name, provider) in enumerate(whole["providers"].items()):
        lines += [b",\n" if number else b"\n", orjson.dumps(name), b':{"also_sells":']
        lines += [orjson.dumps(provider["also_sells"]), b',"models":[\n']
        lines += [b",\n".join(orjson.dumps(model) for model in provider["models"]), b"\n]}"]
    return b"".join([*lines, b"\n}}\n"])


def snapshot() -> SnapshotRecord:
    """Return everything that the file says, dated today."""
    return {
        "source": source(),
        "providers": {our_name(p.id): provider_record(p) for p in source_providers},
    }


def source() -> SourceRecord:
    package = distribution("genai-prices")
    return {
        "name": "genai-prices",
        "version": package.version,
        "url": "https://github.com/pydantic/genai-prices",
        "exported": datetime.now(UTC).date().isoformat(),
        "licence": package.read_text("licenses/LICENSE") or "MIT, Pydantic Services Inc.",
    }


def our_name(provider: str) -> str:
    return OUR_NAMES.get(provider, provider)


def provider_record(provider: Provider) -> ProviderRecord:
    return {
        "also_sells": [our_name(name) for name in provider.fallback_model_providers or ()],
        "models": [model_record(model) for model in provider.models],
    }


def model_record(model: ModelInfo) -> ModelRecord:
    record: ModelRecord = {"id": model.id, "tariffs": tariffs(model)}
    alternatives = list(flattened(model.match))
    names = [clause.equals.lower() for clause in alternatives if isinstance(clause, ClauseEquals)]
    patterns = [pattern(clause) for clause in alternatives if not isinstance(clause, ClauseEquals)]
    if names:
        record["names"] = list(dict.fromkeys(names))
    if patterns:
        record["pattern"] = "|".join(patterns)
    if model.context_window is not None:
        record["window"] = model.context_window
    return record


# -- names -------------------------------------------------------------------------------------


def flattened(clause: Clause) -> Iterable[Clause]:
    """Yield the alternatives of which one has to match."""
    if isinstance(clause, ClauseOr):
        for alternative in clause.or_:
            yield from flattened(alternative)
    else:
        yield clause


def pattern(clause: Clause) -> str:
    """Return a regular expression to search a name in lower case for."""
    match clause:
        case ClauseEquals(equals=text):
            return rf"\A{re.escape(text.lower())}\Z"
        case ClauseStartsWith(starts_with=text):
            return rf"\A{re.escape(text.lower())}"
        case ClauseEndsWith(ends_with=text):
            return rf"{re.escape(text.lower())}\Z"
        case ClauseContains(contains=text):
            return re.escape(text.lower())
        case ClauseRegex(regex=text):
            return f"(?:{text})"
        case ClauseOr(or_=clauses):
            return f"(?:{'|'.join(map(pattern, clauses))})"
        case ClauseAnd(and_=clauses):
            return r"\A" + "".join(f"(?=(?s:.*?)(?:{pattern(each)}))" for each in clauses)


# -- prices ------------------------------------------------------------------------------------


def tariffs(model: ModelInfo) -> list[TariffRecord]:
    conditional = (
        [ConditionalPrice(prices=model.prices)]
        if isinstance(model.prices, ModelPrice)
        else model.prices
    )
    return [tariff(model.id, each) for each in conditional]


def tariff(model_id: str, conditional: ConditionalPrice) -> TariffRecord:
    record: TariffRecord = {}
    match conditional.constraint:
        case StartDateConstraint(start_date=since):
            record["since"] = since.isoformat()
        case TimeOfDateConstraint(start_time=start, end_time=end):
            if start.utcoffset() or end.utcoffset():
                raise ValueError(f"{model_id}: hours are in a zone other than UTC")
            record["daily"] = (
                start.replace(tzinfo=None).isoformat(),
                end.replace(tzinfo=None).isoformat(),
            )
    prices = conditional.prices
    if not vars(prices) and model_id.endswith(":free"):
        # No rates at all mean free or not known; the name tells.
        record["rates"] = {"input": "0", "output": "0"}
    elif (base := rates(prices, 0)) is not None:
        record["rates"] = base
        tiers = [(above, rates(prices, above + 1)) for above in thresholds(prices)]
        if tiers:
            record["tiers"] = [{"above": above, "rates": each} for above, each in tiers if each]
    return record


def thresholds(prices: ModelPrice) -> list[int]:
    values = (getattr(prices, key) for key in TOKEN_RATES)
    tiered = (value for value in values if isinstance(value, TieredPrices))
    return sorted({tier.start for value in tiered for tier in value.tiers})


def rates(prices: ModelPrice, prompt_tokens: int) -> RatesRecord | None:
    """Return the rates for a prompt of that length, or None if tokens alone do not say."""
    given, produced, read, written = (
        rate(getattr(prices, key), prompt_tokens) for key in TOKEN_RATES
    )
    # A fee per request is on top of every call; a table of token prices would hide it.
    if given is None or prices.requests_kcount is not None:
        return None
    record: RatesRecord = {"input": given, "output": produced or "0"}
    if read is not None:
        record["cached_input"] = read
    if written is not None:
        record["cache_write"] = written
    return record


def rate(value: Decimal | TieredPrices | None, prompt_tokens: int) -> str | None:
    if value is None:
        return None
    if isinstance(value, TieredPrices):
        passed = [tier.price for tier in value.tiers if prompt_tokens > tier.start]
        value = passed[-1] if passed else value.base
    return format(value.normalize(), "f")


if __name__ == "__main__":
    sys.exit(main())
