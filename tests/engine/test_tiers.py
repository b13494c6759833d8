from __future__ import annotations

import pytest

from orchestrator import HandlerModel, ModelType
from orchestrator.core.params import TextGenerationParams
from orchestrator.engine import Orchestrator
from orchestrator.routing.complexity import select_model_for_task
from tests.engine.world import engine, simulated

TEXT_TYPES = (ModelType.TEXT_SMALL, ModelType.TEXT_MEDIUM, ModelType.TEXT_LARGE)


def sized() -> Orchestrator:
    """Return an engine with one model of each size, which says its size and how it was asked."""

    def of_size(size: str) -> HandlerModel:
        async def tell(runtime: object, params: TextGenerationParams) -> str:
            return f"{size} {params.temperature} {params.max_tokens}"

        return HandlerModel(size, tell, "p")

    return engine(*(of_size(t) for t in TEXT_TYPES))


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("What is the capital of France?", "text:small 0.3 None"),
        ("Compare lists and tuples in Python.", "text:medium 0.5 None"),
        (
            "Design a cache, prove that it is correct, compare it with two others, and justify "
            "why each must be slower.",
            "text:large 0.7 2000",
        ),
    ],
)
@simulated
async def test_a_task_goes_to_a_model_of_the_size_it_calls_for(task: str, said: str):
    async with sized() as orchestrator:
        assert await orchestrator.use_model(*select_model_for_task(task)) == said


@simulated
async def test_a_complexity_of_ones_own_may_decide():
    async with sized() as orchestrator:
        for complexity, size in ((0.0, "small"), (0.3, "medium"), (0.7, "large")):
            text = await orchestrator.use_model(*select_model_for_task("a task", complexity))
            assert text.startswith(f"text:{size}")
