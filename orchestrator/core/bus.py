"""The internal bus: publishing never waits and never fails."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar

from orchestrator.core.clock import Clock, SystemClock
from orchestrator.core.errors import InvalidRequestError, TryLaterError
from orchestrator.core.events import Event, EventsDropped, ModelUsed, SubscriberFailed, event_types

__all__ = ["EventBus", "Overflow", "Subscription", "SubscriptionOverflowError"]

_E = TypeVar("_E", bound=Event)
Overflow: TypeAlias = Literal["drop_oldest", "drop_newest", "error"]
_Deliver: TypeAlias = Callable[[Any], object]

_META: Final = (SubscriberFailed, EventsDropped)
"""Events about the bus itself; a failure while delivering one of these ends there."""


class SubscriptionOverflowError(TryLaterError):
    """A subscription that must not lose events fell behind its buffer and was ended."""

    code = "subscription_overflow"


class Subscription(Generic[_E]):
    """Events waiting for one reader: ``async for event in subscription``."""

    def __init__(self, name: str, buffer: int, overflow: Overflow, bus: EventBus) -> None:
        self.name = name
        self.dropped = 0
        """Events lost so far to a full buffer."""
        self._events: deque[_E] = deque()
        self._buffer = buffer
        self._overflow = overflow
        self._bus = bus
        self._waiter: asyncio.Future[None] | None = None
        self._overflowed = False
        self._closed = False

    def __aiter__(self) -> Subscription[_E]:
        return self

    async def __anext__(self) -> _E:
        while not self._events:
            if self._overflowed:
                raise SubscriptionOverflowError(
                    f"{self.name} fell {self._buffer} events behind", hint="use a larger buffer"
                )
            if self._closed:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._events.popleft()

    def close(self) -> None:
        """End it: what is buffered can still be read."""
        self._closed = True
        self._wake()

    def _deliver(self, event: _E) -> None:
        if len(self._events) >= self._buffer:
            if self._overflow == "error":
                self._overflowed = True
                self._bus._remove(self._deliver)
                self._wake()
                return
            self._count_drop()
            if self._overflow == "drop_newest":
                return
            self._events.popleft()
        self._events.append(event)
        if self._waiter is not None:
            self._wake()

    def _count_drop(self) -> None:
        self.dropped += 1
        # Said at 1, 2, 4, 8 ...: a flood of drops must not become a flood of events.
        if self.dropped & (self.dropped - 1) == 0:
            self._bus._report_drops(self.name, self.dropped)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class EventBus:
    """Delivers events by type, in the order in which they are published.

    Args:
        clock: Stamps the events about the bus itself.

    A subscriber sees the types it named and their subclasses; `Event` is everything. Publishing is
    synchronous: callbacks run at once, async subscribers find events in their own buffer. Publish
    from the event loop's thread only.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._subscribers: list[tuple[tuple[type[Event], ...], _Deliver]] = []
        self._routes: dict[type[Event], tuple[_Deliver, ...]] = {}

    def wants(self, kind: type[Event]) -> bool:
        """Whether anybody would see such an event: ask before building one on a hot path."""
        route = self._routes.get(kind)
        return bool(self._route(kind) if route is None else route)

    def publish(self, event: Event) -> None:
        """Hand an event to everybody who wants it; returns at once and never raises."""
        kind = type(event)
        route = self._routes.get(kind)
        for deliver in self._route(kind) if route is None else route:
            try:
                deliver(event)
            except Exception as error:  # noqa: BLE001 - told to whoever asks, not to the publisher
                self._report_failure(deliver, event, error)

    def on(self, kind: type[_E], callback: Callable[[_E], object]) -> Callable[[], None]:
        """Call back for every event of this kind; returns what ends it.

        The callback runs inside `publish` and must not block. What it raises becomes a
        `SubscriberFailed`.

        Raises:
            InvalidRequestError: The kind is no class of events, or the callback cannot be called.
        """
        if not callable(callback):
            raise InvalidRequestError(f"{callback!r} cannot be called", param="callback")

        def deliver(event: _E) -> object:
            return callback(event)

        deliver.__qualname__ = getattr(callback, "__qualname__", repr(callback))
        self._add((kind,), deliver)
        return lambda: self._remove(deliver)

    @contextmanager
    def subscribe(
        self,
        *kinds: type[_E],
        buffer: int = 1024,
        overflow: Overflow = "drop_oldest",
        name: str = "subscription",
    ) -> Iterator[Subscription[_E]]:
        """Collect events for one reader.

        Args:
            kinds: The types to see; none means all.
            buffer: Events that may wait.
            overflow: What a full buffer does: ``drop_oldest`` and ``drop_newest`` lose events
                and publish `EventsDropped`; ``error`` ends the subscription, whose reader then
                gets `SubscriptionOverflowError` after the buffered events.
            name: Identifies the subscriber in events about the bus.

        Raises:
            InvalidRequestError: A kind is no class of events, or the buffer holds nothing.
        """
        if buffer < 1:
            raise InvalidRequestError(f"buffer must be at least 1, not {buffer}", param="buffer")
        subscription: Subscription[_E] = Subscription(name, buffer, overflow, self)
        self._add(kinds or (Event,), subscription._deliver)
        try:
            yield subscription
        finally:
            self._remove(subscription._deliver)
            subscription.close()

    async def feed(
        self, events: Subscription[_E], handler: Callable[[_E], Awaitable[object]]
    ) -> None:
        """Await a handler for every event of a subscription, one after the other, to its end."""
        async for event in events:
            try:
                await handler(event)
            except Exception as error:  # noqa: BLE001 - as in `publish`
                self._report_failure(handler, event, error)

    def _add(self, kinds: tuple[type[Event], ...], deliver: _Deliver) -> None:
        # Here, since whoever publishes could do nothing about it.
        for kind in kinds:
            _demand_kind(kind)
        self._subscribers.append((kinds, deliver))
        self._routes = {}

    def _remove(self, deliver: _Deliver) -> None:
        self._subscribers = [s for s in self._subscribers if s[1] != deliver]
        self._routes = {}

    def _route(self, kind: type[Event]) -> tuple[_Deliver, ...]:
        route = tuple(d for kinds, d in self._subscribers if issubclass(kind, kinds))
        self._routes[kind] = route
        return route

    def _report_failure(self, deliver: _Deliver, event: Event, error: Exception) -> None:
        if isinstance(event, _META):
            return
        self.publish(
            SubscriberFailed(
                at=self._clock.monotonic(),
                wall=self._clock.wall(),
                subscriber=getattr(deliver, "__qualname__", repr(deliver)),
                event_name=event.name,
                error=f"{type(error).__name__}: {error}",
            )
        )

    def _report_drops(self, name: str, dropped: int) -> None:
        if self.wants(EventsDropped):
            self.publish(
                EventsDropped(
                    at=self._clock.monotonic(),
                    wall=self._clock.wall(),
                    subscriber=name,
                    dropped=dropped,
                )
            )


def _demand_kind(kind: object) -> None:
    if isinstance(kind, type) and issubclass(kind, Event):
        return
    meant = event_types().get(kind) if isinstance(kind, str) else None
    raise InvalidRequestError(
        f"{kind!r} is no class of events",
        param="kind",
        hint="such as orchestrator.core.events." + (meant or ModelUsed).__name__,
    )
