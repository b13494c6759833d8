"""What learning begins with and rests on, as files have it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Orchestrator
from orchestrator.core.warm_start import Seen, WarmStart
from tests.config.files import OPENAI, built, refusal, written

POOL = f'{OPENAI}[[models]]\nkey = "openai:gpt-4o"\n'
START = WarmStart({"gpt-4o": {"code": Seen(30, 0.75)}}, 5.0)


def start(folder: Path, data: Any = None) -> None:
    (folder / "prior.json").write_text(json.dumps(START.to_dict() if data is None else data))


def test_nothing_is_rated_paced_or_capped_unless_it_is_said(tmp_path: Path):
    arguments = built(tmp_path, POOL)

    assert arguments["evaluators"] == []
    assert arguments["warm_start"] is None
    assert arguments["pace_usd_per_day"] is None
    assert arguments["exploration_usd_per_day"] is None
    assert (arguments["prior_weight"], arguments["families"]) == (2.0, ())


def test_what_is_said_reaches_the_engine(tmp_path: Path):
    start(tmp_path)
    text = f"""{POOL}
    [selection]
    prior = "prior.json"
    prior_weight = 7
    families = ["openai:gpt-4*"]
    exploration_usd_per_day = inf
    [quality]
    evaluators = [
      "valid-json",
      {{ name = "contains", texts = ["a", "b"], ignore_case = true }},
      {{ name = "judge", model = "gpt-4o", sample = 0.1, usd_per_day = 2 }},
    ]
    [budget]
    pace_usd_per_day = 20
    """

    arguments = built(tmp_path, text)

    assert arguments["warm_start"] == START
    assert (arguments["prior_weight"], arguments["families"]) == (7, ("openai:gpt-4*",))
    assert arguments["exploration_usd_per_day"] == math.inf
    assert arguments["pace_usd_per_day"] == 20
    assert arguments["evaluators"] == [
        {"name": "valid-json"},
        {"name": "contains", "texts": ("a", "b"), "ignore_case": True},
        {"name": "judge", "model": "gpt-4o", "sample": 0.1, "usd_per_day": 2},
    ]
    Orchestrator(**arguments)


def test_the_environment_may_say_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ORCHESTRATOR_QUALITY__EVALUATORS", '["valid-json"]')
    monkeypatch.setenv("ORCHESTRATOR_BUDGET__PACE_USD_PER_DAY", "5")
    monkeypatch.setenv("ORCHESTRATOR_SELECTION__FAMILIES", "openai:a*,openai:b*")

    arguments = built(tmp_path, POOL)

    assert arguments["evaluators"] == [{"name": "valid-json"}]
    assert arguments["pace_usd_per_day"] == 5
    assert arguments["families"] == ("openai:a*", "openai:b*")


def test_a_prior_lies_beside_the_file_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "there").mkdir()
    start(tmp_path / "there")
    path = written(tmp_path / "there", f'{POOL}[selection]\nprior = "prior.json"')

    assert Orchestrator.from_config(path).registry.list_models() == ["openai:gpt-4o"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('[selection]\nprior = "none.json"', "selection.prior: none.json cannot be read: "),
        ('[selection]\nprior = "prior.json"', "prior.json is about other models than those of"),
        ("[selection]\nprior_weight = -1", "selection.prior_weight should be greater"),
        ("[selection]\nexploration_usd_per_day = -1", "exploration_usd_per_day should be greater"),
        ("[budget]\npace_usd_per_day = 0", "budget.pace_usd_per_day should be greater than 0"),
        ('[quality]\nevaluators = ["jsn"]', "quality.evaluators[0].name should be 'valid-json',"),
        ('[quality]\nevaluators = ["judge"]', "quality.evaluators[0] judge needs model"),
        ('[quality]\nevaluators = ["contains"]', "contains needs texts"),
        (
            '[quality]\nevaluators = [{ name = "valid-json", sample = 0.1 }]',
            "valid-json has no option 'sample'; known: none",
        ),
        (
            '[quality]\nevaluators = [{ name = "judge", model = "openai:gpt-5o" }]',
            "quality.evaluators[0].model: there is no model or route 'openai:gpt-5o': did you mean",
        ),
        (
            '[quality]\nevaluators = [{ name = "judge", model = "gpt-4o", sample = 2 }]',
            "quality.evaluators[0].sample should be less than or equal to 1, not 2",
        ),
        (
            '[quality]\nevaluators = [{ name = "judge", modle = "gpt-4o" }]',
            "quality.evaluators[0].modle is no setting: did you mean 'model'?",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, text: str, why: str):
    start(tmp_path, {"weight": 1, "models": {"other": {"code": {"n": 1, "mean": 1}}}})

    assert why in refusal(tmp_path, f"{POOL}{text}")


def test_a_file_that_is_no_prior_is_told(tmp_path: Path):
    start(tmp_path, {"models": 3})
    said = refusal(tmp_path, f'{POOL}[selection]\nprior = "prior.json"')

    assert "selection.prior: this is no warm start" in said
    assert "`orchestrator warm-start` writes one" in said
