from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import OverloadedError
from orchestrator.core.model import ModelConstraints
from orchestrator.engine.admission import Admission
from orchestrator.testing.loop import DeadlockError, run_simulated


class LoopClock:
    """The simulated loop's time."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def wall(self) -> float:
        return self.monotonic()


def admission(**limits: Any) -> Admission:
    return Admission("local:small", ModelConstraints(**limits), LoopClock())


def full(**limits: Any) -> Admission:
    """One place, taken."""
    door = admission(max_concurrent_requests=1, **limits)
    assert door.try_enter()
    return door


async def queued(door: Admission, patience_s: float = 60.0) -> asyncio.Task[None]:
    """Return a task that waits at the door."""
    task = asyncio.create_task(door.enter(patience_s))
    await asyncio.sleep(0)
    return task


def simulated(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Let an async test run in the simulated world."""

    def run() -> None:
        run_simulated(test, until_s=3600)

    return run


@simulated
async def test_a_model_without_limits_lets_everybody_in():
    door = admission()

    assert all(door.try_enter() for _ in range(1_000))
    await door.enter(0.0)
    assert door.busy == 1_001


@simulated
async def test_a_free_place_goes_to_whoever_has_waited_longest():
    door = full()
    first, second = await queued(door), await queued(door)
    assert door.waiting == 2

    door.leave()
    assert not door.try_enter()
    await first

    assert (first.done(), second.done(), door.busy, door.waiting) == (True, False, 1, 1)
    door.leave()
    await second


@simulated
async def test_one_more_than_the_queue_holds_is_refused_at_once():
    door = full(max_queue=1)
    waiting = await queued(door)

    with pytest.raises(OverloadedError, match="local:small is full") as refused:
        await door.enter(60.0)

    assert refused.value.retry_after_s == 1.0
    door.leave()
    await waiting


@simulated
async def test_the_refused_are_told_how_long_the_queue_is_taking():
    door = full(max_queue=1)
    waiting = await queued(door)
    await asyncio.sleep(12.0)

    with pytest.raises(OverloadedError) as refused:
        await door.enter(60.0)

    assert refused.value.retry_after_s == 12.0
    door.leave()
    await waiting


@pytest.mark.parametrize(
    ("patience_s", "max_wait_s", "refused_at"), [(60.0, 30.0, 30.0), (5.0, 30.0, 5.0)]
)
def test_nobody_waits_longer_than_the_endpoint_or_the_caller_allows(
    patience_s: float, max_wait_s: float, refused_at: float
):
    async def world() -> None:
        door = full(max_wait_s=max_wait_s)
        with pytest.raises(OverloadedError, match="had no place within"):
            await door.enter(patience_s)

        assert LoopClock().monotonic() == refused_at
        assert (door.busy, door.waiting) == (1, 0)
        door.leave()
        assert door.try_enter()

    run_simulated(world)


@pytest.mark.parametrize("patience_s", [0.0, -3.0])
def test_a_caller_out_of_time_is_refused_at_once(patience_s: float):
    async def world() -> None:
        door = full()
        with pytest.raises(OverloadedError):
            await door.enter(patience_s)
        assert LoopClock().monotonic() == 0.0

    run_simulated(world)


@simulated
async def test_a_cancelled_waiter_leaves_the_queue():
    door = full()
    first, second = await queued(door), await queued(door)

    first.cancel()
    await asyncio.wait([first])
    assert door.waiting == 1
    door.leave()
    await second
    assert first.cancelled()


@simulated
async def test_a_waiter_cancelled_just_after_it_was_let_in_hands_its_place_on():
    door = full()
    first, second = await queued(door), await queued(door)

    door.leave()
    first.cancel()
    await asyncio.wait([first, second])

    assert first.cancelled()
    assert (second.exception(), door.busy, door.waiting) == (None, 1, 0)


@simulated
async def test_a_place_freed_just_after_a_cancellation_goes_to_the_next():
    door = full()
    first, second = await queued(door), await queued(door)

    first.cancel()
    door.leave()
    await asyncio.wait([first, second])

    assert first.cancelled()
    assert (second.exception(), door.busy, door.waiting) == (None, 1, 0)


@simulated
async def test_a_place_given_to_nobody_but_the_cancelled_is_free_again():
    door = full()
    only = await queued(door)

    door.leave()
    only.cancel()
    await asyncio.wait([only])

    assert door.busy == 0
    assert door.try_enter()


@simulated
async def test_requests_past_the_rate_wait_for_their_turn_in_order():
    door = admission(max_requests_per_minute=6)
    entered: list[tuple[int, float]] = []

    async def visit(number: int) -> None:
        await door.enter(60.0)
        entered.append((number, LoopClock().monotonic()))
        door.leave()

    async with asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(visit(number))

    assert entered == [(0, 0.0), (1, 10.0), (2, 20.0)]


@simulated
async def test_who_cannot_come_in_time_under_the_rate_is_refused_at_once():
    door = admission(max_requests_per_minute=6)
    assert door.try_enter()
    second, third = await queued(door), await queued(door)

    with pytest.raises(OverloadedError) as refused:
        await door.enter(29.0)

    assert LoopClock().monotonic() == 0.0
    assert refused.value.retry_after_s == pytest.approx(30.0)
    await asyncio.gather(second, third)


@simulated
async def test_the_rate_goes_on_when_the_first_in_the_queue_gives_up():
    door = admission(max_requests_per_minute=6)
    assert door.try_enter()
    first, second = await queued(door), await queued(door)

    first.cancel()
    await asyncio.wait([first])
    await second

    assert LoopClock().monotonic() == 10.0


@simulated
async def test_the_rate_holds_for_places_that_become_free():
    door = admission(max_concurrent_requests=1, max_requests_per_minute=6)
    assert door.try_enter()
    second = await queued(door)

    door.leave()
    assert not door.try_enter()
    await second

    assert LoopClock().monotonic() == 10.0


@simulated
async def test_nobody_overtakes_in_the_moment_in_which_the_rate_allows_one():
    door = admission(max_requests_per_minute=6)

    early_bird: list[bool] = []
    asyncio.get_running_loop().call_later(10.0, lambda: early_bird.append(door.try_enter()))
    assert door.try_enter()

    await (await queued(door))

    assert early_bird == [False]
    assert LoopClock().monotonic() == 10.0


def test_a_wait_that_is_over_leaves_no_timer_behind():
    async def world() -> None:
        door = full()
        waiting = await queued(door)
        door.leave()
        await waiting
        await asyncio.Event().wait()

    with pytest.raises(DeadlockError, match=r"at 0 s .*no timer is set"):
        run_simulated(world)


@pytest.mark.parametrize("limit", ["max_concurrent_requests", "max_requests_per_minute"])
def test_a_limit_of_nothing_refuses_at_once(limit: str):
    async def world() -> None:
        door = admission(**{limit: 0})
        assert not door.try_enter()
        with pytest.raises(OverloadedError):
            await door.enter(60.0)
        assert LoopClock().monotonic() == 0.0

    run_simulated(world)


Step = tuple[Literal["arrive", "try", "leave", "cancel", "tick", "wait"], int]

steps: st.SearchStrategy[list[Step]] = st.lists(
    st.tuples(
        st.sampled_from(["tick", "arrive", "arrive", "try", "leave", "leave", "cancel", "wait"]),
        st.integers(0, 7),
    ),
    min_size=40,
    max_size=80,
)


class Crowd:
    """People at one door, some of whom are called away at the worst moment."""

    def __init__(self, door: Admission, places: int, rate: bool) -> None:
        self.door = door
        self.places = places
        self.rate = rate
        self.inside: list[int] = []
        self.entered: list[int] = []
        self.called_in: list[int] = []
        self.tasks: dict[int, asyncio.Task[None]] = {}

    async def visit(self, number: int) -> None:
        if self.door.try_enter():
            assert not self.door.waiting
        else:
            await self.door.enter(5.0)
            self.called_in.append(number)
        self.enters(number)

    def enters(self, number: int) -> None:
        self.entered.append(number)
        self.inside.append(number)
        assert len(self.inside) <= self.places

    async def take(self, step: Step, number: int) -> None:
        what, which = step
        waiting = [n for n, task in self.tasks.items() if not task.done()]
        if what == "arrive":
            self.tasks[number] = asyncio.create_task(self.visit(number))
        elif what == "try":
            if self.door.try_enter():
                assert not self.door.waiting
                self.enters(number)
        elif what == "leave" and self.inside:
            self.inside.pop(which % len(self.inside))
            self.door.leave()
        elif what == "cancel" and waiting:
            self.tasks[waiting[which % len(waiting)]].cancel()
        elif what == "tick":
            await asyncio.sleep(0)
        elif what == "wait":
            await asyncio.sleep(which)

    def check(self) -> None:
        assert len(self.inside) <= self.door.busy <= self.places
        if self.door.waiting and not self.rate:
            assert self.door.busy == self.places

    async def goes_home(self) -> None:
        while self.door.waiting or self.inside or not all(t.done() for t in self.tasks.values()):
            if self.inside:
                self.inside.pop()
                self.door.leave()
            else:
                await asyncio.sleep(0.1)


@given(
    places=st.integers(1, 3),
    max_queue=st.integers(0, 5),
    per_minute=st.none() | st.integers(6, 200),
    story=steps,
)
def test_never_too_many_inside_never_out_of_order_and_no_place_is_ever_lost(
    places: int, max_queue: int, per_minute: int | None, story: list[Step]
):
    async def world() -> None:
        door = admission(
            max_concurrent_requests=places,
            max_queue=max_queue,
            max_requests_per_minute=per_minute,
            max_wait_s=8.0,
        )
        crowd = Crowd(door, places, rate=per_minute is not None)
        for number, step in enumerate(story):
            await crowd.take(step, number)
            crowd.check()
        await crowd.goes_home()

        assert (door.busy, door.waiting) == (0, 0)
        assert crowd.called_in == sorted(crowd.called_in)
        for number, task in crowd.tasks.items():
            refused = None if task.cancelled() else task.exception()
            assert refused is None or isinstance(refused, OverloadedError)
            assert (number in crowd.entered) == (not task.cancelled() and refused is None)

    run_simulated(world, until_s=3600)
