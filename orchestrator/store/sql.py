"""A store in an SQLite file."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import orjson

from orchestrator.core.errors import MissingExtraError
from orchestrator.core.ports import EarlierDecision, ExperimentShare
from orchestrator.core.statistics import RowId
from orchestrator.store.entries import Shared, earlier
from orchestrator.store.errors import LogDataError, StoreError
from orchestrator.store.records import Batch, Kept, LogInfo, Record

if TYPE_CHECKING:
    import sqlalchemy as sa
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

__all__ = ["SqliteStore", "sqlite_path"]

_T = TypeVar("_T")
_SCHEME: Final = "sqlite:///"
_PATIENCE_S: Final = 1.0
"""How long another process may hold the file before a write fails, and is tried again later."""
_PAGE: Final = 2_000
_ID: Final = ("node", "bucket", "sequence")


def sqlite_path(text: str, folder: Path) -> Path:
    """Return the file that a URL or a path names.

    Args:
        text: ``sqlite:///FILE``, with a fourth slash where FILE is absolute, or a plain path.
        folder: What a relative FILE is relative to.

    Raises:
        StoreError: It is a URL of something else.
    """
    if "://" in text and not text.startswith(_SCHEME):
        raise StoreError(f"a log is kept in SQLite, not at {text!r}", hint=f"{_SCHEME}FILE")
    name = text.removeprefix(_SCHEME)
    if not name or name == ":memory:":
        raise StoreError(f"{text!r} names no file", hint=f"{_SCHEME}FILE")
    return folder / Path(name).expanduser()


class SqliteStore:
    """Implements `Store` with SQLAlchemy.

    Args:
        path: The file; its folder is made where there is none.

    Raises:
        MissingExtraError: The libraries are not installed.
    """

    def __init__(self, path: Path) -> None:
        if any(find_spec(needed) is None for needed in ("sqlalchemy", "aiosqlite", "alembic")):
            raise MissingExtraError("the decision log", "sql")
        self.path = path
        self._engine: AsyncEngine | None = None

    async def open(self, *, write: bool = True) -> None:
        """Connect, and look at the schema; see `Store`."""
        await self._prepare(lambda schema: schema.upgrade if write else schema.check, make=write)
        if write:
            async with self._begun() as connection:
                # Readers and the writer do not wait for each other.
                await connection.exec_driver_sql("PRAGMA journal_mode = WAL")

    async def upgrade(self) -> bool:
        """Connect to a log that is there, and bring it up to date; False if there was no need.

        Raises:
            StoreError: There is no log.
        """
        return bool(await self._prepare(lambda schema: schema.upgrade, make=False))

    async def _prepare(self, step: Callable[[Any], Callable[..., _T]], *, make: bool) -> _T:
        from sqlalchemy import URL, event
        from sqlalchemy.ext.asyncio import create_async_engine

        from orchestrator.store import schema
        from orchestrator.store.connection import Connection

        if make:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(f"the folder of {self.path} cannot be made: {error}") from error
        elif not self.path.is_file():
            raise StoreError(
                f"there is no decision log {self.path}",
                hint="[store] url of the configuration turns it on; --log names another",
            )
        await self.aclose()
        url = URL.create("sqlite+aiosqlite", database=str(self.path))
        self._engine = create_async_engine(
            url, async_creator=lambda: Connection(self.path, _PATIENCE_S)
        )
        event.listen(self._engine.sync_engine, "connect", _set_up)
        try:
            async with self._begun() as connection:
                return await connection.run_sync(step(schema), str(self.path))
        except BaseException:
            await self.aclose()
            raise

    async def write(self, batch: Batch) -> None:
        """Keep a batch in one transaction; see `Store`."""
        from sqlalchemy.dialects.sqlite import insert

        from orchestrator.store import tables

        async with self._begun() as connection:
            for table, rows in (
                (tables.registries, batch.registries),
                (tables.eligible_sets, batch.eligible_sets),
                (tables.shapes, batch.shapes),
                (tables.decisions, batch.decisions),
                (tables.outcomes, batch.outcomes),
                (tables.qualities, batch.qualities),
            ):
                if rows:
                    await connection.execute(insert(table).on_conflict_do_nothing(), rows)

    async def entries(self, since: float | None = None) -> AsyncIterator[list[Record]]:
        """Read decisions; see `Store`."""
        from orchestrator.store import tables

        async with self._begun() as connection:
            # Of one moment, though a gateway goes on writing.
            await connection.exec_driver_sql("BEGIN")
            shared = Shared(
                await _by_id(connection, tables.registries),
                await _by_id(connection, tables.eligible_sets),
                await _by_id(connection, tables.shapes),
            )
            after = ("", -1, -1)
            while True:
                found = (await connection.execute(_page(after, since))).mappings().all()
                if not found:
                    return
                yield [shared.entry(row) for row in found]
                after = tuple(found[-1][name] for name in _ID)

    async def decision(self, node: str, bucket: int, sequence: int) -> EarlierDecision | None:
        """Find a decision; see `Store`."""
        import sqlalchemy as sa

        from orchestrator.store.tables import decisions, outcomes, qualities

        def named(table: sa.Table) -> sa.ColumnElement[bool]:
            wanted = zip(_ID, (node, bucket, sequence), strict=True)
            return sa.and_(*(table.c[name] == value for name, value in wanted))

        latest = sa.select(qualities.c.quality).where(named(qualities))
        rated = latest.order_by(qualities.c.number.desc()).limit(1)
        unused = sa.select(outcomes.c.node).where(named(outcomes), ~outcomes.c.counts)
        query = sa.select(decisions, rated.scalar_subquery().label("quality"))
        async with self._begun() as connection:
            found = await connection.execute(query.where(named(decisions), ~unused.exists()))
            row = found.mappings().first()
        return None if row is None else earlier(dict(row), row["quality"])

    async def info(self, since: float | None = None) -> LogInfo:
        """Count what there is; see `Store`."""
        import sqlalchemy as sa

        from orchestrator.store.tables import decisions, outcomes, qualities

        count, recent = sa.func.count, sa.true() if since is None else decisions.c.wall >= since
        sequence, wall = decisions.c.sequence, decisions.c.wall
        async with self._begun() as connection:
            nodes = await connection.execute(
                sa.select(
                    count(),
                    sa.func.max(sequence) - sa.func.min(sequence) + 1 - count(),
                    sa.func.min(wall),
                    sa.func.max(wall),
                )
                .where(recent)
                .group_by(decisions.c.node)
            )
            by_node = nodes.all()
            ends = []
            for table in (outcomes, qualities):
                counted = sa.select(count()).select_from(table).join(decisions, _of(table))
                ends.append((await connection.execute(counted.where(recent))).scalar_one())
            chosen = await connection.execute(
                sa.select(decisions.c.model, count().label("n"))
                .where(recent)
                .group_by(decisions.c.model)
                .order_by(sa.desc("n"), decisions.c.model)
            )
            return LogInfo(
                decisions=sum(row[0] for row in by_node),
                outcomes=ends[0],
                qualities=ends[1],
                missing=sum(max(row[1], 0) for row in by_node),
                first=min((row[2] for row in by_node), default=None),
                last=max((row[3] for row in by_node), default=None),
                nodes=len(by_node),
                models={row[0]: row[1] for row in chosen},
            )

    async def statistics(self) -> list[Kept]:
        """Read every row of statistics."""
        import sqlalchemy as sa

        from orchestrator.store.tables import statistics

        async with self._begun() as connection:
            found = await connection.execute(sa.select(statistics))
            return [Kept(RowId(*row[:5]), row[5], orjson.loads(row[6]), row[7]) for row in found]

    async def experiments(self) -> list[ExperimentShare]:
        """Read the shares of experiments."""
        import sqlalchemy as sa

        from orchestrator.store.tables import experiments

        async with self._begun() as connection:
            found = await connection.execute(sa.select(experiments))
            return [self._share(*row) for row in found]

    async def keep(
        self,
        rows: Iterable[Kept],
        gone: Iterable[RowId] = (),
        shares: Iterable[ExperimentShare] = (),
    ) -> None:
        """Keep what was learned; see `Store`."""
        import sqlalchemy as sa
        from sqlalchemy.dialects.sqlite import insert

        from orchestrator.store.tables import experiments, statistics

        new = [
            {
                **row.row_id._asdict(),
                "version": row.version,
                "sums": orjson.dumps(row.sums).decode(),
                "packed": row.packed,
            }
            for row in rows
        ]
        seen = [
            {
                **share._asdict(),
                "sums": orjson.dumps(share.sums).decode(),
                "counted": zlib.compress(share.counted, 1),  # hardly a bit of it is set
            }
            for share in shares
        ]
        old = [{f"the_{name}": part for name, part in i._asdict().items()} for i in gone]
        async with self._begun() as connection:
            if old:
                named = (c == sa.bindparam(f"the_{c.name}") for c in statistics.primary_key)
                await connection.execute(sa.delete(statistics).where(*named), old)
            if new:
                added = insert(statistics)
                newer = added.on_conflict_do_update(
                    index_elements=list(statistics.primary_key.columns),
                    set_={name: added.excluded[name] for name in ("version", "sums", "packed")},
                    where=statistics.c.version < added.excluded.version,
                )
                await connection.execute(newer, new)
            if seen:
                share = insert(experiments)
                latest = share.on_conflict_do_update(
                    index_elements=list(experiments.primary_key.columns),
                    set_={"sums": share.excluded.sums, "counted": share.excluded.counted},
                )
                await connection.execute(latest, seen)

    async def aclose(self) -> None:
        """Close the file."""
        if self._engine is not None:
            await self._engine.dispose()
            self._engine = None

    def _share(
        self, node: str, experiment: str, plan: str, sums: str, counted: bytes
    ) -> ExperimentShare:
        try:
            rows = tuple(map(tuple, orjson.loads(sums)))
            return ExperimentShare(node, experiment, plan, rows, zlib.decompress(counted))
        except (ValueError, TypeError, zlib.error) as error:
            raise LogDataError(
                f"{self.path}: what {node} has seen of the experiment {experiment!r}: {error}"
            ) from error

    @asynccontextmanager
    async def _begun(self) -> AsyncIterator[AsyncConnection]:
        """Hold a connection for one transaction.

        Raises:
            StoreError: SQLite refuses; later it may not.
            LogDataError: What is to be written cannot be.
        """
        from sqlalchemy.exc import DatabaseError, OperationalError, SQLAlchemyError

        if self._engine is None:
            raise StoreError(f"{self.path} is not open")
        try:
            async with self._engine.begin() as connection:
                yield connection
        except OperationalError as error:
            raise StoreError(f"{self.path}: {error.orig}") from error
        except DatabaseError as error:
            if "not a database" in str(error.orig):
                raise StoreError(f"{self.path} is no decision log") from error
            raise LogDataError(f"{self.path}: {error.orig}") from error
        except (SQLAlchemyError, ValueError, OverflowError) as error:
            raise LogDataError(f"{self.path}: {error}") from error


def _set_up(connection: Any, _: Any) -> None:
    """Let a commit not wait for the disk: a power cut may cost the last batches, never the file."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.close()


async def _by_id(connection: AsyncConnection, table: sa.Table) -> dict[str, Record]:
    import sqlalchemy as sa

    found = await connection.execute(sa.select(table))
    return {row["id"]: dict(row) for row in found.mappings()}


def _page(after: tuple[str, int, int], since: float | None) -> sa.Select[Any]:
    """Return the query for the decisions behind one, with what came of each."""
    import sqlalchemy as sa

    from orchestrator.store.tables import decisions, outcomes, qualities

    others = qualities.alias()
    latest = sa.select(sa.func.max(others.c.number)).where(_of(others)).scalar_subquery()
    ended = [column for column in outcomes.c if column.name not in ("wall", *_ID)]
    query = (
        sa.select(
            decisions,
            *ended,
            outcomes.c.wall.label("ended_wall"),
            qualities.c.quality,
            qualities.c.corrected,
            qualities.c.wall.label("rated_wall"),
        )
        .outerjoin_from(decisions, outcomes, _of(outcomes))
        .outerjoin(qualities, _of(qualities) & (qualities.c.number == latest))
        .where(sa.tuple_(*(decisions.c[name] for name in _ID)) > after)
        .order_by(*(decisions.c[name] for name in _ID))
        .limit(_PAGE)
    )
    return query if since is None else query.where(decisions.c.wall >= since)


def _of(table: sa.FromClause) -> sa.ColumnElement[bool]:
    """Return that a row belongs to the decision."""
    import sqlalchemy as sa

    from orchestrator.store.tables import decisions

    return sa.and_(*(table.c[name] == decisions.c[name] for name in _ID))
