"""What a process writes: its last lines in memory, and more of them in a file that stays small."""

from __future__ import annotations

import os
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

__all__ = ["ProcessLog"]

_KEPT_LINES: Final = 100
_LONGEST_LINE: Final = 4096


class ProcessLog:
    """The output of one process, line by line.

    The file is continued by the next process of the same name. Once it holds half of what it may,
    it becomes ``NAME.1`` and a new one is begun, so that the latest half is always there. A file
    that cannot be written is given up, which is told in a line: the model goes on serving.

    Args:
        path: Where lines are kept, or None for memory alone.
        limit_bytes: What both files hold together at most.
        secret: Replaced wherever it is written; engines like to print their arguments.
    """

    def __init__(
        self, path: Path | None = None, *, limit_bytes: int = 4_000_000, secret: str = ""
    ) -> None:
        self._path = path
        self._half = limit_bytes // 2
        self._secret = secret.encode()
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._unfinished = b""
        self._file = -1
        self._size = 0

    @property
    def text(self) -> str:
        """The last lines."""
        return "\n".join([*self._lines, self._clean(self._unfinished).decode(errors="replace")])

    def begin(self, pid: int) -> None:
        """Note that a process begins."""
        if self._path is not None:
            self._write(f"--- {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} process {pid}\n".encode())

    def add(self, data: bytes) -> None:
        """Take in what was written, cut anywhere."""
        *lines, rest = (self._unfinished + data).split(b"\n")
        lines = [self._clean(line) for line in lines]
        self._lines.extend(line.decode(errors="replace") for line in lines)
        # Longer than is kept by a secret, which could stand across the cut.
        self._unfinished = rest[: _LONGEST_LINE + len(self._secret)]
        if lines:
            self._write(b"\n".join(lines) + b"\n")

    def close(self, last_words: str = "") -> None:
        """Nothing more comes; ``last_words`` are ours."""
        if self._unfinished:
            self.add(b"\n")
        if last_words:
            self.add(f"{last_words}\n".encode())
        self._give_up()

    def _clean(self, line: bytes) -> bytes:
        if self._secret:
            line = line.replace(self._secret, b"[key]")
        return line[:_LONGEST_LINE]

    def _write(self, data: bytes) -> None:
        if self._path is None:
            return
        try:
            if self._file < 0:
                self._open(self._path)
            if self._size and self._size + len(data) > self._half:
                self._turn(self._path)
            # One chunk can be longer than a file may be; its end says more than its beginning.
            data = data[-self._half :]
            os.write(self._file, data)
            self._size += len(data)
        except OSError as error:
            self._lines.append(f"[{self._path} cannot be written: {error.strerror}]")
            self._give_up()

    def _give_up(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file, self._path = -1, None

    def _open(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o600)
        self._size = os.fstat(self._file).st_size

    def _turn(self, path: Path) -> None:
        os.close(self._file)
        self._file = -1
        path.replace(path.with_name(f"{path.name}.1"))
        self._open(path)
