from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.decisions import (
    Decision,
    Refusal,
    RefusalCode,
    decision_id,
    parse_decision_id,
)
from orchestrator.core.estimates import FloatArray
from orchestrator.core.requirements import ANYTHING

nodes = st.text(st.characters(categories=["L", "N"]), min_size=1).filter(str.isalnum)


def decision(
    scores: tuple[float, ...] = (0.2, np.nan, 0.7),
    arm: int = 2,
    *,
    greedy: bool = True,
    floor: float = 0.01,
    odds: Callable[[], FloatArray] | None = None,
    share: float = 1.0,
) -> Decision:
    return Decision(
        node="n1",
        bucket=29_000_000,
        sequence=255,
        request_id="r-n1-1",
        keys=("p:a", "p:b", "p:c"),
        arm=arm,
        greedy=greedy,
        selector="ucb",
        floor=floor,
        scores=np.array(scores),
        eligible=np.array([True, False, True]),
        segment="all",
        requirements=ANYTHING,
        cost_usd=0.01,
        attempt=1,
        refused={"p:b": Refusal(RefusalCode.EXCLUDED, "the request excludes it")},
        odds=odds,
        share=share,
    )


@given(nodes, st.integers(0, 2**40), st.integers(0, 2**40))
def test_an_id_carries_the_node_the_minute_and_the_number(node: str, bucket: int, sequence: int):
    assert parse_decision_id(decision_id(node, bucket, sequence)) == (node, bucket, sequence)


@given(st.text() | st.from_regex(r"d-\w+-\w+-\w+", fullmatch=True))
def test_a_text_is_an_id_only_if_we_would_have_written_it(text: str):
    parsed = parse_decision_id(text)

    assert parsed is None or decision_id(*parsed) == text


@pytest.mark.parametrize(
    "text",
    ["", "d", "d-n-1", "d-n-1-2-3", "x-n-1-2", "d-n-0x1-2", "d-n-1_0-2", "d-n- 1-2", "d--1-2"],
)
def test_what_is_no_id_is_none(text: str):
    assert parse_decision_id(text) is None


def test_scores_are_told_best_first_and_only_of_the_eligible():
    made = decision()

    assert list(made.scores.items()) == [("p:c", 0.7), ("p:a", 0.2)]
    assert made.key == "p:c"
    assert made.id == "d-n1-1ba8140-ff"


def test_the_best_is_taken_unless_the_floor_draws_and_the_floor_may_draw_it_too():
    assert decision().propensity == pytest.approx(0.99 + 0.005)
    assert decision(arm=0, greedy=False).propensity == pytest.approx(0.005)
    assert decision(floor=0.0).propensity == 1.0


def test_what_an_experiment_sends_somewhere_is_as_likely_as_both_together():
    assert decision(share=0.1).propensity == pytest.approx(0.1 * (0.99 + 0.005))


def test_the_odds_of_a_sampling_selector_are_worked_out_once_and_only_when_asked():
    asked: list[int] = []

    def odds() -> FloatArray:
        asked.append(1)
        return np.array([0.25, 0.0, 0.75])

    made = decision(odds=odds)
    assert not asked

    assert made.propensity == made.propensity == pytest.approx(0.99 * 0.75 + 0.005)
    assert len(asked) == 1


def test_a_refusal_reads_as_its_sentence_and_counts_by_its_code():
    refusal = Refusal(RefusalCode.MAX_COST, "it may cost 2 USD, 1 is allowed")

    assert str(refusal) == "it may cost 2 USD, 1 is allowed"
    assert refusal.code == "max_cost"
