"""What a process and its children take of the machine. Needs ``psutil``; call it in a thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

__all__ = ["cpu_s", "holds_more_than"]

_Process: TypeAlias = Any


def cpu_s(pid: int) -> float:
    """Return the seconds for which they have computed; 0 once they are gone."""
    return float(sum(_of_each(pid, lambda process: sum(process.cpu_times()[:2]))))


def holds_more_than(pid: int, limit_bytes: int) -> int | None:
    """Return how much of main memory they hold if that is more than a limit, else None.

    Resident sets count what several of them share several times. They are quick to read, and only
    where they exceed the limit proportional sets decide, on Linux; elsewhere there are none.
    Weights that are mapped from their file count while they are in memory.
    """
    if sum(_of_each(pid, lambda process: process.memory_info().rss)) <= limit_bytes:
        return None
    held = sum(_of_each(pid, _proportional))
    return held if held > limit_bytes else None


def _proportional(process: _Process) -> int:
    full = process.memory_full_info()
    return int(getattr(full, "pss", full.rss))


def _of_each(pid: int, measure: Callable[[_Process], float]) -> list[Any]:
    import psutil

    measured = []
    try:
        first = psutil.Process(pid)
        processes = [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
    for process in processes:
        try:
            measured.append(measure(process))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # it has ended meanwhile; or on macOS, which tells little of who is ending
    return measured
