from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from orchestrator.analysis.generator import generate_table
from orchestrator.analysis.simulation import Trace, simulate
from orchestrator.analysis.table_replay import TableEpisode, TableReplay
from orchestrator.core.errors import InvalidRequestError
from orchestrator.selectors import UCBModelSelector

TABLE, BEFORE = generate_table(5, prompts=800, models=4, features=3).halves(
    np.random.default_rng(1)
)
GREEDY = UCBModelSelector(exploration_factor=0.0, min_trials=0, floor=0.0)


def begun(environment: TableReplay, runs: int = 2) -> TableEpisode:
    return environment.episode(len(environment.table), runs, np.random.default_rng(1))


def played(environment: TableReplay, runs: int = 4, **options: Any) -> tuple[Trace, TableEpisode]:
    selector = UCBModelSelector(**{"min_trials": 1, "floor": 0.0, **options})
    horizon = len(environment.table)
    trace = simulate(selector, environment, horizon=horizon, runs=runs, seed=1)
    assert isinstance(trace.episode, TableEpisode)
    return trace, trace.episode


def test_every_run_meets_every_prompt_once_in_an_order_of_its_own():
    prompts = begun(TableReplay(TABLE)).prompts

    assert np.array_equal(np.sort(prompts, axis=0)[:, 0], np.arange(len(TABLE)))
    assert not np.array_equal(prompts[:, 0], prompts[:, 1])


def test_a_pull_earns_what_the_table_says():
    episode = begun(TableReplay(TABLE))
    arms = np.array([1, 3])

    assert episode.reveal(0, arms).tolist() == TABLE.quality[episode.prompts[0], arms].tolist()
    features, segments = episode.candidates(0).features, episode.segments(0)
    assert TABLE.features is not None
    assert features is not None
    assert segments is not None
    assert features.tolist() == TABLE.features[episode.prompts[0]].tolist()
    assert segments.tolist() == TABLE.task[episode.prompts[0]].tolist()


def test_where_all_models_are_free_only_quality_counts():
    free = replace(TABLE, cost_usd=np.zeros_like(TABLE.cost_usd))

    weighed = played(TableReplay(free, cost_weight=2.0, prior=BEFORE))
    unweighed = played(TableReplay(free, cost_weight=0.0, prior=BEFORE))

    assert weighed[0].arms.tolist() == unweighed[0].arms.tolist()
    gaps = weighed[1].gaps(0, weighed[0].arms)
    assert gaps.tolist() == unweighed[1].gaps(0, unweighed[0].arms).tolist()


def test_a_cost_is_unknown_until_it_was_seen_and_then_that_of_its_task():
    episode = begun(TableReplay(TABLE, cost_weight=1.0), runs=1)
    assert np.isnan(episode.candidates(0).cost_usd).all()
    assert not episode.candidates(0).penalty.any()

    for t in range(len(TABLE)):
        episode.reveal(t, np.array([t % 2]))

    candidates = episode.candidates(7)
    (task,) = TABLE.task[episode.prompts[7]]
    paid = [
        (TABLE.task[prompt], arm, TABLE.cost_usd[prompt, arm])
        for t, prompt in enumerate(episode.prompts[:, 0])
        for arm in (t % 2,)
    ]
    for arm in (0, 1):
        of_task = [usd for kind, pulled, usd in paid if (kind, pulled) == (task, arm)]
        of_arm = [usd for _, pulled, usd in paid if pulled == arm]
        wanted = (sum(of_task) + 8 * np.mean(of_arm)) / (len(of_task) + 8)
        assert candidates.cost_usd[0, arm] == pytest.approx(wanted)
        dearest = TABLE.cost_usd.mean(axis=0).max()
        assert candidates.penalty[0, arm] == pytest.approx(wanted / dearest)
    assert np.isnan(candidates.cost_usd[0, 2:]).all()


def test_the_dearer_quality_is_weighed_against_cost_the_less_is_spent():
    trace, episode = played(TableReplay(TABLE, cost_weight=[0.0, 0.3, 3.0], prior=BEFORE), runs=3)

    quality, cost_usd = episode.outcomes(trace.arms)

    assert np.all(np.diff(cost_usd) < 0)
    assert np.all(np.diff(quality) < 0)


def test_outcomes_are_the_means_of_what_was_pulled():
    trace, episode = played(TableReplay(TABLE))

    quality, cost_usd = episode.outcomes(trace.arms[:10])

    pulled = [(episode.prompts[t, 2], trace.arms[t, 2]) for t in range(10)]
    assert quality[2] == pytest.approx(np.mean([TABLE.quality[pull] for pull in pulled]))
    assert cost_usd[2] == pytest.approx(np.mean([TABLE.cost_usd[pull] for pull in pulled]))


def test_a_gap_is_measured_against_the_best_arm_of_the_task():
    weights = np.array([0.0, 0.5])
    episode = begun(TableReplay(TABLE, cost_weight=weights))
    dearest = TABLE.cost_usd.mean(axis=0).max()

    gaps = np.stack([episode.gaps(3, np.full((5, 2), arm)) for arm in range(4)], axis=-1)

    assert np.all(gaps.min(axis=-1) == 0)
    for run, weight in enumerate(weights):
        of_task = TABLE.task == TABLE.task[episode.prompts[4, run]]
        quality, cost_usd = TABLE.quality[of_task], TABLE.cost_usd[of_task]
        utility = (quality - weight * cost_usd / dearest).mean(axis=0)
        assert gaps[1, run] == pytest.approx(utility.max() - utility)


def test_what_was_seen_before_is_kept_as_sums_by_task():
    graded = replace(BEFORE, quality=0.3 + 0.5 * BEFORE.quality)

    seen = TableReplay(TABLE, prior=graded).seen

    assert seen is not None
    for task in range(len(TABLE.tasks)):
        quality = graded.quality[graded.task == task]
        assert seen.n[task].tolist() == [len(quality)] * 4
        assert seen.quality[task] == pytest.approx(quality.sum(axis=0))
        assert seen.quality_sq[task] == pytest.approx((quality**2).sum(axis=0))
        wanted = graded.cost_usd[graded.task == task].sum(axis=0)
        assert seen.cost_usd[task] == pytest.approx(wanted)


def test_whoever_has_seen_other_prompts_begins_with_their_best_arm():
    environment = TableReplay(TABLE, prior=BEFORE, prior_weight=2.0)

    trace = simulate(GREEDY, environment, horizon=1, runs=5, seed=1)

    assert environment.seen is not None
    assert environment.seen.n.sum() == 2 * BEFORE.quality.size
    assert environment.seen.quality.sum(axis=0) == pytest.approx(2 * BEFORE.quality.sum(axis=0))
    assert np.all(trace.arms == BEFORE.quality.mean(axis=0).argmax())


def test_tasks_are_matched_by_name_and_unknown_ones_left_out():
    math_first = generate_table(1, prompts=30, models=4, tasks=2)
    (other,) = {"task-001"}
    only = TABLE.take(np.flatnonzero(TABLE.task == TABLE.tasks.index(other)))

    renamed = TableReplay(only.take([0]), prior=math_first)

    assert renamed.seen is not None
    position = only.tasks.index(other)
    of_task = math_first.task == math_first.tasks.index(other)
    wanted = math_first.quality[of_task].sum(axis=0)
    assert renamed.seen.quality[position].tolist() == wanted.tolist()
    assert renamed.seen.n[2:].sum() == 0


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"cost_weight": -1.0}, "cost weights"),
        ({"cost_weight": [[1.0]]}, "cost weights"),
        ({"delay": -1}, "a delay"),
        ({"prior": generate_table(1, models=3)}, "the same models"),
        ({"prior": BEFORE, "prior_weight": -1.0}, "a weight"),
    ],
)
def test_a_replay_that_cannot_be_is_refused(settings: dict[str, Any], told: str):
    with pytest.raises(InvalidRequestError, match=told):
        TableReplay(TABLE, **settings)


def test_a_replay_ends_with_its_prompts():
    with pytest.raises(InvalidRequestError, match="801 rounds are more than the table's 400"):
        simulate(GREEDY, TableReplay(TABLE), horizon=801, runs=1, seed=1)
    with pytest.raises(InvalidRequestError, match="3 cost weights do not fit 2 runs"):
        simulate(GREEDY, TableReplay(TABLE, cost_weight=[0, 1, 2]), horizon=1, runs=2, seed=1)
