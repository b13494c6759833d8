"""Selectors and routes of the simulated world, drawn from a seed."""

from __future__ import annotations

from random import Random
from typing import ClassVar

from orchestrator.core.objective import Objective
from orchestrator.core.requirements import Requirements
from orchestrator.core.selector import Selector
from orchestrator.core.views import Memory
from orchestrator.routing.routes import Route
from orchestrator.selectors import (
    CostBasedSelector,
    PerformanceSelector,
    PrioritySelector,
    UCBModelSelector,
)
from orchestrator.testing.arms import Pool

__all__ = ["draw_routes", "draw_selector"]


class _SegmentedUCB(UCBModelSelector):
    """Reads estimates of each segment beside the total, as hierarchical selectors do."""

    segmented: ClassVar[bool] = True


def draw_selector(rng: Random) -> Selector:
    """Draw who chooses; mostly somebody who learns and explores."""
    draw = rng.random()
    if draw < 0.1:
        return CostBasedSelector(prefer_local_models=rng.random() < 0.5)
    if draw < 0.2:
        return PerformanceSelector(prefer_streaming=rng.random() < 0.5)
    if draw < 0.25:
        return PrioritySelector()
    kind = _SegmentedUCB if rng.random() < 0.3 else UCBModelSelector
    return kind(
        exploration_factor=rng.choice((0.0, 0.5, 2.0)),
        min_trials=rng.choice((0, 1, 5)),
        index=rng.choice(("tuned", "ucb1", "kl")),
        memory=rng.choice((Memory(), Memory(), Memory(window_s=120.0), Memory(half_life_s=300.0))),
        floor=rng.choice((0.0, 0.01, 0.2)),
    )


def draw_routes(rng: Random, pool: Pool) -> list[Route]:
    """Draw up to three routes, the first of which fall back to the others."""
    keys = list(pool.arms)
    routes: list[Route] = []
    for name in ("last", "middle", "first")[: rng.randint(0, 3)]:
        patterns = rng.sample(keys, min(len(keys), rng.choice((1, 1, 2, 4))))
        if rng.random() < 0.2:
            patterns = [f"{patterns[0].partition(':')[0]}:*"]
        routes.append(
            Route(
                name=name,
                models=tuple(patterns) if rng.random() < 0.8 else None,
                exclude=tuple(rng.sample(keys, 1)) if rng.random() < 0.2 else (),
                requirements=Requirements.of({"max_cost": 0.01}, f"route: {name}")
                if rng.random() < 0.2
                else Requirements(),
                selector=draw_selector(rng) if rng.random() < 0.4 else None,
                objective=Objective(cost_weight=10.0) if rng.random() < 0.3 else None,
                fallback=_fallback(rng, [route.name for route in routes], keys),
            )
        )
    return routes


def _fallback(rng: Random, routes: list[str], keys: list[str]) -> tuple[str, ...]:
    names = routes[-1:] if rng.random() < 0.7 else []
    return (*names, rng.choice(keys)) if rng.random() < 0.3 else tuple(names)
