"""What the manager promises about memory and waiting, one story each."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from orchestrator.core.errors import (
    ConfigurationError,
    InvalidRequestError,
    ModelDoesNotFitError,
    ModelLoadError,
    OverloadedError,
    ProcessError,
)
from orchestrator.core.events import (
    LoadProgress,
    ModelEvicted,
    ModelLoaded,
    ModelLoadFailed,
    ModelLoading,
    ModelPinned,
    ModelSwitched,
    ModelUnloaded,
    ModelUnloadFailed,
    ModelUnloading,
)
from orchestrator.core.ports import ResidentSize, ResidentSpec
from orchestrator.lifecycle.policy import MemoryBudget
from orchestrator.lifecycle.state import Status
from orchestrator.testing import ProcessScript
from tests.lifecycle.house import House, house, resident, simulated

A, B, C = resident("a", 4), resident("b", 4), resident("c", 4)


# -- making room -------------------------------------------------------------------------------


@simulated
async def test_the_least_recently_used_makes_room():
    async with house(A, B, C, ram=8) as h:
        await h.manager.load("a")
        await h.manager.load("b")
        await h.use("a", 10)
        await h.use("b")
        await anyio.sleep(10)
        await h.use("c")

        assert h.manager.loaded == {"b", "c"}
        (evicted,) = h.said(ModelEvicted)
        assert (evicted.resident, evicted.for_resident, evicted.forced) == ("a", "c", False)
        assert h.said(ModelUnloaded)[0].reason == "evicted"


@simulated
async def test_only_as_many_leave_as_suffice():
    async with house(resident("small", 2), resident("big", 5), resident("new", 6), ram=8) as h:
        await h.manager.load("small")
        await anyio.sleep(1)
        await h.manager.load("big")
        await anyio.sleep(10)
        await h.manager.load("new")

        assert [event.resident for event in h.said(ModelEvicted)] == ["big"]


@simulated
async def test_a_leased_model_is_not_unloaded():
    async with (
        house(A, B, ram=4, max_wait_for_load_s=1e6, wait_limit_s=1e6) as h,
        anyio.create_task_group() as users,
    ):
        users.start_soon(h.use, "a", 50)
        await anyio.sleep(20)
        waited_s = await h.use("b")

    assert waited_s == pytest.approx(31 + 1.25, abs=0.01)
    assert all(not event.broken_leases for event in h.said(ModelUnloading))


@simulated
async def test_a_lease_is_finished_also_by_who_has_to_leave():
    async with house(A, B, ram=4, max_wait_for_load_s=5) as h, anyio.create_task_group() as users:
        users.start_soon(h.use, "a", 20)
        await anyio.sleep(2)
        await h.use("b")

        assert all(not event.broken_leases for event in h.said(ModelUnloading))
        assert h.said(ModelUnloading)[0].at == pytest.approx(21, abs=0.01)


@simulated
async def test_a_model_marked_for_eviction_gives_no_new_lease():
    async with house(A, B, ram=4, max_wait_for_load_s=5) as h, anyio.create_task_group() as users:
        users.start_soon(h.use, "a", 20)
        await anyio.sleep(2)
        users.start_soon(h.use, "b", 5)
        await anyio.sleep(6)
        assert h.manager.statuses()["a"] is Status.DRAINING

        await h.use("a")

        assert [event.resident for event in h.said(ModelLoaded)] == ["a", "b", "a"]


@simulated
async def test_nobody_is_evicted_inside_its_minimum_residence():
    async with house(A, B, ram=4, min_residence_s=30, max_wait_for_load_s=100) as h:
        await h.manager.load("a")
        waited_s = await h.use("b")

    assert waited_s == pytest.approx(31, abs=0.01)


@simulated
async def test_the_gap_between_two_requests_is_no_reason_to_swap():
    async with (
        house(A, B, ram=4, min_residence_s=0, linger_s=1, max_wait_for_load_s=8) as h,
        anyio.create_task_group() as users,
    ):

        async def steady() -> None:
            for _ in range(10):
                await h.use("a", 0.5)
                await anyio.sleep(0.5)

        users.start_soon(steady)
        await anyio.sleep(1.5)
        waited_s = await h.use("b")
        users.cancel_scope.cancel()

    assert waited_s == pytest.approx(8 + 1, abs=0.6)


@simulated
async def test_a_cold_model_is_served_although_others_are_always_busy():
    async with (
        house(A, B, ram=4, max_wait_for_load_s=10, wait_limit_s=60) as h,
        anyio.create_task_group() as users,
    ):

        async def always() -> None:
            while True:
                await h.use("a", 3)

        for n in range(3):
            users.start_soon(always)
            await anyio.sleep(1 + n * 0.3)
        waited_s = await h.use("b")
        users.cancel_scope.cancel()

    assert 10 < waited_s < 15
    assert [event.forced for event in h.said(ModelEvicted)][:1] == [True]


@simulated
async def test_nobody_overtakes_who_has_waited_too_long():
    big = resident("big", 8)
    async with (
        house(A, B, big, ram=8, max_wait_for_load_s=5, min_residence_s=0) as h,
        anyio.create_task_group() as users,
    ):

        async def always(name: str) -> None:
            while True:
                await h.use(name, 4, priority=9)

        for name in "ab":
            users.start_soon(always, name)
            await anyio.sleep(1.5)
        waited_s = await h.use("big")
        users.cancel_scope.cancel()

    assert waited_s < 5 + 4 + 1.5


@simulated
async def test_a_drain_ends_at_its_deadline_and_says_so():
    async with (
        house(A, B, ram=4, max_wait_for_load_s=5, drain_deadline_s=7) as h,
        anyio.create_task_group() as users,
    ):
        users.start_soon(h.use, "a", 1_000)
        await anyio.sleep(2)
        waited_s = await h.use("b")
        users.cancel_scope.cancel()

    assert waited_s == pytest.approx(5 + 7 + 1, abs=0.01)
    assert h.said(ModelUnloading)[0].broken_leases == 1


@simulated
async def test_the_number_of_models_is_a_limit_too():
    async with house(A, B, C, models=2) as h:
        for name in "abc":
            await h.use(name)
            await anyio.sleep(10)

        assert h.manager.loaded == {"b", "c"}


@simulated
async def test_of_a_group_only_one_is_loaded():
    group = frozenset(("vision",))
    async with house(resident("x", groups=group), resident("y", groups=group), A) as h:
        for name in "xay":
            await h.use(name)
            await anyio.sleep(10)

        assert h.manager.loaded == {"a", "y"}


@simulated
async def test_each_gpu_has_a_budget_of_its_own():
    def on(device: str) -> ResidentSpec:
        return ResidentSpec(device, (), {}, size=ResidentSize(6, device=device, overhead_bytes=1))

    budget = MemoryBudget(ram_bytes=10, gpu_bytes={0: 6, 1: 5})
    async with house(on("gpu:0"), on("gpu:1"), budget=budget) as h:
        await h.manager.load("gpu:0")
        with pytest.raises(ModelDoesNotFitError, match=r"needs 6 of gpu:1, .* room for 5"):
            await h.manager.load("gpu:1")


# -- what can never be -------------------------------------------------------------------------


@simulated
async def test_what_can_never_fit_is_refused_at_once_and_evicts_nobody():
    async with house(A, resident("huge", 9), ram=8) as h:
        await h.manager.load("a")
        await anyio.sleep(10)
        began = anyio.current_time()
        with pytest.raises(ModelDoesNotFitError, match="huge needs 9 of ram") as caught:
            await h.manager.load("huge")

        assert anyio.current_time() == began
        assert (caught.value.needs["ram"], caught.value.room["ram"]) == (9, 8)
        assert h.manager.loaded == {"a"}


@simulated
async def test_a_pin_that_leaves_no_room_refuses_who_waits_for_it():
    async with house(A, B, ram=4, min_residence_s=100) as h, anyio.create_task_group() as users:
        await h.manager.load("a")

        async def refused() -> None:
            with pytest.raises(ModelDoesNotFitError, match="beside a"):
                await h.use("b")

        users.start_soon(refused)
        await anyio.sleep(1)
        h.manager.pin("a")
        await anyio.lowlevel.checkpoint()
        with pytest.raises(ModelDoesNotFitError):
            h.manager.would_evict("b")
        with pytest.raises(InvalidRequestError, match="pinned"):
            await h.manager.unload("a")
        h.manager.unpin("a")

        assert [event.pinned for event in h.said(ModelPinned)] == [True, False]


@simulated
async def test_a_model_that_takes_more_than_there_is_fails_and_is_known_from_then_on():
    async with house(A, ram=6) as h:
        h.scripts["a"] = ProcessScript(memory={"ram": 7})
        with pytest.raises(ModelDoesNotFitError, match="needs 7"):
            await h.manager.load("a")
        assert not h.launcher.alive()
        await anyio.sleep(100)
        with pytest.raises(ModelDoesNotFitError, match="needs 7"):
            await h.manager.load("a")

        assert len(h.launcher.processes) == 1


@simulated
async def test_a_model_that_takes_more_than_it_said_makes_others_leave():
    async with house(A, B, ram=9) as h:
        await h.manager.load("a")
        h.scripts["b"] = ProcessScript(memory={"ram": 8})
        await h.manager.load("b")
        await anyio.sleep(1)

        assert h.manager.loaded == {"b"}
        assert h.manager.snapshot().residents[1].needs_bytes == 8
        assert h.said(ModelEvicted)[0].for_resident is None


@simulated
async def test_a_smaller_budget_makes_the_least_recently_used_leave_at_once():
    async with house(A, B, C, ram=12) as h:
        for name in "abc":
            await h.manager.load(name)
        h.manager.pin("a")
        h.manager.set_budget(MemoryBudget(ram_bytes=8))
        await anyio.sleep(0.1)

        assert h.manager.loaded == {"a", "c"}
        with pytest.raises(ModelDoesNotFitError, match="holds more than that: 4 of ram"):
            h.manager.set_budget(MemoryBudget(ram_bytes=3))
        assert h.manager.snapshot().limits == {"ram": 8}


# -- leases ------------------------------------------------------------------------------------


@simulated
async def test_all_who_wait_share_one_load():
    async with house(A) as h, anyio.create_task_group() as users:
        for _ in range(10):
            users.start_soon(h.use, "a", 1)
        await anyio.sleep(1.5)
        (seen,) = h.manager.snapshot().residents

    assert (seen.leases, len(h.said(ModelLoading)), len(h.launcher.processes)) == (10, 1, 1)


@simulated
async def test_a_lease_granted_to_who_has_just_left_is_given_back():
    async with house(A) as h:
        async with anyio.create_task_group() as users:
            users.start_soon(h.use, "a", 100)
            # Within the very publication of the event that the load is over, before the caller
            # has had a turn.
            h.bus.on(ModelLoaded, lambda event: users.cancel_scope.cancel())
        await anyio.sleep(1)

        assert h.manager.loaded == {"a"}
        assert h.manager.snapshot().residents[0].leases == 0


# -- waiting -----------------------------------------------------------------------------------


@simulated
async def test_who_waits_too_long_is_refused():
    async with house(A, B, ram=4, max_wait_for_load_s=100) as h, anyio.create_task_group() as users:
        users.start_soon(h.use, "a", 50)
        await anyio.sleep(2)
        began = anyio.current_time()
        with pytest.raises(OverloadedError, match="b was not in memory within 7 s"):
            await h.use("b", wait_limit_s=7)

        assert anyio.current_time() - began == pytest.approx(7, abs=0.01)


@simulated
async def test_a_full_queue_refuses_who_matters_least():
    async with house(A, B, C, ram=4, queue_limit=2) as h, anyio.create_task_group() as users:
        outcome: dict[str, str] = {}

        async def ask(who: str, name: str, priority: int) -> None:
            try:
                await h.use(name, priority=priority)
                outcome[who] = "served"
            except OverloadedError:
                outcome[who] = "refused"

        users.start_soon(ask, "first", "a", 0)
        users.start_soon(ask, "second", "b", 0)
        users.start_soon(ask, "third", "c", 0)
        users.start_soon(ask, "important", "c", 1)
        await anyio.sleep(60)

    assert outcome == {
        "first": "served",
        "second": "refused",
        "third": "refused",
        "important": "served",
    }


@simulated
async def test_the_important_one_is_loaded_first():
    async with house(A, B, C, ram=4, max_wait_for_load_s=90) as h:
        async with anyio.create_task_group() as users:
            users.start_soon(h.use, "a", 5)
            await anyio.sleep(1)
            users.start_soon(h.use, "b")
            await anyio.sleep(1)
            users.start_soon(lambda: h.use("c", priority=1))

        assert [event.resident for event in h.said(ModelLoaded)] == ["a", "c", "b"]


@simulated
async def test_no_more_loads_run_at_once_than_allowed():
    async with house(A, B, C, parallel_loads=2) as h, anyio.create_task_group() as users:
        for name in "abc":
            users.start_soon(h.use, name)
        await anyio.sleep(0.5)
        assert sorted(h.manager.statuses().values()) == ["available", "loading", "loading"]


# -- time --------------------------------------------------------------------------------------


@simulated
async def test_what_nobody_uses_is_unloaded_after_its_keep_alive():
    async with house(resident("a", keep_alive_s=5), B, keep_alive_s=50) as h:
        await h.manager.load("b")
        await h.use("a", 20)
        idle_at = anyio.current_time()
        await anyio.sleep(60)

        ended = {event.resident: event for event in h.said(ModelUnloaded)}
        assert ended["a"].at == pytest.approx(idle_at + 5, abs=0.01)
        assert ended["b"].at == pytest.approx(51, abs=0.01)
        assert {event.reason for event in ended.values()} == {"idle"}


@simulated
async def test_pinned_and_current_models_are_kept_alive():
    async with house(A, B, C, keep_alive_s=5) as h:
        h.manager.pin("a")
        await h.manager.load("a")
        await h.manager.switch_model("b")
        await h.manager.load("c")
        await anyio.sleep(60)

        assert h.manager.loaded == {"a", "b"}


@simulated
async def test_a_load_may_take_longer_the_bigger_it_is():
    big = resident("big", 1_000, ready_timeout_s=10)
    async with house(big, slowest_load_bytes_s=50) as h:
        h.scripts["big"] = ProcessScript(load_s=29)
        await h.manager.load("big")
        assert anyio.current_time() == pytest.approx(29, abs=0.1)


@simulated
async def test_a_launcher_that_hangs_is_given_up():
    async with house(resident("a", ready_timeout_s=10)) as h:
        h.scripts["a"] = ProcessScript(hangs=True)
        with pytest.raises(ModelLoadError, match="not ready within 10 s"):
            await h.manager.load("a")
        assert anyio.current_time() == pytest.approx(15, abs=0.01)


@simulated
async def test_a_load_says_how_it_goes_on():
    async with house(A) as h:
        h.scripts["a"] = ProcessScript(load_s=3.5)
        await h.manager.load("a")

        progress = h.said(LoadProgress)
        assert [round(event.elapsed_s, 1) for event in progress] == [0, 1, 2, 3, 3.5]
        assert [event.phase for event in progress] == ["starting"] * 4 + ["warming_up"]


@simulated
async def test_a_load_can_be_cancelled_and_begun_anew():
    async with house(A) as h, anyio.create_task_group() as users:

        async def refused() -> None:
            with pytest.raises(ModelLoadError, match="the load of a was cancelled"):
                await h.use("a")

        users.start_soon(refused)
        await anyio.sleep(0.5)
        h.manager.cancel_load("a")
        await anyio.sleep(0.1)
        assert h.manager.statuses()["a"] is Status.AVAILABLE
        assert h.said(ModelLoadFailed)[0].reason == "cancelled"
        with pytest.raises(InvalidRequestError, match="a is not being loaded"):
            h.manager.cancel_load("a")
        await h.manager.load("a")


@simulated
async def test_a_process_that_cannot_be_stopped_keeps_its_memory_until_it_is():
    async with house(A, B, ram=4, unload_retry_s=3) as h:
        h.scripts["a"] = ProcessScript(stop_failures=2)
        await h.manager.load("a")
        await anyio.sleep(10)
        waited_s = await h.use("b")

        assert waited_s == pytest.approx(2 * 3 + 1, abs=0.01)
        assert len(h.said(ModelUnloadFailed)) == 2


@simulated
async def test_what_is_pinned_comes_back_after_a_crash_by_itself():
    async with house(A, B) as h:
        await h.manager.load("a")
        await h.manager.load("b")
        h.manager.pin("a")
        for process in h.launcher.alive():
            process.die()
        await anyio.sleep(10)

        assert h.manager.loaded == {"a"}


@simulated
async def test_closing_while_the_end_of_a_process_is_measured_tells_the_whole_story():
    async with anyio.create_task_group() as users, house(A) as h:
        await h.manager.load("a")
        h.launcher.measuring_s = 2.0
        users.start_soon(h.manager.unload, "a")
        await anyio.sleep(1)

    assert [event.reason for event in h.said(ModelUnloaded)] == ["requested"]


@simulated
async def test_a_probe_that_hangs_leaves_the_estimate():
    async with house(A, ram=5) as h:
        h.launcher.measuring_s = 1_000.0
        await h.manager.load("a")

        assert anyio.current_time() == pytest.approx(1 + 5, abs=0.01)
        assert h.manager.snapshot().reserved["ram"] == 4


@simulated
async def test_what_is_pinned_comes_back_as_soon_as_there_is_room():
    async with house(A, B, ram=4) as h, anyio.create_task_group() as users:
        await h.manager.load("a")
        h.manager.pin("a")
        h.launcher.alive()[0].die()
        await anyio.sleep(0.1)
        users.start_soon(h.use, "b", 20)
        await anyio.sleep(10)
        assert h.manager.loaded == {"b"}
        await anyio.sleep(20)
        assert h.manager.loaded == {"a"}


# -- forcing -----------------------------------------------------------------------------------


@simulated
async def test_a_forced_unload_waits_for_no_lease():
    async with house(A) as h, anyio.create_task_group() as users:
        users.start_soon(h.use, "a", 1_000)
        await anyio.sleep(5)
        users.start_soon(h.manager.unload, "a")
        await anyio.sleep(5)
        assert h.manager.loaded == frozenset()
        await h.manager.unload("a", force=True)
        users.cancel_scope.cancel()

        assert anyio.current_time() == pytest.approx(10)
        assert h.said(ModelUnloading)[0].broken_leases == 1


# -- switching ---------------------------------------------------------------------------------


@simulated
async def test_a_switch_lets_the_old_one_finish_and_sends_who_comes_to_the_new_one():
    async with house(A, B, ram=8) as h, anyio.create_task_group() as users:
        await h.manager.switch_model("a")
        served: list[str] = []

        async def steady() -> None:
            for _ in range(40):
                async with h.manager.lease() as endpoint:
                    (who,) = [p.resident for p in h.launcher.alive() if p.endpoint == endpoint]
                    await anyio.sleep(0.5)
                    assert who in [p.resident for p in h.launcher.alive()]
                served.append(who)

        users.start_soon(steady)
        await anyio.sleep(5.2)
        switch = await h.manager.switch_model("b", "better", evict_previous=True)

        assert (switch.previous, switch.current, switch.reason) == ("a", "b", "better")
        await anyio.sleep(20)
        assert (set(served), served[-1], len(served)) == ({"a", "b"}, "b", 40)
        assert h.manager.loaded == {"b"}
        assert h.said(ModelSwitched)[-1].previous == "a"


@simulated
async def test_a_switch_that_fails_leaves_the_old_one_serving():
    async with house(A, B, resident("huge", 9), ram=12) as h:
        await h.manager.switch_model("a")
        h.scripts["b"] = ProcessScript(failure=ProcessError("it is broken"))
        with pytest.raises(ModelLoadError, match="it is broken"):
            await h.manager.switch_model("b")
        with pytest.raises(ModelDoesNotFitError, match="beside a: unpin or unload"):
            await h.manager.switch_model("huge")
        with pytest.raises(ConfigurationError, match="no resident 'nobody'"):
            await h.manager.switch_model("nobody")

        assert h.manager.current == "a"
        assert h.manager.loaded == {"a"}


@simulated
async def test_unloading_the_current_one_switches_to_the_last_used():
    async with house(A, B, C) as h:
        with pytest.raises(InvalidRequestError, match="no resident is current"):
            h.manager.lease()
        for name in "abc":
            await h.manager.load(name)
        await h.manager.switch_model("a")
        await h.use("b", 1)
        await h.manager.unload("a")

        assert h.manager.current == "b"
        assert h.said(ModelSwitched)[-1].reason == "previous_model_unloaded"


# -- sets --------------------------------------------------------------------------------------


@simulated
async def test_a_set_is_planned_before_it_is_loaded():
    async with house(A, B, C, ram=8, min_residence_s=0) as h:
        await h.manager.load("a")
        plan = h.manager.plan_set(["c", "b", "c"])
        assert (plan.load, plan.loaded, plan.evict) == (("c", "b"), (), ("a",))
        assert plan.needs_bytes == 8
        assert h.manager.loaded == {"a"}

        assert await h.manager.load_set(["c", "b"]) == plan
        assert h.manager.loaded == {"b", "c"}


@simulated
async def test_a_set_that_does_not_fit_together_loads_nothing():
    async with house(A, B, C, ram=8) as h:
        with pytest.raises(ModelDoesNotFitError, match="a, b, c do not fit together"):
            await h.manager.load_set("abc")
        assert not h.said(ModelLoading)


@simulated
async def test_a_set_loads_what_it_can_and_names_what_it_could_not():
    async with house(A, B) as h:
        h.scripts["a"] = ProcessScript(failure=ProcessError("it is broken"))
        with pytest.raises(ExceptionGroup) as caught:
            await h.manager.load_set("ab")

        assert caught.group_contains(ModelLoadError, match="a could not be loaded")
        assert h.manager.loaded == {"b"}


# -- looking -----------------------------------------------------------------------------------


@simulated
async def test_what_a_load_would_take_is_known_before_and_learned_from_loads():
    async with house(resident("a", 4), resident("b", 8), ram=8) as h:
        h.scripts["a"] = ProcessScript(load_s=2)
        await h.manager.load("a")

        assert h.manager.expected_load_s("a") == 0
        assert h.manager.expected_load_s("b") == pytest.approx(4, abs=0.1)
        assert h.manager.would_evict("b") == ("a",)
        assert h.manager.would_evict("a") == ()
        await h.manager.unload("a")
        assert h.manager.expected_load_s("a") == pytest.approx(2, abs=0.01)


@simulated
async def test_a_snapshot_shows_everything():
    async with house(A, B, ram=8) as h, anyio.create_task_group() as users:
        h.manager.pin("a")
        users.start_soon(h.use, "a", 5)
        await anyio.sleep(2)
        users.start_soon(h.use, "b")
        await anyio.sleep(0.5)

        seen = h.manager.snapshot()
        a, b = seen.residents
        assert (a.status, a.pinned, a.leases, a.idle_s) == (Status.LOADED, True, 1, None)
        assert (b.status, b.waiting, b.expected_load_s) == (Status.LOADING, 1, 0.5)
        assert (seen.limits["ram"], seen.reserved["ram"], seen.waiting) == (8, 8, 1)


def test_a_slot_has_to_be_waited_for_some_time():
    with pytest.raises(InvalidRequestError, match="wait_limit_s must be above 0"):
        House(A).manager.lease("a", wait_limit_s=0)


def test_nothing_is_kept_alive_for_less_than_no_time():
    with pytest.raises(ConfigurationError, match="keep_alive_s of resident 'a' is -1"):
        House(resident("a", keep_alive_s=-1))
