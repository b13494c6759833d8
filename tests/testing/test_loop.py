"""The simulated loop: virtual time, one order, no outside, and errors instead of hanging."""

from __future__ import annotations

import asyncio
import gc
import itertools
import math
import random
import re
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable

import anyio
import pytest
import sniffio
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.testing import loop as loop_module
from orchestrator.testing.loop import (
    DeadlockError,
    LeftoverTasksError,
    LivelockError,
    OutOfTimeError,
    OutsideWorldError,
    SimulatedLoop,
    SimulationError,
    run_simulated,
)


def now() -> float:
    return asyncio.get_running_loop().time()


class TestTime:
    def test_a_day_passes_at_once(self) -> None:
        async def main() -> float:
            await asyncio.sleep(86_400 * 3)
            return now()

        assert run_simulated(main) == 86_400 * 3

    def test_the_clock_starts_where_it_is_told(self) -> None:
        loop = SimulatedLoop(start_s=1_000.0)
        try:
            loop.run_until_complete(asyncio.sleep(2.5))
            assert loop.time() == 1_002.5
        finally:
            loop.close()

    def test_running_takes_no_time_until_somebody_waits(self) -> None:
        async def main() -> float:
            for _ in range(1_000):
                await asyncio.sleep(0)
            return now()

        assert run_simulated(main) == 0.0

    def test_a_timer_that_is_due_fires_although_tasks_keep_running(self) -> None:
        async def main() -> int:
            fired = asyncio.Event()
            asyncio.get_running_loop().call_later(0, fired.set)
            turns = 0
            while not fired.is_set():
                await asyncio.sleep(0)
                turns += 1
            return turns

        assert run_simulated(main) <= 2

    @given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=300))
    def test_timers_fire_at_their_time_in_the_order_they_were_set(
        self, timers: list[tuple[int, bool]]
    ) -> None:
        async def main() -> list[tuple[float, int]]:
            loop = asyncio.get_running_loop()
            fired: list[tuple[float, int]] = []

            def fire(number: int) -> None:
                fired.append((loop.time(), number))

            handles = [loop.call_later(delay, fire, i) for i, (delay, _) in enumerate(timers)]
            for handle, (_, cancelled) in zip(handles, timers, strict=True):
                if cancelled:
                    handle.cancel()
            await asyncio.sleep(10)
            return fired

        kept = [(float(delay), i) for i, (delay, cancelled) in enumerate(timers) if not cancelled]
        assert run_simulated(main) == sorted(kept)

    def test_cancelled_timers_do_not_pile_up(self) -> None:
        async def main() -> int:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, SimulatedLoop)
            most = 0
            for _ in range(10_000):
                async with asyncio.timeout(3_600):
                    await asyncio.sleep(0.001)
                most = max(most, len(loop._timers))
            return most

        assert run_simulated(main) < 200

    def test_a_timer_cannot_be_set_for_nan(self) -> None:
        async def main() -> None:
            asyncio.get_running_loop().call_later(math.nan, print)

        with pytest.raises(ValueError, match="NaN"):
            run_simulated(main)


class TestLibraries:
    def test_anyio_sees_asyncio(self) -> None:
        async def main() -> str:
            return sniffio.current_async_library()

        assert run_simulated(main) == "asyncio"

    def test_anyio_groups_events_and_deadlines_follow_virtual_time(self) -> None:
        async def main() -> list[tuple[str, float]]:
            log: list[tuple[str, float]] = []
            opened = anyio.Event()

            async def opener() -> None:
                await anyio.sleep(40)
                opened.set()

            async def waiter() -> None:
                await opened.wait()
                log.append(("opened", anyio.current_time()))

            async def late() -> None:
                try:
                    with anyio.fail_after(90):
                        await anyio.sleep_forever()
                except TimeoutError:
                    log.append(("failed", anyio.current_time()))

            async with anyio.create_task_group() as group:
                group.start_soon(opener)
                group.start_soon(waiter)
                group.start_soon(late)
                with anyio.move_on_after(7) as scope:
                    await anyio.sleep(60)
                log.append((f"moved on {scope.cancelled_caught}", anyio.current_time()))
            return log

        assert run_simulated(main) == [("moved on True", 7), ("opened", 40), ("failed", 90)]

    def test_a_scope_cancels_its_group_and_its_tasks_clean_up(self) -> None:
        async def main() -> list[float]:
            cleaned: list[float] = []

            async def worker() -> None:
                try:
                    await anyio.sleep_forever()
                finally:
                    with anyio.CancelScope(shield=True):
                        await anyio.sleep(3)
                    cleaned.append(anyio.current_time())

            async with anyio.create_task_group() as group:
                group.start_soon(worker)
                await anyio.sleep(10)
                group.cancel_scope.cancel()
            return cleaned

        assert run_simulated(main) == [13]

    def test_asyncio_timeouts_and_groups_follow_virtual_time(self) -> None:
        async def main() -> tuple[float, int]:
            async with asyncio.TaskGroup() as group:
                answer = group.create_task(asyncio.sleep(20, result=42))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(100):
                    await asyncio.Event().wait()
            return now(), answer.result()

        assert run_simulated(main) == (120, 42)


class TestEnds:
    def test_the_exception_of_main_is_raised(self) -> None:
        async def main() -> None:
            raise LookupError("mine")

        with pytest.raises(LookupError, match="mine"):
            run_simulated(main)

    def test_a_deadlock_names_the_tasks_and_where_they_wait(self) -> None:
        async def wait_for_godot(event: asyncio.Event) -> None:
            await event.wait()

        async def main() -> None:
            event = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                group.create_task(wait_for_godot(event), name="vladimir")
                group.create_task(wait_for_godot(event), name="estragon")

        with pytest.raises(DeadlockError) as caught:
            run_simulated(main)
        assert re.search(r"'vladimir' in wait_for_godot \(.*\) > wait \(", str(caught.value))
        assert re.search(r"'estragon' in wait_for_godot \(.*\) > wait \(", str(caught.value))

    def test_sleeping_for_ever_alone_is_a_deadlock(self) -> None:
        with pytest.raises(DeadlockError):
            run_simulated(anyio.sleep_forever)

    def test_a_deadlock_still_unwinds_the_tasks(self) -> None:
        unwound: list[str] = []

        async def main() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                await anyio.lowlevel.cancel_shielded_checkpoint()
                unwound.append("main")

        with pytest.raises(DeadlockError):
            run_simulated(main)
        assert unwound == ["main"]

    def test_tasks_that_only_keep_each_other_busy_are_an_error(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(loop_module, "_MOST_TURNS_AT_ONE_INSTANT", 500)

        async def spin() -> None:
            for _ in itertools.count():
                await asyncio.sleep(0)

        with pytest.raises(LivelockError, match="spin"):
            run_simulated(spin)

    def test_many_turns_are_no_livelock_as_long_as_time_passes(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(loop_module, "_MOST_TURNS_AT_ONE_INSTANT", 500)

        async def main() -> float:
            for _ in range(2_000):
                await asyncio.sleep(0.5)
            return now()

        assert run_simulated(main) == 1_000

    def test_a_world_ends_at_its_horizon(self) -> None:
        async def main() -> None:
            for _ in itertools.count():
                await asyncio.sleep(60)

        with pytest.raises(OutOfTimeError, match="main"):
            run_simulated(main, until_s=3_600)

    def test_what_happens_at_the_horizon_still_happens(self) -> None:
        async def main() -> float:
            await asyncio.sleep(3_600)
            return now()

        assert run_simulated(main, until_s=3_600) == 3_600

    def test_a_task_left_over_is_an_error_and_is_cancelled(self) -> None:
        ended: list[str] = []
        tasks: list[asyncio.Task[None]] = []

        async def forgotten() -> None:
            try:
                await asyncio.sleep(10)
            finally:
                ended.append("forgotten")

        async def main() -> None:
            tasks.append(asyncio.create_task(forgotten(), name="forgotten one"))
            await asyncio.sleep(1)

        with pytest.raises(LeftoverTasksError) as caught:
            run_simulated(main)
        assert len(caught.value.tasks) == 1
        assert caught.value.tasks[0].startswith("'forgotten one' in forgotten (test_loop.py:")
        assert ended == ["forgotten"]

    def test_a_task_left_over_by_a_failure_is_noted_on_it(self) -> None:
        tasks: list[asyncio.Task[None]] = []

        async def main() -> None:
            tasks.append(asyncio.create_task(asyncio.sleep(10), name="forgotten"))
            await asyncio.sleep(1)
            raise LookupError("first")

        with pytest.raises(LookupError, match="first") as caught:
            run_simulated(main)
        assert "'forgotten'" in caught.value.__notes__[0]
        assert tasks[0].cancelled()

    def test_a_task_that_refuses_to_end_does_not_keep_the_world_running(self) -> None:
        released: list[bool] = []
        tasks: list[asyncio.Task[None]] = []

        async def stubborn() -> None:
            while not released:
                try:
                    await asyncio.sleep(1)
                except asyncio.CancelledError:
                    continue

        async def main() -> None:
            tasks.append(asyncio.create_task(stubborn(), name="stubborn"))
            await asyncio.sleep(1)

        with pytest.raises(LeftoverTasksError, match=r"'stubborn' .* did not end when cancelled"):
            run_simulated(main)
        tasks[0]._log_destroy_pending = False  # type: ignore[attr-defined]

    def test_async_generators_are_closed_at_the_end(self) -> None:
        closed: list[str] = []

        async def numbers() -> AsyncIterator[int]:
            try:
                yield 1
                yield 2
            finally:
                await asyncio.sleep(5)
                closed.append("closed")

        async def main() -> AsyncIterator[int]:
            generator = numbers()
            assert await anext(generator) == 1
            return generator

        kept = run_simulated(main)
        assert closed == ["closed"]
        del kept

    def test_an_abandoned_generator_is_nobodys_leftover(self) -> None:
        closed: list[str] = []

        async def numbers() -> AsyncIterator[int]:
            try:
                yield 1
            finally:
                await asyncio.sleep(5)
                closed.append("closed")

        async def main() -> None:
            async for _ in numbers():
                break

        run_simulated(main)
        assert closed == ["closed"]

    def test_an_interrupt_passes_through_and_the_tasks_unwind(self) -> None:
        unwound: list[str] = []

        async def bystander() -> None:
            try:
                await asyncio.sleep(10)
            finally:
                unwound.append("bystander")

        async def main() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(bystander())
                await asyncio.sleep(1)
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run_simulated(main)
        assert unwound == ["bystander"]

    def test_what_an_interrupt_kept_from_running_runs_later(self) -> None:
        ran: list[str] = []

        def interrupt() -> None:
            raise KeyboardInterrupt

        loop = SimulatedLoop()
        try:
            loop.call_soon(interrupt)
            loop.call_soon(ran.append, "second")
            loop.call_soon(ran.append, "third")
            with pytest.raises(KeyboardInterrupt):
                loop.run_forever()
            loop.call_soon(loop.stop)
            loop.run_forever()
        finally:
            loop.close()
        assert ran == ["second", "third"]

    def test_the_collector_is_as_it_was_afterwards(self) -> None:
        async def main() -> bool:
            return gc.isenabled()

        assert gc.isenabled()
        assert not run_simulated(main)
        assert gc.isenabled()

    async def test_a_world_cannot_be_started_inside_another(self) -> None:
        async def main() -> None:
            raise AssertionError("must not run")

        with pytest.raises(RuntimeError, match="another loop is running"):
            run_simulated(main)


def _outside_calls() -> list[tuple[str, Callable[[], Awaitable[object]]]]:
    async def executor() -> None:
        await asyncio.get_running_loop().run_in_executor(None, print)

    async def thread() -> None:
        await asyncio.to_thread(print)

    async def connection() -> None:
        await asyncio.open_connection("127.0.0.1", 9)

    async def server() -> None:
        await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)

    async def datagram() -> None:
        await asyncio.get_running_loop().create_datagram_endpoint(asyncio.DatagramProtocol)

    async def reader() -> None:
        asyncio.get_running_loop().add_reader(0, print)

    async def writer() -> None:
        asyncio.get_running_loop().add_writer(0, print)

    async def name() -> None:
        await asyncio.get_running_loop().getaddrinfo("localhost", 80)

    async def raw() -> None:
        with socket.socket() as sock:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", 9))

    async def process() -> None:
        await asyncio.create_subprocess_exec("true")

    async def signal() -> None:
        asyncio.get_running_loop().add_signal_handler(2, print)

    calls = [
        executor, thread, connection, server, datagram, reader, writer, name, raw, process, signal
    ]  # fmt: skip
    return [(call.__name__, call) for call in calls]


class TestOutside:
    @pytest.mark.parametrize(
        "reach", [pytest.param(call, id=name) for name, call in _outside_calls()]
    )
    def test_reaching_outside_is_an_error_at_once(
        self, reach: Callable[[], Awaitable[object]]
    ) -> None:
        with pytest.raises(OutsideWorldError, match="reaches outside the simulated world"):
            run_simulated(reach)

    def test_another_thread_cannot_call_in(self) -> None:
        async def main() -> list[BaseException]:
            loop = asyncio.get_running_loop()
            refused: list[BaseException] = []

            def call_in() -> None:
                try:
                    loop.call_soon_threadsafe(print)
                except SimulationError as error:
                    refused.append(error)

            thread = threading.Thread(target=call_in)
            thread.start()
            thread.join()
            return refused

        [error] = run_simulated(main)
        assert isinstance(error, OutsideWorldError)


def _clutter(seed: int) -> list[object]:
    """Take memory in pieces of many sizes and free half, so that new objects land anywhere."""
    rng = random.Random(seed)
    pieces: list[object] = [bytearray(rng.randrange(1, 1_500)) for _ in range(600)]
    pieces += [{number: number} for number in range(rng.randrange(200))]
    rng.shuffle(pieces)
    return pieces[::2]


class TestOrder:
    """Each world runs over and over among different addresses, which sets would order by."""

    @staticmethod
    def traces(main: Callable[[], Awaitable[object]]) -> set[object]:
        traces = set()
        for seed in range(25):
            clutter = _clutter(seed)
            traces.add(run_simulated(main))
            del clutter
        return traces

    def test_nested_scopes_are_cancelled_in_the_order_of_their_tasks(self) -> None:
        async def main() -> tuple[int, ...]:
            order: list[int] = []

            async def worker(number: int) -> None:
                with anyio.fail_after(100):
                    try:
                        await anyio.sleep_forever()
                    finally:
                        order.append(number)

            async with anyio.create_task_group() as group:
                clutter = []
                for number in range(40):
                    clutter.append(_clutter(number))
                    group.start_soon(worker, number)
                    await anyio.sleep(1)
                group.cancel_scope.cancel()
            return tuple(order)

        assert self.traces(main) == {tuple(range(40))}

    def test_a_group_cancels_its_tasks_in_one_order(self) -> None:
        async def main() -> tuple[int, ...]:
            order: list[int] = []

            async def worker(number: int) -> None:
                try:
                    await asyncio.sleep(100)
                finally:
                    order.append(number)

            async def fail() -> None:
                await asyncio.sleep(1)
                raise LookupError

            async def work() -> None:
                async with asyncio.TaskGroup() as group:
                    for number in range(40):
                        group.create_task(worker(number))
                    group.create_task(fail())

            with pytest.raises(ExceptionGroup):
                await work()
            return tuple(order)

        assert len(self.traces(main)) == 1

    def test_cancelling_tasks_by_hand_keeps_the_order_of_the_hand(self) -> None:
        async def main() -> list[str]:
            order: list[str] = []

            async def worker(name: str) -> None:
                try:
                    await asyncio.sleep(100)
                except asyncio.CancelledError:
                    order.append(name)

            first, second = (asyncio.create_task(worker(name)) for name in ("first", "second"))
            await asyncio.sleep(1)
            second.cancel()
            first.cancel()
            await asyncio.wait({first, second})
            return order

        assert run_simulated(main) == ["second", "first"]

    def test_a_scope_that_is_cancelled_first_ends_first(self) -> None:
        async def main() -> list[str]:
            order: list[str] = []
            scopes = {"early": anyio.CancelScope(), "late": anyio.CancelScope()}

            async def worker(name: str) -> None:
                with scopes[name]:
                    try:
                        await anyio.sleep_forever()
                    finally:
                        order.append(name)

            async with anyio.create_task_group() as group:
                group.start_soon(worker, "early")
                group.start_soon(worker, "late")
                await anyio.sleep(1)
                scopes["late"].cancel()
                scopes["early"].cancel()
            return order

        assert run_simulated(main) == ["late", "early"]

    def test_a_scope_reaches_through_gather_to_every_child(self) -> None:
        async def main() -> list[str]:
            order: list[str] = []

            async def child(name: str) -> None:
                try:
                    await asyncio.sleep(100)
                finally:
                    order.append(name)

            async def parent(name: str) -> None:
                with anyio.fail_after(50):
                    await asyncio.gather(child(f"{name}1"), child(f"{name}2"))

            async with anyio.create_task_group() as group:
                for name in "abc":
                    group.start_soon(parent, name)
                await anyio.sleep(1)
                group.cancel_scope.cancel()
            return order

        assert run_simulated(main) == ["a1", "a2", "b1", "b2", "c1", "c2"]

    def test_unnamed_tasks_have_the_same_names_in_each_run(self) -> None:
        async def main() -> tuple[str, ...]:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(asyncio.sleep(1)) for _ in range(3)]
            return tuple(task.get_name() for task in tasks)

        assert run_simulated(main) == run_simulated(main) == ("Task-2", "Task-3", "Task-4")

    def test_the_cyclic_collector_does_not_choose_the_moment(self) -> None:
        async def numbers(closed: list[float]) -> AsyncIterator[int]:
            try:
                while True:
                    yield 1
            finally:
                closed.append(now())

        async def main() -> tuple[float, ...]:
            closed: list[float] = []
            for _ in range(20):
                generator = numbers(closed)
                await anext(generator)
                cycle: list[object] = [generator]
                cycle.append(cycle)
                del generator, cycle
                await asyncio.sleep(1)
            return tuple(closed)

        usual = gc.get_threshold()
        try:
            gc.set_threshold(1)
            eager = run_simulated(main)
        finally:
            gc.set_threshold(*usual)
        assert eager == run_simulated(main)
