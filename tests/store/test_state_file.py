"""The state file on a real disk: whatever happens, it is the old one or the new one."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator.core.errors import ConfigurationError
from orchestrator.store import state_file
from orchestrator.store.state_file import StateFile, replace_file

OLD, NEW = b"the old one", b"the new one, which is longer"
LENGTH = 400_000

WRITER = """
import sys
from pathlib import Path
from orchestrator.store.state_file import replace_file

path = Path(sys.argv[1])
for number in range(int(sys.argv[2]), 10_000_000):
    replace_file(path, path.with_suffix(".new"), b"%07d " * LENGTH % ((number,) * LENGTH))
    print(number, flush=True)
""".replace("LENGTH", str(LENGTH))
HOLDER = """
import asyncio, sys
from orchestrator.store.state_file import StateFile

asyncio.run(StateFile(sys.argv[1]).acquire())
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def running(program: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run a program that says when it is ready; it is killed at the end."""
    child = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


@contextmanager
def no_file_over(size: int) -> Iterator[None]:
    """Have the system refuse to let a file grow beyond this, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


# -- one write -----------------------------------------------------------------------------------


async def test_a_file_is_its_owners_alone_and_its_folder_is_made(tmp_path: Path):
    file = StateFile(tmp_path / "data" / "state.json")
    await file.acquire()
    await file.write(OLD)
    file.path.chmod(0o644)

    await file.write(NEW)

    assert await file.read() == NEW
    for path in file.path.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    file.release()


async def test_where_there_is_no_file_nothing_is_read(tmp_path: Path):
    assert await StateFile(tmp_path / "data" / "state.json").read() is None


async def test_what_a_crash_left_behind_is_removed(tmp_path: Path):
    file = StateFile(tmp_path / "state.json")
    (tmp_path / "state.json.new").write_bytes(b"half of")

    await file.write(NEW)

    assert content(tmp_path) == {"state.json": NEW}


async def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path):
    (tmp_path / "elsewhere").mkdir()
    link, target = tmp_path / "state.json", tmp_path / "elsewhere" / "real.json"
    link.symlink_to(target)

    await StateFile(link).write(NEW)

    assert link.is_symlink()
    assert target.read_bytes() == NEW


def test_the_disk_has_the_content_before_it_has_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(file: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(file).st_mode) else "file"
        done.append(f"{kind} of {os.fstat(file).st_size}" if kind == "file" else kind)
        fsync(file)

    def replaced(source: Path, target: Path) -> None:
        done.append("name")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)

    replace_file(tmp_path / "state.json", tmp_path / "state.json.new", NEW)

    assert done == [f"file of {len(NEW)}", "name", "folder"]


# -- a crash at any moment -----------------------------------------------------------------------


class Crash(BaseException):
    """The process ends here."""


STEPS = ("open", "fsync", "replace", "close", "unlink")


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("nth", range(8))
def test_after_a_crash_at_any_step_the_file_is_the_old_one_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int, before: bool
):
    path, temporary = tmp_path / "state.json", tmp_path / "state.json.new"
    path.write_bytes(OLD)
    taken: list[str] = []

    def crashing(name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        def take(*args: Any, **kwargs: Any) -> Any:
            taken.append(name)
            if len(taken) > nth + 1:
                raise Crash  # nothing happens any more
            if len(taken) == nth + 1 and before:
                raise Crash
            found = step(*args, **kwargs)
            if len(taken) == nth + 1:
                raise Crash
            return found

        return take

    with monkeypatch.context() as patched:
        for name in STEPS:
            patched.setattr(os, name, crashing(name, getattr(os, name)))
        try:
            replace_file(path, temporary, NEW)
            ended = True
        except Crash:
            ended = False

    assert path.read_bytes() == NEW if ended else path.read_bytes() in (OLD, NEW)
    assert ended or len(taken) > nth
    replace_file(path, temporary, NEW)
    assert content(tmp_path) == {"state.json": NEW}


def killed_writers_leave_whole_files(path: Path, kills: int) -> None:
    first = 0
    for kill in range(kills):
        with running(WRITER, path, first) as child:
            assert child.stdout is not None
            told = [int(child.stdout.readline()) for _ in range(1 + kill % 3)]
            child.kill()
            told += map(int, child.stdout.read().split())

        numbers = path.read_bytes().split()
        assert len(numbers) == LENGTH
        (number,) = map(int, set(numbers))
        assert number in (told[-1], told[-1] + 1)
        first = number + 1


def test_a_writer_killed_again_and_again_leaves_a_whole_file_each_time(tmp_path: Path):
    killed_writers_leave_whole_files(tmp_path / "state.json", kills=4)


@pytest.mark.long
def test_a_writer_killed_fifty_times_leaves_a_whole_file_each_time(tmp_path: Path):
    killed_writers_leave_whole_files(tmp_path / "state.json", kills=50)


# -- a disk that does not want -------------------------------------------------------------------


async def test_on_a_full_disk_the_old_file_stays_and_nothing_is_left_of_the_new(tmp_path: Path):
    file = StateFile(tmp_path / "state.json")
    await file.write(OLD)

    with no_file_over(len(OLD)), pytest.raises(OSError, match="too large"):
        await file.write(NEW)

    assert content(tmp_path) == {"state.json": OLD}
    await file.write(NEW)
    assert content(tmp_path) == {"state.json": NEW}


async def test_a_folder_that_cannot_be_made_is_an_error_of_the_system(tmp_path: Path):
    (tmp_path / "data").write_text("a file")

    with pytest.raises(FileExistsError):
        await StateFile(tmp_path / "data" / "state.json").acquire()


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
async def test_what_is_no_file_is_refused(tmp_path: Path, make: Callable[[Path], None]):
    make(tmp_path / "state.json")

    with pytest.raises(ConfigurationError, match=r"the state file .*state\.json is no file"):
        await StateFile(tmp_path / "state.json").read()


async def test_a_write_that_hangs_can_be_left_and_still_keeps_others_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "state.json"
    file, hanging, go_on = StateFile(path), threading.Event(), threading.Event()

    def hang(*args: Any) -> None:
        hanging.set()
        go_on.wait()

    await file.acquire()
    monkeypatch.setattr(state_file, "replace_file", hang)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(file.write, NEW)
        await anyio.to_thread.run_sync(hanging.wait)
        tasks.cancel_scope.cancel()
    file.release()

    with pytest.raises(BlockingIOError):
        await StateFile(path).acquire()
    go_on.set()
    while True:  # the thread ends by itself
        file.release()
        try:
            await StateFile(path).acquire()
            break
        except BlockingIOError:
            await anyio.lowlevel.checkpoint()


# -- one writer ----------------------------------------------------------------------------------


async def test_a_second_engine_is_told_who_keeps_the_file(tmp_path: Path):
    first, second = StateFile(tmp_path / "state.json"), StateFile(tmp_path / "state.json")
    await first.acquire()

    with pytest.raises(BlockingIOError, match=f"process {os.getpid()} keeps it"):
        await second.acquire()

    first.release()
    await second.acquire()
    second.release()


async def test_a_process_that_was_killed_keeps_nothing(tmp_path: Path):
    file = StateFile(tmp_path / "state.json")
    with running(HOLDER, file.path) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError, match=f"process {child.pid} keeps it"):
            await file.acquire()

    await file.acquire()
    file.release()


# -- setting aside -------------------------------------------------------------------------------


async def test_what_is_set_aside_takes_nobodys_place(tmp_path: Path):
    file = StateFile(tmp_path / "state.json")
    asides = []
    for number in range(3):
        await file.write(b"%d" % number)
        asides.append(await file.set_aside("corrupt-20250615T120000Z"))

    assert await file.read() is None
    assert asides[0] == f"{file.path}.corrupt-20250615T120000Z"
    found = content(tmp_path)
    assert [found[os.path.basename(aside)] for aside in asides] == [b"0", b"1", b"2"]
