"""What is particular to a log in a file: its schema, other programs, other files."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from orchestrator.core.bus import EventBus
from orchestrator.core.clock import SystemClock
from orchestrator.core.errors import MissingExtraError
from orchestrator.core.ports import ExperimentShare
from orchestrator.core.statistics import RowId, Statistics
from orchestrator.store import (
    Batch,
    Kept,
    LogDataError,
    LogWriter,
    StoreError,
    StoreSchemaError,
    sql,
)
from orchestrator.store import writer as writers
from orchestrator.store.schema import CURRENT
from orchestrator.store.sql import SqliteStore, sqlite_path
from orchestrator.store.tables import METADATA
from tests.house.project import ROOT
from tests.store.history import batch, decision, read, story


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


BACK_TO_1 = (
    "DROP TABLE statistics",
    "DROP TABLE experiments",
    "UPDATE alembic_version SET version_num = '1'",
)
"""Makes a log what its first version wrote."""


async def written(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    await store.write(story())
    await store.aclose()


async def entries(path: Path) -> int:
    store = SqliteStore(path)
    try:
        await store.open(write=False)
        return len(await read(store))
    finally:
        await store.aclose()


def execute(path: Path, *statements: str) -> None:
    with sqlite3.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def refusals(monkeypatch: pytest.MonkeyPatch) -> asyncio.Future[str]:
    """Return what will hold the first warning of the writer."""
    first: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    class Noted(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if not first.done():
                first.set_result(record.getMessage())

    monkeypatch.setattr(logging.getLogger("orchestrator.store"), "handlers", [Noted()])
    return first


def noted(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Return what is set once a batch has been written."""
    done, write = asyncio.Event(), store.write

    async def noting(batch: Batch) -> None:
        await write(batch)
        done.set()

    monkeypatch.setattr(store, "write", noting)
    return done


async def test_a_log_outlives_its_process(path: Path):
    await written(path)

    assert await entries(path) == 3


def test_the_migrations_lead_to_the_tables_we_use(path: Path):
    asyncio.run(written(path))
    config = Config()
    config.set_main_option("script_location", "orchestrator.store:migrations")
    engine = sa.create_engine(f"sqlite:///{path}")

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
        assert context.get_current_revision() == CURRENT
    engine.dispose()
    assert ScriptDirectory.from_config(config).get_current_head() == CURRENT


async def test_a_log_of_an_older_version_is_refused_by_readers_and_brought_up_to_date_by_writers(
    path: Path,
):
    await written(path)
    execute(path, *BACK_TO_1)

    expected = f"older schema 1; this version reads {CURRENT}"
    with pytest.raises(StoreSchemaError, match=expected) as old:
        await entries(path)
    assert old.value.hint == f"orchestrator log upgrade --log {path}"
    assert (old.value.found, old.value.wanted) == ("1", CURRENT)

    await written(path)
    assert await entries(path) == 3


async def test_an_upgrade_says_whether_there_was_a_need(path: Path):
    await written(path)
    execute(path, *BACK_TO_1)
    store = SqliteStore(path)

    assert await store.upgrade()
    assert not await store.upgrade()
    assert await store.statistics() == []
    await store.aclose()


async def test_what_an_older_version_had_learned_is_there_after_the_upgrade(path: Path):
    await written(path)
    execute(
        path,
        "ALTER TABLE statistics DROP COLUMN packed",
        "INSERT INTO statistics VALUES ('n', 7, 1, 'all', 'a:x', 3, '{\"calls\": 2.0}')",
        "DROP TABLE experiments",
        "UPDATE alembic_version SET version_num = '2'",
    )
    store = SqliteStore(path)
    row, packed = RowId("n", 7, 1, "all", "a:x"), bytes(8)
    other = row._replace(width=60, segment="~regression-2")

    await store.open()
    assert await store.statistics() == [Kept(row, 3, {"calls": 2.0})]
    await store.keep([Kept(other, 1, {}, packed)])

    assert await store.statistics() == [Kept(row, 3, {"calls": 2.0}), Kept(other, 1, {}, packed)]
    await store.aclose()


@pytest.mark.parametrize("newer", [str(int(CURRENT) + 1), "af3c"])
async def test_a_log_of_a_newer_version_is_refused_by_all(path: Path, newer: str):
    await written(path)
    execute(path, f"UPDATE alembic_version SET version_num = '{newer}'")
    store = SqliteStore(path)

    for opening in (store.open(), store.open(write=False), store.upgrade()):
        with pytest.raises(StoreSchemaError, match=f"schema {newer}, which is newer than ours"):
            await opening


async def test_a_file_that_is_no_log_is_left_alone(path: Path, tmp_path: Path):
    text, other = tmp_path / "notes.txt", tmp_path / "other.db"
    text.write_text("nothing but words, though quite a few of them\n" * 100)
    execute(other, "CREATE TABLE cats (name TEXT)")
    before = text.read_bytes(), other.read_bytes()

    for file in (text, other):
        for write in (True, False):
            with pytest.raises(StoreError, match=r"is no decision log|database of something else"):
                await SqliteStore(file).open(write=write)
    assert (text.read_bytes(), other.read_bytes()) == before


def test_reading_does_not_make_a_log(path: Path):
    with pytest.raises(StoreError, match="there is no decision log") as missing:
        asyncio.run(SqliteStore(path).open(write=False))

    assert missing.value.hint is not None
    assert not path.exists()


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").touch()

    with pytest.raises(StoreError, match=r"the folder of .*log.db cannot be made"):
        await SqliteStore(tmp_path / "file" / "log.db").open()


async def test_a_store_that_is_not_open_says_so(path: Path):
    with pytest.raises(StoreError, match="is not open"):
        await SqliteStore(path).statistics()


@pytest.mark.parametrize("wrong", ["postgresql://host/log", "sqlite:///", "sqlite:///:memory:"])
def test_a_url_that_names_no_file_is_refused(wrong: str):
    with pytest.raises(StoreError) as refused:
        sqlite_path(wrong, Path("/data"))

    assert refused.value.hint == "sqlite:///FILE"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("sqlite:///log.db", "/data/log.db"),
        ("sqlite:////var/log.db", "/var/log.db"),
        ("logs/log.db", "/data/logs/log.db"),
        ("/var/log.db", "/var/log.db"),
    ],
)
def test_a_relative_file_lies_in_the_folder(text: str, path: str):
    assert sqlite_path(text, Path("/data")) == Path(path)


def test_without_the_libraries_the_error_names_the_extra(
    path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sql, "find_spec", lambda name: None)

    with pytest.raises(MissingExtraError) as missing:
        SqliteStore(path)

    assert missing.value.hint == "pip install 'orchestrator[sql]'"


async def test_a_text_that_cannot_be_written_is_the_rows_fault(path: Path):
    store = SqliteStore(path)
    await store.open()

    with pytest.raises(LogDataError):
        await store.write(batch(decision(0, request_id="\ud800")))

    await store.write(batch(decision(1)))
    assert [entry["request_id"] for entry in await read(store)] == ["r1"]
    await store.aclose()


async def test_readers_see_a_moment_however_much_is_written_meanwhile(path: Path):
    await written(path)
    store, writer = SqliteStore(path), SqliteStore(path)
    await writer.open()
    await store.open(write=False)
    seen = 0
    async for page in store.entries():
        await writer.write(batch(*(decision(n) for n in range(100, 200))))
        seen += len(page)

    assert seen == 3
    await store.aclose()
    await writer.aclose()


async def test_a_file_that_another_program_holds_is_written_once_it_lets_go(
    path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sql, "_PATIENCE_S", 0.05)
    monkeypatch.setattr(writers, "_RETRY_S", 0.05)
    await written(path)
    store = SqliteStore(path)
    written_once = noted(store, monkeypatch)
    writer = LogWriter(store, Statistics("n"), SystemClock(), EventBus())
    await writer.open()
    refused = refusals(monkeypatch)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(writer.run())
        for n in range(1_000):
            writer.decided(decision(10 + n))
        assert "database is locked" in await refused
        holder.execute("ROLLBACK")
        holder.close()
        # One that fails to the end is not waited for.
        await written_once.wait()
        await writer.aclose()

    assert await entries(path) == 1_003


HELD = """
import asyncio, sqlite3, sys
from pathlib import Path
import anyio
from orchestrator.core.bus import EventBus
from orchestrator.core.clock import SystemClock
from orchestrator.core.statistics import Statistics
from orchestrator.store import LogWriter, sql, writer as writers
from tests.store.history import decision

sql._PATIENCE_S = 600.0
writers._CLOSE_WITHIN_S = 0.2

async def main(path):
    writer = LogWriter(sql.SqliteStore(path), Statistics("n"), SystemClock(), EventBus())
    await writer.open()
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(writer.run)
        for n in range(1_000):
            writer.decided(decision(n))
        await anyio.sleep(0.2)
        await writer.aclose()
        tasks.cancel_scope.cancel()
    return holder

held = asyncio.run(main(Path(sys.argv[1])))
"""


def test_a_program_whose_store_hangs_ends_all_the_same(path: Path):
    ran = subprocess.run(
        [sys.executable, "-c", HELD, path], cwd=ROOT, capture_output=True, text=True, timeout=120
    )

    # An older SQLAlchemy adds that a connection was left in the middle.
    assert ran.stderr.startswith("the decision log was closed with 1,000 rows not written\n")
    assert ran.returncode == 0


@pytest.mark.parametrize(
    ("column", "value"), [("counted", "X'00'"), ("sums", "'[[1'"), ("sums", "'[1]'")]
)
async def test_a_share_of_an_experiment_that_cannot_be_one_is_an_error(
    path: Path, column: str, value: str
):
    store = SqliteStore(path)
    await store.open()
    await store.keep([], shares=[ExperimentShare("n", "try", "p", ((1.0,),), b"\x01")])
    execute(path, f"UPDATE experiments SET {column} = {value}")

    try:
        with pytest.raises(LogDataError, match="what n has seen of the experiment 'try'"):
            await store.experiments()
    finally:
        await store.aclose()
