from __future__ import annotations

import random
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import (
    ConfigurationError,
    InvalidRequestError,
    UnknownCapabilityError,
)
from orchestrator.core.keys import ModelKey
from orchestrator.core.prices import CatalogEntry, Price, PriceBook, PriceTier
from orchestrator.core.prices.snapshot import SNAPSHOT, ProviderIndex, read_snapshot
from orchestrator.core.prices.tariff import Tariff
from tests.conftest import require

AMOUNTS = st.decimals(min_value=0, max_value=1000, places=6)
TOKENS = st.integers(0, 10_000_000)

FIRST_DAY = date(2023, 1, 1)
LAST_DAY = date(2027, 6, 1)


class StoppedClock:
    """A clock that shows one moment."""

    def __init__(self, moment: datetime) -> None:
        self._moment = moment

    def monotonic(self) -> float:
        return 0.0

    def wall(self) -> float:
        return self._moment.timestamp()


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return PriceBook(clock=StoppedClock(datetime(2026, 11, 21, 12, tzinfo=UTC)))


def known(book: PriceBook, provider: str, model: str, when: date | None = None) -> CatalogEntry:
    entry = book.lookup(provider, model, when)
    assert entry is not None
    return entry


# -- prices ------------------------------------------------------------------------------------


def test_a_price_is_exact_per_million_and_a_float_per_token():
    price = Price.per_million("2.5", 10, cached_input=1.25)
    assert price.input_per_million == Decimal("2.5")
    assert (price.input_usd, price.output_usd, price.cached_input_usd) == (2.5e-6, 1e-5, 1.25e-6)


def test_cached_tokens_cost_as_much_as_others_where_no_rate_is_given():
    price = Price.per_million(3, 15)
    assert price.cached_input_usd == price.input_usd
    assert price.cost(1000, 0, cached_tokens=400) == price.cost(1000, 0)


@given(AMOUNTS, AMOUNTS, AMOUNTS)
def test_a_price_per_thousand_is_the_same_price(given_usd, produced_usd, cached_usd):
    thousand = Price.per_1k(given_usd / 1000, produced_usd / 1000, cached_input=cached_usd / 1000)
    assert thousand == Price.per_million(given_usd, produced_usd, cached_input=cached_usd)


@given(AMOUNTS, AMOUNTS, TOKENS, TOKENS)
def test_the_exact_cost_and_that_of_the_arrays_agree(given_usd, produced_usd, prompt, completion):
    price = Price.per_million(given_usd, produced_usd)
    exact = price.cost(prompt, completion)
    assert exact * 1_000_000 == prompt * given_usd + completion * produced_usd
    in_floats = prompt * price.input_usd + completion * price.output_usd
    assert in_floats == pytest.approx(float(exact), rel=1e-12, abs=1e-12)


def test_more_cached_tokens_than_prompt_tokens_are_still_charged():
    price = Price.per_million(10, 0, cached_input=1)
    assert price.cost(0, 0, cached_tokens=1_000_000) == 1


def test_free_costs_nothing():
    assert Price.free().cost(10**6, 10**6) == 0


def test_a_price_below_zero_is_refused_by_name():
    with pytest.raises(InvalidRequestError, match="output price is negative"):
        Price.per_1k(0.1, -0.1)


# -- the book ----------------------------------------------------------------------------------


def test_the_list_is_read_on_the_first_look_up_and_says_where_it_comes_from(tmp_path):
    nowhere = PriceBook(tmp_path / "prices.json")
    with pytest.raises(ConfigurationError, match=r"prices\.json cannot be read"):
        nowhere.lookup("openai", "gpt-4o")
    book = PriceBook()
    assert book.lookup("openai", "gpt-4o") is not None
    source = read_snapshot(SNAPSHOT)["source"]
    assert source["name"] == "genai-prices"
    assert "MIT" in source["licence"]
    assert "Pydantic" in source["licence"]
    assert SNAPSHOT.stat().st_size < 1_000_000


@pytest.mark.parametrize("name", ["gpt-4o-2024-08-06", "GPT-4o-2024-08-06", "gpt-4o-20240806"])
def test_a_dated_name_finds_its_model(book, name):
    entry = known(book, "openai", name)
    assert entry.listed_as == "gpt-4o"
    assert entry.context_window == 128_000
    assert entry.price == Price.per_million("2.5", "10", cached_input="1.25")


def test_what_is_not_listed_is_unknown_rather_than_free(book):
    assert book.lookup("openai", "no-such-model") is None
    assert book.lookup("no-such-provider", "gpt-4o") is None


def test_a_model_with_a_fee_per_request_has_a_window_and_no_price_by_token(book):
    entry = known(book, "perplexity", "sonar")
    assert entry.price is None
    assert entry.context_window == 128_000


def test_a_model_without_any_rate_is_free_only_if_its_name_says_so(book):
    models = read_snapshot(SNAPSHOT)["providers"]["openrouter"]["models"]
    free = [model["id"] for model in models if model["id"].endswith(":free")]
    assert free
    for name in free:
        assert known(book, "openrouter", name).price == Price.free()
    assert known(book, "openrouter", "google/lyria-3-pro-preview").price is None


def test_a_price_starts_at_midnight_utc_of_its_day(book):
    before = datetime(2026, 8, 16, 23, 59, 59, tzinfo=UTC)
    after = before + timedelta(seconds=1)
    prices = [known(book, "deepseek", "deepseek-v4-pro", when).price for when in (before, after)]
    assert prices == [
        Price.per_million("0.435", "0.87", cached_input="0.003625"),
        Price.per_million("0.66", "1.98", cached_input="0.022"),
    ]
    assert known(book, "deepseek", "deepseek-v4-pro", date(2026, 8, 17)).price == prices[1]


def test_a_price_by_the_hour_counts_in_utc_wherever_the_caller_is(book):
    peak = Price.per_million("1.32", "3.96", cached_input="0.044")
    in_beijing = datetime(2026, 10, 1, 9, 0, tzinfo=timezone(timedelta(hours=8)))
    without_zone = datetime(2026, 10, 1, 1, 0)  # noqa: DTZ001 - a naive time is what is tested
    assert known(book, "deepseek", "deepseek-v4-pro", in_beijing).price == peak
    assert known(book, "deepseek", "deepseek-v4-pro", without_zone).price == peak
    assert known(book, "deepseek", "deepseek-v4-pro", in_beijing + timedelta(hours=3)).price != peak


def test_hours_may_span_midnight():
    night = Tariff.from_record({"daily": ("22:00:00", "06:00:00")})
    at = [night.in_force(datetime(2026, 1, 1, hour, tzinfo=UTC)) for hour in (21, 22, 0, 5, 6)]
    assert at == [False, True, True, True, False]


def test_the_clock_decides_when_no_time_is_given():
    august, november = (
        PriceBook(clock=StoppedClock(datetime(2026, month, 16, 12, tzinfo=UTC)))
        for month in (8, 11)
    )
    early = known(august, "deepseek", "deepseek-v4-pro")
    assert early == known(november, "deepseek", "deepseek-v4-pro", date(2026, 8, 16))
    assert early != known(november, "deepseek", "deepseek-v4-pro")


def test_a_prompt_above_a_tier_pays_the_tier_for_every_token(book):
    entry = known(book, "google", "gemini-2.5-pro")
    base = Price.per_million("1.25", "10", cached_input="0.125")
    above = Price.per_million("2.5", "15", cached_input="0.25")
    assert entry.price == base
    assert entry.tiers == (PriceTier(200_000, above),)
    assert entry.price_for(200_000) == base
    assert entry.price_for(200_001) == above


def test_of_several_tiers_the_highest_passed_counts():
    prices = [Price.per_million(rate, rate) for rate in (1, 2, 3)]
    entry = CatalogEntry(
        price=prices[0], tiers=(PriceTier(10, prices[1]), PriceTier(20, prices[2]))
    )
    assert [entry.price_for(n) for n in (10, 11, 20, 21)] == [prices[i] for i in (0, 1, 1, 2)]


def test_a_provider_that_resells_others_knows_their_models(book):
    assert known(book, "google", "claude-sonnet-5").listed_as == "claude-sonnet-5"


def test_of_several_matching_models_the_first_listed_counts():
    index = ProviderIndex(
        {
            "also_sells": [],
            "models": [
                {"id": "a", "pattern": r"\Am-", "tariffs": [{}]},
                {"id": "b", "names": ["m-1", "n"], "tariffs": [{}]},
                {"id": "c", "pattern": "n", "tariffs": [{}]},
            ],
        }
    )
    found = [index.find(name) for name in ("m-1", "n", "nn", "o")]
    assert [model and model["id"] for model in found] == ["a", "b", "c", None]


# -- own entries -------------------------------------------------------------------------------


def test_an_own_price_replaces_the_listed_one_and_its_tiers_and_keeps_the_window():
    book = PriceBook()
    listed = known(book, "openai", "gpt-4o")
    book.override(ModelKey("openai", "gpt-4o"), Price.per_million(1, 2))
    entry = known(book, "openai", "GPT-4o")
    assert entry.price == Price.per_million(1, 2)
    assert entry.tiers == ()
    assert entry.context_window == listed.context_window
    book.override(ModelKey("google", "gemini-2.5-pro"), context_window=1_000_000)
    kept = known(book, "google", "gemini-2.5-pro")
    assert kept.context_window == 1_000_000
    assert kept.tiers


def test_an_own_entry_makes_an_unlisted_model_known():
    book = PriceBook()
    book.override(
        ModelKey("local", "Llama:8b"), Price.free(), capabilities=frozenset({"chat_completion"})
    )
    entry = known(book, "local", "llama:8b")
    assert entry.price == Price.free()
    assert entry.capabilities == frozenset({"chat_completion"})
    assert entry.context_window is None


def test_an_own_entry_with_an_unknown_capability_is_refused_and_leaves_the_book_as_it_was():
    book = PriceBook()
    with pytest.raises(UnknownCapabilityError):
        book.override(ModelKey("local", "m"), capabilities=frozenset({"telepathy"}))
    assert book.lookup("local", "m") is None


@pytest.mark.parametrize("content", [None, b"", b"{"])
def test_a_list_that_cannot_be_read_is_named(tmp_path, content):
    path = tmp_path / "prices.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"prices\.json cannot be read"):
        PriceBook(path).lookup("openai", "gpt-4o")


# -- against the source ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def source():
    """The module `genai_prices`, in the version that the list was made from."""
    require("genai_prices", "genai-prices is not installed; pip install 'orchestrator[prices]'")
    import genai_prices

    listed = read_snapshot(SNAPSHOT)["source"]["version"]
    require(
        genai_prices.__version__ == listed,
        f"the price list is from genai-prices {listed}, installed is {genai_prices.__version__}",
    )
    return genai_prices


def samples(book: PriceBook, count: int) -> list[tuple[str, str, str]]:
    """Pick models as (our provider, the source's provider, name), names dated or misspelt too."""
    rng = random.Random(20)
    listed = [
        (provider, name)
        for provider, record in read_snapshot(SNAPSHOT)["providers"].items()
        for model in record["models"]
        for name in (model["id"], *model.get("names", ()))
    ]
    endings = [*[""] * 8, "-2025-12-11", "-20251211", "-latest", "x"]
    return [
        (provider, "x-ai" if provider == "xai" else provider, name + rng.choice(endings))
        for provider, name in rng.sample(listed, count)
    ]


def test_every_listed_name_finds_the_same_model_as_the_source_does(book, source):
    from genai_prices.data_snapshot import get_snapshot

    found = 0
    for ours, theirs, name in samples(book, 1500):
        entry = book.lookup(ours, name)
        try:
            _, model = get_snapshot().find_provider_model(name, None, theirs, None)
        except LookupError:
            assert entry is None, (ours, name)
        else:
            assert entry is not None, (ours, name)
            assert entry.listed_as == model.id
            assert entry.context_window == model.context_window
            found += 1
    assert found > 900


def test_prices_equal_those_of_the_source_at_any_date_and_length(book, source):
    rng = random.Random(21)
    compared = tiered = 0
    for ours, theirs, name in samples(book, 500):
        for _ in range(3):
            when = datetime.combine(FIRST_DAY, datetime.min.time(), UTC) + rng.random() * (
                LAST_DAY - FIRST_DAY
            )
            prompt = rng.choice([1000, 200_000, 200_001, 400_000])
            completion, cached = rng.randrange(10_000), rng.randrange(prompt + 1)
            written = rng.randrange(prompt - cached + 1)
            entry = book.lookup(ours, name, when)
            price = entry and entry.price_for(prompt)
            if entry is None or price is None:
                continue
            usage = source.Usage(
                input_tokens=prompt,
                output_tokens=completion,
                cache_read_tokens=cached,
                cache_write_tokens=written,
            )
            expected = source.calc_price(
                usage, name, provider_id=theirs, genai_request_timestamp=when
            )
            cost = price.cost(prompt, completion, cached_tokens=cached, cache_write_tokens=written)
            assert cost == pytest.approx(expected.total_price, rel=Decimal("1e-20")), (ours, name)
            compared += 1
            tiered += price != entry.price
    assert compared > 900
    assert tiered > 10


def test_the_shipped_list_is_what_the_export_writes(source, capsys, tmp_path):
    from scripts.export_prices import main

    assert main(["--check"]) == 0
    assert "up to date" in capsys.readouterr().out
    copy = tmp_path / "prices.json"
    assert main(["--output", str(copy)]) == 0
    assert read_snapshot(copy)["providers"] == read_snapshot(SNAPSHOT)["providers"]
    copy.write_bytes(SNAPSHOT.read_bytes().replace(b'"input":"2.5"', b'"input":"2.6"', 1))
    assert main(["--check", "--output", str(copy)]) == 1
    assert "would change" in capsys.readouterr().out


def test_looking_a_price_up_imports_neither_the_source_nor_its_client():
    program = (
        "import sys; from orchestrator.core.prices import PriceBook; "
        "assert PriceBook().lookup('openai', 'gpt-4o'); "
        "sys.exit(any(m in sys.modules for m in ('genai_prices', 'httpx2', 'httpx')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
