from __future__ import annotations

import json
from dataclasses import astuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.lifecycle.profile import Profile, Sample

samples = st.lists(
    st.builds(
        Sample,
        latency_s=st.floats(0.001, 100),
        first_token_s=st.none() | st.floats(0.001, 100),
        tokens_out=st.integers(0, 100),
        cost_usd=st.floats(0, 1),
        error=st.none() | st.sampled_from(("timeout", "rate_limit")),
    ),
    min_size=1,
    max_size=20,
)


def test_a_profile_sums_up_its_calls():
    profile = Profile.of(
        "p:a",
        7.0,
        [
            Sample(latency_s=2.0, first_token_s=0.5, tokens_out=10, cost_usd=0.01),
            Sample(latency_s=4.0, first_token_s=1.5, tokens_out=20, cost_usd=0.02),
            Sample(latency_s=90.0, cost_usd=0.005, error="timeout"),
        ],
        memory_bytes=145,
        stopped="max_cost",
    )

    assert profile.calls == 3
    assert profile.success_rate == pytest.approx(2 / 3)
    assert profile.latency_s is not None
    assert astuple(profile.latency_s) == pytest.approx((3.0, 3.0, 3.9, 3.98))
    assert profile.first_token_s is not None
    assert profile.first_token_s.p50 == 1.0
    assert profile.tokens_per_s == 30 / 6.0
    assert profile.tokens_out == 30
    assert profile.cost_usd == pytest.approx(0.035)
    assert profile.errors == (("timeout", 1),)
    told = json.loads(json.dumps(profile.to_dict()))
    assert (told["memory_bytes"], told["errors"]) == (145, {"timeout": 1})
    assert told["latency_s"]["p50"] == 3.0


def test_a_model_that_never_answered_has_no_times():
    profile = Profile.of("p:a", 7.0, [Sample(latency_s=1.0, error="timeout")])

    assert profile.success_rate == 0.0
    assert (profile.latency_s, profile.first_token_s, profile.tokens_per_s) == (None, None, None)


@given(samples)
def test_percentiles_rise_and_lie_among_the_answers(made: list[Sample]):
    profile = Profile.of("p:a", 0.0, made)
    latencies = [sample.latency_s for sample in made if sample.error is None]

    assert 0 <= profile.success_rate <= 1
    assert sum(count for _, count in profile.errors) == len(made) - len(latencies)
    spread = profile.latency_s
    assert (spread is None) == (not latencies)
    if spread is not None:
        tiny = 1e-9
        assert min(latencies) - tiny <= spread.p50 <= spread.p95 + tiny <= spread.p99 + 2 * tiny
        assert spread.p99 <= max(latencies) + tiny
