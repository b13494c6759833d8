from __future__ import annotations

import anyio
import pytest
from anyio.abc import TaskStatus

from orchestrator.core.errors import (
    ConfigurationError,
    EngineClosedError,
    InvalidRequestError,
    ModelAPIError,
    ModelLoadError,
    ProcessError,
)
from orchestrator.core.events import (
    ModelLoaded,
    ModelLoadFailed,
    ModelUnloaded,
    ProcessExited,
)
from orchestrator.core.ports import Endpoint, ResidentSpec
from orchestrator.testing.loop import run_simulated
from tests.lifecycle.scripted import OTHER, SPEC, World

LOADED = ["model-loading", "model-loaded"]
CRASHED = ["process-exited", "model-unloaded"]
UNLOADED = ["model-unloading", "process-exited", "model-unloaded"]


# -- loading -----------------------------------------------------------------------------------


async def test_nothing_is_loaded_before_the_first_lease():
    world = World()
    async with world.residency:
        assert world.residency.loaded == frozenset()

    assert world.launcher.processes == []
    assert world.story == []


async def test_the_first_lease_loads_and_later_ones_share_the_process():
    world = World()
    async with world.residency as residency:
        async with residency.lease("small") as first, residency.lease("small") as second:
            assert residency.loaded == {"small"}
        async with residency.lease("small") as third:
            pass

    assert first is second is third is world.launcher.last.endpoint
    assert len(world.launcher.processes) == 1
    assert world.story == LOADED + UNLOADED


async def test_those_who_wait_for_a_cold_model_share_one_load():
    world = World()
    endpoints = []

    async def use() -> None:
        async with world.residency.lease("small") as endpoint:
            endpoints.append(endpoint)

    async with world.residency, anyio.create_task_group() as users:
        world.launcher.hold()
        for _ in range(10):
            users.start_soon(use)
        await anyio.wait_all_tasks_blocked()
        assert world.launcher.starting == 1
        world.launcher.let_go()

    assert endpoints == [world.launcher.processes[0].endpoint] * 10
    assert len(world.launcher.processes) == 1


async def test_a_loaded_model_does_not_wait_for_anothers_load():
    world = World(SPEC, OTHER)
    async with world.residency as residency, anyio.create_task_group() as users:
        await world.load("small")
        world.launcher.hold()
        users.start_soon(world.load, "other")
        await world.until(lambda: world.launcher.starting)

        async with residency.lease("small"):
            assert residency.loaded == {"small"}
        world.launcher.let_go()


async def test_cancelling_one_who_waits_leaves_the_load_to_the_others():
    world = World()
    served = []

    async def use(*, task_status: TaskStatus[anyio.CancelScope] = anyio.TASK_STATUS_IGNORED):
        with anyio.CancelScope() as scope:
            task_status.started(scope)
            async with world.residency.lease("small") as endpoint:
                served.append(endpoint)

    async with world.residency, anyio.create_task_group() as users:
        world.launcher.hold()
        impatient = await users.start(use)
        await users.start(use)
        await anyio.wait_all_tasks_blocked()
        impatient.cancel()
        await anyio.wait_all_tasks_blocked()
        world.launcher.let_go()

    assert len(served) == 1
    assert world.launcher.cancelled == 0


async def test_a_load_goes_on_when_the_last_one_who_waited_has_left():
    world = World()
    async with world.residency as residency:
        world.launcher.hold()
        async with anyio.create_task_group() as users:
            users.start_soon(world.load)
            await world.until(lambda: world.launcher.starting)
            users.cancel_scope.cancel()
        world.launcher.let_go()
        await world.until(lambda: residency.loaded)

        async with residency.lease("small"):
            assert len(world.launcher.processes) == 1


async def test_a_cancelled_wait_leaves_no_lease_behind():
    world = World()
    async with world.residency as residency:
        world.launcher.hold()
        async with anyio.create_task_group() as users:
            users.start_soon(world.load)
            await world.until(lambda: world.launcher.starting)
            users.cancel_scope.cancel()
        world.launcher.let_go()
        await world.until(lambda: residency.loaded)

        await residency.unload("small")  # would wait for ever for a lease nobody holds

    assert world.story == LOADED + UNLOADED


async def test_the_event_of_a_load_says_how_long_it_took():
    world = World()
    async with world.residency, anyio.create_task_group() as users:
        world.launcher.hold()
        users.start_soon(world.load)
        await world.until(lambda: world.launcher.starting)
        world.clock.now = 2.5
        world.launcher.let_go()

    loaded = world.events[1]
    assert isinstance(loaded, ModelLoaded)
    assert (loaded.load_s, loaded.pid) == (2.5, world.launcher.last.pid)


# -- warming up --------------------------------------------------------------------------------


async def test_a_model_counts_as_loaded_only_after_its_first_token():
    warmed: list[Endpoint] = []
    let_go = anyio.Event()

    async def warm_up(endpoint: Endpoint) -> None:
        warmed.append(endpoint)
        await let_go.wait()

    world = World(warm_up=warm_up)
    async with world.residency as residency, anyio.create_task_group() as users:
        users.start_soon(world.load)
        await world.until(lambda: warmed)
        assert residency.loaded == frozenset()
        assert world.story == ["model-loading"]
        let_go.set()

    assert warmed == [world.launcher.last.endpoint]


async def test_a_model_that_fails_its_first_token_is_stopped_and_not_loaded():
    async def warm_up(endpoint: Endpoint) -> None:
        raise ModelAPIError("it answered 500")

    world = World(warm_up=warm_up)
    async with world.residency as residency:
        with pytest.raises(ModelLoadError, match="small could not be loaded: it answered 500"):
            await world.load()
        assert residency.loaded == frozenset()
        assert world.launcher.alive == 0

    assert world.story == ["model-loading", "process-exited", "model-load-failed"]


async def test_closing_during_the_first_token_stops_the_process():
    warming = anyio.Event()

    async def warm_up(endpoint: Endpoint) -> None:
        warming.set()
        await anyio.sleep_forever()

    world = World(warm_up=warm_up)
    async with anyio.create_task_group() as users, world.residency:
        users.start_soon(world.refused)
        await warming.wait()

    assert world.launcher.alive == 0
    assert world.story == ["model-loading", "process-exited", "model-load-failed"]


def test_a_model_that_hangs_at_its_first_token_is_given_up():
    async def main() -> World:
        world = World(
            ResidentSpec("small", ("engine",), {}, ready_timeout_s=7.0),
            warm_up=lambda _: anyio.sleep(3600),
        )
        async with world.residency:
            with pytest.raises(ModelLoadError, match="no token within 7 s"):
                await world.load()
            assert anyio.current_time() == 7.0
        return world

    assert run_simulated(main).launcher.alive == 0


# -- failures and rests ------------------------------------------------------------------------


async def test_a_failed_load_tells_everybody_who_waits_with_an_error_of_their_own():
    world = World()
    errors: list[ModelLoadError] = []

    async def use() -> None:
        with pytest.raises(ModelLoadError) as caught:
            await world.load()
        errors.append(caught.value)

    async with world.residency, anyio.create_task_group() as users:
        world.launcher.script.append("fail")
        world.launcher.hold()
        for _ in range(3):
            users.start_soon(use)
        await anyio.wait_all_tasks_blocked()
        world.launcher.let_go()

    assert len({id(error) for error in errors}) == 3
    for error in errors:
        assert "exit code 1" in error.message
        assert isinstance(error.__cause__, ProcessError)
        assert error.retry_after_s == 0.5
    assert world.story == ["model-loading", "model-load-failed"]
    failed = world.events[-1]
    assert isinstance(failed, ModelLoadFailed)
    assert "exit code 1" in failed.reason


async def test_a_lease_during_the_rest_fails_at_once_and_says_how_long_it_lasts():
    world = World()
    async with world.residency as residency:
        process = await world.load()
        process.die(-9)
        await world.until(lambda: not residency.loaded)
        world.clock.now = 0.2

        with pytest.raises(ModelLoadError, match="SIGKILL") as caught:
            await world.load()

    assert caught.value.retry_after_s == pytest.approx(0.3)
    assert len(world.launcher.processes) == 1


async def test_the_next_lease_after_the_rest_starts_a_new_process():
    world = World()
    async with world.residency as residency:
        old = await world.load()
        old.die(-9)
        await world.until(lambda: not residency.loaded)
        world.clock.now = 0.5

        async with residency.lease("small") as endpoint:
            assert endpoint == world.launcher.processes[1].endpoint != old.endpoint

    assert world.story == LOADED + CRASHED + LOADED + UNLOADED


async def test_rests_grow_with_each_crash_and_shrink_after_good_service():
    world = World()
    rests = []
    async with world.residency as residency:
        for serve_s in (1, 1, 1, 60, 1):
            process = await world.load()
            world.clock.now += serve_s
            process.die()
            await world.until(lambda: not residency.loaded)
            with pytest.raises(ModelLoadError) as caught:
                await world.load()
            assert caught.value.retry_after_s is not None
            rests.append(caught.value.retry_after_s)
            world.clock.now += rests[-1]

    assert rests == pytest.approx([0.5, 1, 2, 0.5, 1])


async def test_a_crash_is_on_the_bus_at_once_even_with_leases_open():
    world = World()
    async with world.residency as residency, residency.lease("small"):
        world.launcher.last.die(-11)
        await world.until(lambda: not residency.loaded)

        exited, unloaded = world.events[-2:]
        assert isinstance(exited, ProcessExited)
        assert isinstance(unloaded, ModelUnloaded)
        assert (exited.exit_code, exited.expected) == (-11, False)
        assert exited.pid == world.launcher.last.pid
        assert unloaded.reason == "crashed"


async def test_a_crash_of_one_resident_leaves_the_other_serving():
    world = World(SPEC, OTHER)
    async with world.residency as residency:
        await world.load("other")
        (await world.load("small")).die()
        await world.until(lambda: residency.loaded == {"other"})

        async with residency.lease("other") as endpoint:
            assert endpoint is world.launcher.processes[0].endpoint


async def test_an_unforeseen_error_of_the_launcher_is_not_swallowed():
    world = World()
    world.launcher.script.append("break")

    with pytest.raises(ExceptionGroup) as caught:
        async with world.residency:
            await world.load()

    assert caught.group_contains(ZeroDivisionError)
    assert world.story == ["model-loading", "model-load-failed"]


# -- unloading ---------------------------------------------------------------------------------


async def test_unloading_waits_for_the_last_lease_to_be_given_back():
    world = World()
    async with world.residency as residency, anyio.create_task_group() as tasks:
        async with residency.lease("small"):
            async with residency.lease("small"):
                tasks.start_soon(residency.unload, "small")
                await anyio.wait_all_tasks_blocked()
            await anyio.wait_all_tasks_blocked()
            assert world.launcher.alive == 1
            assert world.story == LOADED
        await world.until(lambda: world.launcher.alive == 0)

    assert world.story == LOADED + UNLOADED
    exited, unloaded = world.events[-2:]
    assert isinstance(exited, ProcessExited)
    assert isinstance(unloaded, ModelUnloaded)
    assert exited.expected
    assert unloaded.reason == "requested"


async def test_a_model_that_is_being_unloaded_gives_no_new_lease_before_it_is_loaded_anew():
    world = World()
    async with world.residency as residency, anyio.create_task_group() as tasks:
        async with residency.lease("small"):
            tasks.start_soon(residency.unload, "small")
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(world.load)
            await anyio.wait_all_tasks_blocked()

            with pytest.raises(InvalidRequestError, match="small is not loaded"):
                await residency.unload("small")
            assert world.story == LOADED
        await world.until(lambda: len(world.launcher.processes) == 2)

    assert world.story == (LOADED + UNLOADED) * 2


async def test_cancelling_an_unload_that_still_waits_leaves_the_model_serving():
    world = World()
    async with world.residency as residency, residency.lease("small") as endpoint:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(residency.unload, "small")
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        async with residency.lease("small") as again:
            assert again is endpoint

    assert world.story == LOADED + UNLOADED


def test_cancelling_an_unload_that_has_begun_to_stop_the_process_still_ends_it():
    async def main() -> None:
        world = World()
        async with world.residency:
            process = await world.load()
            process.stubborn = True
            with anyio.move_on_after(1):
                await world.residency.unload("small")
            assert process.alive
            await anyio.sleep(10)

            assert not process.alive
            assert world.story == LOADED + UNLOADED

    run_simulated(main)


async def test_a_crash_ends_an_unload_that_waits():
    world = World()
    async with (
        world.residency as residency,
        residency.lease("small"),
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(residency.unload, "small")
        await anyio.wait_all_tasks_blocked()
        world.launcher.last.die()

    assert world.story == LOADED + CRASHED


async def test_a_model_unloaded_on_request_is_loaded_again_by_the_next_lease():
    world = World()
    async with world.residency as residency:
        await world.load()
        await residency.unload("small")
        await world.load()

    assert world.story == (LOADED + UNLOADED) * 2


@pytest.mark.parametrize("state", ["cold", "crashed"])
async def test_unloading_what_is_not_loaded_is_the_callers_error(state: str):
    world = World()
    async with world.residency as residency:
        if state == "crashed":
            (await world.load()).die()
            await world.until(lambda: not residency.loaded)

        with pytest.raises(InvalidRequestError, match="small is not loaded"):
            await residency.unload("small")


# -- names -------------------------------------------------------------------------------------


async def test_an_unknown_resident_is_named_with_those_that_are_known():
    world = World(SPEC, OTHER)
    async with world.residency as residency:
        with pytest.raises(ConfigurationError, match=r"no resident 'big': known: other, small"):
            residency.lease("big")
        with pytest.raises(ConfigurationError, match="no resident 'big'"):
            await residency.unload("big")


async def test_the_same_resident_may_be_registered_by_each_model_that_shares_it():
    world = World()
    async with world.residency as residency:
        process = await world.load()
        residency.register(ResidentSpec("small", ("engine",), {}))
        async with residency.lease("small") as endpoint:
            assert endpoint is process.endpoint


async def test_two_different_residents_of_one_name_are_refused():
    world = World()

    with pytest.raises(ConfigurationError, match="two different residents are called 'small'"):
        world.residency.register(ResidentSpec("small", ("another", "engine"), {}))


async def test_a_resident_registered_while_running_can_be_leased():
    world = World()
    async with world.residency as residency:
        residency.register(OTHER)
        await world.load("other")
        assert residency.loaded == {"other"}


# -- closing -----------------------------------------------------------------------------------


async def test_closing_stops_every_process_and_says_so():
    world = World(SPEC, OTHER)
    async with world.residency:
        await world.load("small")
        await world.load("other")

    assert world.launcher.alive == 0
    assert [process.stops for process in world.launcher.processes] == [1, 1]
    ends = [event for event in world.events if isinstance(event, ModelUnloaded)]
    assert {(end.resident, end.reason) for end in ends} == {
        ("small", "closed"),
        ("other", "closed"),
    }


async def test_closing_resolves_those_who_wait_for_a_load():
    world = World()
    async with anyio.create_task_group() as users, world.residency:
        world.launcher.hold()
        users.start_soon(world.refused)
        users.start_soon(world.refused)
        await anyio.wait_all_tasks_blocked()

    assert world.refusals == 2
    assert world.launcher.cancelled == 1
    assert world.story == ["model-loading", "model-load-failed"]


async def test_closing_resolves_an_unload_that_waits_for_leases():
    world = World()
    async with anyio.create_task_group() as tasks:
        async with world.residency as residency:
            lease = residency.lease("small")
            await lease.__aenter__()
            tasks.start_soon(residency.unload, "small")
            await anyio.wait_all_tasks_blocked()
        await lease.__aexit__(None, None, None)

    assert world.story == LOADED + UNLOADED


async def test_closing_during_a_requested_stop_tells_its_story_once():
    world = World()
    async with anyio.create_task_group() as tasks, world.residency as residency:
        process = await world.load()
        process.stubborn = True
        tasks.start_soon(residency.unload, "small")
        await world.until(lambda: process.stops)
        process.stubborn = False

    assert world.story == LOADED + UNLOADED


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_lease_outside_the_context_is_refused(when: str):
    world = World()
    if when == "after":
        async with world.residency:
            await world.load()

    for _ in range(2):
        with pytest.raises(EngineClosedError, match="not in service"):
            await world.load()


async def test_an_error_of_the_caller_leaves_the_context_as_it_is():
    world = World()
    with pytest.raises(KeyError, match="mine"):
        async with world.residency:
            await world.load()
            raise KeyError("mine")

    assert world.launcher.alive == 0


async def test_cancelling_the_caller_still_stops_every_process():
    world = World()
    with anyio.CancelScope() as scope:
        async with world.residency:
            await world.load()
            scope.cancel()
            await anyio.sleep_forever()

    assert world.launcher.alive == 0
    assert world.story == LOADED + UNLOADED
