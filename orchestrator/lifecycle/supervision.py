"""Watching a process that serves, and killing it when it leaves its bounds or hangs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeAlias

import anyio
from anyio import to_thread

from orchestrator.core.bounds import Liveness, ProcessBounds
from orchestrator.core.errors import ErrorClass, ModelError
from orchestrator.lifecycle.liveness import Liveliness
from orchestrator.lifecycle.process_group import cpu_s, holds_more_than

__all__ = ["Ask", "Watched", "supervise"]

Ask: TypeAlias = Callable[[], Awaitable[object]]
"""Puts a question to a process; raises `ModelError` where the answer is none."""

_MEMORY_EVERY_S: Final = 2.0
# Errors in which nobody has answered.
_NO_ANSWER: Final = (ErrorClass.NETWORK_ERROR, ErrorClass.TIMEOUT)


class Watched(Protocol):
    """A process as its watch needs it."""

    @property
    def pid(self) -> int: ...
    def kill(self, why: str) -> None:
        """End it at once."""
        ...


async def supervise(
    process: Watched,
    bounds: ProcessBounds,
    ask: Ask | None,
    *,
    memory_every_s: float = _MEMORY_EVERY_S,
) -> None:
    """Watch it until it has to be killed; cancel this once it has ended.

    Memory is looked at every ``memory_every_s``, so that a process can hold more than its limit for
    as long. A limit by the kernel would come at once, but fits nothing: RLIMIT_AS counts weights
    that are mapped from a file and never read, RLIMIT_DATA the stacks that threads never touch.

    Args:
        process: Serves since a moment ago.
        bounds: What it may take, and when it counts as hung.
        ask: Puts a question to it; None: it is not noticed when it hangs.
        memory_every_s: How often to look.
    """
    async with anyio.create_task_group() as watches:
        if bounds.memory_bytes is not None:
            watches.start_soon(_keep_small, process, bounds.memory_bytes, memory_every_s)
        if bounds.liveness.every_s and ask is not None:
            watches.start_soon(_keep_lively, process, bounds.liveness, ask)


async def _keep_small(process: Watched, limit: int, every_s: float) -> None:
    while True:
        held = await to_thread.run_sync(holds_more_than, process.pid, limit)
        if held is not None:
            process.kill(f"it took {held / 1e9:.2f} GB of memory, and may take {limit / 1e9:.2f}")
            return
        await anyio.sleep(every_s)


async def _keep_lively(process: Watched, liveness: Liveness, ask: Ask) -> None:
    seen = Liveliness(anyio.current_time(), await _computed_s(process))
    while seen.unanswered < liveness.failures:
        if not seen.unanswered:
            await anyio.sleep(liveness.every_s)
        seen = seen.seen(anyio.current_time(), await _computed_s(process))
        if not seen.rested:
            continue
        if await _answers(ask, liveness.answer_within_s):
            seen = seen.answered()
        else:
            seen = seen.seen(anyio.current_time(), await _computed_s(process)).silent()
    process.kill(
        f"it hung: it did not compute, and left {seen.unanswered} questions in a row "
        f"unanswered for {liveness.answer_within_s:g} s"
    )


async def _computed_s(process: Watched) -> float:
    return await to_thread.run_sync(cpu_s, process.pid)


async def _answers(ask: Ask, within_s: float) -> bool:
    with anyio.move_on_after(within_s):
        try:
            await ask()
        except ModelError as error:
            return error.classification not in _NO_ANSWER
        return True
    return False
