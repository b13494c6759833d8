from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from orchestrator.analysis.generator import generate_table
from orchestrator.analysis.online import COST_WEIGHTS, baselines, play_online, singles
from orchestrator.analysis.pareto import aiq, static_mix
from orchestrator.analysis.tables import OutcomeTable
from orchestrator.core.errors import InvalidRequestError
from orchestrator.selectors import RandomSelector, UCBModelSelector, make_selector

BEFORE, TABLE = generate_table(3, prompts=1200, models=4, features=2).halves(
    np.random.default_rng(1)
)


def test_each_run_meets_every_prompt_once():
    runs = play_online(UCBModelSelector(), TABLE, weights=(0.0, 0.5), seeds=3)

    met = Counter((weight, seed, prompt) for weight, seed, prompt, _ in runs.choices())
    assert len(met) == 2 * 3 * len(TABLE)
    assert set(met.values()) == {1}


def test_points_are_the_means_of_what_the_choices_brought():
    runs = play_online(UCBModelSelector(), TABLE, weights=(0.0, 0.5), seeds=3)

    rows, arms = ({name: n for n, name in enumerate(names)} for names in _names(TABLE))
    brought: dict[tuple[float, int], list[tuple[float, float]]] = {}
    for weight, seed, prompt, model in runs.choices():
        where = rows[prompt], arms[model]
        brought.setdefault((weight, seed), []).append((TABLE.cost_usd[where], TABLE.quality[where]))
    for (weight, seed), pairs in brought.items():
        point = runs.points()[runs.weights.index(weight), seed]
        assert point == pytest.approx(np.mean(pairs, axis=0))


def _names(table: OutcomeTable) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return table.prompt_ids, table.models


def test_what_was_known_before_beats_a_random_mix_of_fixed_models():
    points = play_online(make_selector("default"), TABLE, prior=BEFORE).points().mean(axis=1)

    assert aiq(points, singles(TABLE)) > static_mix(singles(TABLE)).aiq + 0.02
    assert np.all(np.diff(points[[0, 4, 9], 0]) < 0)
    assert len(COST_WEIGHTS) == len(points)


def test_a_task_that_is_not_to_come_tells_of_the_models_all_the_same():
    elsewhere, here = _only(BEFORE, 0), _only(TABLE, 1)
    greedy = UCBModelSelector(exploration_factor=0.0, floor=0.0)

    runs = play_online(greedy, here, prior=elsewhere, weights=(0.0,), seeds=3)

    assert np.all(runs.arms[0] == elsewhere.quality.mean(axis=0).argmax())


def _only(table: OutcomeTable, task: int) -> OutcomeTable:
    """Return the prompts of one task, as a table that has heard of no other."""
    part = table.take(np.flatnonzero(table.task == task))
    return replace(part, tasks=(table.tasks[task],), task=np.zeros_like(part.task))


def test_the_floor_of_a_selector_is_part_of_the_run():
    greedy, blind = (
        play_online(
            UCBModelSelector(exploration_factor=0.0, floor=floor),
            *(TABLE,),
            prior=BEFORE,
            weights=(0.0,),
        ).points()[..., 1]
        for floor in (0.0, 1.0)
    )

    assert greedy.mean() > baselines(TABLE).random + 0.1
    assert blind.mean() == pytest.approx(baselines(TABLE).random, abs=0.02)


def test_the_same_seed_plays_the_same_runs():
    first, second, other = (
        play_online(UCBModelSelector(), TABLE, weights=(0.1,), seeds=2, seed=seed)
        for seed in (1, 1, 2)
    )

    assert [*first.choices()] == [*second.choices()] != [*other.choices()]


def test_a_selector_that_learns_from_features_gets_those_of_the_table():
    selector = make_selector("lin-ucb", {"n_features": 2})

    points = play_online(selector, TABLE, weights=(0.0,), seeds=2).points()

    assert points[..., 1].mean() > baselines(TABLE).random + 0.1


def test_baselines_are_as_worked_out_by_hand():
    table = OutcomeTable(
        models=("a", "b", "c"),
        prompt_ids=("p", "q"),
        tasks=("t",),
        task=np.zeros(2, dtype=np.intp),
        quality=np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5]]),
        cost_usd=np.array([[3.0, 2.0, 5.0], [1.0, 1.0, 5.0]]),
    )

    found = baselines(table)

    assert (found.oracle, found.best_single, found.random) == (1.0, 0.5, 0.5)
    assert (found.best_model, found.best_cost_usd) == ("b", 1.5)
    assert singles(table).tolist() == [[2.0, 0.5], [1.5, 0.5], [5.0, 0.5]]


def test_a_prior_of_other_models_is_refused():
    with pytest.raises(InvalidRequestError, match="the same models"):
        play_online(RandomSelector(), TABLE, prior=generate_table(1, models=3))
