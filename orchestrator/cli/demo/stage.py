"""The stage: four arms of one small model that truly differ in quality, speed and price."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from orchestrator.core.objective import Objective
from orchestrator.core.prices import Price
from orchestrator.engine import Orchestrator
from orchestrator.integrations.embedded import EmbeddedModel, EmbeddedResident, embedded_resident
from orchestrator.integrations.model_files import get_model_file
from orchestrator.integrations.openai_model import OpenAICompatibleModel
from orchestrator.routing.breaker import BreakerPolicy
from orchestrator.store.sql import SqliteStore
from orchestrator.testing.openai_provider import Responder
from orchestrator.testing.openai_wire import Reply, Request
from orchestrator.testing.provider_server import ProviderServer

__all__ = ["COST_WEIGHT", "about", "load_engines", "staged"]

COST_WEIGHT: Final = 250.0
"""Points of quality per USD: a right answer is worth 0.4 cents."""
_TAUGHT: Final = {
    "system_prompt": "You are a helpful teacher. Give short, simple, correct answers.",
    "temperature": 0.0,
}
_PRICE: Final = (10.0, 30.0)
_AWAY_S: Final = 0.25
_ABOUT: Final = {
    "embedded:teacher": "instructed, free",
    "embedded:plain": "not instructed, free",
    "embedded:hot": "temperature 1.5, free",
    "cloud:scholar": "instructed, far away, dear",
}


def about(key: str) -> str:
    """Return what is special about an arm."""
    return _ABOUT[key]


@asynccontextmanager
async def staged(
    seed: int, log: Path, report: Callable[[str], object]
) -> AsyncIterator[Orchestrator]:
    """Set the stage: three engine processes, one of them behind a provider that asks for money.

    Args:
        seed: Of the selector's exploration.
        log: Where the decision log is kept.
        report: Called with a sentence at each step.

    Raises:
        ConfigurationError: The model file is not there and cannot be fetched.
        MissingExtraError: The embedded engine, or what the log needs, is not installed.
    """
    file = get_model_file("smollm2", report=report)

    def engine(name: str) -> EmbeddedResident:
        return embedded_resident(name, file, context=512, slots=1, threads=1, embeddings=False)

    scholar = EmbeddedModel("scholar", engine("cloud"), defaults={**_TAUGHT, "max_tokens": 24})
    async with Orchestrator([scholar]) as backend:
        provider = ProviderServer(
            _passed_on_to(backend), models=("scholar",), first_token_s=_AWAY_S, price=_PRICE
        )
        own, shared = engine("own"), engine("shared")
        # Without the usual cuts to the unlikeliest tokens, which would keep it sensible.
        hot: dict[str, Any] = {"temperature": 1.5, "extra": {"min_p": 0.0, "top_k": 0}}
        async with provider:
            models = [
                EmbeddedModel("teacher", own, defaults={**_TAUGHT, "max_tokens": 12}),
                EmbeddedModel("plain", shared, defaults={"max_tokens": 12}),
                EmbeddedModel("hot", shared, defaults={**hot, "max_tokens": 12}),
                OpenAICompatibleModel(
                    "scholar", "cloud", provider.base_url, price=Price.per_million(*provider.price)
                ),
            ]
            async with Orchestrator(
                models,
                objective=Objective(cost_weight=COST_WEIGHT),
                # A story of a minute has no ten seconds to wait for a probe.
                breaker=BreakerPolicy(open_s=2.0, recovery_threshold=1),
                seed=seed,
                store=SqliteStore(log),
            ) as orchestrator:
                report("loading the provider's engine")
                await backend.load_model(scholar.key.text)
                yield orchestrator


async def load_engines(orchestrator: Orchestrator, report: Callable[[str], object]) -> None:
    """Bring every engine of the stage into memory, so that the first questions are not slow."""
    models = {m.spec.resident: m for m in orchestrator.registry.pool.models if m.spec.resident}
    for resident, model in models.items():
        report(f"loading the engine {resident!r}")
        await orchestrator.load_model(model.key.text)


def _passed_on_to(backend: Orchestrator) -> Responder:
    async def respond(request: Request) -> Reply:
        result = await backend.generate(request["messages"], seed=request.get("seed"))
        usage = result.usage
        return Reply(
            result.text,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
        )

    return respond
