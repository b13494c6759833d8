from __future__ import annotations

from collections.abc import Collection

import pytest

from orchestrator import AttemptsExhaustedError, CostBasedSelector, ModelType, Price, Route
from orchestrator.core.events import ModelUsed
from orchestrator.engine import Orchestrator
from orchestrator.engine.explanation import Explanation
from tests.engine.world import engine, listen, simulated

LARGE, EMBEDDING = ModelType.TEXT_LARGE, ModelType.TEXT_EMBEDDING
COSTS: dict[str, dict[ModelType, float | None]] = {
    "openai": {LARGE: 0.03, EMBEDDING: 0.0001},
    "anthropic": {LARGE: 0.025},
    "secret": {LARGE: None},
    "ollama": {LARGE: 0.0, EMBEDDING: 0.0},
}
"""US dollars per thousand tokens; None where nobody knows."""
A_THOUSAND_TOKENS = {"prompt": "x", "max_tokens": 1000}


def by_cost(called: list[str], failing: Collection[str] = ()) -> Orchestrator:
    """Return an engine with a table of costs, which notes whom it calls."""
    orchestrator = engine(routes=[Route(name="cheapest", selector=CostBasedSelector())])
    for provider, table in COSTS.items():

        async def answer(
            runtime: object, params: object, provider: str = provider
        ) -> str | list[list[float]]:
            called.append(provider)
            if provider in failing:
                raise ConnectionError("down")
            return [[0.0]] if hasattr(params, "input") else provider

        for kind, usd in table.items():
            price = None if usd is None else Price.per_1k(usd, usd)
            orchestrator.register_handler(kind, answer, provider, price=price)
    return orchestrator


@simulated
async def test_the_cheapest_provider_of_a_kind_of_work_is_called_first():
    called: list[str] = []
    async with by_cost(called) as orchestrator:
        text = await orchestrator.use_model(LARGE, A_THOUSAND_TOKENS, route="cheapest")
        await orchestrator.use_model(EMBEDDING, {"input": ["x"]}, route="cheapest")

    assert text == "ollama"
    assert called == ["ollama", "ollama"]


@simulated
async def test_after_failures_the_next_dearer_is_called_and_an_unknown_cost_last():
    called: list[str] = []
    async with by_cost(called, failing=("ollama", "anthropic", "openai")) as orchestrator:
        text = await orchestrator.use_model(LARGE, A_THOUSAND_TOKENS, route="cheapest")

    assert text == "secret"
    assert called == ["ollama", "anthropic", "openai", "secret"]


@simulated
async def test_who_costs_more_than_the_limit_is_never_called():
    called: list[str] = []
    async with by_cost(called, failing=COSTS) as orchestrator:
        with pytest.raises(AttemptsExhaustedError):
            await orchestrator.use_model(LARGE, A_THOUSAND_TOKENS, route="cheapest", max_cost=0.028)

    assert set(called) == {"ollama", "anthropic"}
    assert called[:2] == ["ollama", "anthropic"]


@simulated
async def test_providers_are_listed_by_cost_and_those_beyond_a_limit_are_left_out():
    async with by_cost([]) as orchestrator:
        free, within = (
            orchestrator.explain(route="cheapest", model_type=LARGE, max_cost=limit)
            for limit in (None, 0.026)
        )

    def providers(explained: Explanation) -> list[str]:
        return [r.key.partition(":")[0] for r in explained.models if r.refused is None]

    assert providers(free) == ["ollama", "anthropic", "openai", "secret"]
    assert providers(within) == ["ollama", "anthropic"]


@simulated
async def test_what_was_used_is_counted_by_provider_and_kind_of_work():
    async with by_cost([]) as orchestrator:
        used = listen(orchestrator, ModelUsed)
        await orchestrator.use_model(LARGE, A_THOUSAND_TOKENS, provider="openai")
        statistics = orchestrator.get_model_statistics()

    assert [*statistics] == ["openai:text:large"]
    row = statistics["openai:text:large"]
    assert (row["calls"], row["ok"]) == (1, 1)
    assert row["cost"] == pytest.approx((row["tokens_in"] + row["tokens_out"]) * 0.03 / 1000)
    assert [(event.model, event.cost_usd) for event in used] == [("openai:text:large", row["cost"])]
