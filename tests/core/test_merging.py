"""Nodes that hear of each other late, twice, in any order or not at all end up knowing the same."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from orchestrator.analysis.environments import Bernoulli
from orchestrator.analysis.fleet import FleetTrace, Network, simulate_fleet
from orchestrator.core.errors import InvalidRequestError
from orchestrator.core.statistics import COLUMNS, Column
from orchestrator.selectors import UCBModelSelector

COUNTS = [
    column
    for column, name in enumerate(COLUMNS)
    if name in {"calls", "ok", "n_quality", "tokens_in", "tokens_out", "opened", "closed"}
]
ARMS = Bernoulli((0.88, 0.86, 0.83, 0.78, 0.7, 0.55))
ROUNDS = 2_000


def fleet(*, every_s: float = 5.0, nodes: int = 8, seed: int = 0, **network: Any) -> FleetTrace:
    """Play 200 seconds, so that minutes end while messages are under way."""
    return simulate_fleet(
        UCBModelSelector(min_trials=1),
        ARMS,
        nodes=nodes,
        network=Network(every_s, **network),
        horizon=ROUNDS,
        seed=seed,
    )


@pytest.mark.parametrize("every_s", [1.0, 5.0, 60.0])
def test_eight_nodes_end_up_knowing_what_one_node_would(every_s: float):
    trace = fleet(every_s=every_s, lost=0.2, late=0.2, again=0.3)
    whole = trace.one.totals()

    assert sum(sums[Column.CALLS] for sums in whole.values()) == ROUNDS
    for node in trace.nodes:
        found = node.totals()
        assert found.keys() == whole.keys()
        for place, sums in whole.items():
            assert [found[place][c] for c in COUNTS] == [sums[c] for c in COUNTS]
            np.testing.assert_allclose(found[place], sums, rtol=1e-9, atol=0)


def test_what_selectors_read_is_the_same_on_every_node():
    first, *others = fleet(lost=0.2, late=0.2, again=0.3).views

    for view in others:
        for name in ("n", "mean", "variance", "root_inverse", "trials", "pulls", "seconds"):
            expected = getattr(first.total, name)
            np.testing.assert_allclose(getattr(view.total, name), expected, rtol=1e-9, atol=1e-12)


def test_nodes_learn_from_each_other_before_the_end():
    alone = fleet(every_s=math.inf)
    together = fleet(every_s=1.0)

    # Whoever hears nothing has to try every arm by itself; the seed makes this no matter of luck.
    assert together.regret[-1] < alone.regret[-1]


def test_a_seed_replays_exactly_and_another_does_not():
    assert np.array_equal(fleet().arms, fleet().arms)
    assert not np.array_equal(fleet().arms, fleet(seed=1).arms)


@pytest.mark.parametrize(
    "settings", [{"every_s": 0.0}, {"lost": 1.1}, {"late": float("nan")}, {"again": -0.1}]
)
def test_a_network_out_of_range_is_refused(settings: dict[str, Any]):
    (name,) = settings

    with pytest.raises(InvalidRequestError, match=name):
        fleet(**settings)


def test_a_fleet_without_nodes_or_with_answers_that_come_late_is_refused():
    late = Bernoulli((0.5, 0.6), delay=1)

    with pytest.raises(InvalidRequestError, match="nothing to play"):
        fleet(nodes=0)
    with pytest.raises(InvalidRequestError, match="at once"):
        simulate_fleet(UCBModelSelector(), late, nodes=1, network=Network(1.0), horizon=1, seed=0)
