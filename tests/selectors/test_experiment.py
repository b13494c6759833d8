from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, chi2_contingency

from orchestrator.core.errors import InvalidRequestError
from orchestrator.selectors.experiment import (
    Assignment,
    Comparison,
    Conclusion,
    Experiment,
    ExperimentPlan,
)

UNLIKELY = 1e-6
"""Chance of a sound hash or sampler failing a test; the seeds are fixed, so it never flickers."""

FORMS: dict[str, dict[str, Any]] = {
    "even": {},
    "90/10": {"split": (0.9, 0.1)},
    "adaptive": {"adaptive": True},
}
rewards = st.lists(st.tuples(st.booleans(), st.floats(0, 1)), max_size=60)


def plan(
    name: str = "e", variants: tuple[str, ...] = ("a", "b"), **settings: Any
) -> ExperimentPlan:
    return ExperimentPlan(name=name, variants=variants, **settings)


def run(
    experiment: Experiment, means: tuple[float, ...], n: int, rng: random.Random, drift: float = 0.0
) -> Conclusion | None:
    """Serve n units whose rewards are won or lost, looking after each one."""
    start = experiment.n_units
    for unit in range(start, start + n):
        assignment = experiment.assign(f"unit-{unit}-{rng.random()}")
        mean = means[assignment.variant] + drift * ((unit - start) / n - 0.5)
        conclusion = experiment.record(assignment, float(rng.random() < mean))
        if conclusion is not None:
            return conclusion
    return None


def too_many(n: int, alpha: float) -> float:
    """Return a count that so many tries, each with chance alpha, pass once in a million."""
    return n * alpha + 5 * math.sqrt(n * alpha * (1 - alpha))


def only(experiment: Experiment) -> Comparison:
    (comparison,) = experiment.compare()
    return comparison


# -- who gets what -----------------------------------------------------------------------------


def test_a_unit_keeps_its_variant_in_every_process():
    experiment = Experiment(plan("greeting", ("plain", "polite", "curt")))

    variants = [experiment.assign(f"user-{i}").variant for i in range(12)]

    assert variants == [1, 2, 1, 2, 2, 0, 1, 1, 1, 2, 2, 0]


def test_units_are_spread_as_the_split_says():
    shares = (0.5, 0.2, 0.1, 0.1, 0.1)
    experiment = Experiment(plan(variants=tuple("abcde"), split=shares))
    n = 20_000
    counts = [0] * 5
    for unit in range(n):
        counts[experiment.assign(f"user-{unit}").variant] += 1

    distance = sum((c - n * s) ** 2 / (n * s) for c, s in zip(counts, shares, strict=True))
    assert distance < chi2.isf(UNLIKELY, df=4)


def test_two_experiments_divide_the_same_units_independently():
    one, other = Experiment(plan("one")), Experiment(plan("other"))
    counts = [[0, 0], [0, 0]]
    for unit in range(10_000):
        counts[one.assign(str(unit)).variant][other.assign(str(unit)).variant] += 1

    assert chi2_contingency(counts).pvalue > UNLIKELY


def test_an_assignment_knows_how_likely_it_was():
    experiment = Experiment(plan(split=(0.9, 0.1)))

    seen = {a.variant: a.propensity for a in map(experiment.assign, map(str, range(100)))}

    assert seen == {0: 0.9, 1: 0.1}


def test_a_split_that_adapts_favours_the_better_but_leaves_everybody_its_floor():
    experiment = Experiment(plan(variants=("a", "b", "c"), adaptive=True, floor=0.05, alpha=1e-9))

    run(experiment, (0.3, 0.8, 0.3), 1000, random.Random(0))

    assert experiment.split == pytest.approx((0.05, 0.9, 0.05), abs=0.01)


def test_a_difference_that_may_be_chance_moves_a_split_little():
    experiment = Experiment(plan(adaptive=True))
    outcomes = [(variant, float(n < won)) for variant, won in ((0, 24), (1, 26)) for n in range(50)]
    random.Random(0).shuffle(outcomes)
    for slot, (variant, reward) in enumerate(outcomes):
        experiment.record(Assignment(variant, (0.5, 0.5), slot), reward)

    assert 0.5 < experiment.split[1] < 0.75


def test_rewards_that_drift_while_the_split_moves_favour_nobody():
    experiment = Experiment(plan(adaptive=True, alpha=1e-9))
    # First both fail, at even shares; then both succeed, when the first gets nine of ten.
    phases = [((0.5, 0.5), (100, 100), 0.0), ((0.9, 0.1), (180, 20), 1.0)]
    slot = 0
    for split, counts, reward in phases:
        for variant, count in enumerate(counts):
            for _ in range(count):
                experiment.record(Assignment(variant, split, slot), reward)
                slot += 1

    assert experiment.split == pytest.approx((0.5, 0.5))


def test_when_a_split_moves_only_units_at_its_edge_change_sides():
    experiment = Experiment(plan(adaptive=True, alpha=1e-9))
    units = [f"user-{i}" for i in range(2000)]
    before = [experiment.assign(unit) for unit in units]

    run(experiment, (0.3, 0.8), 1000, random.Random(0))

    moved = {(a.variant, experiment.assign(u).variant) for u, a in zip(units, before, strict=True)}
    assert moved == {(0, 0), (0, 1), (1, 1)}


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0, 1)), max_size=200), st.floats(0.01, 0.3))
def test_shares_never_sink_below_the_floor_and_sum_to_one(history: list[Any], floor: float):
    experiment = Experiment(plan(variants=("a", "b", "c"), adaptive=True, floor=floor, alpha=1e-12))
    for slot, (variant, reward) in enumerate(history):
        experiment.record(Assignment(variant, experiment.split, slot), reward)

    assert sum(experiment.split) == pytest.approx(1)
    assert min(experiment.split) >= floor - 1e-12


# -- what is known -----------------------------------------------------------------------------


def test_before_any_outcome_everything_is_possible():
    assert only(Experiment(plan())) == Comparison("b", 0.0, -1.0, 1.0, 1.0, 0, 0)


@given(rewards)
def test_interval_and_significance_say_the_same(history: list[Any]):
    experiment = Experiment(plan(alpha=0.05))
    for slot, (variant, reward) in enumerate(history):
        experiment.record(Assignment(int(variant), experiment.split, slot), reward)
    found = only(experiment)

    assert found.low <= max(min(found.difference, 1.0), -1.0) <= found.high
    # At p = alpha exactly, rounding decides.
    if abs(found.p_value - 0.05) > 1e-9:
        assert (found.p_value < 0.05) == (found.low > 0 or found.high < 0)


@given(rewards)
def test_rewards_upside_down_turn_the_difference_round(history: list[Any]):
    straight, turned = Experiment(plan(alpha=1e-12)), Experiment(plan(alpha=1e-12))
    for slot, (variant, reward) in enumerate(history):
        assignment = Assignment(int(variant), straight.split, slot)
        straight.record(assignment, reward)
        turned.record(assignment, 1 - reward)

    one, other = only(straight), only(turned)
    assert one.difference == pytest.approx(-other.difference, abs=1e-9)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_intervals_hold_the_difference_at_every_moment_while_rewards_drift(form: str):
    n_runs, alpha, missed = 150, 0.1, 0
    for seed in range(n_runs):
        rng = random.Random(seed)
        experiment = Experiment(plan(alpha=alpha, **FORMS[form]))
        for unit in range(300):
            assignment = experiment.assign(f"{seed}-{unit}")
            mean = 0.3 + 0.4 * (unit > 150)
            experiment.record(assignment, float(rng.random() < mean))
            found = only(experiment)
            if not found.low <= 0.0 <= found.high:
                missed += 1
                break
    assert missed <= too_many(n_runs, alpha)


def test_a_unit_that_returns_counts_once():
    experiment = Experiment(plan())
    assignment = experiment.assign("user-1")
    for _ in range(3):
        experiment.record(assignment, 1.0)

    assert experiment.n_units == 1


def test_users_with_ways_of_their_own_are_no_evidence_however_often_they_return():
    rng = random.Random(0)
    for number in range(30):
        experiment = Experiment(plan(f"e{number}"))
        taste = {f"user-{i}": float(rng.random() < 0.5) for i in range(40)}
        for _ in range(1000):
            user = rng.choice(list(taste))
            experiment.record(experiment.assign(user), taste[user])

        assert experiment.conclusion is None


def test_an_experiment_goes_on_from_its_sums_as_if_it_had_never_stopped():
    through, first = Experiment(plan(adaptive=True)), Experiment(plan(adaptive=True))
    run(through, (0.5, 0.6), 400, random.Random(1))
    run(first, (0.5, 0.6), 200, random.Random(1))
    rng = random.Random(1)
    for _ in range(400):
        rng.random()

    second = Experiment(first.plan, first.sums, bytes(first.counted))
    run(second, (0.5, 0.6), 200, rng)

    assert second.sums == through.sums
    assert second.split == through.split


def test_the_sums_of_two_processes_add_up_to_more_certainty():
    parts = [Experiment(plan(alpha=1e-3)) for _ in range(2)]
    for seed, part in enumerate(parts):
        run(part, (0.4, 0.5), 1000, random.Random(seed))
    added = [
        [a + b for a, b in zip(*rows, strict=True)]
        for rows in zip(parts[0].sums, parts[1].sums, strict=True)
    ]
    together = only(Experiment(plan(alpha=1e-3), added))

    one, other = map(only, parts)
    assert (together.n, together.n_control) == (one.n + other.n, one.n_control + other.n_control)
    assert together.high - together.low < min(one.high - one.low, other.high - other.low)


# -- how it ends -------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_a_better_challenger_is_promoted_and_serves_everybody(form: str):
    experiment = Experiment(plan(**FORMS[form]))

    found = run(experiment, (0.5, 0.8), 5000, random.Random(0))

    assert found is not None
    assert (found.verdict, found.variant) == ("promote", "b")
    assert 0 < found.comparisons[0].low < 0.05  # as soon as it is sure
    assert found.comparisons[0].p_value < 0.05
    assert {experiment.assign(str(i))[:2] for i in range(100)} == {(1, (0.0, 1.0))}


@pytest.mark.parametrize("form", FORMS)
def test_a_worse_challenger_is_stopped_and_the_control_stays(form: str):
    experiment = Experiment(plan(**FORMS[form]))

    found = run(experiment, (0.8, 0.5), 5000, random.Random(0))

    assert found is not None
    assert (found.verdict, found.variant) == ("stop", "a")
    assert found.comparisons[0].high < 0
    assert {experiment.assign(str(i)).variant for i in range(100)} == {0}


def test_of_several_challengers_the_one_that_is_better_is_promoted():
    experiment = Experiment(plan(variants=("a", "b", "c")))

    found = run(experiment, (0.5, 0.5, 0.9), 5000, random.Random(0))

    assert found is not None
    assert (found.verdict, found.variant) == ("promote", "c")


def test_it_stops_where_no_challenger_can_be_better_enough():
    found = run(Experiment(plan(min_effect=0.2)), (0.5, 0.5), 5000, random.Random(0))

    assert found is not None
    assert found.verdict == "stop"
    assert 0 < found.comparisons[0].high < 0.2


def test_it_stops_undecided_after_all_its_units():
    found = run(Experiment(plan(max_units=100)), (0.5, 0.5), 200, random.Random(0))

    assert found is not None
    assert (found.verdict, found.variant) == ("stop", "a")
    assert sum((found.comparisons[0].n, found.comparisons[0].n_control)) == 100


def test_outcomes_that_come_after_the_end_change_nothing():
    experiment = Experiment(plan())
    late = experiment.assign("late")
    found = run(experiment, (0.2, 0.9), 5000, random.Random(0))
    assert found is not None

    assert experiment.record(late, 0.0) is None
    assert experiment.conclusion is found
    assert experiment.compare() == found.comparisons


def test_outcomes_of_who_was_assigned_after_the_end_elsewhere_do_not_count():
    here = Experiment(plan())

    here.record(Assignment(1, (0.0, 1.0), 7), 1.0)

    assert here.n_units == 0


def wrong_conclusions(form: str, n_runs: int, n_units: int, alpha: float) -> int:
    """Count experiments without a difference that end, looked at after every unit."""
    wrong = 0
    for seed in range(n_runs):
        rng = random.Random(seed)
        mean = rng.random()
        experiment = Experiment(plan(f"null-{seed}", alpha=alpha, **FORMS[form]))
        wrong += run(experiment, (mean, mean), n_units, rng) is not None
    return wrong


@pytest.mark.parametrize("form", FORMS)
def test_looking_after_every_unit_does_not_make_false_conclusions(form: str):
    # Looking so often at a test made for one look would end more than half of these.
    assert wrong_conclusions(form, 150, 300, alpha=0.1) <= too_many(150, 0.1)


@pytest.mark.long
@pytest.mark.parametrize("form", FORMS)
def test_of_two_thousand_experiments_without_a_difference_no_more_than_alpha_end(form: str):
    assert wrong_conclusions(form, 2000, 2000, alpha=0.05) <= 2000 * 0.05


# -- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("param", "settings"),
    [
        ("variants", {"variants": ("a",)}),
        ("variants", {"variants": ("a", "a")}),
        ("split", {"split": (0.5, 0.6)}),
        ("split", {"split": (1.0, 0.0)}),
        ("split", {"split": (1.0,)}),
        ("reward", {"reward": "speed"}),
        ("alpha", {"alpha": 0.0}),
        ("floor", {"floor": 0.6}),
        ("floor", {"floor": 0.0}),
        ("min_effect", {"min_effect": -0.1}),
        ("max_units", {"max_units": 0}),
    ],
)
def test_a_plan_that_cannot_be_carried_out_is_refused(param: str, settings: dict[str, Any]):
    with pytest.raises(InvalidRequestError) as refusal:
        plan(**settings)

    assert refusal.value.param == param


@pytest.mark.parametrize("reward", [-0.1, 1.1, math.nan])
def test_a_reward_outside_its_range_is_refused(reward: float):
    experiment = Experiment(plan())

    with pytest.raises(InvalidRequestError, match="reward"):
        experiment.record(experiment.assign("u"), reward)
    assert experiment.n_units == 0


@pytest.mark.parametrize("state", [{"sums": [[0.0]]}, {"counted": b""}])
def test_a_state_of_another_shape_is_refused(state: dict[str, Any]):
    with pytest.raises(InvalidRequestError):
        Experiment(plan(), **state)
