from __future__ import annotations

from orchestrator.selectors import PrioritySelector
from tests.selectors.arms import best, calls, evidence_of, sums_of


def test_the_highest_priority_is_chosen_whatever_happened():
    evidence = evidence_of(sums_of(calls(10), calls(10, 0), calls(10)))

    assert best(PrioritySelector(), evidence, priority=[80, 100, 90]) == 1


def test_of_equals_the_one_registered_first_is_chosen():
    evidence = evidence_of(sums_of(calls(0), calls(0), calls(0)))

    assert best(PrioritySelector(), evidence, priority=[-1, 5, 5]) == 1
