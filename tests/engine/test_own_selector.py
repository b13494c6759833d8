from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.core.statistics import Outcome
from orchestrator.selectors import ModelSelector
from tests.engine.world import down, engine, says, simulated


class Alternate(ModelSelector):
    """Takes turns by the calls it was told of."""

    def __init__(self) -> None:
        self.told: list[tuple[str, float, bool]] = []

    def select(self, models: Sequence[str], context: Mapping[str, Any]) -> str:
        return models[len(self.told) % len(models)]

    def update(self, model: str, reward: float, outcome: Outcome | None = None) -> None:
        self.told.append((model, reward, outcome is not None))


@simulated
async def test_a_selector_of_the_users_own_chooses_and_is_told_what_came_of_it():
    selector = Alternate()
    async with engine(says("a"), says("b", down()), selector=selector) as orchestrator:
        first = await orchestrator.generate("hi")
        second = await orchestrator.generate("hi")
        await orchestrator.feedback(first.decision_id, quality=0.8)

    assert first.decision.selector == "Alternate"
    assert [attempt.model for attempt in second.attempts] == ["p:b", "p:a"]
    assert selector.told == [
        ("p:a", 1.0, True),
        ("p:b", 0.0, True),
        ("p:a", 1.0, True),
        ("p:a", 0.8, False),
    ]
