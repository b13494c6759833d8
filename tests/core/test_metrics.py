from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.metrics import ModelMetrics
from orchestrator.core.statistics import COLUMNS, Outcome

OUTCOMES = st.builds(
    Outcome,
    ok=st.booleans(),
    cost_usd=st.floats(0, 10),
    tokens_in=st.integers(0, 10_000),
    tokens_out=st.integers(0, 10_000),
    seconds=st.floats(1e-3, 1e3),
    first_token_s=st.none() | st.floats(1e-3, 1e3),
)


def metrics(outcomes: list[Outcome]) -> ModelMetrics:
    sums = dict.fromkeys(COLUMNS, 0.0)
    for outcome in outcomes:
        for column, delta in outcome.deltas():
            sums[COLUMNS[column]] += delta
    return ModelMetrics.of(sums)


def test_of_a_model_that_was_never_called_nothing_is_known():
    found = metrics([])
    assert (found.calls, found.cost_usd) == (0, 0.0)
    assert {found.success_rate, found.quality, found.latency_p95_s, found.tokens_per_s} == {None}


def test_a_model_that_always_fails_has_a_rate_and_a_cost_but_no_speed():
    found = metrics([Outcome(ok=False, cost_usd=0.5)] * 3)
    assert (found.calls, found.success_rate, found.cost_usd) == (3, 0.0, 1.5)
    assert found.latency_p50_s is found.cost_per_token_usd is found.tokens_per_s is None


def test_percentiles_are_those_of_the_distribution_that_was_seen():
    spread = [math.exp(z) for z in (-1.0, 1.0)]  # logarithms of mean 0 and deviation 1
    found = metrics([Outcome(ok=True, seconds=s, first_token_s=s / 2) for s in spread])
    assert found.latency_p50_s == pytest.approx(1.0)
    assert found.latency_p95_s == pytest.approx(math.exp(1.6448536))
    assert found.first_token_p50_s == pytest.approx(0.5)


@given(st.lists(OUTCOMES, min_size=1, max_size=20))
def test_every_figure_is_in_its_range(outcomes: list[Outcome]):
    found = metrics(outcomes)
    answered = [o for o in outcomes if o.ok]
    assert found.calls == len(outcomes)
    assert found.success_rate == pytest.approx(len(answered) / len(outcomes))
    assert found.cost_usd == pytest.approx(sum(o.cost_usd for o in outcomes))
    if answered:
        seconds = [o.seconds for o in answered]
        assert found.latency_p50_s is not None
        assert found.latency_p95_s is not None
        assert min(seconds) * (1 - 1e-9) <= found.latency_p50_s <= max(seconds) * (1 + 1e-9)
        assert found.latency_p50_s <= found.latency_p95_s
