"""Nodes that hear of each other late, twice, in any order or not at all end up knowing the same."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from orchestrator.analysis.environments import Bernoulli
from orchestrator.analysis.fleet import FleetTrace, Network, simulate_fleet
from orchestrator.core.errors import InvalidRequestError
from orchestrator.core.regressions import Regressions, kind_of
from orchestrator.core.selector import Selector
from orchestrator.core.statistics import COLUMNS, Column
from orchestrator.core.views import View
from orchestrator.selectors import LinUCBSelector, UCBModelSelector

COUNTS = [
    column
    for column, name in enumerate(COLUMNS)
    if name in {"calls", "ok", "n_quality", "tokens_in", "tokens_out", "opened", "closed"}
]
ARMS = Bernoulli((0.88, 0.86, 0.83, 0.78, 0.7, 0.55))
ROUNDS = 2_000


UCB = UCBModelSelector(min_trials=1)
LINEAR = LinUCBSelector(4)


def fleet(
    *,
    selector: Selector = UCB,
    every_s: float = 5.0,
    nodes: int = 8,
    seed: int = 0,
    per_second: float = 10.0,
    **network: Any,
) -> FleetTrace:
    """Play 200 seconds, so that minutes end while messages are under way."""
    return simulate_fleet(
        selector,
        ARMS,
        nodes=nodes,
        network=Network(every_s, **network),
        horizon=ROUNDS,
        seed=seed,
        per_second=per_second,
    )


def regressions_of(view: View) -> Regressions:
    found = view.evidence("all").extra
    assert found is not None
    return found


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


@pytest.mark.parametrize("every_s", [5.0, 600.0])
def test_eight_nodes_end_up_with_the_regressions_of_one(every_s: float):
    """Over five hours and a half, so that rows end while messages are under way."""
    trace = fleet(selector=LINEAR, every_s=every_s, per_second=0.1, lost=0.2, late=0.2, again=0.3)
    alone = View(LINEAR.memory, ARMS.arms, n_extra=LINEAR.n_extra)
    alone.rate_quality()
    alone.replay((row_id, row.sums) for row_id, row in trace.one.rows())
    one = regressions_of(alone)

    assert len({i.start for i, _ in trace.one.rows() if i.segment == kind_of(4)}) == 6
    for view in trace.views:
        np.testing.assert_allclose(regressions_of(view).theta, one.theta, rtol=0, atol=1e-9)
        np.testing.assert_allclose(regressions_of(view).inverse, one.inverse, rtol=0, atol=1e-9)


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
