"""The examples of docs/configuration.md hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestrator import Orchestrator
from orchestrator.config.pool import ResidentSection
from orchestrator.config.sections import (
    BudgetSection,
    EngineSection,
    HealthSection,
    LifecycleSection,
    QualitySection,
    Section,
    SelectionSection,
    ServerSection,
    StoreSection,
)
from orchestrator.core.bounds import Liveness
from orchestrator.core.errors import ConfigurationError
from tests.config.files import share_model_files, written
from tests.conftest import require
from tests.house.project import ROOT
from tests.integrations.real_engine import smollm2_file

PAGE = (ROOT / "docs" / "configuration.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
FILES = [(kind, text) for kind, text in BLOCKS if kind in ("toml", "yaml")]
MISTAKES = [line for kind, text in BLOCKS if kind == "text" for line in text.splitlines()]


@pytest.mark.parametrize(("kind", "text"), FILES)
def test_each_file_of_the_page_configures_an_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, text: str
):
    if "smollm2" in text:
        share_model_files(tmp_path)
        smollm2_file()
    (tmp_path / "qwen.gguf").touch()
    if kind == "yaml":
        require("yaml", "pip install 'orchestrator[yaml]'")

    Orchestrator.from_config(written(tmp_path, text, f"orchestrator.{kind}"))


def test_the_python_of_the_page_runs_on_its_first_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    written(tmp_path, FILES[0][1])
    (program,) = (text for kind, text in BLOCKS if kind == "python")

    exec(compile(program, "configuration.md", "exec"), {})

    assert "openai:gpt-4o" in capsys.readouterr().out


def test_the_page_names_every_setting_of_the_engine_and_the_server():
    for section in (
        EngineSection,
        ServerSection,
        StoreSection,
        LifecycleSection,
        HealthSection,
    ):
        for name in section.model_fields:
            assert f"`{name}`" in PAGE
    for name in (*ResidentSection.model_fields, *Liveness.__dataclass_fields__):
        assert f"`{name}`" in PAGE
    learning: dict[str, type[Section]] = {
        "selection": SelectionSection,
        "quality": QualitySection,
        "budget": BudgetSection,
    }
    for table, tabled in learning.items():
        for name in tabled.model_fields:
            assert f"`{table}.{name}`" in PAGE


@pytest.mark.parametrize("line", MISTAKES)
def test_the_page_quotes_mistakes_as_they_are_told(tmp_path: Path, line: str):
    models = "".join(f'[[models]]\nkey = "openai:gpt-4o{n}"\n' for n in ("", "-mini", "-2024"))
    wrong = {
        "models[2]": f"{models}price = {{ input = -1, output = 1 }}\n",
        "engine.deadlin_s": "[engine]\ndeadlin_s = 3\n",
        "routes.cheap": f'{models}[routes.cheap]\nmodels = ["opena:*"]\n',
    }
    (text,) = (text for place, text in wrong.items() if f": {place}" in line)
    written(tmp_path, text)

    with pytest.raises(ConfigurationError) as refused:
        Orchestrator.from_config()

    assert str(refused.value) == line
