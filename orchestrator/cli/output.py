"""Where a command's words go: results to standard output, all else to standard error."""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["console", "note", "table", "write_json"]

_WIDTH_WHEN_PIPED: Final = 200
"""Whoever reads a pipe does not want names cut off."""


@cache
def console(*, stderr: bool = False) -> Console:
    """Return the console of a stream."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _WIDTH_WHEN_PIPED
    return Console(stderr=stderr, width=width, highlight=False, soft_wrap=True)


def note(text: str = "") -> None:
    """Say something that is not the result."""
    typer.echo(text, err=True)  # rich, which takes 2 MB, is for tables and progress


def table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """Return an empty table; its first column is never broken, those of ``right`` hold numbers."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        made.add_column(
            column,
            justify="right" if column in right else "left",
            no_wrap=column == columns[0] or column in right,
            overflow="fold",
        )
    return made


def write_json(data: Any) -> None:
    """Write one JSON object, the whole of a command's result."""
    import orjson

    text = orjson.dumps(data, option=orjson.OPT_INDENT_2, default=str).decode()
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
