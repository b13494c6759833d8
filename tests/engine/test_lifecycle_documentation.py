"""What docs/lifecycle.md shows is so."""

from __future__ import annotations

import re

import pytest

from orchestrator import LifecyclePolicy, Orchestrator
from orchestrator.core import events
from orchestrator.lifecycle.state import diagram
from tests.house.project import ROOT
from tests.integrations.real_engine import smollm2_file

PAGE = (ROOT / "docs" / "lifecycle.md").read_text("utf-8")


def test_the_example_runs(capsys: pytest.CaptureFixture[str]):
    smollm2_file()
    (program,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)

    exec(compile(program, "lifecycle.md", "exec"), {"__name__": "__main__"})

    plan, answered = capsys.readouterr().out.splitlines()[-2:]
    assert plan.startswith("SetPlan(load=('short',)")
    assert answered == "embedded:long ['unloaded', 'loaded']"


def test_the_diagram_is_drawn_from_the_table_of_transitions():
    (drawn,) = re.findall(r"^```mermaid\n(.*?)\n```", PAGE, re.DOTALL | re.MULTILINE)

    assert drawn == diagram()


def test_every_call_and_setting_of_the_page_is_there():
    table = PAGE.partition("| call | |")[2].partition("\n\n")[0]
    calls = re.findall(
        r"`(\w+)(?:\(|`)", "".join(row.split("|")[1] for row in table.splitlines()[2:])
    )
    settings = {"min_residence_s", "max_wait_for_load_s", "keep_alive_s"}

    assert len(calls) > 10
    assert [name for name in calls if not hasattr(Orchestrator, name)] == []
    assert settings <= {*LifecyclePolicy.__dataclass_fields__}
    assert [
        n for n in re.findall(r"`(Model\w+ed|LoadProgress)`", PAGE) if not hasattr(events, n)
    ] == []
