from __future__ import annotations

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
from orchestrator.core.requirements import ANYTHING

nodes = st.text(st.characters(categories=["L", "N"]), min_size=1).filter(str.isalnum)


def decision(scores: list[float] | None = None, arm: int = 0) -> Decision:
    return Decision(
        node="n1",
        bucket=29_000_000,
        sequence=255,
        request_id="r-n1-1",
        keys=("p:a", "p:b", "p:c"),
        arm=arm,
        selector="ucb",
        propensity=0.99,
        scores=None if scores is None else np.array(scores),
        segment="all",
        requirements=ANYTHING,
        cost_usd=0.01,
        attempt=1,
        refused={"p:b": Refusal(RefusalCode.EXCLUDED, "the request excludes it")},
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
    made = decision([0.2, -np.inf, 0.7], arm=2)

    assert list(made.scores.items()) == [("p:c", 0.7), ("p:a", 0.2)]
    assert made.key == "p:c"
    assert made.id == "d-n1-1ba8140-ff"


def test_a_decision_without_scores_tells_none():
    assert decision().scores == {}


def test_a_refusal_reads_as_its_sentence_and_counts_by_its_code():
    refusal = Refusal(RefusalCode.MAX_COST, "it may cost 2 USD, 1 is allowed")

    assert str(refusal) == "it may cost 2 USD, 1 is allowed"
    assert refusal.code == "max_cost"
