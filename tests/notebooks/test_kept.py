"""Notebooks are kept as they ran, so that they can be read without running; nbmake runs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.house.project import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MOST_BYTES = 300_000


def cells(path: Path, kind: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))["cells"]
    return [cell for cell in found if cell["cell_type"] == kind]


def text(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def test_there_are_notebooks_and_they_are_numbered():
    assert [path.name[:3] for path in NOTEBOOKS] == [f"{n:02}_" for n in range(1, 7)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_as_a_whole_run_from_its_first_cell_to_its_last(path: Path):
    code = cells(path, "code")

    assert [cell["execution_count"] for cell in code] == [*range(1, len(code) + 1)]
    kinds = {output["output_type"] for cell in code for output in cell["outputs"]}
    assert kinds <= {"execute_result", "display_data"}, "errors, warnings or prints were kept"
    assert any("image/png" in o.get("data", {}) for cell in code for o in cell["outputs"])
    assert path.stat().st_size < MOST_BYTES


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_asks_a_question_and_ends_with_conclusions_it_has_computed(path: Path):
    question, *_, heading = map(text, cells(path, "markdown"))
    last = cells(path, "code")[-1]

    assert question.startswith("# ")
    assert "?" in question
    assert heading == "## What to conclude"
    assert text(last).splitlines()[-1] == ")"
    assert "text/markdown" in last["outputs"][0]["data"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_names_no_place_of_the_machine_it_ran_on(path: Path):
    kept = path.read_text("utf-8")

    assert not [place for place in ("/home/", "/root/", "/Users/", "/tmp/") if place in kept]
