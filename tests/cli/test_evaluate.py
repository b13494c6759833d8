"""``orchestrator evaluate`` on tables that a seed makes."""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from orchestrator.analysis.generator import generate_table
from orchestrator.analysis.online import COST_WEIGHTS, baselines, singles
from orchestrator.analysis.pareto import pareto_figures, static_mix
from orchestrator.analysis.tables import write_table
from tests.cli.command import command

BEFORE, TABLE = generate_table(5, prompts=600, models=4, features=3).halves(
    np.random.default_rng(1)
)
FIGURES = (
    *("aiq", "static_mix_aiq", "cost_at_95", "cost_at_100", "oracle", "best_single", "random"),
    *("quality_at_budget", "spend_over_budget"),
)


@pytest.fixture(autouse=True)
def _tables(tmp_path: Path) -> None:
    write_table(BEFORE, tmp_path / "before")
    write_table(TABLE, tmp_path / "table")


def points(path: Path) -> dict[str, tuple[float, float]]:
    """Return mean cost and mean quality by cost weight, from a dump and the table alone."""
    rows, arms = (
        {name: n for n, name in enumerate(names)} for names in (TABLE.prompt_ids, TABLE.models)
    )
    found = defaultdict(list)
    with path.open(newline="") as file:
        for choice in csv.DictReader(file):
            where = rows[choice["prompt_id"]], arms[choice["model"]]
            found[choice["lambda"]].append((TABLE.cost_usd[where], TABLE.quality[where]))
    return {weight: tuple(np.mean(pairs, axis=0)) for weight, pairs in found.items()}


def test_figures_can_be_worked_out_anew_from_the_dump():
    words = ("--prior", "before", "--budget", "0.4", "--seeds", "3", "--dump", "choices.csv")
    ran = command("evaluate", "table", *words, "--json")

    assert ran.code == 0, ran.stderr
    found, single, without = ran.json, singles(TABLE), baselines(TABLE)
    assert tuple(found)[: len(FIGURES)] == FIGURES
    reached = points(Path("choices.csv"))
    figures = pareto_figures([*reached.values()], single)
    assert found["aiq"] == pytest.approx(figures.aiq)
    assert found["cost_at_95"] == pytest.approx(figures.cost_at_95)
    assert found["cost_at_100"] == pytest.approx(figures.cost_at_100)
    assert found["static_mix_aiq"] == static_mix(single).aiq
    assert found["oracle"] == without.oracle > found["best_single"] == without.best_single
    assert found["random"] == without.random
    assert [point["lambda"] for point in found["points"]] == [float(each) for each in reached]
    assert len(found["aiq_by_seed"]) == 3
    ((cost_usd, quality),) = points(Path("choices.budget.csv")).values()
    assert found["quality_at_budget"] == pytest.approx(quality)
    assert found["spend_over_budget"] == pytest.approx(cost_usd / (0.4 * without.best_cost_usd))


def test_of_free_models_the_better_one_is_found(tmp_path: Path):
    write_table(replace(TABLE, cost_usd=np.zeros_like(TABLE.cost_usd)), tmp_path / "free")

    ran = command("evaluate", "free", "--seeds", "2", "--json")

    assert (ran.code, ran.stderr) == (0, "playing default\n")
    best = baselines(TABLE).best_single
    assert ran.json["static_mix_aiq"] == ran.json["best_single"] == best
    assert ran.json["aiq"] > baselines(TABLE).random
    assert ran.json["aiq"] == max(point["quality"] for point in ran.json["points"])
    assert ran.json["cost_at_95"] == 1.0


def test_one_model_alone_reaches_all_of_its_own_quality(tmp_path: Path):
    quality = np.full((40, 1), 0.74)
    alone = replace(
        TABLE.take(range(40)), models=("a",), quality=quality, cost_usd=np.full((40, 1), 0.001)
    )
    write_table(replace(alone, latency_ms=None), tmp_path / "alone")

    found = command("evaluate", "alone", "--json").json

    assert found["cost_at_95"] == found["cost_at_100"] == pytest.approx(1.0)
    assert found["aiq"] == pytest.approx(found["best_single"])


def test_without_a_budget_nothing_is_said_of_one():
    found = command("evaluate", "table", "--seeds", "1", "--json").json

    assert found["quality_at_budget"] is found["spend_over_budget"] is None
    assert (found["selector"], found["prompts"]) == ("default", 300)


def test_what_was_known_before_helps():
    alone = command("evaluate", "table", "--json").json
    helped = command("evaluate", "table", "--prior", "before", "--json").json

    assert helped["aiq"] > alone["aiq"] + 0.01


def test_a_selector_learns_from_as_many_features_as_there_are():
    ran = command("evaluate", "table", "--selector", "lin-ucb", "--seeds", "2", "--json")

    assert ran.code == 0, ran.stderr
    assert ran.json["aiq"] > ran.json["random"]


def test_people_get_a_table_and_sentences():
    ran = command("evaluate", "table", "--budget", "0.4", "--seeds", "1")

    lines = ran.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:11]] == [f"{weight:g}" for weight in COST_WEIGHTS]
    assert lines[12].startswith("AIQ 0.")
    assert lines[-1].startswith("with a budget: quality 0.")
    assert ran.stderr == "playing with 0.4 of the best model's cost\nplaying default\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("nowhere",), "nowhere: there is no such folder"),
        (("table", "--prior", "other"), "the prior is not of the same models"),
        (("table", "--selector", "best"), "there is no selector 'best'"),
        (("table", "--budget", "0"), "a budget must be above 0"),
        (("table", "--budget", "nan"), "a budget must be above 0"),
        (("table", "--dump", "nowhere/choices.csv"), "nowhere/choices.csv is no file in a folder"),
        (("table", "--dump", "table"), "table is no file in a folder"),
        (("table", "--seeds", "0"), "seeds"),
    ],
)
def test_what_cannot_be_evaluated_is_said(words: tuple[str, ...], told: str, tmp_path: Path):
    write_table(generate_table(1, prompts=20, models=3), tmp_path / "other")

    ran = command("evaluate", *words, "--json")

    assert ran.code == 2
    assert told in ran.json["error"]["message"]
