from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.decisions import Decision
from orchestrator.core.errors import ConfigurationError
from orchestrator.core.requirements import ANYTHING
from orchestrator.engine.decision_log import DecisionLog, Remembered

MINUTE = 29_000_000
DAY = 1440


def decision(
    sequence: int, minute: int = MINUTE, key: str = "a:m", segment: str = "all"
) -> Decision:
    return Decision(
        node="n",
        bucket=minute,
        sequence=sequence,
        request_id="r",
        keys=(key,),
        arm=0,
        selector="s",
        greedy=True,
        floor=0.0,
        scores=np.zeros(1),
        eligible=np.ones(1, dtype=np.bool_),
        segment=segment,
        requirements=ANYTHING,
        cost_usd=None,
        attempt=1,
        refused={},
    )


def filled(n: int, limit: int = 100, whole: int = 256) -> DecisionLog:
    log = DecisionLog(limit, whole)
    for sequence in range(n):
        log.append(decision(sequence, MINUTE + sequence, f"a:m{sequence % 3}", f"s{sequence % 2}"))
    return log


def test_a_decision_is_remembered_as_it_was():
    log = filled(4)

    assert log.find(2, MINUTE + 5) == Remembered(MINUTE + 2, "s0", "a:m2", False, None)


@given(st.integers(1, 50), st.integers(0, 3000))
def test_the_last_ones_are_remembered_and_no_others(limit: int, n: int):
    log = DecisionLog(limit)
    for sequence in range(n):
        log.append(decision(sequence))

    for sequence in {0, n - limit - 1, n - limit, n - 1, n, n + limit}:
        known = log.find(sequence, MINUTE) is not None
        assert known == (max(n - limit, 0) <= sequence < n)


def test_after_a_day_a_decision_is_forgotten():
    log = filled(1)

    assert log.find(0, MINUTE + DAY) is not None
    assert log.find(0, MINUTE + DAY + 1) is None


def test_a_decision_ends_once():
    log = filled(2)
    assert log.find(1, MINUTE).closed is False  # type: ignore[union-attr]

    assert log.close(1)
    assert not log.close(1)

    assert log.find(1, MINUTE).closed is True  # type: ignore[union-attr]
    assert log.find(0, MINUTE).closed is False  # type: ignore[union-attr]


def test_what_was_never_made_cannot_end():
    assert not DecisionLog().close(0)


def test_a_decision_that_is_forgotten_still_ends_once():
    """However many have followed: its outcome has to be counted."""
    log = filled(20, limit=5)

    assert log.close(3)
    assert not log.close(3)
    assert log.find(3, MINUTE) is None


def test_a_quality_is_kept_and_may_be_zero():
    log = filled(3)
    for sequence, quality in enumerate((0.0, 0.7)):
        log.rate(sequence, quality)

    assert [log.find(s, MINUTE).quality for s in range(3)] == [0.0, 0.7, None]  # type: ignore[union-attr]


def test_a_new_decision_in_an_old_ones_place_has_no_quality():
    log = filled(5, limit=5)
    log.rate(0, 0.9)

    log.append(decision(5))

    assert log.find(5, MINUTE).quality is None  # type: ignore[union-attr]
    log.rate(0, 0.1)
    assert log.find(5, MINUTE).quality is None  # type: ignore[union-attr]


def test_qualities_can_be_forgotten():
    log = filled(3)
    log.rate(1, 0.5)

    log.forget_qualities()

    assert log.find(1, MINUTE).quality is None  # type: ignore[union-attr]


def test_the_last_few_stay_whole():
    log = filled(10, whole=4)

    assert [s for s in range(12) if log.whole(s) is not None] == [6, 7, 8, 9]
    assert log.whole(9).key == "a:m0"  # type: ignore[union-attr]


@pytest.mark.parametrize("limit", [0, -1])
def test_at_least_one_decision_is_kept(limit: int):
    with pytest.raises(ConfigurationError, match="at least 1"):
        DecisionLog(limit)
