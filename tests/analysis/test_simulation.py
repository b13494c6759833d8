"""What is simulated is what serves: the same decisions as one view makes, draw by draw."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest

from orchestrator.analysis.environments import Bernoulli
from orchestrator.analysis.generator import generate_table
from orchestrator.analysis.problems import problem
from orchestrator.analysis.simulation import simulate
from orchestrator.analysis.table_replay import TableReplay
from orchestrator.core.errors import ConfigurationError, InvalidRequestError
from orchestrator.core.estimates import FloatArray
from orchestrator.core.selector import Candidates, Selector
from orchestrator.core.statistics import Column, Outcome
from orchestrator.core.views import ALL, Evidence, Memory, View
from orchestrator.selectors import (
    LinUCBSelector,
    ModelSelector,
    PrioritySelector,
    UCBModelSelector,
    choose,
)
from orchestrator.selectors.hierarchical import HierarchicalSelector
from tests.analysis.scripted import Noting, Scripted, scripted

HORIZON, RUNS = 150, 3
CLOSE = 1e-7
"""An index that is solved for need not be solved in as many steps alone as among others."""
WINDOW, HALF_LIFE = Memory(window_s=60), Memory(half_life_s=30)


class Sampling:
    """Draws of what each arm may be: normal, around the estimates of the round's segment."""

    name: ClassVar[str] = "sampling"
    segmented: ClassVar[bool] = True
    n_extra: int = 0
    floor: float = 0.0

    def __init__(self, memory: Memory = ALL) -> None:
        self.memory = memory

    def scores(
        self, evidence: Evidence, candidates: Candidates, rng: np.random.Generator
    ) -> FloatArray:
        assert evidence.segment is not None
        segment, total = evidence.segment, evidence.total
        draws = rng.normal(size=total.mean.shape) * total.root_inverse
        return segment.mean + draws * np.sqrt(segment.variance)


SELECTORS: dict[str, Callable[..., Selector]] = {
    "ucb1": lambda m: UCBModelSelector(index="ucb1", min_trials=1, floor=0.0, memory=m),
    "ucb-tuned": lambda m: UCBModelSelector(min_trials=2, floor=0.0, memory=m),
    "kl-ucb": lambda m: UCBModelSelector(index="kl", min_trials=1, floor=0.0, memory=m),
    "sampling": Sampling,
    "lin-ucb": lambda m: LinUCBSelector(n_features=2, floor=0.0, memory=m),
    "hierarchical": lambda m: HierarchicalSelector(min_trials=1, floor=0.0, memory=m),
}


def one_by_one(
    selector: Selector, script: Scripted, run: int, arms: list[int], draws: np.random.Generator
) -> list[FloatArray]:
    """Let a view live through one run, pulling what the run pulled; return scores per round.

    A round is a minute here, the bucket in which a view remembers.
    """
    memory = selector.memory
    for span in ("window_s", "half_life_s"):
        rounds = getattr(memory, span)
        if rounds is not None:
            memory = replace(memory, **{span: rounds * 60})
    view = View(memory, script.arms, segmented=selector.segmented, n_extra=selector.n_extra)
    view.rate_quality()
    alone = Candidates(*(array[0] for array in script.candidates(0)[:7]))
    told = script.features[:, run] if selector.n_extra else [None] * len(arms)
    scores = []
    view.advance(1)
    for t, arm in enumerate(arms):
        segment = str(script.segment[t, run])
        known = alone._replace(features=told[t])
        if memory.adaptive:  # with the round, its bucket ends
            view.advance(t + 1)
        scores.append(selector.scores(view.evidence(segment), known, draws))
        view.advance(t + 1)
        view.open(t + 1, segment, arm)
        seen = t - script.delay
        if seen >= 0:
            reward = script.rewards[seen, run, arms[seen]]
            quality = [
                (Column.N_QUALITY, 1.0),
                (Column.QUALITY, reward),
                (Column.QUALITY_SQ, reward * reward),
            ]
            outcome = Outcome(True).deltas() + quality
            key, segment = script.arms[arms[seen]], str(script.segment[seen, run])
            view.add(seen + 1, segment, key, outcome, told[seen])
    return scores


@pytest.mark.parametrize(
    ("name", "memory", "delay"),
    [
        *(
            # A reward may come when its pull has just left the window.
            pytest.param("ucb1", WINDOW, delay, id=f"ucb1-window-{delay}")
            for delay in (59, 60, 61)
        ),
        *(
            pytest.param(name, memory, delay, id=f"{name}-{kind}-{delay}")
            for delay in (0, 7)
            for kind, memory in (("all", ALL), ("window", WINDOW), ("half-life", HALF_LIFE))
            for name in SELECTORS
            # Regressions do not fade in a simulation.
            if (name, kind) != ("lin-ucb", "half-life")
        ),
    ],
)
def test_every_decision_is_the_one_that_serving_code_makes(name: str, memory: Memory, delay: int):
    runs = 1 if name == "sampling" else RUNS  # a batch draws for all runs at once
    script = scripted(5, horizon=HORIZON, runs=runs, delay=delay)
    selector = Noting(SELECTORS[name](memory))

    trace = simulate(selector.as_selector(), script, horizon=HORIZON, runs=runs, seed=3)

    for run in range(runs):
        arms = trace.arms[:, run].tolist()
        draws = np.random.Generator(np.random.SFC64([3, 1]))
        served = one_by_one(SELECTORS[name](memory), script, run, arms, draws)
        for t, (one, many) in enumerate(zip(served, selector.noted, strict=True)):
            best = one.max()
            assert one[arms[t]] == pytest.approx(best, abs=CLOSE), f"round {t} of run {run}"
            if name != "kl-ucb":  # of one run's KL-UCB only the best arm's score is exact
                np.testing.assert_allclose(many[run], one, rtol=0, atol=CLOSE)
            if np.count_nonzero(one > best - CLOSE) == 1:
                every = np.ones(one.shape, dtype=np.bool_)
                assert choose(one, every, 0.0, random.Random(1)).arm == arms[t]


@pytest.mark.parametrize("delay", [0, 7])
@pytest.mark.parametrize("name", ["ucb-tuned", "hierarchical"])
def test_arms_that_change_are_seen_to_change_as_they_are_when_serving(name: str, delay: int):
    script = scripted(6, horizon=400, runs=2, delay=delay)
    script.rewards[:200, :, 0], script.rewards[200:, :, 0] = 1.0, 0.0
    selectors = [Noting(SELECTORS[name](memory)) for memory in (Memory(adaptive=True), ALL)]

    traces = [
        simulate(selector.as_selector(), script, horizon=400, runs=2, seed=3)
        for selector in selectors
    ]

    for run in range(2):
        arms = traces[0].arms[:, run].tolist()
        adaptive = SELECTORS[name](Memory(adaptive=True))
        served = one_by_one(adaptive, script, run, arms, np.random.default_rng(1))
        for one, many in zip(served, selectors[0].noted, strict=True):
            np.testing.assert_allclose(many[run], one, rtol=0, atol=CLOSE)
    lost = [np.mean(trace.arms[200:] == 0) for trace in traces]
    assert lost[0] < lost[1] / 2, "nothing was seen to change"


def tuned(**options: Any) -> UCBModelSelector:
    return UCBModelSelector(**{"min_trials": 1, "floor": 0.0, **options})


def test_the_same_seed_gives_the_same_numbers_and_another_gives_others():
    def pulls(seed: int) -> Any:
        return simulate(tuned(), problem("F"), horizon=300, runs=5, seed=seed).arms

    assert np.array_equal(pulls(1), pulls(1))
    assert not np.array_equal(pulls(1), pulls(2))


def test_every_selector_meets_the_same_luck():
    seen = []
    for selector in (tuned(), tuned(index="ucb1"), PrioritySelector()):
        trace = simulate(selector, problem("A"), horizon=50, runs=4, seed=9)
        seen.append([trace.episode.reveal(t, np.zeros(4, dtype=int)).tolist() for t in range(9)])

    assert seen[0] == seen[1] == seen[2]


def test_a_delayed_reward_is_not_known_before_it_is_seen():
    script = scripted(1, horizon=60, runs=2, delay=40)
    blind = replace(script, rewards=np.zeros_like(script.rewards))

    one = simulate(tuned(), script, horizon=60, runs=2, seed=1)
    other = simulate(tuned(), blind, horizon=60, runs=2, seed=1)

    assert np.array_equal(one.arms[:41], other.arms[:41])
    assert not np.array_equal(one.arms, other.arms)


def test_pending_pulls_keep_a_delayed_selector_from_pulling_one_arm_only():
    trace = simulate(tuned(), problem("F", delay=500), horizon=400, runs=3, seed=1)

    counts = [np.bincount(trace.arms[:, run], minlength=6) for run in range(3)]
    assert np.ptp(counts) <= 1


def test_a_window_forgets_what_lies_before_it():
    script = scripted(2, horizon=200, runs=4)
    other = replace(script, rewards=script.rewards.copy())
    other.rewards[:60] = 1 - other.rewards[:60]
    forced = [tuned(memory=WINDOW, exploration_factor=0.0, min_trials=0) for _ in range(2)]
    noting = [Noting(selector) for selector in forced]
    for selector, told in zip(noting, (script, other), strict=True):
        simulate(Pinned(selector).as_selector(), told, horizon=200, runs=4, seed=1)

    pairs = zip(noting[0].noted, noting[1].noted, strict=True)
    same = [np.allclose(one, other, atol=1e-9) for one, other in pairs]
    assert not any(same[1:120:10])
    assert all(same[120:])


class Pinned(Noting):
    """Pulls the arms in turn, whatever they score."""

    def scores(self, evidence: Evidence, candidates: Candidates, rng: Any) -> FloatArray:
        scores: FloatArray = super().scores(evidence, candidates, rng)
        turn = np.arange(scores.shape[1]) == len(self.noted) % scores.shape[1]
        return np.where(turn, 1.0, np.zeros_like(scores))


def test_a_floor_pulls_every_arm():
    trace = simulate(tuned(floor=0.3), Bernoulli([1.0, 0.0, 0.0]), horizon=2000, runs=4, seed=1)

    assert np.bincount(trace.arms.ravel())[1:].min() / trace.arms.size > 0.3 / 3 * 0.8


def test_progress_is_told_after_every_round():
    told: list[int] = []
    simulate(tuned(), problem("A"), horizon=4, runs=1, seed=1, on_round=told.append)

    assert told == [1, 2, 3, 4]


@pytest.mark.parametrize("wrong", ["horizon", "runs"])
def test_nothing_to_play_is_an_error(wrong: str):
    settings: dict[str, Any] = {"horizon": 1, "runs": 1, wrong: 0}

    with pytest.raises(InvalidRequestError, match=f"{wrong} must be at least 1, not 0"):
        simulate(tuned(), problem("A"), seed=1, **settings)


def test_more_than_a_billion_pulls_are_refused_before_any():
    with pytest.raises(InvalidRequestError, match="1000000 rounds of 1001 runs"):
        simulate(tuned(), problem("A"), horizon=1_000_000, runs=1_001, seed=1)


def test_scores_that_are_no_numbers_end_a_simulation():
    class Broken(Sampling):
        def scores(self, evidence: Evidence, candidates: Candidates, rng: Any) -> FloatArray:
            return np.full(evidence.total.mean.shape, np.nan)

    with pytest.raises(ConfigurationError, match="scores are not numbers"):
        simulate(Broken(), problem("A"), horizon=1, runs=1, seed=1)


def test_regressions_neither_fade_nor_begin_with_what_was_seen():
    table = generate_table(1, prompts=10, features=2)
    fading, knowing = LinUCBSelector(n_features=2, memory=HALF_LIFE), LinUCBSelector(n_features=2)

    for selector, environment in (
        (fading, TableReplay(table)),
        (knowing, TableReplay(table, prior=table)),
    ):
        with pytest.raises(ConfigurationError, match="learns from features"):
            simulate(selector, environment, horizon=5, runs=1, seed=1)


def test_a_selector_that_keeps_what_it_learns_cannot_be_simulated():
    class Own(ModelSelector):
        def select(self, models: Any, context: Any) -> str:
            return str(models[0])

    with pytest.raises(ConfigurationError, match="'Own' keeps by itself what it learns"):
        simulate(Own(), problem("A"), horizon=1, runs=1, seed=1)
