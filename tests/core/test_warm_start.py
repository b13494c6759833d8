from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import ConfigurationError
from orchestrator.core.warm_start import Seen, WarmStart

SEEN = st.builds(Seen, st.integers(1, 10_000).map(float), st.floats(0, 1))
MODELS = st.dictionaries(
    st.text(max_size=5), st.dictionaries(st.text(max_size=5), SEEN, max_size=4), max_size=4
)
STARTS = st.builds(WarmStart, MODELS, st.floats(0, 1000))


@given(STARTS)
def test_it_is_the_same_after_a_trip_through_json(start: WarmStart):
    assert WarmStart.from_dict(json.loads(json.dumps(start.to_dict()))) == start


@given(STARTS)
def test_a_model_counts_for_its_weight_at_most_and_never_for_more_than_was_seen(start: WarmStart):
    for model, segments in start.models.items():
        believed = start.believed(model)
        total = sum(n for n, _ in segments.values())

        assert sum(n for n, _ in believed.values()) == pytest.approx(min(total, start.weight))
        for segment, (n, mean) in segments.items():
            assert believed[segment].n <= n
            assert believed[segment].mean == mean
            # Segments keep their proportions.
            assert believed[segment].n * total == pytest.approx(n * min(total, start.weight))


def test_nothing_is_believed_of_a_model_that_was_not_seen():
    assert WarmStart({"a": {"code": Seen(3, 0.5)}}).believed("b") == {}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ([], "no warm start"),
        ({"models": {}}, "no warm start .*weight"),
        ({"weight": 1, "models": []}, "no warm start"),
        ({"weight": 1, "models": {"a": {"code": {"n": 1}}}}, "no warm start .*mean"),
        ({"weight": 1, "models": {"a": {"code": {"n": "1", "mean": 0}}}}, "'1' is not a number"),
        ({"weight": True, "models": {}}, "True is not a number"),
        ({"weight": -1, "models": {}}, "weight must be at least 0, not -1"),
        ({"weight": 1, "models": {"a": {"code": {"n": 0, "mean": 0}}}}, "'a' in 'code': n must"),
        ({"weight": 1, "models": {"a": {"code": {"n": 1, "mean": 2}}}}, "and 2"),
    ],
)
def test_what_is_none_is_refused(data: Any, why: str):
    with pytest.raises(ConfigurationError, match=why):
        WarmStart.from_dict(data)
