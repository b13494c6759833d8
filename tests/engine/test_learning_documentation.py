"""The example of docs/learning.md runs and prints what the page shows."""

from __future__ import annotations

import re

import pytest

from tests.house.project import ROOT

PAGE = (ROOT / "docs" / "learning.md").read_text("utf-8")


def test_the_example_prints_what_the_page_shows(capsys: pytest.CaptureFixture[str]):
    (example,) = re.findall(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```", PAGE, re.S | re.M)
    program, printed = example

    exec(compile(program, "learning.md", "exec"), {"__name__": "__main__"})

    assert capsys.readouterr().out == printed
    assert PAGE.count("```python") == 1
