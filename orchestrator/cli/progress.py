"""How far a command is, on standard error: a bar in a terminal, else a line when it begins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeAlias

from orchestrator.cli.output import console, note

__all__ = ["Watching", "progress"]

Watching: TypeAlias = Callable[[str, int | None], Callable[[int], None]]
"""Begins to show something: what it is and its end, or None; returns what to call with how far."""

_PER_STEP: Final = 100
"""A bar takes as long to move as what it counts."""


@contextmanager
def progress() -> Iterator[Watching]:
    """Show how far one thing after another is."""
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
                if done % _PER_STEP == 0 or done == total:
                    bars.update(bar, completed=done)

            return on_step

        yield watching
