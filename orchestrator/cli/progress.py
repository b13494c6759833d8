"""How far a command is, on standard error: a bar in a terminal, else a line when it begins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeAlias, TypeVar

from orchestrator.cli.output import console, note
from orchestrator.core.errors import OrchestratorError

__all__ = ["Watching", "beside", "following", "progress"]

Watching: TypeAlias = Callable[[str, int | None], Callable[[int], None]]
"""Begins to show something: what it is and its end, or None; returns what to call with how far."""

_T = TypeVar("_T")
_PER_STEP: Final = 100
"""A bar takes as long to move as what it counts."""


@contextmanager
def progress(*, per_step: int = _PER_STEP) -> Iterator[Watching]:
    """Show how far one thing after another is.

    Args:
        per_step: After how many a bar moves.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    err = console(stderr=True)
    parts = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(
        *parts, TimeElapsedColumn(), console=err, transient=True, disable=not err.is_terminal
    ) as bars:

        def watching(what: str, total: int | None) -> Callable[[int], None]:
            if not err.is_terminal:
                note(what)
            bar = bars.add_task(what, total=total)

            def on_step(done: int) -> None:
                if done % per_step == 0 or done == total:
                    bars.update(bar, completed=done)

            return on_step

        yield watching


@contextmanager
def following() -> Iterator[Callable[[str], None]]:
    """Show how one thing goes; yields what to call with words for that."""
    err = console(stderr=True)
    if not err.is_terminal:
        yield note
        return
    from rich.text import Text

    with err.status("") as status:
        yield lambda said: status.update(Text(said))


async def beside(
    watch: Callable[[Callable[[], None]], Awaitable[None]], work: Callable[[], Awaitable[_T]]
) -> _T:
    """Return what the work returns, watching it meanwhile.

    Args:
        watch: Calls what it is given once it watches, before the work begins; it is cancelled
            after that. What it cannot do keeps nobody from working.
        work: Is called and awaited.
    """
    import anyio

    watches = anyio.Event()

    async def watching() -> None:
        try:
            await watch(watches.set)
        except OrchestratorError as error:
            note(f"how it goes cannot be shown: {error.message}")
        watches.set()

    failure: OrchestratorError | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watching)
        await watches.wait()
        try:
            result = await work()
        except OrchestratorError as error:
            failure = error  # raised outside, where it is no group of errors
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return result
