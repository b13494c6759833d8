"""How large and how rough a simulated world is, drawn from its seed."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from orchestrator.core.ports import Timeouts
from orchestrator.routing.attempts import AttemptPolicy
from orchestrator.routing.breaker import BreakerPolicy

__all__ = ["Settings", "draw_settings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The frame of one world.

    Attributes:
        duration_s: Seconds in which clients arrive.
        n_errands: How many do.
        roughness: 0 is a world without trouble, 1 one with a lot of it.
        blackouts: From when to when everything is out.
        deadline_s: The engine's, for requests that name none.
        budget_usd: The engine's, per day, or None.
        decision_limit: Decisions that the engine can still rate.
        closes_s: When the engine is closed in the middle of everything, or None.
    """

    duration_s: float
    n_errands: int
    roughness: float
    blackouts: tuple[tuple[float, float], ...]
    deadline_s: float
    timeouts: Timeouts
    attempts: AttemptPolicy
    breaker: BreakerPolicy
    budget_usd: float | None
    decision_limit: int
    closes_s: float | None


def draw_settings(rng: Random) -> Settings:
    """Draw the frame of a world."""
    duration_s = rng.choice((30.0, 120.0, 600.0, 600.0, 9_000.0))
    begins_s = rng.uniform(0, duration_s)
    blackout = (begins_s, begins_s + rng.choice((3.0, 40.0)))
    return Settings(
        duration_s=duration_s,
        n_errands=rng.randint(30, 110),
        roughness=rng.choice((0.0, 0.3, 0.6, 1.0)),
        blackouts=(blackout,) if rng.random() < 0.3 else (),
        deadline_s=rng.choice((20.0, 60.0, 120.0)),
        timeouts=rng.choice((Timeouts(2, 8, 5, 12), Timeouts(1, 3, 3, 6), Timeouts())),
        attempts=AttemptPolicy(
            max_attempts=rng.choice((8, 8, 8, 8, 3)), retries=rng.choice((3, 3, 3, 0, 1))
        ),
        breaker=rng.choice(
            (
                BreakerPolicy(),
                BreakerPolicy(failure_threshold=2, open_s=1.0, max_open_s=20.0),
                BreakerPolicy(failure_threshold=6, min_calls=4, failure_rate=0.3),
            )
        ),
        budget_usd=rng.choice((None, None, 10 ** rng.uniform(-4, -1))),
        decision_limit=rng.choice((100_000, 100_000, 40)),
        closes_s=rng.uniform(0.5, 1) * duration_s if rng.random() < 0.1 else None,
    )
