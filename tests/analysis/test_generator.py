from __future__ import annotations

import numpy as np
import pytest

from orchestrator.analysis.generator import generate_table
from orchestrator.core.errors import InvalidRequestError

TABLE = generate_table(1, prompts=4000, models=6, tasks=4, features=8)


def test_dearer_models_cost_more_and_are_better_on_the_whole():
    assert np.all(np.diff(TABLE.cost_usd.mean(axis=0)) > 0)
    ranks = [generate_table(seed).quality.mean(axis=0) for seed in range(30)]
    assert np.all(np.mean(ranks, axis=0)[-1] > np.mean(ranks, axis=0)[:-1])


def test_the_best_model_differs_from_task_to_task():
    best = {
        generate_table(seed).quality[generate_table(seed).task == task].mean(axis=0).argmax()
        for seed in range(5)
        for task in range(4)
    }

    assert len(best) > 1


def test_features_tell_what_a_prompt_is_like():
    assert TABLE.features is not None
    design = np.column_stack([np.ones(len(TABLE)), TABLE.features])
    right = TABLE.quality.mean(axis=1)
    fitted = design @ np.linalg.lstsq(design, right)[0]

    assert np.corrcoef(fitted, right)[0, 1] > 0.3


def test_times_and_costs_are_those_of_calls():
    assert TABLE.latency_ms is not None
    assert np.all(TABLE.latency_ms > 0)
    assert np.all(TABLE.cost_usd > 0)
    assert {*np.unique(TABLE.quality)} == {0.0, 1.0}


def test_the_seed_is_all_that_decides():
    again, other = generate_table(1, prompts=50), generate_table(2, prompts=50)

    assert np.array_equal(again.quality, generate_table(1, prompts=50).quality)
    assert not np.array_equal(again.quality, other.quality)


@pytest.mark.parametrize("wrong", ["prompts", "models", "tasks"])
def test_a_table_has_at_least_one_of_each(wrong: str):
    with pytest.raises(InvalidRequestError, match=f"{wrong} must be at least 1, not 0"):
        generate_table(1, **{wrong: 0})

    smallest = generate_table(1, prompts=1, models=1, tasks=1, features=1)
    assert smallest.quality.shape == (1, 1)
