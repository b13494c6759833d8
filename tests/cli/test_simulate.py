from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.selectors import selector_names
from tests.cli.command import Ran, command
from tests.conftest import require

SHORT = ("--horizon", "300", "--runs", "20")


def simulated(*words: str) -> Ran:
    return command("simulate", *SHORT, *words)


def regret(ran: Ran, name: str) -> Any:
    return ran.json["selectors"][name]["regret"]


def test_json_tells_the_regret_of_every_selector():
    ran = simulated("--problem", "A", "--selectors", "ucb1,ucb-tuned", "--seed", "3", "--json")

    assert ran.code == 0
    assert list(ran.json["selectors"]) == ["ucb1", "ucb-tuned"]
    assert 0 < regret(ran, "ucb-tuned")["mean"] < regret(ran, "ucb1")["mean"] < 0.1 * 300
    assert regret(ran, "ucb1")["ci95"] > 0
    assert sum(ran.json["selectors"]["ucb1"]["pulls"]) == pytest.approx(1)
    assert ran.json["lai_robbins"] == pytest.approx(12.84, abs=0.01)
    assert (ran.json["means"], ran.json["seed"], ran.json["delay"]) == ([[0.9, 0.8]], 3, 0)


def test_numbers_depend_on_the_seed_and_not_on_who_else_is_simulated():
    alone = simulated("--selectors", "ucb1", "--json")
    among = simulated("--selectors", "kl-ucb,random,ucb1", "--json")
    other = simulated("--selectors", "ucb1", "--json", "--seed", "2")

    assert regret(alone, "ucb1") == regret(among, "ucb1")
    assert regret(alone, "ucb1") != regret(other, "ucb1")


def test_the_table_has_a_row_per_selector_and_the_lower_bound():
    ran = simulated("--means", ".9, .8", "--selectors", "random,ucb-tuned")

    rows = [line.split() for line in ran.stdout.splitlines()]
    assert [row[0] for row in rows if row] == ["selector", "random", "ucb-tuned", "Lai-Robbins"]
    assert ran.stdout.endswith("Lai-Robbins bound: 12.8, which holds in the long run only\n")
    assert ran.stderr == "simulating random\nsimulating ucb-tuned\n"


def test_where_arms_shift_recovery_is_told():
    words = ("--problem", "N3", "--horizon", "4500", "--runs", "4", "--json")
    ran = command("simulate", *words, "--selectors", "random,ucb1", "--window", "300")

    assert ran.json["lai_robbins"] is None
    assert [shift["round"] for shift in ran.json["selectors"]["random"]["recovery"]] == [2000, 4000]
    never = {"round": 2000, "recovered": 0.0, "median_rounds": None}
    assert ran.json["selectors"]["random"]["recovery"][0] == never
    table = command("simulate", *words[:-1], "--selectors", "random")
    assert "back after" in table.stdout
    assert "never never" in table.stdout


def test_a_late_reward_costs_regret():
    soon = simulated("--selectors", "ucb-tuned", "--json")
    late = simulated("--selectors", "ucb-tuned", "--delay", "200", "--json")

    assert regret(late, "ucb-tuned")["mean"] > regret(soon, "ucb-tuned")["mean"]


@pytest.mark.parametrize("option", ["--window", "--half-life"])
def test_a_selector_may_be_made_to_forget(option: str):
    whole = simulated("--selectors", "ucb1", "--json")
    short = simulated("--selectors", "ucb1", option, "60", "--json")

    assert regret(whole, "ucb1") != regret(short, "ucb1")


def test_more_than_memory_holds_is_refused():
    ran = command("simulate", "--horizon", "1000000000", "--runs", "1000", "--json")

    assert ran.code == 2
    assert "are more than 1,000,000,000 pulls" in ran.json["error"]["message"]
    assert "Traceback" not in ran.stderr


def test_every_selector_that_has_a_name_can_be_simulated():
    fading = {name for name in selector_names() if name.startswith("d-lin")}
    names = ",".join({*selector_names()} - fading)

    ran = command("simulate", "--horizon", "20", "--runs", "2", "--selectors", names, "--json")

    assert ran.code == 0, ran.stderr
    assert {*ran.json["selectors"]} | fading == {*selector_names()}


def test_a_plot_is_drawn(tmp_path: Path):
    require("matplotlib", "pip install 'orchestrator[analysis]'")
    ran = simulated("--selectors", "ucb1", "--plot", str(tmp_path / "regret.png"))

    assert ran.code == 0, ran.stderr
    assert (tmp_path / "regret.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--problem", "Q"), "there is no problem 'Q'"),
        (("--problem", "A", "--means", ".9"), "--problem and --means exclude each other"),
        (("--means", ".9,high"), "could not convert"),
        (("--means", ".9,1.2"), "numbers in [0, 1]"),
        (("--means", ".9,,.8"), "is not a list"),
        (("--selectors", ""), "is not a list"),
        (("--selectors", "ucb1,best"), "there is no selector 'best'"),
        (("--window", "30"), "Invalid value for '--window'"),
        (("--half-life", "-1"), "Invalid value for '--half-life'"),
        (("--window", "100", "--half-life", "10"), "a window, a half-life"),
        (("--plot", "plot.pdf"), "a plot goes to a .png file"),
        (("--horizon", "0"), "horizon"),
    ],
)
def test_what_cannot_be_simulated_is_said_at_once(words: tuple[str, ...], told: str):
    ran = simulated(*words, "--json")

    assert ran.code == 2
    assert told in ran.json["error"]["message"]
    assert "simulating" not in ran.stderr
