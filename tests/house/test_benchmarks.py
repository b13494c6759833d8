"""The benchmarks run and say what they found; how fast anything is, no test asks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from math import isfinite
from typing import Any

import pytest

from benchmarks.__main__ import NAMES
from benchmarks.harness import Benchmark, Samples, Setting, markdown, summary
from tests.house.project import ROOT

NO_INTERPRETER = "/no/such/python"


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_prints_one_json_object_with_figures_for_all_but_the_peers(name: str):
    found = quick_run(name)

    assert found["benchmark"] == name
    baseline = found["results"].pop(found["baseline"])
    assert found["results"], "nobody is compared with the baseline"
    for figures in found["results"].values():
        assert figures.keys() == baseline.keys()
        for metric, figure in figures.items():
            assert figure.keys() == {"median", "best", "ratio"}, metric
            assert all(isfinite(value) and value > 0 for value in figure.values()), metric


@pytest.mark.parametrize("name", ["completion", "imports", "selection"])
def test_peers_that_cannot_run_are_listed_with_the_reason(name: str):
    found = quick_run(name)

    assert found["skipped"]
    assert not found["skipped"].keys() & found["results"].keys()
    assert all(NO_INTERPRETER in reason for reason in found["skipped"].values())


def test_the_gateway_is_loaded_by_a_generator_of_our_own_where_there_is_no_wrk():
    found = quick_run("gateway", PATH="/no/such/folder")

    assert "load.py" in found["title"]
    assert found["results"]["orchestrator"]["whole, 1/s"]["median"] > 0


def test_without_json_the_output_is_a_table_that_says_how_busy_the_machine_was():
    output = run("events").stdout

    assert "| orchestrator |" in output
    assert "load" in output


def test_a_contender_of_our_own_that_fails_ends_the_run():
    benchmark = Benchmark("no_such_file", "none", baseline="ours")
    benchmark.contender("ours")(lambda setting: {})

    with pytest.raises(RuntimeError, match=r"ours failed.*no_such_file"):
        benchmark.run(Setting(quick=True), 1)


def test_ratios_are_taken_inside_each_round():
    # The machine was twice as slow in the second round, and four times in the third.
    found = summary({"base": times(1, 2, 4), "ours": times(3, 6, 16)}, "base")

    assert found["ours"]["call, us"] == {"median": 6, "best": 3, "ratio": 3}
    assert found["base"]["call, us"] == {"median": 2, "best": 1}


def test_the_best_of_a_rate_is_the_highest():
    found = summary({"base": [{"answers, 1/s": 10.0}, {"answers, 1/s": 30.0}]}, "base")

    assert found["base"]["answers, 1/s"]["best"] == 30


def test_what_the_baseline_does_not_measure_has_no_ratio():
    found = summary({"base": times(1), "ours": [{"call, us": 2.0, "RSS, MB": 70.0}]}, "base")

    assert "ratio" not in found["ours"]["RSS, MB"]


def test_the_table_names_who_was_skipped_and_shows_remarks():
    found = {
        "title": "One call, us",
        "baseline": "base",
        "rounds": 1,
        "machine": {"python": "3.11", "cpus": 2, "load": [0.5, 0.7]},
        "results": summary({"base": times(1), "ours": times(3)}, "base"),
        "remarks": {"base": {}, "ours": {"imports": "numpy"}},
        "skipped": {"peer": "No module named 'peer'"},
    }

    text = markdown(found)

    assert "| base | 1 (1) |" in text
    assert "| ours | 3 (3) x3.00 |" in text
    assert "load 0.5 before and 0.7 after" in text
    assert "- ours, imports: numpy" in text
    assert "- peer skipped: No module named 'peer'" in text


def times(*values: float) -> list[Samples]:
    return [{"call, us": float(value)} for value in values]


def quick_run(name: str, **env: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(name, "--json", **env).stdout)
    return found


def run(name: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, f"benchmarks/{name}.py", "--quick", *arguments],
        cwd=ROOT,
        env={**os.environ, "PEERS": NO_INTERPRETER, **env},
        check=True,
        capture_output=True,
        text=True,
    )
