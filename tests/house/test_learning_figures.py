"""The figures of `docs/selection.md` come from a program that runs; what they are, no test asks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.learning_report import report
from orchestrator.analysis.generator import generate_table
from orchestrator.analysis.tables import write_table
from tests.house.project import ROOT


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.learning", "--quick", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)


def test_eight_nodes_end_up_with_the_sums_of_one_and_it_is_drawn(tmp_path: Path):
    plot = tmp_path / "merging.png"

    done = run("--json", "--only", "merging", "--plot", str(plot))
    found: dict[str, Any] = json.loads(done.stdout)["merging"]

    assert set(found["exchanges"]) == {"one node", "every 1 s", "every 5 s", "every 60 s", "never"}
    assert all(one["apart"] < 1e-9 for one in found["exchanges"].values())
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert "exchange: every 5 s" in done.stderr


def test_a_part_is_printed_as_a_table_under_the_versions_it_was_found_with():
    output = run("--only", "estimators").stdout

    assert output.startswith("Python 3.")
    assert "| dr, 8,000 decisions |" in output


@pytest.mark.long
def test_every_part_runs_on_tables_of_a_folder(tmp_path: Path):
    write_table(generate_table(1, prompts=60), tmp_path / "mine")

    found = json.loads(run("--json", "--data", str(tmp_path)).stdout)

    assert {"regrets", "tables", "estimators", "merging", "speed"} < set(found)
    assert list(found["tables"]) == ["mine"]
    assert "| mine, default, warm |" in report(found)


def test_a_folder_without_tables_is_told_apart_from_one_with(tmp_path: Path):
    with pytest.raises(subprocess.CalledProcessError) as failure:
        run("--only", "tables", "--data", str(tmp_path))

    assert "no outcomes.csv" in failure.value.stderr
