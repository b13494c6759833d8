"""What every store promises."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest

from orchestrator.core.ports import EarlierDecision, ExperimentShare
from orchestrator.core.statistics import Outcome, RowId
from orchestrator.store import Batch, Kept, LogDataError, LogInfo, Store
from orchestrator.store.encoder import Encoder
from orchestrator.store.entries import COLUMNS
from tests.store.history import KEYS, MINUTE, NOON, batch, decision, read, story

ROW = RowId("n", MINUTE, 1, "all", "a:x")


@asynccontextmanager
async def opened(store: Store) -> AsyncIterator[Store]:
    await store.open()
    try:
        yield store
    finally:
        await store.aclose()


async def test_an_empty_store_has_nothing(store: Store):
    async with opened(store):
        assert await read(store) == []
        assert await store.statistics() == []
        assert await store.info() == LogInfo(
            decisions=0,
            outcomes=0,
            qualities=0,
            missing=0,
            first=None,
            last=None,
            nodes=0,
            models={},
        )


async def test_a_decision_is_read_with_all_that_is_known_of_it(store: Store):
    async with opened(store):
        await store.write(story())
        _, first, _ = await read(store)

    assert first | {"registry": "", "shape": ""} == {
        "decision_id": f"d-n-{MINUTE:x}-0",
        "request_id": "r0",
        "attempt": 1,
        "wall": NOON,
        "model": "a:y",
        "selector": "ucb",
        "propensity": pytest.approx(0.95),
        "explored": False,
        "segment": "all",
        "registry": "",
        "models": 3,
        "eligible": '["a:x","a:y"]',
        "refused": '{"cooling":1}',
        "shape": "",
        "demands": '{"capabilities":["vision"],"exclude_models":["q"]}',
        "scores": '{"a:y":0.75,"a:x":0.5}',
        "expected_cost_usd": 0.25,
        "features": None,
        "ok": True,
        "counts": True,
        "cost_usd": 0.5,
        "tokens_in": 10,
        "tokens_out": 20,
        "seconds": 1.5,
        "first_token_s": 0.25,
        "error": None,
        "ended_wall": NOON + 3,
        "quality": 0.75,
        "corrected": True,
        "rated_wall": NOON + 60,
    }


async def test_what_has_not_come_yet_is_none(store: Store):
    async with opened(store):
        await store.write(story())
        still_open, _, failed = await read(store)

    assert (failed["ok"], failed["error"], failed["quality"]) == (False, "rate_limit", None)
    assert [still_open[name] for name in COLUMNS if still_open[name] is None] == [None] * 13
    assert still_open["eligible"] == json.dumps(KEYS[:2], separators=(",", ":"))


async def test_every_entry_has_the_columns_in_their_order_and_of_their_types(store: Store):
    async with opened(store):
        await store.write(story())
        entries = await read(store)

    for entry in entries:
        assert [*entry] == [*COLUMNS]
        for name, kind in COLUMNS.items():
            assert entry[name] is None or type(entry[name]) is kind, name


async def test_writing_the_same_again_changes_nothing(store: Store):
    async with opened(store):
        await store.write(story())
        once = await read(store), await store.info()
        await store.write(story())

        assert (await read(store), await store.info()) == once


async def test_what_came_of_a_decision_may_be_written_before_it(store: Store):
    whole = story()
    async with opened(store):
        await store.write(Batch(outcomes=whole.outcomes, qualities=whole.qualities))
        assert await read(store) == []
        whole.outcomes, whole.qualities = [], []
        await store.write(whole)

        assert [entry["ok"] for entry in await read(store)] == [None, True, False]


async def test_older_decisions_can_be_left_out(store: Store):
    async with opened(store):
        await store.write(story())

        assert [entry["request_id"] for entry in await read(store, NOON + 1)] == ["r2", "r1"]
        assert (await store.info(NOON + 1)).decisions == 2
        assert await read(store, NOON + 10) == []


async def test_a_log_longer_than_a_page_is_read_whole_and_in_order(store: Store):
    n = 4_001
    async with opened(store):
        await store.write(batch(*map(decision, range(n))))

        assert [entry["request_id"] for entry in await read(store)] == [f"r{i}" for i in range(n)]


async def test_a_node_of_the_same_name_may_count_from_nothing_again(store: Store):
    async with opened(store):
        await store.write(batch(decision(0)))
        await store.write(batch(decision(0, bucket=MINUTE + 1, request_id="later")))

        assert [entry["request_id"] for entry in await read(store)] == ["r0", "later"]


async def test_what_it_holds_is_counted_and_gaps_in_the_numbers_are_noticed(store: Store):
    async with opened(store):
        await store.write(story())
        await store.write(batch(decision(5, arm=0), wall=NOON + 9))

        assert await store.info() == LogInfo(
            decisions=4,
            outcomes=2,
            qualities=2,
            missing=3,
            first=NOON,
            last=NOON + 9,
            nodes=2,
            models={"a:y": 3, "a:x": 1},
        )


@pytest.mark.parametrize("propensity", [0.0, -0.1, 1.5])
async def test_a_choice_without_a_probability_is_refused_when_read(store: Store, propensity: float):
    wrong = batch(decision(7))
    wrong.decisions[0]["propensity"] = propensity
    async with opened(store):
        await store.write(wrong)

        with pytest.raises(LogDataError, match=f"decision d-n-{MINUTE:x}-7 has the propensity"):
            await read(store)


async def test_a_decision_whose_eligible_set_is_lost_is_named(store: Store):
    made = batch(decision(0))
    made.eligible_sets = []
    async with opened(store):
        await store.write(made)

        with pytest.raises(LogDataError, match=r"d-n-.*-0 refers to '.*', which is not there"):
            await read(store)


async def test_features_come_back_as_numbers(store: Store):
    made = Batch()
    Encoder().decided(made, NOON, decision(0), [0.5, -2.0])
    async with opened(store):
        await store.write(made)

        assert [entry["features"] for entry in await read(store)] == ["[0.5,-2.0]"]


async def test_statistics_are_kept_unless_a_later_version_is_known(store: Store):
    async with opened(store):
        await store.keep([Kept(ROW, 3, {"calls": 2.0})])
        await store.keep([Kept(ROW, 2, {"calls": 1.0})])
        assert await store.statistics() == [Kept(ROW, 3, {"calls": 2.0})]

        await store.keep([Kept(ROW, 4, {"calls": 5.0, "ok": 1.0})])
        assert await store.statistics() == [Kept(ROW, 4, {"calls": 5.0, "ok": 1.0})]


async def test_sums_of_another_kind_are_kept_to_the_last_bit(store: Store):
    kind = ROW._replace(width=60, segment="~regression-2")
    packed = np.array([0.1, -0.0, 1e308, 5e-324]).astype("<f8").tobytes()
    async with opened(store):
        await store.keep([Kept(kind, 1, {}, packed), Kept(ROW, 1, {"calls": 2.0})])
        assert set(map(str, await store.statistics())) == {
            str(Kept(kind, 1, {}, packed)),
            str(Kept(ROW, 1, {"calls": 2.0})),
        }

        await store.keep([Kept(kind, 2, {}, packed[::-1])])
        await store.keep([], gone=[ROW])
        assert await store.statistics() == [Kept(kind, 2, {}, packed[::-1])]


async def test_rows_are_removed_before_others_take_their_place(store: Store):
    other = ROW._replace(model="b:z")
    async with opened(store):
        await store.keep([Kept(ROW, 3, {"calls": 2.0}), Kept(other, 1, {"ok": 1.0})])

        await store.keep([Kept(ROW, 1, {"calls": 9.0})], gone=[ROW, other])

        assert await store.statistics() == [Kept(ROW, 1, {"calls": 9.0})]


async def test_each_process_has_one_share_of_an_experiment(store: Store):
    first = ExperimentShare("n", "try", "p", ((1.0, 0.1), (2.0, 1e-300)), b"\x01\x00\xff")
    later = first._replace(sums=((3.0, 0.1), (4.0, 1e-300)), counted=b"\x03\x00\xff")
    other = [first._replace(node="m"), first._replace(experiment="t"), first._replace(plan="q")]
    async with opened(store):
        assert await store.experiments() == []
        await store.keep([], shares=[first, *other])
        await store.keep([], shares=[later])
        await store.keep([Kept(ROW, 1, {"calls": 1.0})])

        assert sorted(await store.experiments()) == sorted([later, *other])


async def test_a_decision_is_found_by_its_id_with_the_latest_quality(store: Store):
    async with opened(store):
        await store.write(story())

        assert await store.decision("n", MINUTE, 0) == EarlierDecision(
            MINUTE, "all", "a:y", None, 0.75
        )
        assert await store.decision("n", MINUTE, 99) is None
        assert await store.decision("m", MINUTE, 0) is None


async def test_a_decision_that_led_to_no_call_is_not_there_to_be_rated(store: Store):
    made = Batch()
    encoder = Encoder()
    first, second = decision(0), decision(1)
    for each in (first, second):
        encoder.decided(made, NOON, each)
    encoder.ended(made, NOON, first, Outcome(False), "unused", False)
    async with opened(store):
        await store.write(made)

        assert await store.decision("n", MINUTE, 0) is None
        assert await store.decision("n", MINUTE, 1) is not None
