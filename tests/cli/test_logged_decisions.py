"""``orchestrator replay`` and ``orchestrator ope`` over logs that an engine wrote."""

from __future__ import annotations

import asyncio
import csv
import sqlite3
from pathlib import Path
from random import Random

import pytest

from orchestrator.store.sql import SqliteStore
from orchestrator.testing.scripted import Drawn, ScriptedModel
from tests.analysis.logged import entry
from tests.cli.command import Ran, command
from tests.conftest import require
from tests.engine.world import engine

QUALITY = {"p:poor": 0.2, "p:good": 0.9}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Two hundred rated decisions, made at random between a poor model and a good one."""
    return written(tmp_path / "decisions.db", "random", 200)


def written(path: Path, selector: str, decisions: int) -> Path:
    async def write() -> None:
        models = [
            ScriptedModel(key.removeprefix("p:"), Drawn(quality=quality, seed=1), "p")
            for key, quality in QUALITY.items()
        ]
        luck = Random(1)
        async with engine(*models, store=SqliteStore(path), selector=selector) as orchestrator:
            for _ in range(decisions):
                result = await orchestrator.generate("Why?")
                right = luck.random() < QUALITY[result.model]
                await orchestrator.feedback(result.decision_id, quality=float(right))

    asyncio.run(write())
    return path


def told(command_name: str, log: Path | str, *words: str) -> Ran:
    ran = command(command_name, str(log), *words, "--json")
    assert ran.code == 0, ran.stderr
    return ran


def test_replay_tells_how_a_selector_differs(log: Path):
    found = told("replay", log, "--selector", "ucb-tuned").json

    assert (found["selector"], found["decisions"]) == ("ucb-tuned", 200)
    assert found["agreement"] == pytest.approx(0.5, abs=0.15)
    assert found["models"]["p:good"]["chosen"] > 0.9 > found["models"]["p:good"]["logged"]
    quality = found["estimated"]["quality"]
    assert quality["by"] == "rejection"
    assert quality["kept"] == found["kept"] == pytest.approx(100, abs=30)
    assert quality["value"] > found["logged"]["quality"] + 0.2


def test_ope_tells_every_estimate_with_its_effective_sample_size(log: Path):
    ran = told("ope", log, "--selector", "ucb-tuned")

    found = ran.json
    assert 50 < found["ess"] < 200
    assert found["rated"] == found["decisions"] == 200
    for method in ("ips", "snips", "dm", "dr", "clipped"):
        estimate = found["quality"][method]
        assert estimate["value"] == pytest.approx(0.87, abs=0.2)
        assert estimate["interval"][0] < estimate["value"] < estimate["interval"][1]
        assert estimate["n"] == 200
    assert found["cost_usd"]["ips"]["value"] == found["logged"]["cost_usd"] == 0.0
    assert "can show only" not in ran.stderr


def test_below_an_effective_sample_size_of_fifty_there_is_no_interval(tmp_path: Path):
    small = written(tmp_path / "small.db", "random", 60)

    ran, found = command("ope", str(small)), told("ope", small).json

    assert found["ess"] < 50
    assert found["quality"]["dr"]["interval"] is None
    assert "below 50" in found["quality"]["dr"]["refused"]
    assert ran.stdout.startswith("effective sample size ")
    assert "\nno interval: an effective sample size of" in ran.stdout
    assert " to " not in ran.stdout


def test_a_log_that_never_tried_anything_else_is_said_to_show_little(tmp_path: Path):
    always = written(tmp_path / "always.db", "priority", 80)

    ope, replayed = told("ope", always, "--selector", "random"), told("replay", always)

    assert ope.json["overlap"] == pytest.approx(0.5)
    assert "the log can show only 50% of what random does" in ope.stderr
    for metric in ("quality", "cost_usd"):
        for estimate in ope.json[metric].values():
            assert estimate["interval"] is None
            assert estimate["refused"] == "the log can show only 50% of what the selector does"
    said = command("ope", str(always), "--selector", "random").stdout
    assert "\nno interval: the log can show only 50% of what the selector does" in said
    assert " to " not in said
    assert set(replayed.json["models"]) == {"p:poor", "p:good"}


def test_weights_are_clipped_where_they_are_told_to_be(log: Path):
    low = told("ope", log, "--clip", "0.5").json["quality"]

    assert low["clipped"]["value"] < low["ips"]["value"] / 2


@pytest.mark.parametrize("name", ["replay", "ope"])
@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_an_export_says_the_same_as_the_log(log: Path, form: str, name: str, tmp_path: Path):
    if form == "parquet":
        require("pyarrow", "pip install 'orchestrator[analysis]'")
    path = tmp_path / f"decisions.{form}"
    assert command("log", "export", "--log", str(log), "--out", str(path)).code == 0

    assert told(name, path).json == told(name, log).json


@pytest.mark.parametrize("name", ["replay", "ope"])
def test_a_cost_weight_is_points_of_quality_per_usd(name: str, tmp_path: Path):
    path = tmp_path / "log.csv"
    entries = [
        entry(model=model, cost_usd=usd, quality=quality, wall=float(n), ended_wall=n + 0.5)
        for n in range(120)
        for model, usd, quality in [("a:x", 0.1, 0.5) if n % 2 else ("b:y", 0.4, 0.8)]
    ]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, entries[0])
        writer.writeheader()
        writer.writerows({**each, "rated_wall": each["wall"] + 0.6} for each in entries)

    def cost(weight: str) -> float:
        found = told(name, path, "--selector", "ucb-tuned", "--cost-weight", weight).json
        value = found["cost_usd"]["dm"] if name == "ope" else found["estimated"]["cost_usd"]
        return float(value["value"])

    assert cost("2") < 0.2 < cost("0")


def test_people_get_sentences_and_tables(log: Path):
    replayed, ope = (command(name, str(log)) for name in ("replay", "ope"))

    assert replayed.stdout.startswith("default would have agreed with ")
    assert replayed.stderr == ope.stderr == f"reading {log}\ndeciding with default\n"
    rows = [line.split()[0] for line in ope.stdout.splitlines()[3:]]
    assert rows == ["ips", "snips", "dm", "dr", "clipped", "logged"]


def _wiped(path: Path, what: str) -> Path:
    with sqlite3.connect(path) as connection:
        connection.execute(what)
    connection.close()
    return path


@pytest.mark.parametrize("name", ["replay", "ope"])
@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("UPDATE decisions SET propensity = 0", "has the propensity 0.0"),
        ("UPDATE alembic_version SET version_num = '1'", "has the older schema 1"),
        ("UPDATE alembic_version SET version_num = '99'", "newer than ours"),
        ("DROP TABLE alembic_version", "is no decision log"),
        ("DELETE FROM decisions", "there is no decision in it"),
        ("UPDATE qualities SET quality = 7", "quality must be in [0, 1], not 7.0"),
    ],
)
def test_a_log_that_cannot_be_true_is_refused(log: Path, sql: str, told: str, name: str):
    ran = command(name, str(_wiped(log, sql)), "--json")

    assert ran.code == 2
    assert told in ran.json["error"]["message"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("nowhere.db",), "nowhere.db cannot be read: No such file"),
        (("decisions.db", "--selector", "best"), "there is no selector 'best'"),
        (("decisions.db", "--cost-weight", "-1"), "cost_weight must be at least 0"),
        ((".",), ". cannot be read: Is a directory"),
    ],
)
@pytest.mark.parametrize("name", ["replay", "ope"])
def test_what_cannot_be_done_is_said(log: Path, words: tuple[str, ...], told: str, name: str):
    ran = command(name, *words, "--json")

    assert ran.code == 2
    assert told in ran.json["error"]["message"]


def test_a_clip_that_is_none_is_refused(log: Path):
    assert command("ope", str(log), "--clip", "0").code == 2
