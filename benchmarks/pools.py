"""Pools of any size in which every model has a history."""

from __future__ import annotations

from typing import Any, Final

from orchestrator import Model, Orchestrator, Price

__all__ = ["MAX_COST", "pool"]

MAX_COST: Final = 0.019
_CAPABILITIES: Final = ("chat_completion", "streaming", "function_calling")


class _Mute(Model):
    """A model that is chosen but never called."""

    async def generate_response(self, prompt: str, **options: Any) -> str:
        raise AssertionError("selection alone calls nobody")


def pool(n_models: int) -> Orchestrator:
    """Return an engine, not yet running, whose models differ in price, speed and success.

    The dearest cost more per request than `MAX_COST`.
    """
    models = [
        _Mute(
            f"model-{number}",
            capabilities=_CAPABILITIES,
            context_window=128_000,
            price=Price.per_1k(f"0.00{number % 10}", f"0.0{number % 10}"),
        )
        for number in range(n_models)
    ]
    engine = Orchestrator(models, seed=1)
    for number in range(max(5 * n_models, 2_000)):  # past the trials that every model gets
        engine.update_model_performance(
            f"custom:model-{number % n_models}",
            success=number % 7 > 0,
            latency_s=0.1 + number % 13 / 10,
            cost_usd=0.001,
            tokens_out=100 + number % 50,
        )
    return engine
