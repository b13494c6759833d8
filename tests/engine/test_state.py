"""The keeper of the state in the simulated world, over a disk that does as it is told."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.bus import EventBus
from orchestrator.core.clock import SystemClock
from orchestrator.core.errors import ConfigurationError, EngineClosedError, ModelLoadError
from orchestrator.core.events import Event, StateRestored, StateSaved, StateSaveFailed
from orchestrator.core.saved_state import (
    Known,
    MeasuredResident,
    SavedModel,
    SavedResident,
    SavedState,
    StateDocument,
    document,
    fitting,
    parsed,
)
from orchestrator.engine.state import StateKeeper, StateSaveError
from orchestrator.store.state_file import StateFile
from orchestrator.testing.clock import LoopClock
from orchestrator.testing.loop import run_simulated
from tests.engine.world import simulated

PINNED = SavedResident(pinned=True)
MEASURED = MeasuredResident(of="x", memory_bytes={"ram": 7}, load_s=0.5)
FULL = OSError(errno.ENOSPC, "No space left on device")
PATH = Path("/state.json")


class Crash(BaseException):
    """The process ends here."""


class Disk:
    """A folder with files, and who keeps the state file."""

    def __init__(self, **files: bytes) -> None:
        self.files = {name.replace("_", "."): data for name, data in files.items()}
        self.keeper: Storage | None = None
        self.writes: list[float] = []
        self.fault: OSError | None = None
        self.crash_in: int | None = None
        self.frozen = False

    @property
    def state(self) -> SavedState:
        return parsed(self.files["state.json"]).state

    def put(self, **facts: Any) -> None:
        content = StateDocument(saved_at="before", node="other", state=SavedState(**facts))
        self.files["state.json"] = document(content)

    async def step(self) -> None:
        await anyio.lowlevel.checkpoint()
        if self.frozen:
            await anyio.sleep_forever()
        if self.crash_in is not None:
            self.crash_in -= 1
            if self.crash_in < 0:
                raise Crash
        if self.fault is not None:
            raise self.fault


class Storage:
    """One process's view of a disk."""

    path = PATH

    def __init__(self, disk: Disk) -> None:
        self.disk = disk

    async def acquire(self) -> None:
        await self.disk.step()
        if self.disk.keeper not in (None, self):
            raise BlockingIOError(errno.EAGAIN, "process 7 keeps it")
        self.disk.keeper = self

    async def read(self) -> bytes | None:
        return self.disk.files.get("state.json")

    async def write(self, data: bytes) -> None:
        assert self.disk.keeper is self, "only who keeps it writes it"
        await self.disk.step()
        self.disk.files["state.json"] = data
        self.disk.writes.append(anyio.current_time())
        await self.disk.step()

    async def set_aside(self, suffix: str) -> str:
        await self.disk.step()
        self.disk.files[f"state.json.{suffix}"] = self.disk.files.pop("state.json")
        return f"state.json.{suffix}"

    def release(self) -> None:
        if self.disk.keeper is self:
            self.disk.keeper = None


class Source:
    """Manager and registry, as far as they matter here."""

    def __init__(self, *residents: str, models: tuple[str, ...] = ()) -> None:
        self.known = Known(dict.fromkeys(residents, "x"), set(models))
        self.state = SavedState()
        self.restored: list[SavedState] = []
        self.loads: dict[str, Exception | None] = {}

    def capture(self) -> SavedState:
        return self.state

    def restore(self, state: SavedState) -> None:
        self.restored.append(state)
        self.state = replace(
            self.state,
            current=state.current or self.state.current,
            residents={**self.state.residents, **state.residents},
            models={**self.state.models, **state.models},
        )

    async def load(self, resident: str) -> None:
        await anyio.sleep(1)
        if error := self.loads.get(resident):
            raise error
        self.state = replace(self.state, loaded=(*self.state.loaded, resident))

    def set(self, **facts: Any) -> None:
        self.state = replace(self.state, **facts)


class World:
    """A keeper with all that it works with."""

    def __init__(self, disk: Disk, source: Source, **options: Any) -> None:
        self.disk, self.source = disk, source
        self.heard: list[Event] = []
        bus = EventBus(LoopClock())
        bus.on(Event, self.heard.append)
        self.keeper = StateKeeper(Storage(disk), source, LoopClock(), bus, node="n", **options)

    def change(self, **facts: Any) -> None:
        self.source.set(**facts)
        self.keeper.changed()

    def told(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.heard if isinstance(event, kind)]


@asynccontextmanager
async def keeping(
    disk: Disk | None = None, source: Source | None = None, **options: Any
) -> AsyncIterator[World]:
    """Run a keeper as an engine does: opened before its task, closed before the task group."""
    world = World(disk or Disk(), source or Source("a", "b", models=("p:m", "p:n")), **options)
    await world.keeper.open()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(world.keeper.run)
        yield world
        await world.keeper.aclose()
        tasks.cancel_scope.cancel()


# -- saving --------------------------------------------------------------------------------------


@simulated
async def test_changes_are_saved_together_half_a_second_after_the_first():
    async with keeping() as world:
        await anyio.sleep(10)
        world.change(current="p:m")
        await anyio.sleep(0.4)
        world.change(residents={"a": PINNED})
        await anyio.sleep(10)

        assert world.disk.writes == [10.5]
        assert world.disk.state == SavedState(current="p:m", residents={"a": PINNED})
        (told,) = world.told(StateSaved)
        assert told.path == str(PATH)
        assert told.size_bytes == len(world.disk.files["state.json"])


@simulated
async def test_a_change_that_nobody_announced_is_saved_within_the_interval():
    async with keeping(auto_save_s=60) as world:
        await anyio.sleep(20)
        world.source.set(current="p:m")
        await anyio.sleep(60)

        assert world.disk.writes == [60.0]


@simulated
async def test_what_has_not_changed_is_not_written():
    async with keeping(auto_save_s=1) as world:
        world.change(current="p:m")
        for _ in range(100):
            await anyio.sleep(1)
            world.change(current="p:m")

        assert world.disk.writes == [0.5]
    assert world.disk.writes == [0.5]


@simulated
async def test_without_an_interval_it_is_saved_when_asked_and_at_the_end():
    async with keeping(auto_save_s=0) as world:
        world.change(current="p:m")
        await anyio.sleep(1000)
        assert world.disk.writes == []

        assert await world.keeper.save_now() == PATH
        assert world.disk.writes == [1000.0]

        world.change(current="p:n")
    assert world.disk.state.current == "p:n"


@simulated
async def test_asked_to_it_writes_what_has_not_changed_too():
    async with keeping() as world:
        await world.keeper.save_now()

    assert world.disk.state == SavedState()
    assert json.loads(world.disk.files["state.json"])["saved_at"].endswith("T12:00:00+00:00")


@simulated
async def test_what_changes_is_saved_at_the_end_and_what_comes_after_is_not():
    async with keeping() as world:
        world.change(loaded=("a",))
    world.change(loaded=())

    assert world.disk.state.loaded == ("a",)
    with pytest.raises(EngineClosedError):
        await world.keeper.save_now()
    assert world.disk.keeper is None


@pytest.mark.parametrize("auto_save_s", [-1, float("nan"), float("inf")])
def test_an_interval_that_is_none_is_refused(auto_save_s: float):
    with pytest.raises(ConfigurationError, match="auto_save_s must be at least 0 and finite"):
        World(Disk(), Source(), auto_save_s=auto_save_s)


# -- a disk that does not want ---------------------------------------------------------------------


@simulated
async def test_on_a_full_disk_it_is_tried_again_ever_more_rarely_until_it_works(
    caplog: pytest.LogCaptureFixture,
):
    caplog.set_level(logging.INFO)
    async with keeping() as world:
        world.disk.fault = FULL
        world.change(current="p:m")
        await anyio.sleep(300)
        failures = world.told(StateSaveFailed)
        assert [event.retry_in_s for event in failures] == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
        assert failures[0].reason == "No space left on device"
        assert failures[0].path == str(PATH)

        world.disk.fault = None
        await anyio.sleep(60)
        assert world.disk.state.current == "p:m"

    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == ["the state could not be saved to /state.json: No space left on device"]


@simulated
async def test_asked_to_save_it_says_where_and_why_it_cannot():
    async with keeping() as world:
        world.disk.fault = FULL
        with pytest.raises(StateSaveError) as refused:
            await world.keeper.save_now()
        world.disk.fault = None

    assert str(PATH) in refused.value.message
    assert refused.value.reason == "No space left on device"
    assert [event.retry_in_s for event in world.told(StateSaveFailed)] == [None]


@simulated
async def test_a_folder_that_cannot_be_written_to_keeps_nobody_from_starting():
    disk = Disk()
    disk.fault = OSError(errno.EROFS, "Read-only file system")
    disk.put(residents={"a": PINNED})

    async with keeping(disk) as world:
        assert world.source.state.residents == {"a": PINNED}
        world.change(current="p:m")
        await anyio.sleep(1)

        assert world.told(StateSaveFailed)[0].reason == "Read-only file system"


@simulated
async def test_a_state_that_cannot_be_written_down_is_told_and_stops_nobody():
    async with keeping() as world:
        world.change(residents={"a": SavedResident(keep_alive_s=-1.0)})
        await anyio.sleep(1)
        assert "cannot be written down" in world.told(StateSaveFailed)[0].reason

        world.change(residents={"a": PINNED})
        await anyio.sleep(2)
        assert world.disk.state.residents == {"a": PINNED}


@simulated
async def test_a_disk_that_hangs_is_not_waited_for_at_the_end():
    async with keeping() as world:
        world.change(current="p:m")
        world.disk.frozen = True
        await anyio.sleep(100)
        began = anyio.current_time()

    assert anyio.current_time() - began == 2
    assert world.told(StateSaveFailed)[-1].reason == "it took longer than 2 s"


@simulated
async def test_a_disk_that_hangs_at_the_start_is_an_error_with_the_path():
    disk = Disk()
    disk.frozen = True

    with pytest.raises(ConfigurationError, match=r"/state\.json did not open in 5 s"):
        await World(disk, Source()).keeper.open()
    assert anyio.current_time() == 5


@simulated
async def test_the_last_save_is_not_lost_to_a_cancellation():
    disk = Disk()
    with anyio.CancelScope() as scope:
        world = World(disk, Source("a", models=("p:m",)))
        await world.keeper.open()
        world.change(current="p:m")
        scope.cancel()
        await world.keeper.aclose()

    assert disk.state.current == "p:m"


# -- restoring -----------------------------------------------------------------------------------


@simulated
async def test_what_was_remembered_holds_again_and_nothing_counts_as_loaded():
    disk = Disk()
    remembered = SavedResident(pinned=True, keep_alive_s="forever", measured=MEASURED)
    changed = SavedModel(priority=3, aliases=("mine",), disabled=True)
    disk.put(current="p:n", loaded=("b", "a"), residents={"a": remembered}, models={"p:m": changed})

    async with keeping(disk) as world:
        await anyio.sleep(100)
        (told,) = world.source.restored

    assert told == SavedState(
        current="p:n", loaded=("b", "a"), residents={"a": remembered}, models={"p:m": changed}
    )
    assert world.source.state.loaded == ()
    assert world.told(StateRestored) == [
        replace(
            world.told(StateRestored)[0],
            saved_at="before",
            residents=("a",),
            models=("p:m",),
            loading=(),
        )
    ]


@simulated
async def test_whoever_is_not_configured_now_is_remembered_for_later():
    disk = Disk()
    disk.put(
        current="p:gone",
        loaded=("gone",),
        residents={"gone": PINNED},
        models={"p:gone": SavedModel(priority=1)},
    )
    async with keeping(disk) as world:
        assert world.source.restored == []
        world.change(residents={"a": PINNED})

    assert disk.state.residents == {"gone": PINNED, "a": PINNED}
    assert disk.state.models == {"p:gone": SavedModel(priority=1)}
    assert disk.state.current is None


@simulated
async def test_whoever_joins_later_gets_back_what_was_remembered_once():
    disk = Disk()
    disk.put(models={"p:late": SavedModel(disabled=True)}, residents={"a": PINNED})
    source = Source("a", models=("p:m",))

    async with keeping(disk, source) as world:
        world.change(residents={})  # unpinned meanwhile
        source.known.models.add("p:late")  # type: ignore[attr-defined]
        world.keeper.welcome()
        world.keeper.welcome()

    assert source.restored == [
        SavedState(residents={"a": PINNED}),
        SavedState(models={"p:late": SavedModel(disabled=True)}),
    ]
    assert disk.state == SavedState(models={"p:late": SavedModel(disabled=True)})


@simulated
async def test_who_leaves_and_comes_back_gets_it_again():
    disk = Disk()
    disk.put(models={"p:m": SavedModel(disabled=True)})

    async with keeping(disk) as world:
        models: Any = world.source.known.models
        models.remove("p:m")
        world.source.set(models={})
        world.keeper.welcome()
        models.add("p:m")

        assert world.keeper.welcome().models == {"p:m": SavedModel(disabled=True)}


# -- what was in memory ----------------------------------------------------------------------------


@simulated
async def test_what_was_in_memory_is_loaded_again_if_that_is_wanted():
    disk = Disk()
    disk.put(loaded=("b", "gone", "a"))

    async with keeping(disk, restore_loaded=True) as world:
        assert world.told(StateRestored)[0].loading == ("b", "a")
        await anyio.sleep(3)

        assert world.source.state.loaded == ("b", "a")


@simulated
async def test_a_crash_halfway_through_loading_again_forgets_none_of_them():
    disk = Disk()
    disk.put(loaded=("b", "a"))

    async with keeping(disk, restore_loaded=True) as world:
        await anyio.sleep(0.5)
        await world.keeper.save_now()
        assert disk.state.loaded == ("b", "a")

        await anyio.sleep(1)
        await world.keeper.save_now()
        assert disk.state.loaded == ("b", "a")


@simulated
async def test_one_that_cannot_be_loaded_again_keeps_no_other_from_it(
    caplog: pytest.LogCaptureFixture,
):
    disk, source = Disk(), Source("a", "b")
    disk.put(loaded=("b", "a"))
    source.loads["b"] = ModelLoadError("the file is gone")

    async with keeping(disk, source, restore_loaded=True):
        await anyio.sleep(3)

    assert disk.state.loaded == ("a",)
    assert "b was in memory before, and is not loaded again: the file is gone" in caplog.text


# -- files that are of no use ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"{", "state.json.corrupt-20250615T120000Z"),
        (b'{"schema": 99}', "state.json.newer-20250615T120000Z"),
    ],
)
def test_a_file_that_is_of_no_use_is_set_aside_with_a_warning(
    caplog: pytest.LogCaptureFixture, data: bytes, name: str
):
    disk = Disk(state_json=data)

    async def main() -> None:
        async with keeping(disk) as world:
            world.change(current="p:m")

    run_simulated(main)

    assert disk.files[name] == data
    assert disk.state.current == "p:m"
    assert f"the state file /state.json is set aside as {name}: it " in caplog.text


@simulated
async def test_a_file_that_cannot_be_set_aside_is_never_written_over(
    caplog: pytest.LogCaptureFixture,
):
    disk = Disk(state_json=b"{")
    disk.fault = FULL

    async with keeping(disk) as world:
        world.change(current="p:m")
        await anyio.sleep(10)
        assert disk.files == {"state.json": b"{"}
        assert "/state.json is of no use, and stays there: it is not JSON" in caplog.text

        disk.fault = None
        await anyio.sleep(60)
        assert sorted(disk.files)[0] == "state.json"
        assert b"{" in disk.files.values()
        assert disk.state.current == "p:m"


# -- two engines on one file -----------------------------------------------------------------------


@simulated
async def test_of_two_engines_the_first_writes_and_the_second_follows_it():
    disk = Disk()
    async with keeping(disk) as first:
        first.change(current="p:m")
        await anyio.sleep(1)
        async with keeping(disk) as second:
            assert second.source.state.current == "p:m"
            second.change(current="p:n")
            await anyio.sleep(1)
            assert disk.state.current == "p:m"
            assert second.told(StateSaveFailed)[0].reason == "process 7 keeps it"
        assert disk.state.current == "p:m"


@simulated
async def test_the_second_takes_over_when_the_first_has_ended_and_keeps_what_it_does_not_know():
    disk = Disk()
    async with anyio.create_task_group() as tasks:
        first = World(disk, Source("a", "only-first", models=("p:m",)))
        await first.keeper.open()
        tasks.start_soon(first.keeper.run)
        async with keeping(disk, Source("a", models=("p:m",))) as second:
            second.change(current="p:m")
            await anyio.sleep(5)
            first.change(residents={"only-first": PINNED})
            await first.keeper.aclose()
            await anyio.sleep(60)

            assert disk.state == SavedState(current="p:m", residents={"only-first": PINNED})
        tasks.cancel_scope.cancel()


@simulated
async def test_one_that_only_reads_sets_nothing_aside():
    disk = Disk()
    async with keeping(disk):
        disk.files["state.json"] = b"{"
        async with keeping(disk):
            assert disk.files == {"state.json": b"{"}
        disk.files.clear()


# -- crashes -------------------------------------------------------------------------------------

steps = st.lists(
    st.builds(
        SavedState,
        current=st.sampled_from([None, "p:m", "p:n"]),
        loaded=st.sampled_from([(), ("a",), ("a", "b")]),
        residents=st.sampled_from([{}, {"a": PINNED}, {"b": SavedResident(measured=MEASURED)}]),
        models=st.sampled_from([{}, {"p:m": SavedModel(priority=2)}]),
    ),
    min_size=1,
    max_size=5,
)


@given(steps, st.integers(0, 12), st.sampled_from([None, b"{", b'{"schema": 99}']))
def test_after_a_crash_at_any_step_the_state_is_one_that_there_was(
    states: list[SavedState], crash_in: int, there: bytes | None
):
    disk = Disk() if there is None else Disk(state_json=there)
    been = [SavedState()]

    async def until_the_crash() -> None:
        disk.crash_in = crash_in
        world = World(disk, Source("a", "b", models=("p:m", "p:n")), auto_save_s=0)
        try:
            await world.keeper.open()
            for state in states:
                world.source.state = state
                await world.keeper.save_now()
                been.append(state)
        except Crash:
            been.append(world.source.state)
        disk.crash_in = disk.keeper = None

    async def afterwards() -> None:
        async with keeping(disk) as world:
            restored = world.source.restored[0] if world.source.restored else SavedState()
            assert restored in been[-2:]
            assert world.source.state.loaded == (), "nothing is phantom-loaded"
            assert restored == fitting(restored, world.source.known)

    run_simulated(until_the_crash)
    run_simulated(afterwards)
    assert there is None or there in disk.files.values(), "nothing is deleted"


KILLED = """
import asyncio, sys
from pathlib import Path
from orchestrator.core.events import StateSaved
from tests.engine.test_state import real

async def main():
    keeper, source, bus = real(Path(sys.argv[1]))
    bus.on(StateSaved, lambda event: print(event.path, flush=True))
    await keeper.open()
    from orchestrator.core.saved_state import SavedResident
    source.set(current="p:m", residents={"a": SavedResident(pinned=True)})
    keeper.changed()
    await keeper.run()

asyncio.run(main())
"""


def real(path: Path) -> tuple[StateKeeper, Source, EventBus]:
    """Return a keeper of a file on the real disk."""
    clock, source = SystemClock(), Source("a", models=("p:m",))
    bus = EventBus(clock)
    return StateKeeper(StateFile(path), source, clock, bus, node="n"), source, bus


def test_what_was_saved_before_a_kill_is_there_after_it(tmp_path: Path):
    path = tmp_path / "data" / "state.json"
    program = [sys.executable, "-c", KILLED, str(path)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == f"{path}\n"
        child.kill()

    async def restart() -> SavedState:
        keeper, source, _ = real(path)
        await keeper.open()
        source.set(current=None)
        assert await keeper.save_now() == path
        await keeper.aclose()
        return source.restored[0]

    assert asyncio.run(restart()) == SavedState(current="p:m", residents={"a": PINNED})
    assert parsed(path.read_bytes()).state.current is None
