"""``orchestrator log``: what the decision log holds, as a file for notebooks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias, cast

import typer

from orchestrator.cli.options import AsJson, ConfigFile
from orchestrator.cli.output import console, table, write_json
from orchestrator.core.errors import InvalidRequestError

if TYPE_CHECKING:
    from orchestrator.store import LogInfo
    from orchestrator.store.sql import SqliteStore

__all__ = ["app", "export", "info", "upgrade"]

app = typer.Typer(help="Read the decision log; write it to a file.")

_DEFAULT_URL: Final = "sqlite:///decisions.db"
_EXPORT_EXAMPLE: Final = "Example: orchestrator log export --out decisions.parquet --since 7d"
_INFO_EXAMPLE: Final = "Example: orchestrator log info --since 2026-01-31"
_UPGRADE_EXAMPLE: Final = "Example: orchestrator log upgrade"
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

_Log: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--log",
        help="File or sqlite:/// URL; else the one that is configured, else decisions.db of the "
        "data folder.",
    ),
]
_Since: TypeAlias = Annotated[
    str | None,
    typer.Option(help="Leave out what is older: 30m, 12h, 7d, 2w, or a date such as 2026-01-31."),
]
_Format: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--format", help="parquet or csv; else as the file's name ends.", show_default="parquet"
    ),
]


@app.callback(invoke_without_command=True)
def _of_the_log(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command("export", epilog=_EXPORT_EXAMPLE)
def export(
    form: _Format = None,
    out: Annotated[
        Path | None, typer.Option(help="File to write.", show_default="decisions.parquet")
    ] = None,
    since: _Since = None,
    log: _Log = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Write every decision with what came of it, a row each; a gateway may go on meanwhile."""
    begin, kind = _moment(since), _kind(form, out)
    path = out or Path(f"decisions.{kind}")
    rows = asyncio.run(_export(_store(log, config), path, kind, begin))
    if as_json:
        write_json({"file": path, "format": kind, "decisions": rows})
    else:
        console().print(f"{path}: {rows:,} decisions", markup=False)


@app.command("info", epilog=_INFO_EXAMPLE)
def info(
    since: _Since = None, log: _Log = None, config: ConfigFile = None, as_json: AsJson = False
) -> None:
    """Say what the log holds."""
    begin, store = _moment(since), _store(log, config)
    found = asyncio.run(_info(store, begin))
    if as_json:
        write_json({"file": store.path, **asdict(found)})
        return
    out = console()
    out.print(f"{store.path}, {store.path.stat().st_size:,} bytes", markup=False)
    lines = [f"{found.decisions:,} decisions of {found.nodes} processes"]
    if found.first is not None and found.last is not None:
        lines[0] += f", {_text(found.first)} to {_text(found.last)}"
    lines.append(f"{found.outcomes:,} outcomes, {found.qualities:,} qualities")
    if found.missing:
        lines.append(f"{found.missing:,} decisions were made but not written")
    out.print("\n".join(lines), markup=False)
    if found.models:
        listed = table("model", "decisions", right=("decisions",))
        for model, n in found.models.items():
            listed.add_row(model, f"{n:,}")
        out.print()
        out.print(listed)


@app.command("upgrade", epilog=_UPGRADE_EXAMPLE)
def upgrade(log: _Log = None, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Bring a log that an older version has written up to date."""
    store = _store(log, config)
    changed = asyncio.run(_upgrade(store))
    if as_json:
        write_json({"file": store.path, "upgraded": changed})
    else:
        said = "upgraded" if changed else "up to date already"
        console().print(f"{store.path}: {said}", markup=False)


async def _export(
    store: SqliteStore, path: Path, form: Literal["parquet", "csv"], since: float | None
) -> int:
    from orchestrator.store.export import export as exported

    async with _open(store):
        total = (await store.info(since)).decisions
        with _progress(total) as advance:
            return await exported(store, path, form, since, advance)


async def _info(store: SqliteStore, since: float | None) -> LogInfo:
    async with _open(store):
        return await store.info(since)


async def _upgrade(store: SqliteStore) -> bool:
    try:
        return await store.upgrade()
    finally:
        await store.aclose()


@asynccontextmanager
async def _open(store: SqliteStore) -> AsyncIterator[None]:
    try:
        await store.open(write=False)
        yield
    finally:
        await store.aclose()


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], object]]:
    """Show how far it is: a bar in a terminal, else nothing."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    err = console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as steps:
        step = steps.add_task("", total=total)
        yield lambda rows: steps.update(step, advance=rows)


def _store(log: str | None, config: Path | None) -> SqliteStore:
    from orchestrator.core.data_folder import data_folder
    from orchestrator.store.sql import SqliteStore, sqlite_path

    if log is not None:
        return SqliteStore(sqlite_path(log, Path()))
    from orchestrator.config import read_configuration
    from orchestrator.config.store import configured_store

    found = configured_store(read_configuration(config))
    return found or SqliteStore(sqlite_path(_DEFAULT_URL, data_folder()))


def _kind(form: str | None, out: Path | None) -> Literal["parquet", "csv"]:
    """Return the format that was asked for, in words or by the file's name."""
    said = form or (out.suffix.removeprefix(".") if out is not None else "") or "parquet"
    if said not in ("parquet", "csv"):
        raise InvalidRequestError(
            f"a log is written as parquet or csv, not {said!r}", hint="--format csv"
        )
    return cast('Literal["parquet", "csv"]', said)


def _moment(since: str | None) -> float | None:
    """Return a wall-clock time: so long ago, or a date in UTC unless it says otherwise."""
    if since is None:
        return None
    count, unit = since[:-1], _UNITS.get(since[-1:])
    try:
        if unit is not None and count.isdecimal():
            return (datetime.now(UTC) - timedelta(**{unit: int(count)})).timestamp()
        moment = datetime.fromisoformat(since)
    except (ValueError, OverflowError):
        raise InvalidRequestError(
            f"{since!r} is no time", hint="--since 7d, or a date such as 2026-01-31"
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _text(wall: float) -> str:
    return f"{datetime.fromtimestamp(wall, UTC):%Y-%m-%d %H:%M:%S} UTC"
