"""``orchestrator log`` over logs that tests wrote."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from orchestrator.store.sql import SqliteStore
from tests.cli.command import command
from tests.config.files import written
from tests.store.history import story


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log at the place that is taken where none is named."""
    path = tmp_path / "data" / "decisions.db"

    async def write() -> None:
        store = SqliteStore(path)
        await store.open()
        await store.write(story())
        await store.aclose()

    asyncio.run(write())
    return path


def test_it_is_exported_as_parquet_into_the_working_folder(log: Path, tmp_path: Path):
    ran = command("log", "export")

    assert (ran.code, ran.stdout) == (0, "decisions.parquet: 3 decisions\n")
    assert (tmp_path / "decisions.parquet").read_bytes().startswith(b"PAR1")


@pytest.mark.parametrize("words", [("--format", "csv"), ("--out", "decisions.csv")])
def test_the_format_is_asked_for_or_follows_from_the_name(log: Path, words: tuple[str, str]):
    ran = command("log", "export", *words, "--json")

    assert ran.json == {"file": "decisions.csv", "format": "csv", "decisions": 3}
    assert Path("decisions.csv").read_text().startswith("decision_id,request_id,")


@pytest.mark.parametrize(
    ("since", "decisions"),
    [("2025-06-15", 3), ("2025-06-15T12:00:01", 2), ("2025-06-15T14:00:01+02:00", 2), ("1h", 0)],
)
def test_older_decisions_are_left_out(log: Path, since: str, decisions: int):
    assert command("log", "export", "--since", since, "--json").json["decisions"] == decisions


def test_what_it_holds_is_told(log: Path):
    ran = command("log", "info")

    first, second, third, _, fourth, *rest = ran.stdout.splitlines()
    assert first.startswith(f"{log}, ")
    assert second == (
        "3 decisions of 2 processes, 2025-06-15 12:00:00 UTC to 2025-06-15 12:00:02 UTC"
    )
    assert third == "2 outcomes, 2 qualities"
    assert fourth.split() == ["model", "decisions"]
    assert [line.split() for line in rest] == [["a:y", "3"]]


def test_what_it_holds_is_told_as_json(log: Path):
    found = command("log", "info", "--json", "--since", "2025-06-15T12:00:02").json

    assert found["file"] == str(log)
    assert (found["decisions"], found["outcomes"], found["missing"]) == (1, 0, 0)
    assert found["models"] == {"a:y": 1}


@pytest.mark.parametrize("by", ["option", "url", "file", "environment"])
def test_another_log_is_named_by_option_or_configuration(
    log: Path, tmp_path: Path, by: str, monkeypatch: pytest.MonkeyPatch
):
    log.rename(tmp_path / "data" / "other.db")
    words = {"option": ("--log", "data/other.db"), "url": ("--log", "sqlite:///data/other.db")}
    if by == "file":
        written(tmp_path, '[store]\nurl = "sqlite:///other.db"\n')
    elif by == "environment":
        monkeypatch.setenv("ORCHESTRATOR_STORE__URL", "sqlite:///other.db")

    assert command("log", "info", "--json", *words.get(by, ())).json["decisions"] == 3


def test_an_older_log_is_brought_up_to_date_by_the_command_that_the_error_names(log: Path):
    with sqlite3.connect(log) as connection:
        connection.execute("DROP TABLE statistics")
        connection.execute("DROP TABLE experiments")
        connection.execute("UPDATE alembic_version SET version_num = '1'")
    connection.close()

    refused = command("log", "info")
    assert refused.code == 2
    assert "has the older schema 1" in refused.stderr
    hint = refused.stderr.splitlines()[1].removeprefix("hint: orchestrator ")
    assert command(*hint.split()).stdout == f"{log}: upgraded\n"
    assert command(*hint.split(), "--json").json == {"file": str(log), "upgraded": False}
    assert command("log", "info").code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("info", "--log", "gone.db"), "there is no decision log gone.db"),
        (("export", "--log", "notes.txt"), "notes.txt is no decision log"),
        (("info", "--log", "postgresql://host/db"), "a log is kept in SQLite, not at"),
        (("export", "--since", "yesterday"), "'yesterday' is no time"),
        (("export", "--since", "99999999999d"), "'99999999999d' is no time"),
        (("export", "--format", "xls"), "a log is written as parquet or csv, not 'xls'"),
        (("export", "--out", "gone/log.csv"), "gone/log.csv cannot be written: No such file"),
    ],
)
def test_what_cannot_be_done_is_told_with_a_hint(log: Path, words: tuple[str, ...], message: str):
    Path("notes.txt").write_text("nothing but words " * 100)

    ran = command("log", *words)

    assert ran.code == 2
    assert ran.stderr.startswith(f"error: {message}")
    assert "Traceback" not in ran.stderr


def test_a_log_that_is_missing_says_how_to_get_one():
    ran = command("log", "info", "--json")

    assert ran.code == 2
    assert ran.json["error"]["code"] == "store_error"
    assert "[store] url" in ran.json["error"]["hint"]


def test_the_group_alone_shows_its_commands():
    ran = command("log")

    assert all(name in ran.stdout for name in ("export", "info", "upgrade"))
