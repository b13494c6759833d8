from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from orchestrator.analysis.generator import generate_table
from orchestrator.analysis.ope import evaluate
from orchestrator.analysis.rejection import MIN_KEPT, kept_by_rejection, value_by_replay
from orchestrator.analysis.replay import decide_again
from orchestrator.core.objective import Objective
from orchestrator.selectors import UCBModelSelector
from tests.analysis.logged import START, entry, gathered, logged

TABLE = generate_table(2, prompts=3000, models=3, tasks=2)
LOG = logged(TABLE, (0.5, 0.3, 0.2))
GREEDY = UCBModelSelector(exploration_factor=0.0, min_trials=0, floor=0.0)


def test_what_is_kept_is_chosen_as_the_selector_chooses():
    target = np.tile((0.1, 0.1, 0.8), (len(LOG), 1))

    kept = kept_by_rejection(LOG, target, np.random.default_rng(1))

    # Kept with weight over largest weight, which is 0.8 / 0.2: a quarter of the log.
    n = len(LOG) / 4
    assert len(kept) == pytest.approx(n, abs=4 * np.sqrt(n))
    shares = np.bincount(LOG.arm[kept]) / len(kept)
    margins = 4 * np.sqrt(target[0] * (1 - target[0]) / len(kept))
    assert np.all(np.abs(shares - target[0]) < margins)


def test_of_a_log_with_equal_odds_what_agrees_is_kept():
    log = logged(TABLE, (1 / 3,) * 3)
    target = decide_again(log, GREEDY)

    kept = kept_by_rejection(log, target, np.random.default_rng(1))

    agreeing = np.flatnonzero(target[np.arange(len(log)), log.arm] == 1.0)
    assert kept.tolist() == agreeing.tolist()


@pytest.mark.parametrize("metric", ["quality", "cost_usd"])
def test_a_value_is_near_what_the_table_says(metric: Any):
    target = decide_again(LOG, UCBModelSelector(floor=0.0), Objective(cost_weight=0.0))
    kept = kept_by_rejection(LOG, target, np.random.default_rng(1))

    found = value_by_replay(LOG, target, metric, kept)

    truth = (target * getattr(TABLE, metric)).sum(axis=1).mean()
    assert (found.by, found.refused, found.kept) == ("rejection", None, len(kept))
    assert found.value == pytest.approx(truth, abs=4 * found.standard_error)
    rewards, rows = LOG.rewards(metric)
    estimated = evaluate(rewards, target[rows], "dr")
    assert estimated.value == pytest.approx(truth, abs=4 * estimated.standard_error)


def test_where_too_little_is_kept_the_models_means_speak():
    target = np.tile((0.0, 0.0, 1.0), (len(LOG), 1))
    few = np.arange(MIN_KEPT - 1)

    found = value_by_replay(LOG, target, "quality", few)

    assert found.by == "dm"
    assert found.refused == "49 decisions were kept, fewer than 50"
    rewards, _ = LOG.rewards("quality")
    assert found.value == evaluate(rewards, target, "dm").value


def test_where_the_log_never_did_what_the_selector_does_nothing_is_kept_of_it():
    entries = [entry(wall=START + n, propensity=1.0) for n in range(200)]
    log, target = gathered(*entries), np.tile((0.5, 0.5), (200, 1))
    kept = kept_by_rejection(log, target, np.random.default_rng(1))

    found = value_by_replay(log, target, "quality", kept)

    assert (len(kept), found.by) == (200, "dm")
    assert found.refused == "the log can show only 50% of what the selector does"


def test_nothing_is_kept_of_a_log_with_which_the_selector_never_agrees():
    log, target = gathered(entry(), entry()), np.tile((0.0, 1.0), (2, 1))

    assert not kept_by_rejection(log, target, np.random.default_rng(1)).size
