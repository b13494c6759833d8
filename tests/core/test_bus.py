from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.bus import (
    EventBus,
    Overflow,
    Subscription,
    SubscriptionOverflowError,
)
from orchestrator.core.errors import InvalidRequestError
from orchestrator.core.events import Event, EventsDropped, SubscriberFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact(Event):
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialFact(Fact):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherFact(Event):
    n: int


def fact(n: int, kind: Callable[..., Event] = Fact) -> Any:
    return kind(at=0.0, wall=0.0, n=n)


def numbers(events: list[Any]) -> list[int]:
    return [event.n for event in events]


async def drained(subscription: Any) -> list[Any]:
    """Close it and read what it holds."""
    subscription.close()
    return [event async for event in subscription]


def raises(event: Event) -> None:
    raise RuntimeError("on purpose")


# -- callbacks ---------------------------------------------------------------------------------


def test_events_arrive_at_once_and_in_order():
    bus, seen = EventBus(), list[Fact]()
    bus.on(Fact, seen.append)

    for n in range(5):
        bus.publish(fact(n))
        assert numbers(seen) == [*range(n + 1)]


def test_who_subscribes_to_a_kind_sees_its_subclasses_and_nothing_else():
    bus, facts, special, everything = EventBus(), list[Any](), list[Any](), list[Any]()
    bus.on(Fact, facts.append)
    bus.on(SpecialFact, special.append)
    bus.on(Event, everything.append)

    bus.publish(fact(1))
    bus.publish(fact(2, SpecialFact))
    bus.publish(fact(3, OtherFact))

    assert (numbers(facts), numbers(special), numbers(everything)) == ([1, 2], [2], [1, 2, 3])


def test_an_event_is_wanted_only_while_somebody_would_see_it():
    bus = EventBus()
    assert not bus.wants(SpecialFact)

    off = bus.on(Fact, lambda event: None)
    assert (bus.wants(Fact), bus.wants(SpecialFact), bus.wants(OtherFact)) == (True, True, False)

    off()
    assert not bus.wants(SpecialFact)
    with bus.subscribe(SpecialFact):
        assert bus.wants(SpecialFact)
        assert not bus.wants(Fact)
    assert not bus.wants(SpecialFact)


def test_ending_a_subscription_twice_is_no_fault():
    bus, seen = EventBus(), list[Fact]()
    off = bus.on(Fact, seen.append)
    off()
    off()

    bus.publish(fact(1))

    assert seen == []


def test_the_same_callback_may_be_there_twice_and_leave_once():
    bus, seen = EventBus(), list[Fact]()
    off = bus.on(Fact, seen.append)
    bus.on(Fact, seen.append)
    off()

    bus.publish(fact(1))

    assert numbers(seen) == [1]


def test_a_callback_that_unsubscribes_while_it_is_called_disturbs_nobody():
    bus, first, second = EventBus(), list[Any](), list[Any]()

    def once(event: Fact) -> None:
        first.append(event)
        off()

    off = bus.on(Fact, once)
    bus.on(Fact, second.append)

    bus.publish(fact(1))
    bus.publish(fact(2))

    assert (numbers(first), numbers(second)) == ([1], [1, 2])


def test_a_callback_that_subscribes_another_is_seen_from_the_next_event_on():
    bus, late = EventBus(), list[Any]()
    off = bus.on(Fact, lambda event: (bus.on(Fact, late.append), off()))

    bus.publish(fact(1))
    bus.publish(fact(2))

    assert numbers(late) == [2]


def test_a_callback_may_publish():
    bus, seen = EventBus(), list[Any]()
    bus.on(Fact, lambda event: bus.publish(fact(event.n * 10, OtherFact)))
    bus.on(Event, seen.append)

    bus.publish(fact(1))

    assert sorted(numbers(seen)) == [1, 10]


# -- failures ----------------------------------------------------------------------------------


def test_a_subscriber_that_raises_becomes_an_event_and_stops_nobody():
    bus, seen, failures = EventBus(), list[Any](), list[SubscriberFailed]()
    bus.on(Fact, raises)
    bus.on(Fact, seen.append)
    bus.on(SubscriberFailed, failures.append)

    bus.publish(fact(1))

    assert numbers(seen) == [1]
    assert [(f.subscriber, f.event_name, f.error) for f in failures] == [
        ("raises", "fact", "RuntimeError: on purpose")
    ]


def test_a_subscriber_that_raises_at_failures_ends_there():
    bus, failures = EventBus(), list[SubscriberFailed]()
    bus.on(Event, raises)
    bus.on(SubscriberFailed, failures.append)

    bus.publish(fact(1))

    assert len(failures) == 1


async def test_an_async_handler_that_raises_is_told_of_and_goes_on():
    bus, seen, failures = EventBus(), list[int](), list[SubscriberFailed]()
    bus.on(SubscriberFailed, failures.append)

    async def handler(event: Fact) -> None:
        seen.append(event.n)
        if event.n == 1:
            raise ValueError("once")
        if event.n == 2:
            done.set()

    done = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        with bus.subscribe(Fact) as events:
            tasks.create_task(bus.feed(events, handler))
            bus.publish(fact(1))
            bus.publish(fact(2))
            await done.wait()

    assert seen == [1, 2]
    assert [f.error for f in failures] == ["ValueError: once"]
    assert not bus.wants(Fact)


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        ("model-used", "ModelUsed"),
        ("call-failed", "CallFailed"),
        ("nothing", "such as"),
        (fact(1), "such as"),
        (int, "such as"),
    ],
)
def test_what_is_no_class_of_events_is_refused_where_it_is_said(kind: Any, hint: str):
    bus = EventBus()

    with pytest.raises(InvalidRequestError, match="is no class of events") as wrong:
        bus.on(kind, print)
    assert hint in str(wrong.value.hint)
    with pytest.raises(InvalidRequestError, match="is no class"), bus.subscribe(Fact, kind):
        raise AssertionError("nobody is subscribed")

    bus.publish(fact(1))
    assert not bus.wants(Fact)


def test_what_cannot_be_called_is_no_callback():
    bus, nothing = EventBus(), cast("Any", 5)

    with pytest.raises(InvalidRequestError, match="5 cannot be called"):
        bus.on(Fact, nothing)

    assert not bus.wants(Fact)


# -- subscriptions -----------------------------------------------------------------------------


async def test_a_reader_that_waits_is_woken():
    bus = EventBus()
    with bus.subscribe(Fact) as events:
        reading = asyncio.create_task(anext(aiter(events)))
        await asyncio.sleep(0)
        assert not reading.done()

        bus.publish(fact(1))

        assert (await reading).n == 1


async def test_nothing_is_lost_between_two_reads():
    bus, seen = EventBus(), list[int]()
    with bus.subscribe(Fact) as events:
        bus.publish(fact(1))
        bus.publish(fact(2))
        async for event in events:
            seen.append(event.n)
            if event.n == 2:
                bus.publish(fact(3))
            if event.n == 3:
                break

    assert seen == [1, 2, 3]


async def test_without_kinds_a_subscription_sees_everything():
    bus = EventBus()
    events: Subscription[Event]
    with bus.subscribe() as events:
        bus.publish(fact(1))
        bus.publish(fact(2, OtherFact))

        assert numbers(await drained(events)) == [1, 2]


async def test_several_kinds_come_in_one_order():
    bus = EventBus()
    with bus.subscribe(SpecialFact, OtherFact) as events:
        bus.publish(fact(1, OtherFact))
        bus.publish(fact(2))
        bus.publish(fact(3, SpecialFact))

        assert numbers(await drained(events)) == [1, 3]


async def test_what_is_buffered_can_still_be_read_after_the_end():
    bus = EventBus()
    with bus.subscribe(Fact) as events:
        bus.publish(fact(1))

    bus.publish(fact(2))

    assert numbers([event async for event in events]) == [1]


async def test_closing_wakes_a_reader_that_waits():
    bus = EventBus()
    with bus.subscribe(Fact) as events:
        reading = asyncio.create_task(drained(events))
        await asyncio.sleep(0)

    assert await reading == []


async def test_a_reader_that_is_cancelled_may_come_back():
    bus = EventBus()
    with bus.subscribe(Fact) as events:
        reading = asyncio.create_task(anext(aiter(events)))
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
        bus.publish(fact(1))

        assert (await anext(aiter(events))).n == 1


# -- what a full buffer does -------------------------------------------------------------------


@pytest.mark.parametrize(("overflow", "kept"), [("drop_oldest", [3, 4]), ("drop_newest", [0, 1])])
async def test_a_full_buffer_drops_as_it_was_told(overflow: Overflow, kept: list[int]):
    bus = EventBus()
    with bus.subscribe(Fact, buffer=2, overflow=overflow) as events:
        for n in range(5):
            bus.publish(fact(n))

        assert events.dropped == 3
        assert numbers(await drained(events)) == kept


async def test_a_subscription_that_must_not_lose_anything_is_ended_instead():
    bus = EventBus()
    with bus.subscribe(Fact, buffer=2, overflow="error", name="ledger") as events:
        for n in range(5):
            bus.publish(fact(n))

        assert not bus.wants(Fact)
        assert [(await anext(aiter(events))).n for _ in range(2)] == [0, 1]
        with pytest.raises(SubscriptionOverflowError, match="ledger fell 2 events behind"):
            await anext(aiter(events))


async def test_overflow_wakes_nobody_too_early_and_ends_a_reader_that_waits():
    bus = EventBus()
    with bus.subscribe(Fact, buffer=1, overflow="error") as events:
        reading = asyncio.create_task(anext(aiter(events)))
        await asyncio.sleep(0)
        bus.publish(fact(1))
        bus.publish(fact(2))

        assert (await reading).n == 1
        with pytest.raises(SubscriptionOverflowError):
            await anext(aiter(events))


def test_drops_are_told_at_1_2_4_and_8():
    bus, told = EventBus(), list[EventsDropped]()
    bus.on(EventsDropped, told.append)

    with bus.subscribe(Fact, buffer=1, name="slow"):
        for n in range(11):
            bus.publish(fact(n))

    assert [(t.subscriber, t.dropped) for t in told] == [("slow", n) for n in (1, 2, 4, 8)]


@given(st.integers(1, 4), st.sampled_from(["drop_oldest", "drop_newest"]), st.integers(0, 20))
def test_a_full_buffer_that_sees_its_own_drops_still_counts_them_all(
    buffer: int, overflow: Any, n_events: int
):
    bus = EventBus()
    published = 0

    def count(event: Event) -> None:
        nonlocal published
        published += 1

    bus.on(Event, count)
    with bus.subscribe(Event, buffer=buffer, overflow=overflow) as events:
        for n in range(n_events):
            bus.publish(fact(n))

    held = asyncio.run(drained(events))
    assert len(held) + events.dropped == published
    assert len(held) <= buffer


@pytest.mark.parametrize("buffer", [0, -1])
def test_a_buffer_holds_at_least_one(buffer: int):
    with pytest.raises(InvalidRequestError, match="buffer"), EventBus().subscribe(buffer=buffer):
        pass
