"""Everything that has to hold in a simulated world, and how to ask whether it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from orchestrator.testing.loop import LeftoverTasksError, SimulationError
from orchestrator.testing.trace import Trace
from orchestrator.testing.world import SimulatedWorld
from tests.simulation import endings, health, limits, lost, order, providers, sums
from tests.simulation.evidence import Evidence

Check = Callable[[Evidence], Iterator[str]]

CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        endings.ends_once,
        endings.fails_with_a_reason,
        endings.keeps_its_deadline,
        endings.waits_for_nobody_silent,
        endings.keeps_to_its_attempts,
        order.keeps_order,
        order.ends_each_attempt_once,
        order.says_how_likely_each_choice_was,
        lost.loses_nothing,
        lost.gives_up_on_nobody_early,
        lost.keeps_to_its_retry_budget,
        providers.tells_the_truth,
        providers.passes_answers_on,
        providers.calls_only_who_may_serve,
        providers.leaves_nobody_working,
        health.ejects_on_evidence,
        health.spares_the_ejected,
        sums.adds_up,
        sums.leaves_nothing_pending,
        sums.shows_what_it_knows,
        sums.takes_ratings,
        limits.keeps_to_max_cost,
        limits.keeps_to_the_cap,
        limits.gives_places_back,
        limits.gives_leases_back,
        limits.crowds_nobody,
    )
}
COMES_TO_AN_END = "comes_to_an_end"
LEAVES_NO_TASK = "leaves_no_task"
IS_REPEATABLE = "is_repeatable"


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was not kept."""

    seed: int
    check: str
    what: str

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {self.check}: {self.what}\n"
            f"  replay it: .venv/bin/python -m tests.simulation {self.seed}"
        )


def judge(seed: int, *, twice: bool = False) -> list[Violation]:
    """Let a world happen and return every promise that was not kept in it.

    Args:
        seed: Of the world.
        twice: Let it happen once more, and hold the two against each other.
    """
    try:
        trace = SimulatedWorld(seed).run()
    except LeftoverTasksError as error:
        return [Violation(seed, LEAVES_NO_TASK, str(error))]
    except SimulationError as error:
        return [Violation(seed, COMES_TO_AN_END, str(error))]
    found = [Violation(seed, check, what) for check, what in violations(trace)]
    if twice and not found:
        found += _differences(seed, trace, SimulatedWorld(seed).run())
    return found


def violations(trace: Trace) -> Iterator[tuple[str, str]]:
    """Yield the name of each check that fails on a trace, with what it says."""
    evidence = Evidence(trace)
    for name, check in CHECKS.items():
        for what in check(evidence):
            yield name, what


def _differences(seed: int, one: Trace, other: Trace) -> Iterator[Violation]:
    for first, second in zip(one.lines(), other.lines(), strict=False):
        if first != second:
            yield Violation(seed, IS_REPEATABLE, f"{first}\n  and then {second}")
            return
