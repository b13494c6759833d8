"""Parts that only some engines have, each imported where it is wanted: most serve without."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from orchestrator.core.bus import EventBus
from orchestrator.core.clock import Clock
from orchestrator.core.decisions import Decision
from orchestrator.core.statistics import Statistics
from orchestrator.engine.asking import Asking
from orchestrator.engine.parts import Parts, Places
from orchestrator.lifecycle.manager import ModelManager
from orchestrator.routing.availability import Availability, Notice
from orchestrator.routing.budget import DailyBudget
from orchestrator.routing.registry import ModelRegistry
from orchestrator.routing.segments import ByEmbedding

if TYPE_CHECKING:
    from orchestrator.engine.embedded_segments import EmbeddedSegments
    from orchestrator.engine.evaluation import Evaluations
    from orchestrator.engine.evaluators import Evaluator
    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.engine.state import StateKeeper
    from orchestrator.monitoring import ModelHealthMonitor

__all__ = ["evaluated_by", "remembered_at", "told_apart_by", "watched_by"]


def evaluated_by(
    evaluators: Iterable[Evaluator | str | Mapping[str, Any]],
    engine: Orchestrator,
    clock: Clock,
    rate: Callable[[Decision, float, str], None],
    say: Callable[..., None],
) -> Evaluations | None:
    """Return what has answers judged, or None where nobody is to judge."""
    wanted = list(evaluators)
    if not wanted:
        return None
    from orchestrator.engine.evaluation import Evaluations
    from orchestrator.engine.evaluators import make_evaluator

    return Evaluations([make_evaluator(one) for one in wanted], engine, clock, rate, say)


def told_apart_by(
    segmenter: ByEmbedding,
    within_s: float,
    parts: Parts,
    asking: Asking,
    registry: ModelRegistry,
    availability: Availability,
    statistics: Statistics,
    say: Callable[..., None],
) -> EmbeddedSegments:
    """Return what tells requests apart by an embedding model of the pool."""
    from orchestrator.engine.embedded_segments import EmbeddedSegments

    return EmbeddedSegments(
        segmenter, within_s, parts, asking, registry, availability, statistics.segment, say
    )


def watched_by(
    monitor: ModelHealthMonitor,
    registry: ModelRegistry,
    availability: Availability,
    places: Places,
    loaded: Callable[[], Collection[str]],
    budget: DailyBudget | None,
    clock: Clock,
    rng: Random,
    tell: Callable[[Notice], None],
) -> None:
    """Have a monitor look after an engine's models."""
    from orchestrator.engine.probing import Probing

    monitor.watch(Probing(registry, availability, places, loaded, budget, clock, rng, tell))


def remembered_at(
    path: str | Path,
    registry: ModelRegistry,
    residency: ModelManager,
    current: Callable[[], str | None],
    make_current: Callable[[str], None],
    clock: Clock,
    bus: EventBus,
    *,
    node: str,
    auto_save_s: float,
    restore_loaded: bool,
) -> StateKeeper:
    """Return what keeps pins, measures and the current model in a file."""
    from orchestrator.engine.remembered import Remembered
    from orchestrator.engine.state import StateKeeper
    from orchestrator.store.state_file import StateFile

    return StateKeeper(
        StateFile(path),
        Remembered(registry, residency, current, make_current),
        clock,
        bus,
        node=node,
        auto_save_s=auto_save_s,
        restore_loaded=restore_loaded,
    )
