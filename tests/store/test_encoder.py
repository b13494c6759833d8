from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.decisions import Refusal, RefusalCode
from orchestrator.core.requirements import Requirements
from orchestrator.store import Batch
from orchestrator.store.encoder import TOP_SCORES, Encoder
from orchestrator.store.entries import Shared
from orchestrator.store.records import Record
from tests.store.history import NOON, batch, decision

NOTHING_YET = dict.fromkeys(
    (
        *("ok", "counts", "cost_usd", "tokens_in", "tokens_out", "seconds", "first_token_s"),
        *("error", "ended_wall", "quality", "corrected", "rated_wall"),
    )
)


def entries(made: Batch) -> list[Record]:
    shared = Shared(*(by_id(rows) for rows in (made.registries, made.eligible_sets, made.shapes)))
    return [shared.entry({**NOTHING_YET, **row}) for row in made.decisions]


def by_id(rows: list[Record]) -> dict[str, Record]:
    return {row["id"]: row for row in rows}


def test_what_decisions_share_is_written_once():
    encoder = Encoder()
    first = batch(*map(decision, range(5)), encoder=encoder)
    second = batch(decision(6), decision(7, eligible=np.array([True, True, True])), encoder=encoder)

    assert [len(first.registries), len(first.eligible_sets), len(first.shapes)] == [1, 1, 1]
    assert [len(second.registries), len(second.eligible_sets), len(second.shapes)] == [0, 1, 0]


def test_another_process_gives_what_is_shared_the_same_names():
    assert batch(decision(0)) == batch(decision(0))


def test_the_same_models_are_another_set_in_another_registry():
    one = batch(decision(0)).eligible_sets
    other = batch(decision(0, keys=("a:x", "a:y", "c:w"))).eligible_sets

    assert one[0]["bits"] == other[0]["bits"]
    assert one[0]["id"] != other[0]["id"]


def test_limits_do_not_make_a_shape_of_their_own():
    made = batch(
        *(decision(n, requirements=Requirements.of({"max_cost": 1.0 + n})) for n in range(3)),
        decision(3, requirements=Requirements.of({"provider": "a"})),
    )

    assert [json.loads(shape["demands"]) for shape in made.shapes] == [
        {"capabilities": []},
        {"capabilities": [], "provider": "a"},
    ]


def test_refusals_are_counted_by_their_codes():
    refused = {
        "a:x": Refusal(RefusalCode.MAX_COST, "it may cost 1 USD"),
        "b:z": Refusal(RefusalCode.MAX_COST, "it may cost 2 USD"),
    }
    made = batch(decision(0, refused=refused, eligible=np.array([False, True, False])))

    assert made.decisions[0]["refused"] == '{"max_cost":2}'


def test_nobody_is_asked_for_refusals_where_all_were_eligible():
    class Untouchable(dict[Any, Any]):
        def values(self) -> Any:
            raise AssertionError("worked out for nothing")

    made = batch(decision(0, refused=Untouchable(), eligible=np.ones(3, dtype=np.bool_)))

    assert made.decisions[0]["refused"] == "{}"


@given(st.data())
def test_the_best_scores_are_kept_and_that_of_the_chosen(data: st.DataObject):
    n = data.draw(st.integers(1, 60))
    eligible = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    arm = data.draw(st.integers(0, n - 1))
    eligible[arm] = True
    scores = np.array(data.draw(st.lists(st.floats(-5, 5), min_size=n, max_size=n)))
    keys = tuple(f"p:m{i}" for i in range(n))
    made = decision(0, keys=keys, arm=arm, scores=scores, eligible=eligible, refused={})

    (entry,) = entries(batch(made))
    kept = json.loads(entry["scores"])
    assert json.loads(entry["eligible"]) == [keys[i] for i in np.flatnonzero(eligible)]
    assert made.key in kept
    assert kept == {key: made.scores[key] for key in kept}
    assert [*kept.values()] == sorted(kept.values(), reverse=True)
    others = sorted((s for key, s in made.scores.items() if key not in kept), reverse=True)
    best = sorted(made.scores.values(), reverse=True)[:TOP_SCORES]
    assert len(kept) >= len(best)
    assert not others or others[0] <= best[-1]


def test_an_exploration_is_told_from_a_greedy_choice():
    rows = batch(decision(0), decision(1, greedy=False)).decisions

    assert [row["explored"] for row in rows] == [False, True]
    assert [row["propensity"] for row in rows] == pytest.approx([0.95, 0.05])


def test_a_quality_finds_its_decision_by_the_id():
    made = Batch()
    Encoder().rated(made, NOON, decision(31).id, 0.5, False, number=4)

    (row,) = made.qualities
    assert (row["node"], row["sequence"], row["number"]) == ("n", 31, 4)
