"""The writer in the simulated world, over stores that do as they are told."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import numpy as np
import pytest

from orchestrator.core.bus import EventBus
from orchestrator.core.decisions import Decision
from orchestrator.core.events import EventsDropped
from orchestrator.core.ports import DecisionSink, ExperimentShare
from orchestrator.core.statistics import DAY, Outcome, RowId, Statistics
from orchestrator.store import Batch, Kept, LogDataError, LogWriter, MemoryStore, StoreError
from orchestrator.testing.clock import LoopClock
from tests.engine.world import simulated
from tests.store.history import MINUTE, NOON, decision, read

OK = Outcome(True, 0.5, 1, 2, 3.0)
LIMIT = 20_000
"""Rows that may wait."""


class Watched(MemoryStore):
    """A store that notes when it is written to, and can be slow, refuse or hang."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[tuple[float, int]] = []
        self.takes_s = 0.0
        self.faults: list[StoreError] = []
        self.frozen = False
        self.closed = False

    async def write(self, batch: Batch) -> None:
        await self._work()
        self.batches.append((anyio.current_time(), len(batch.decisions)))
        await super().write(batch)

    async def keep(
        self,
        rows: Iterable[Kept],
        gone: Iterable[RowId] = (),
        shares: Iterable[ExperimentShare] = (),
    ) -> None:
        await self._work()
        await super().keep(rows, gone, shares)

    async def _work(self) -> None:
        if self.frozen:
            await anyio.sleep_forever()
        await anyio.sleep(self.takes_s)
        if self.faults:
            raise self.faults.pop(0)

    async def aclose(self) -> None:
        if self.frozen:
            await anyio.sleep_forever()
        self.closed = True


@asynccontextmanager
async def writing(store: MemoryStore, **parts: Any) -> AsyncIterator[LogWriter]:
    """Run a writer as an engine does: opened before its task, closed before the task group."""
    parts = {"statistics": Statistics("n"), "clock": LoopClock(), "events": EventBus(), **parts}
    writer = LogWriter(store, **parts)
    await writer.open()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(writer.run)
        yield writer
        await writer.aclose()
        tasks.cancel_scope.cancel()


@simulated
async def test_rows_are_written_together_half_a_second_after_the_first():
    store = Watched()
    async with writing(store) as writer:
        sink: DecisionSink = writer
        await anyio.sleep(10)
        for n in range(3):
            sink.decided(decision(n))
            await anyio.sleep(0.1)
        sink.ended(decision(0), OK)
        sink.rated(decision(0).id, 0.5, False)
        await anyio.sleep(1)

        assert store.batches == [(10.5, 3)]
        assert [(e["wall"], e["ok"], e["quality"]) for e in await read(store)] == [
            (NOON + 10, True, 0.5),
            (pytest.approx(NOON + 10.1), None, None),
            (pytest.approx(NOON + 10.2), None, None),
        ]


@simulated
async def test_a_full_batch_is_not_waited_for():
    store = Watched()
    async with writing(store) as writer:
        for n in range(1_000):
            writer.decided(decision(n))
        await anyio.sleep(0.01)

        assert store.batches == [(0.0, 1_000)]


@simulated
async def test_while_nothing_happens_nothing_is_done():
    # The simulated world ends in an error when nothing is left to happen: here it is the sleep.
    store = Watched()
    async with writing(store):
        await anyio.sleep(80_000)

    assert store.batches == []
    assert store.closed


@simulated
async def test_closing_writes_what_is_left():
    store = Watched()
    store.takes_s = 0.3
    async with writing(store) as writer:
        for n in range(1_500):
            writer.decided(decision(n))

    assert [n for _, n in store.batches] == [1_000, 500]
    assert store.closed
    assert writer.dropped == 0


@simulated
async def test_over_a_large_pool_fewer_decisions_are_held():
    keys = tuple(f"p:m{n}" for n in range(2_000))
    facts: dict[str, Any] = {"eligible": np.ones(2_000, dtype=np.bool_), "refused": {}}
    large = [decision(n, keys=keys, scores=np.zeros(2_000), **facts) for n in range(250)]
    store = Watched()
    async with writing(store) as writer:
        writer.decided(large[0])
        await anyio.sleep(1)
        for each in large[1:]:
            writer.decided(each)
        await anyio.sleep(0.01)

        assert [n for _, n in store.batches] == [1, 100, 100, 49]


# -- stores that do not do their part ----------------------------------------------------------


@simulated
async def test_a_store_that_hangs_costs_the_oldest_rows_and_that_is_said(
    caplog: pytest.LogCaptureFixture,
):
    store, events = Watched(), EventBus()
    heard: list[EventsDropped] = []
    events.on(EventsDropped, heard.append)
    store.frozen = True
    async with writing(store, events=events) as writer:
        writer.decided(decision(0))
        await anyio.sleep(2)
        for n in range(LIMIT + 5):
            writer.decided(decision(1 + n))

        assert writer.dropped == 5
        assert [event.dropped for event in heard] == [1, 2, 4]
        assert {event.subscriber for event in heard} == {"decision log"}
        assert "the decision log is behind: 4 rows are lost" in caplog.messages

        store.frozen = False
        begun = anyio.current_time()

    assert anyio.current_time() - begun == pytest.approx(0.05)
    assert caplog.messages[-1] == "the decision log was closed with 20,001 rows not written"


@simulated
async def test_a_store_that_comes_back_gets_what_could_wait(caplog: pytest.LogCaptureFixture):
    store = Watched()
    store.faults = [StoreError("the disk is full")] * 3
    async with writing(store) as writer:
        for n in range(LIMIT):
            writer.decided(decision(n))
        await anyio.sleep(60)

        assert len(await read(store)) == LIMIT
        # After 1, 2 and 4 seconds.
        assert store.batches[0] == (7.0, 1_000)

    assert caplog.messages == [
        "the decision log cannot be written, and is tried again: the disk is full"
    ]


@pytest.mark.parametrize("where", ["write", "keep", "aclose"])
def test_closing_does_not_wait_for_a_store_that_hangs(
    where: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    @simulated
    async def world() -> None:
        store, statistics = Watched(), Statistics("n")
        monkeypatch.setattr(store, where, lambda *_: anyio.sleep_forever())
        async with writing(store, statistics=statistics) as writer:
            statistics.add(MINUTE, "all", "a:x", [(0, 1.0)])
            writer.decided(decision(0))
            await anyio.sleep(0.25)
            begun = anyio.current_time()

        # Nobody knew that it hangs; where that is known, it is a twentieth of a second.
        assert anyio.current_time() - begun == pytest.approx(2.0)

    world()
    assert caplog.messages == (
        ["the decision log was closed with 1 rows not written"] if where == "write" else []
    )


@simulated
async def test_closing_does_not_wait_for_a_store_that_has_failed(caplog: pytest.LogCaptureFixture):
    store = Watched()
    store.faults = [StoreError("locked")] * 100
    async with writing(store) as writer:
        writer.decided(decision(0))
        await anyio.sleep(5)
        begun = anyio.current_time()

    assert anyio.current_time() - begun <= 0.05
    assert caplog.messages[-1] == "the decision log was closed with 1 rows not written"


@simulated
async def test_rows_that_cannot_be_written_do_not_hold_up_others(caplog: pytest.LogCaptureFixture):
    store = Watched()
    store.faults = [LogDataError("no such character")]
    async with writing(store) as writer:
        writer.decided(decision(0))
        await anyio.sleep(1)
        writer.decided(decision(1))
        await anyio.sleep(1)

        assert [entry["request_id"] for entry in await read(store)] == ["r1"]
        assert writer.dropped == 1

    assert caplog.messages == ["1 rows of the decision log are lost: no such character"]


@simulated
async def test_a_selector_whose_odds_fail_costs_its_own_rows_only(
    caplog: pytest.LogCaptureFixture,
):
    def no_odds() -> Any:
        raise ZeroDivisionError("in a selector")

    store = Watched()
    async with writing(store) as writer:
        writer.decided(decision(0, odds=no_odds))
        writer.decided(decision(1))
        await anyio.sleep(1)

        assert [entry["request_id"] for entry in await read(store)] == ["r1"]
        assert writer.dropped == 1

    assert caplog.record_tuples == [
        ("orchestrator.store", logging.ERROR, "a row of the decision log could not be made")
    ]


@simulated
async def test_a_store_that_does_not_open_in_time_is_an_error():
    class Slow(MemoryStore):
        async def open(self, *, write: bool = True) -> None:
            await anyio.sleep(6)

    with pytest.raises(StoreError, match="the decision log did not open in 5 s"):
        async with writing(Slow()):
            raise AssertionError("opened")


@simulated
async def test_a_writer_that_never_opened_closes_at_once():
    store = Watched()
    await LogWriter(store, Statistics("n"), LoopClock(), EventBus()).aclose()

    assert store.closed
    assert anyio.current_time() == 0


# -- statistics --------------------------------------------------------------------------------


def learn(writer: LogWriter, statistics: Statistics, made: Decision) -> None:
    writer.decided(made)
    statistics.add(made.bucket, made.segment, made.key, [(0, 1.0)])


@simulated
async def test_statistics_follow_within_ten_seconds_and_at_the_end():
    store, statistics = Watched(), Statistics("n")
    row_id = RowId("n", MINUTE, 1, "all", "a:y")
    async with writing(store, statistics=statistics) as writer:
        learn(writer, statistics, decision(0))
        await anyio.sleep(9)
        assert await store.statistics() == []
        await anyio.sleep(2)
        assert await store.statistics() == [Kept(row_id, 1, {"calls": 1.0})]
        learn(writer, statistics, decision(1))

    assert await store.statistics() == [Kept(row_id, 2, {"calls": 2.0})]


@simulated
async def test_statistics_that_could_not_be_kept_are_tried_again(caplog: pytest.LogCaptureFixture):
    store, statistics = Watched(), Statistics("n")
    async with writing(store, statistics=statistics) as writer:
        learn(writer, statistics, decision(0))
        await anyio.sleep(1)
        store.faults = [StoreError("locked")]
        await anyio.sleep(11)
        assert await store.statistics() == []
        await anyio.sleep(11)

        assert len(await store.statistics()) == 1

    assert caplog.messages == ["statistics could not be kept, and are tried again: locked"]


@simulated
async def test_what_was_learned_is_there_in_the_next_process_and_can_be_forgotten():
    store = Watched()
    before = Statistics("n1")
    async with writing(store, statistics=before) as writer:
        learn(writer, before, decision(0, node="n1"))

    after = Statistics("n2")
    again = LogWriter(store, after, LoopClock(), EventBus())
    rows, _ = await again.open()
    after.merge(rows)
    assert [sums[0] for sums in after.totals().values()] == [1.0]

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(again.run)
        await anyio.sleep(1)
        after.forget()
        again.forgot()
        await anyio.sleep(11)
        assert [row.sums for row in await store.statistics()] == [{}]
        await again.aclose()


@simulated
async def test_rows_of_a_later_version_are_left_to_it():
    store, statistics = Watched(), Statistics("n")
    theirs = Kept(RowId("m", MINUTE - 9 * DAY, 60, "~fractals-2", "a:y"), 1, {}, bytes(16))
    await store.keep([theirs])

    async with writing(store, statistics=statistics) as writer:
        learn(writer, statistics, decision(0))
        await anyio.sleep(11)

    assert {row.row_id.segment for row in await store.statistics()} == {"all", "~fractals-2"}
    assert {row_id.segment for row_id, _ in statistics.rows()} == {"all"}
