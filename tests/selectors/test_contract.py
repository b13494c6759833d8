"""What every selector promises, whoever wrote it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.estimates import FloatArray
from orchestrator.core.selector import Candidates, SamplingSelector, Selector
from orchestrator.core.statistics import COLUMNS, Column, Outcome
from orchestrator.core.views import ALL, Evidence, Memory, View
from orchestrator.selectors import (
    CostBasedSelector,
    EpsilonGreedySelector,
    LinTSSelector,
    LinUCBSelector,
    ModelSelector,
    PerformanceSelector,
    UCBModelSelector,
    choose,
    make_selector,
    propensities,
    selector_names,
)
from tests.selectors.arms import (
    calls,
    candidates,
    evidence_of,
    histories,
    known,
    permuted,
    score,
    stacked,
)

ARMS = 5
KEYS = tuple(f"a:{number}" for number in range(ARMS))


class Dearest(ModelSelector):
    """A selector as users write them."""

    def select(self, models: Sequence[str], context: Mapping[str, Any]) -> str:
        return max(models, key=lambda model: float(np.nan_to_num(context["cost_usd"][model])))


SELECTORS: dict[str, Callable[[], Selector]] = {
    **{name: lambda name=name: make_selector(name) for name in selector_names()},  # type: ignore[misc]
    "ucb, greedy": lambda: UCBModelSelector(0.0, min_trials=0),
    "ucb1, no floor": lambda: UCBModelSelector(index="ucb1", floor=0.0),
    "kl-ucb, never forced": lambda: UCBModelSelector(index="kl", min_trials=0),
    "ucb, of an hour": lambda: UCBModelSelector(memory=Memory(window_s=3600)),
    "ucb, that fades": lambda: UCBModelSelector(memory=Memory(half_life_s=600)),
    "epsilon-greedy, greedy": lambda: EpsilonGreedySelector(0.0, 0),
    "lin-ucb, of an hour": lambda: LinUCBSelector(3, memory=Memory(window_s=3600)),
    "lin-ts, that fades": lambda: LinTSSelector(3, memory=Memory(half_life_s=600)),
    "cost, local first": lambda: CostBasedSelector(0.01, prefer_local_models=True),
    "performance, choosy": lambda: PerformanceSelector(20.0, 5.0, True, min_trials=3),
    "a user's own": Dearest,
}
"""By name, and with each setting that takes another way through the code."""

SAMPLING = [name for name in SELECTORS if hasattr(SELECTORS[name](), "odds")]

every_selector = pytest.mark.parametrize("name", SELECTORS)
every_sampling_selector = pytest.mark.parametrize("name", SAMPLING)


def sampling(name: str) -> SamplingSelector:
    found: Any = SELECTORS[name]()
    return found  # type: ignore[no-any-return]


def asked(selector: Selector, arms: Candidates, seed: int = 0) -> Candidates:
    """Return the candidates for a request with features, where the selector wants any."""
    n_features = getattr(selector, "n_features", 0)
    lead = arms.eligible.shape[:-1]
    features = np.random.default_rng(seed).uniform(-1, 1, n_features) if n_features else None
    return arms._replace(
        features=None if features is None else np.broadcast_to(features, (*lead, n_features))
    )


def ranked(selector: Selector, evidence: Evidence, arms: Candidates) -> FloatArray:
    """Return what decides, whatever the draw: scores of eligible arms, or odds of those drawn.

    KL-UCB promises no more than the best arm's score, since others need not be worked out.
    """
    if hasattr(selector, "odds"):
        return np.asarray(selector.odds(evidence, arms)())
    scores = np.where(arms.eligible, score(selector, evidence, arms), -np.inf)
    if getattr(selector, "index", None) == "kl":
        top = scores.max(axis=-1, keepdims=True)
        scores = np.where(scores == top, scores, -np.inf)
    return scores


def viewed(selector: Selector) -> View:
    return View(selector.memory, KEYS, segmented=selector.segmented, n_extra=selector.n_extra)


@every_selector
def test_it_declares_what_it_reads(name: str):
    selector = SELECTORS[name]()

    assert isinstance(selector.name, str)
    assert isinstance(selector.memory, Memory)
    assert isinstance(selector.segmented, bool)
    assert selector.n_extra >= 0
    assert 0 <= selector.floor <= 1
    assert score(selector, viewed(selector).evidence("all"), candidates(ARMS)).shape == (ARMS,)


@every_selector
@settings(max_examples=15)
@given(data=st.data())
def test_it_scores_every_arm_with_a_number_and_changes_nothing_it_was_given(name: str, data: Any):
    """Arms that were never called included."""
    selector = SELECTORS[name]()
    evidence = evidence_of(data.draw(histories(ARMS)), selector)
    arms = asked(selector, data.draw(known(ARMS)))

    scores = score(selector, evidence, arms)

    assert scores.shape == (ARMS,)
    assert np.isfinite(scores[arms.eligible]).all()


@every_selector
@settings(max_examples=15)
@given(data=st.data())
def test_many_runs_at_once_score_as_each_alone(name: str, data: Any):
    selector = SELECTORS[name]()
    n_runs = data.draw(st.integers(1, 3))
    sums = [data.draw(histories(ARMS)) for _ in range(n_runs)]
    rates_quality = any(run[Column.N_QUALITY].any() for run in sums)
    arms = [asked(selector, data.draw(known(ARMS)), seed) for seed in range(n_runs)]
    together = evidence_of(np.stack(sums, axis=1), selector)

    scores = score(selector, together, stacked(arms))

    assert scores.shape == (n_runs, ARMS)
    if hasattr(selector, "odds"):
        return  # its draws are compared with its odds below
    for run in range(n_runs):
        alone = evidence_of(sums[run], selector, rates_quality=rates_quality)
        expected = ranked(selector, alone, arms[run])
        exact = np.isfinite(expected)
        np.testing.assert_allclose(scores[run][exact], expected[exact], rtol=1e-9, atol=1e-9)


@every_selector
@settings(max_examples=15)
@given(data=st.data())
def test_no_arm_gains_by_its_place(name: str, data: Any):
    selector = SELECTORS[name]()
    sums, arms = data.draw(histories(ARMS)), asked(selector, data.draw(known(ARMS)))
    order = data.draw(st.permutations(range(ARMS)))

    straight = ranked(selector, evidence_of(sums, selector), arms)
    shuffled = ranked(selector, evidence_of(sums[:, order], selector), permuted(arms, order))

    if isinstance(selector, ModelSelector) or getattr(selector, "index", None) == "kl":
        # Of equals one is chosen, or alone worked out.
        straight, shuffled = np.sort(straight), np.sort(shuffled)
        np.testing.assert_allclose(shuffled[-1], straight[-1], rtol=1e-9)
    else:
        np.testing.assert_allclose(shuffled, straight[order], rtol=1e-9, atol=1e-9)


@every_selector
@settings(max_examples=15)
@given(data=st.data(), shift=st.floats(-1, 1))
def test_what_every_utility_loses_alike_changes_no_choice(name: str, data: Any, shift: float):
    selector = SELECTORS[name]()
    sums, arms = data.draw(histories(ARMS)), asked(selector, data.draw(known(ARMS)))
    evidence = evidence_of(sums, selector)

    before = ranked(selector, evidence, arms)
    after = ranked(
        selector, evidence, arms._replace(penalty=arms.penalty + shift, cost_usd=arms.cost_usd * 2)
    )

    if hasattr(selector, "odds"):
        np.testing.assert_allclose(after, before, atol=1e-8)
    else:
        best = after.argmax()
        assert before[best] == pytest.approx(before.max(), abs=1e-9)


@every_selector
@settings(max_examples=15)
@given(data=st.data(), arm=st.integers(0, ARMS - 1), more=st.floats(0, 1))
def test_no_arm_gains_by_a_larger_penalty(name: str, data: Any, arm: int, more: float):
    selector = SELECTORS[name]()
    sums, arms = data.draw(histories(ARMS)), asked(selector, data.draw(known(ARMS)))
    evidence, penalty = evidence_of(sums, selector), arms.penalty.copy()
    penalty[arm] += more

    before = ranked(selector, evidence, arms)
    after = ranked(selector, evidence, arms._replace(penalty=penalty))

    assert after[arm] <= before[arm] + 1e-8 or after[arm] <= before.max() + 1e-8
    if not hasattr(selector, "odds") and before.argmax() != arm:
        assert after.argmax() != arm


@every_selector
@settings(max_examples=15)
@given(data=st.data(), arm=st.integers(0, ARMS - 1))
def test_no_arm_loses_by_a_success_in_place_of_a_failure(name: str, data: Any, arm: int):
    """Odds may fall: an arm that never fails is believed to be less spread, too."""
    selector = SELECTORS[name]()
    n = [data.draw(st.integers(1, 40)) for _ in range(ARMS)]
    ok = [data.draw(st.integers(0, k)) for k in n]
    ok[arm] = min(ok[arm], n[arm] - 1)
    arms = data.draw(known(ARMS))
    if hasattr(selector, "odds"):
        return

    def scored(ok: list[int]) -> FloatArray:
        view = viewed(selector)
        for key, k, won in zip(KEYS, n, ok, strict=True):
            view.add(0, "all", key, calls(k, won))
        return ranked(selector, view.evidence("all"), arms)

    before = scored(ok)
    after = scored([won + (number == arm) for number, won in enumerate(ok)])

    if before.argmax() == arm:
        assert after.argmax() == arm
    assert after[arm] >= before[arm] - 1e-9


@every_selector
@settings(max_examples=10)
@given(data=st.data())
def test_the_order_in_which_outcomes_arrive_does_not_matter(name: str, data: Any):
    selector = SELECTORS[name]()
    n_features = getattr(selector, "n_features", 0)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    told = [
        (
            100 - int(rng.integers(0, 5)),
            "code" if rng.random() < 0.5 else "all",
            KEYS[rng.integers(ARMS)],
            [(Column.OPENED, 1.0), *Outcome(bool(rng.random() < 0.7), seconds=1.0).deltas()],
            rng.uniform(-1, 1, n_features) if n_features else None,
        )
        for _ in range(data.draw(st.integers(0, 20)))
    ]
    told += [
        (minute, segment, key, [(Column.N_QUALITY, 1.0), (Column.QUALITY, 0.5)], features)
        for minute, segment, key, _, features in told[:: data.draw(st.integers(1, 4))]
    ]
    arms = asked(selector, data.draw(known(ARMS)))

    found = []
    for order in (told, data.draw(st.permutations(told))):
        view = viewed(selector)
        view.advance(100)
        for minute, segment, key, deltas, features in order:
            view.add(minute, segment, key, deltas, features)
        found.append(ranked(selector, view.evidence("all"), arms))

    np.testing.assert_allclose(found[0], found[1], rtol=1e-6, atol=1e-6)


@every_selector
@settings(max_examples=15)
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_only_an_eligible_arm_is_ever_chosen(name: str, data: Any, seed: int):
    selector = SELECTORS[name]()
    evidence = evidence_of(data.draw(histories(ARMS)), selector)
    arms = asked(selector, data.draw(known(ARMS)))
    rng = random.Random(seed)

    for floor in (selector.floor, 1.0):
        choice = choose(score(selector, evidence, arms, seed), arms.eligible, floor, rng)

        assert arms.eligible[choice.arm]


@every_selector
@settings(max_examples=10)
@given(data=st.data())
def test_what_is_not_eligible_does_not_change_who_is_best(name: str, data: Any):
    selector = SELECTORS[name]()
    sums, arms = data.draw(histories(ARMS)), asked(selector, data.draw(known(ARMS)))
    evidence, other = evidence_of(sums, selector), data.draw(known(ARMS))
    mixed = arms._replace(
        speed=np.where(arms.eligible, arms.speed, other.speed),
        cost_usd=np.where(arms.eligible, arms.cost_usd, other.cost_usd),
        penalty=np.where(arms.eligible, arms.penalty, np.inf),
    )

    before, after = (ranked(selector, evidence, found) for found in (arms, mixed))

    if hasattr(selector, "odds"):
        np.testing.assert_allclose(after, before, atol=1e-9)
    else:
        assert after.argmax() == before.argmax()


@every_selector
@settings(max_examples=10)
@given(data=st.data())
def test_its_propensities_sum_to_one_and_leave_no_eligible_arm_out(name: str, data: Any):
    selector = SELECTORS[name]()
    evidence = evidence_of(data.draw(histories(ARMS)), selector)
    arms = asked(selector, data.draw(known(ARMS)))

    chances = propensities(score(selector, evidence, arms), arms.eligible, selector.floor)

    assert chances.sum() == pytest.approx(1.0)
    assert (chances[~arms.eligible] == 0).all()
    if selector.floor:
        assert (chances[arms.eligible] > 0).all()


@every_selector
@pytest.mark.parametrize("n_arms", [1, 10_000])
def test_a_pool_may_have_one_arm_or_ten_thousand(name: str, n_arms: int):
    selector = SELECTORS[name]()
    rng = np.random.default_rng(1)
    sums = np.zeros((len(COLUMNS), n_arms))
    n_calls = rng.integers(0, 50, n_arms)
    sums[[Column.CALLS, Column.OPENED, Column.CLOSED]] = n_calls
    sums[Column.OK] = rng.binomial(n_calls, 0.8)
    eligible = rng.random(n_arms) < 0.5
    eligible[-1] = True
    arms = candidates(n_arms, eligible=eligible, cost_usd=rng.random(n_arms))
    view = View(selector.memory, ["a:m"] * n_arms, n_extra=selector.n_extra)
    evidence = evidence_of(sums)._replace(extra=view.evidence("all").extra)

    scores = score(selector, evidence, asked(selector, arms))

    assert scores.shape == (n_arms,)
    assert eligible[choose(scores, eligible, selector.floor, random.Random(1)).arm]


@every_selector
def test_it_remembers_everything_unless_its_name_says_otherwise(name: str):
    memory = SELECTORS[name]().memory

    if name.startswith("sw-"):
        assert memory.window_s
    elif name.startswith("d-") or name == "round-robin":
        assert memory.half_life_s
    elif name in ("default", "hierarchical"):
        assert memory.adaptive
    elif "," not in name and not memory.adaptive:
        assert memory == ALL


# -- selectors that draw -----------------------------------------------------------------------


@every_sampling_selector
@settings(max_examples=15)
@given(data=st.data())
def test_its_odds_sum_to_one_over_the_eligible(name: str, data: Any):
    selector = sampling(name)
    evidence = evidence_of(data.draw(histories(ARMS)), selector)
    arms = asked(selector, data.draw(known(ARMS)))

    odds = selector.odds(evidence, arms)()

    assert odds.shape == (ARMS,)
    assert odds.sum() == pytest.approx(1.0)
    assert (odds >= 0).all()
    assert (odds[~arms.eligible] == 0).all()


@every_sampling_selector
@settings(max_examples=6)
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_its_draws_are_largest_as_often_as_its_odds_say(name: str, data: Any, seed: int):
    """Many runs at once, so that what runs alone is held to what runs together."""
    selector, n_runs = sampling(name), 20_000
    evidence = evidence_of(data.draw(histories(ARMS)), selector)
    arms = asked(selector, data.draw(known(ARMS)))
    together = evidence_of(np.empty((len(COLUMNS), 1, ARMS)))
    for field in ("n", "mean", "variance", "root_inverse", "trials"):
        setattr(together.total, field, getattr(evidence.total, field)[None].repeat(n_runs, 0))
    if evidence.extra is not None:
        extra = viewed(selector).evidence("all").extra
        assert extra is not None
        for field in ("theta", "inverse"):
            derived = getattr(evidence.extra, field)
            setattr(extra, field, np.broadcast_to(derived, (n_runs, *derived.shape)))
        together = together._replace(extra=extra)

    draws = score(selector, together, arms, seed)
    largest = np.where(arms.eligible, draws, -np.inf).argmax(axis=-1)

    odds = selector.odds(evidence, arms)()
    counts = np.bincount(largest, minlength=ARMS)
    for arm, p in enumerate(odds):
        # Five standard deviations of a binomial, and one arm where hardly any is expected.
        assert abs(counts[arm] - n_runs * p) <= 5 * np.sqrt(n_runs * p * (1 - p)) + 1


@every_sampling_selector
def test_its_odds_are_those_of_the_moment_however_late_they_are_worked_out(name: str):
    selector = sampling(name)
    view = viewed(selector)
    for key, won in zip(KEYS, (9, 8, 7, 5, 1), strict=True):
        view.add(0, "all", key, calls(10, won))
    arms = asked(selector, candidates(ARMS))._replace(
        eligible=np.ones(ARMS, dtype=np.bool_), penalty=np.zeros(ARMS)
    )
    at_once = selector.odds(view.evidence("all"), arms)()
    later = selector.odds(view.evidence("all"), arms)

    view.add(0, "all", KEYS[0], calls(1000, 0))
    arms.penalty[1] = 9.0
    arms.eligible[2] = False

    assert later() == pytest.approx(at_once, abs=1e-12)
