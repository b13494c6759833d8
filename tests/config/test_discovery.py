from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.config import build, read_configuration
from orchestrator.config.configuration import Configuration
from orchestrator.config.discovery import offers
from tests.config.files import written
from tests.integrations.real_engine import smollm2_file

PAID = {"openai:gpt-4o-mini", "openai:gpt-5-mini", "openai:text-embedding-3-small"}


def pool(path: Path | None = None, **overrides: Any) -> set[str]:
    return {model.key.text for model in build(path, **overrides)["models"]}


def offered(configuration: Configuration) -> set[str]:
    return {model.identity.text for offer in configuration.offers for model in offer.models}


def test_models_that_cost_money_are_offered_but_do_not_join():
    assert offered(read_configuration()) == PAID
    assert pool() == set()


def test_where_they_may_they_join_under_one_dollar_a_day():
    arguments = build(paid=True)

    assert {model.key.text for model in arguments["models"]} == PAID
    assert arguments["budget_usd_per_day"] == 1.0
    assert all(model.spec.price is not None for model in arguments["models"])


def test_the_environment_may_allow_it_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ORCHESTRATOR_PAID", "1")
    monkeypatch.setenv("ORCHESTRATOR_ENGINE__BUDGET_USD_PER_DAY", "0.2")

    assert build()["budget_usd_per_day"] == 0.2
    assert pool() == PAID


def test_an_empty_key_offers_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "")

    assert offered(read_configuration()) == set()


def test_a_llama_cpp_server_joins_by_itself(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LLAMA_CPP_BASE_URL", "http://10.0.0.9:8080")

    assert pool() == {"llama_cpp:server"}
    assert build()["budget_usd_per_day"] is None


def test_a_file_turns_discovery_off_unless_it_asks_for_it(tmp_path: Path):
    assert read_configuration(written(tmp_path, "")).offers == ()
    assert offered(read_configuration(written(tmp_path, "discover = true"))) == PAID
    assert read_configuration(discover=False).offers == ()


def test_what_is_configured_is_not_discovered_again(tmp_path: Path):
    text = 'discover = true\n[[models]]\nkey = "openai:gpt-4o-mini"\nquality = 0.9\n'

    path = written(tmp_path, text)

    assert offered(read_configuration(path)) == PAID - {"openai:gpt-4o-mini"}
    assert len(build(path, paid=True)["models"]) == 3


def test_a_model_file_that_was_fetched_is_served_without_being_asked(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.delenv("ORCHESTRATOR_DATA_DIR")
    smollm2_file()

    (model,) = build()["models"]

    assert model.key.text == "embedded:smollm2"
    assert model.resident is not None


def test_nothing_is_offered_where_a_resident_is_configured_or_nothing_was_fetched():
    assert offers({}, set(), {"small"}) == []
    assert offers({}, set(), set()) == []
