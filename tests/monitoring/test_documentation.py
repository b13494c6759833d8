"""What docs/health.md says of states, settings and examples is so."""

from __future__ import annotations

import dataclasses
import inspect
import re

import pytest

from orchestrator.monitoring import ModelHealthMonitor
from orchestrator.routing.breaker import BreakerPolicy
from orchestrator.routing.breaker_states import state_diagram
from orchestrator.routing.ejection import EjectionPolicy
from tests.house.project import ROOT
from tests.routing.test_breaker import openings_in_an_hour

PAGE = (ROOT / "docs" / "health.md").read_text("utf-8")
EXAMPLES = re.findall(
    r"^```python\n(.*?)^```\n\n```text\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE
)


@pytest.mark.parametrize(("program", "printed"), EXAMPLES)
def test_an_example_prints_what_the_page_shows(
    program: str, printed: str, capsys: pytest.CaptureFixture[str]
):
    exec(compile(program, "health.md", "exec"), {"__name__": "__main__"})

    assert capsys.readouterr().out == printed


def test_every_example_shows_what_it_prints():
    assert len(EXAMPLES) == PAGE.count("```python") > 0


def test_the_diagram_is_drawn_from_the_table_of_transitions():
    (drawn,) = re.findall(r"^```mermaid\n(.*?)\n```", PAGE, re.DOTALL | re.MULTILINE)

    assert drawn == state_diagram()


def test_the_page_tells_every_setting_with_its_default():
    told = re.findall(r"^\| `(\w+)` \| ([\w.]+) \|", PAGE, re.MULTILINE)
    settings = [
        (field.name, field.default)
        for policy in (BreakerPolicy, EjectionPolicy)
        for field in dataclasses.fields(policy)
    ]
    settings += [
        (name, parameter.default)
        for name, parameter in inspect.signature(ModelHealthMonitor).parameters.items()
    ]

    assert told == [
        (name, f"{default:g}" if isinstance(default, int | float) else default)
        for name, default in settings
    ]


def test_the_page_says_how_often_a_flapping_model_goes_out():
    (times,) = re.findall(r"goes out (\d+) times", PAGE)

    assert openings_in_an_hour(BreakerPolicy(), calls_well=2, seed=1) == int(times)
