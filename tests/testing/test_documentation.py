"""The examples of docs/testing.md run."""

from __future__ import annotations

import re

import pytest

from tests.house.project import ROOT

EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "docs/testing.md").read_text("utf-8"), re.S)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.splitlines()[0])
def test_an_example_runs_and_prints_what_it_is_about(
    example: str, capsys: pytest.CaptureFixture[str]
):
    exec(compile(example, "docs/testing.md", "exec"), {"__name__": "__main__"})

    assert capsys.readouterr().out.strip()
