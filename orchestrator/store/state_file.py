"""The state file: replaced as a whole, and written by one process at a time."""

from __future__ import annotations

import asyncio
import concurrent.futures
import errno
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from orchestrator.core.errors import ConfigurationError
from orchestrator.core.saved_state import MOST_BYTES

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["StateFile", "replace_file"]

_P = ParamSpec("_P")
_T = TypeVar("_T")
_OURS_ALONE: Final = 0o600
_PAST_THE_NAME: Final = 1024


class StateFile:
    """Implements `orchestrator.engine.state.StateStorage` in a folder.

    Work on the file is done in threads that end with the process, whatever the disk does.

    Attributes:
        path: The file; a link is followed, and what it leads to is replaced.

    Args:
        path: The same, from the working folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(os.path.realpath(Path(path).expanduser()))
        self._held: int | None = None
        self._busy = threading.Lock()

    async def acquire(self) -> None:
        """Become the one process that writes the file, until `release` or the process's end.

        Raises:
            OSError: Another process is, or the folder is not to be written to.
        """
        await _in_thread(self._acquire)

    async def read(self) -> bytes | None:
        """Return what the file holds, or None if there is none.

        Raises:
            ConfigurationError: It is no file, but a folder or the like.
            OSError: It cannot be read.
        """
        return await _in_thread(self._read)

    async def write(self, data: bytes) -> None:
        """Replace the file: whoever reads finds the old one or the new one, whole.

        Raises:
            OSError: It cannot be written; the old one is as it was.
        """
        await _in_thread(self._write, data)

    async def set_aside(self, suffix: str) -> str:
        """Give the file another name, which no other file has, and return its path.

        Raises:
            OSError: It has to stay where it is.
        """
        return await _in_thread(self._set_aside, suffix)

    def release(self) -> None:
        """Let others write the file. While a write hangs, only the end of the process does."""
        if self._held is not None and self._busy.acquire(blocking=False):
            try:
                os.close(self._held)
                self._held = None
            finally:
                self._busy.release()

    # -- in the thread -------------------------------------------------------------------------

    def _acquire(self) -> None:
        with self._busy:
            if self._held is not None:
                return
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # A file of its own, since the other one is replaced; it stays, since removing it
            # would let two processes hold a lock on two files of this name.
            lock = os.open(self._beside("lock"), os.O_RDWR | os.O_CREAT, _OURS_ALONE)
            try:
                _lock(lock)
                os.ftruncate(lock, 0)
                os.write(lock, f"{os.getpid()}\n".encode())
            except BlockingIOError as error:
                holder = os.read(lock, 20).decode("ascii", "replace").strip() or "another"
                os.close(lock)
                raise BlockingIOError(errno.EAGAIN, f"process {holder} keeps it") from error
            except BaseException:
                os.close(lock)
                raise
            self._held = lock

    def _read(self) -> bytes | None:
        try:
            # A pipe would never end.
            if not self.path.is_file() and self.path.exists():
                raise ConfigurationError(f"the state file {self.path} is no file")
            with self.path.open("rb") as file:
                return file.read(MOST_BYTES + 1)
        except FileNotFoundError:
            return None

    def _write(self, data: bytes) -> None:
        with self._busy:
            replace_file(self.path, self._beside("new"), data)

    def _set_aside(self, suffix: str) -> str:
        with self._busy:
            target, number = self._beside(suffix), 1
            while target.exists():
                number += 1
                target = self._beside(f"{suffix}-{number}")
            self.path.rename(target)
            _sync_folder(target.parent)
            return str(target)

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(f"{self.path.name}.{suffix}")


def replace_file(path: Path, temporary: Path, data: bytes) -> None:
    """Write a file so that a crash at any moment leaves the old one or the new one.

    Args:
        path: What is to hold the data, for its owner alone.
        temporary: In the same folder; what a crash left there is removed.
        data: What it is to hold.

    Raises:
        OSError: It could not be written; the temporary file is removed if it can be.
    """
    temporary.unlink(missing_ok=True)
    try:
        # Made anew, so that nobody who had it open before, or whom its mode let in, can write it.
        made = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OURS_ALONE)
        with open(made, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):  # what went wrong first is told
            temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Have the disk know the new name, without which a power cut could bring the old one back."""
    if sys.platform == "win32":  # opens no folders
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _lock(file: int) -> None:
    """Lock it for as long as it is open.

    Raises:
        BlockingIOError: Somebody else has.
    """
    if sys.platform == "win32":
        os.lseek(file, _PAST_THE_NAME, os.SEEK_SET)  # nobody could read what is locked
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError(errno.EAGAIN, "it is locked") from error
        finally:
            os.lseek(file, 0, os.SEEK_SET)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


async def _in_thread(work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Do work that may block; whoever is cancelled meanwhile leaves it to itself.

    A pool's threads would keep a program whose disk hangs from ever ending.
    """
    done: concurrent.futures.Future[_T] = concurrent.futures.Future()

    def run() -> None:
        try:
            done.set_result(work(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - raised where the work is awaited
            done.set_exception(error)

    done.set_running_or_notify_cancel()
    threading.Thread(target=run, name="orchestrator state", daemon=True).start()
    return await asyncio.wrap_future(done)
