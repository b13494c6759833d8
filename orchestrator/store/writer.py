"""Collects rows beside the requests, and writes them behind their backs."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

import anyio
from anyio.lowlevel import checkpoint

from orchestrator.core.bus import EventBus
from orchestrator.core.clock import Clock
from orchestrator.core.decisions import Decision, parse_decision_id
from orchestrator.core.events import EventsDropped
from orchestrator.core.ports import EarlierDecision, ExperimentShare
from orchestrator.core.statistics import MergeRow, Outcome, Statistics, minute_of
from orchestrator.store.encoder import Encoder
from orchestrator.store.errors import LogDataError, StoreError
from orchestrator.store.learned import Learned, folded, is_known, merge_row
from orchestrator.store.records import Batch, Store

__all__ = ["LogWriter"]

_log = logging.getLogger("orchestrator.store")

_Row: TypeAlias = tuple[Any, ...]
_DECIDED, _ENDED, _RATED = range(3)

_EVERY_S: Final = 0.5
_BATCH: Final = 1_000
_BATCHES_WAITING: Final = 20
_ARMS_OF_A_SMALL_POOL: Final = 200
_SLICE: Final = 16
"""Rows that are encoded before requests have their turn; fewer over a large pool."""
_PER_SECOND: Final = 1_000_000
"""Ratings are numbered in microseconds."""
_KEEP_EVERY_S: Final = 10.0
_OPEN_WITHIN_S: Final = 5.0
_FIND_WITHIN_S: Final = 5.0
_HANGS_AFTER_S: Final = 0.5
"""A write that takes longer, or has failed, marks a store for which the end does not wait."""
_CLOSE_WITHIN_S: Final = 2.0
_CLOSE_HANGING_WITHIN_S: Final = 0.05
_RETRY_S: Final = 1.0
_RETRY_AT_MOST_S: Final = 30.0


class LogWriter:
    """Implements `orchestrator.core.ports.DecisionSink` over a store.

    What requests call only appends to a queue. A task takes it up half a second after the first
    row, or as soon as a batch is full. A store that is slow, fails or hangs costs requests nothing:
    the queue drops its oldest rows, and `EventsDropped` and a warning say how many.

    Attributes:
        dropped: Rows lost so far to a full queue.

    Args:
        store: Where the rows go.
        statistics: Of this process; kept along with the log.
        clock: Time.
        events: Where losses are told.
        shares: Returns what this process has seen of its experiments; kept likewise.
    """

    def __init__(
        self,
        store: Store,
        statistics: Statistics,
        clock: Clock,
        events: EventBus,
        shares: Callable[[], Iterable[ExperimentShare]] = tuple,
    ) -> None:
        self.dropped = 0
        self._store = store
        self._learned = Learned(statistics)
        self._shares = shares
        self._kept_shares: frozenset[ExperimentShare] = frozenset()
        self._clock = clock
        self._wall = clock.wall
        self._events = events
        self._encoder = Encoder()
        self._queue: deque[_Row] = deque()
        self._batch = _BATCH
        self._limit = _BATCH * _BATCHES_WAITING
        self._slice = _SLICE
        self._mark = 1
        """Length of the queue at which somebody has to look."""
        self._ratings = 0
        self._unwritten = 0
        self._wake = anyio.Event()
        self._closing = anyio.Event()
        self._done: anyio.Event | None = None
        self._scope: anyio.CancelScope | None = None
        self._busy_since: float | None = None
        self._failing = False
        self._keep_at: float | None = None

    # -- called by requests --------------------------------------------------------------------

    def decided(self, decision: Decision, features: Any | None = None) -> None:
        """A decision was made."""
        queue = self._queue
        queue.append((_DECIDED, self._wall(), decision, features))
        if len(queue) >= self._mark:
            self._look()

    def ended(
        self, decision: Decision, outcome: Outcome, error: str | None = None, counts: bool = True
    ) -> None:
        """It has come to this."""
        queue = self._queue
        queue.append((_ENDED, self._wall(), decision, outcome, error, counts))
        if len(queue) >= self._mark:
            self._look()

    def rated(self, decision_id: str, quality: float, corrected: bool) -> None:
        """Its answer was given a quality."""
        queue = self._queue
        queue.append((_RATED, self._wall(), decision_id, quality, corrected))
        if len(queue) >= self._mark:
            self._look()

    def forgot(self) -> None:
        """What was learned is to be forgotten."""
        self._learned.forget()
        self._keep_at = self._keep_at or self._clock.monotonic()
        self._wake.set()

    def _look(self) -> None:
        if len(self._queue) <= self._limit:
            self._mark = self._limit + 1
            self._wake.set()
            return
        self._queue.popleft()
        self.dropped += 1
        # Said at 1, 2, 4, 8 ...: a flood of losses must not become a flood of messages.
        if self.dropped & (self.dropped - 1) == 0:
            _log.warning("the decision log is behind: %s rows are lost", f"{self.dropped:,}")
            if self._events.wants(EventsDropped):
                self._events.publish(
                    EventsDropped(
                        at=self._clock.monotonic(),
                        wall=self._clock.wall(),
                        subscriber="decision log",
                        dropped=self.dropped,
                    )
                )

    # -- its life ------------------------------------------------------------------------------

    async def open(self) -> tuple[list[MergeRow], list[ExperimentShare]]:
        """Open the store and return what it has learned, for `Recorder.merge` and for `Trials`.

        Raises:
            StoreError: It cannot be opened, or not in time.
        """
        try:
            with anyio.fail_after(_OPEN_WITHIN_S):
                await self._store.open()
                # What a later version keeps is left to it, and stays where it is.
                known = [row for row in await self._store.statistics() if is_known(row)]
                shares = await self._store.experiments()
                new, gone = folded(known, minute_of(self._clock.wall()))
                if new:
                    await self._store.keep(new, gone)
        except TimeoutError:
            raise StoreError(f"the decision log did not open in {_OPEN_WITHIN_S:g} s") from None
        absent = set(gone)
        known = [*new, *(row for row in known if row.row_id not in absent)]
        self._learned.known(known)
        self._kept_shares = frozenset(shares)
        self._done = anyio.Event()
        return [merge_row(row) for row in known], shares

    async def earlier(self, decision_id: str) -> EarlierDecision | None:
        """Find a decision that this process does not remember.

        Raises:
            StoreError: The store cannot say, or not in time.
        """
        parsed = parse_decision_id(decision_id)
        if parsed is None:
            return None
        try:
            with anyio.fail_after(_FIND_WITHIN_S):
                return await self._store.decision(*parsed)
        except TimeoutError:
            raise StoreError(f"the decision log did not answer in {_FIND_WITHIN_S:g} s") from None

    async def run(self) -> None:
        """Write until `aclose`; belongs into the task group of the engine, once it is open."""
        assert self._done is not None, "open it first"
        try:
            with anyio.CancelScope() as self._scope:
                while True:
                    await self._next_rows()
                    await self._write_all()
                    if self._closing.is_set():
                        break
                await self._keep()
        finally:
            self._done.set()

    async def aclose(self) -> None:
        """Write what is left and close the store; one that hangs is not waited for."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._wake.set()
        limit = _CLOSE_HANGING_WITHIN_S if self._hangs() else _CLOSE_WITHIN_S
        with anyio.move_on_after(limit, shield=True) as waiting:
            if self._done is not None:
                await self._done.wait()
            await self._store.aclose()
        lost = len(self._queue) + self._unwritten
        if waiting.cancelled_caught and self._scope is not None:
            self._scope.cancel()
        if lost:
            _log.warning("the decision log was closed with %s rows not written", f"{lost:,}")

    def _hangs(self) -> bool:
        since = self._busy_since
        slow = since is not None and self._clock.monotonic() - since > _HANGS_AFTER_S
        return slow or self._failing

    # -- the task ------------------------------------------------------------------------------

    async def _next_rows(self) -> None:
        """Wait for a first row, then for more of them, but not for long."""
        self._mark = 1
        while not (self._queue or self._closing.is_set()):
            await self._sleep(self._keep_at)
            if self._keep_at is not None and self._clock.monotonic() >= self._keep_at:
                await self._keep()
        self._mark = self._batch
        if len(self._queue) < self._batch and not self._closing.is_set():
            await self._sleep(self._clock.monotonic() + _EVERY_S)
        self._mark = self._limit + 1

    async def _sleep(self, until: float | None) -> None:
        """Sleep until somebody looks, or until then."""
        self._wake = anyio.Event()
        with anyio.move_on_after(None if until is None else until - self._clock.monotonic()):
            await self._wake.wait()

    async def _write_all(self) -> None:
        while self._queue:
            batch = await self._encoded()
            if not await self._persist(batch):
                return
            self._unwritten = 0
            if self._keep_at is None:
                self._keep_at = self._clock.monotonic() + _KEEP_EVERY_S
            elif self._clock.monotonic() >= self._keep_at:
                await self._keep()

    async def _encoded(self) -> Batch:
        batch, queue = Batch(), self._queue
        for taken in range(self._batch):
            if not queue:
                break
            if taken % self._slice == self._slice - 1:
                await checkpoint()
            self._unwritten += 1
            try:
                self._encode(batch, *queue.popleft())
            except Exception:  # noqa: BLE001 - logged and counted; the engine goes on
                # A propensity may be worked out by a selector that is not ours.
                self.dropped += 1
                _log.exception("a row of the decision log could not be made")
        return batch

    def _encode(self, batch: Batch, kind: int, wall: float, *facts: Any) -> None:
        if kind == _DECIDED:
            self._suit(len(facts[0].keys))
            self._encoder.decided(batch, wall, *facts)
        elif kind == _ENDED:
            self._encoder.ended(batch, wall, *facts)
        else:
            # By the clock, so that of what several processes say the latest counts.
            self._ratings = max(self._ratings + 1, int(wall * _PER_SECOND))
            self._encoder.rated(batch, wall, *facts, number=self._ratings)

    def _suit(self, arms: int) -> None:
        """Let fewer decisions wait where each holds arrays over a large pool."""
        share = max(arms // _ARMS_OF_A_SMALL_POOL, 1)
        self._slice = max(_SLICE // share, 1)
        self._batch = max(_BATCH // share, 1)
        self._limit = self._batch * _BATCHES_WAITING

    async def _persist(self, batch: Batch) -> bool:
        """Write a batch, however often it takes; False if it took until the end."""
        wait_s = _RETRY_S
        while True:
            self._busy_since = self._clock.monotonic()
            try:
                await self._store.write(batch)
            except LogDataError as error:
                # No second try would go better, and what it shares with others has to come again.
                self.dropped += self._unwritten
                self._encoder = Encoder()
                _log.error("%d rows of the decision log are lost: %s", self._unwritten, error)
                return True
            except StoreError as error:
                if not self._failing:
                    _log.warning(
                        "the decision log cannot be written, and is tried again: %s", error
                    )
                self._failing = True
            else:
                self._failing = False
                return True
            finally:
                self._busy_since = None
            if self._closing.is_set():
                return False
            with anyio.move_on_after(wait_s):
                await self._closing.wait()
            wait_s = min(2 * wait_s, _RETRY_AT_MOST_S)

    async def _keep(self) -> None:
        """Keep what was learned that the store does not have."""
        new, gone = self._learned.changes()
        shares = frozenset(self._shares())
        unseen = shares - self._kept_shares
        self._keep_at = None
        if not (new or gone or unseen):
            return
        self._busy_since = self._clock.monotonic()
        try:
            await self._store.keep(new, gone, unseen)
        except StoreError as error:
            _log.warning("statistics could not be kept, and are tried again: %s", error)
            self._keep_at = self._clock.monotonic() + _KEEP_EVERY_S
        else:
            self._learned.stored(new, gone)
            self._kept_shares = shares
        finally:
            self._busy_since = None
