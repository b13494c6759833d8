from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator import CostBasedSelector, Objective, Orchestrator, Route, UCBModelSelector
from orchestrator.core.errors import ConfigurationError
from orchestrator.core.views import Memory
from orchestrator.selectors.experiment import ExperimentPlan
from tests.config.files import OPENAI, built, refusal, written

MODELS = f"""{OPENAI}
[[models]]
key = "openai:gpt-4o"
aliases = ["best"]
[[models]]
key = "openai:gpt-4o-mini"
"""


def routes(folder: Path, text: str) -> dict[str, Route]:
    return {route.name: route for route in built(folder, MODELS + text)["routes"]}


def test_a_route_holds_all_that_is_said_of_it(tmp_path: Path):
    text = """
[routes.careful]
models = ["best", "openai:*", "gpt-4o-mini"]
exclude = ["gpt-4o-mini"]
requirements = { capabilities = ["vision"], max_cost = 0.05, min_speed = 10, prefer = "openai" }
selector = { name = "cost", prefer_local_models = true }
objective = { latency_weight = 0.1 }
fallback = ["auto", "gpt-4o-mini"]
affinity_s = 600
"""

    route = routes(tmp_path, text)["careful"]

    assert route.models == ("best", "openai:*", "gpt-4o-mini")
    assert route.exclude == ("gpt-4o-mini",)
    assert route.requirements.describe() == {
        "capabilities": ["vision"],
        "max_cost": 0.05,
        "min_speed": 10.0,
        "prefer": "openai",
    }
    assert set(route.requirements.origins) >= {("max_cost", "route careful")}
    assert isinstance(route.selector, CostBasedSelector)
    assert route.selector.prefer_local_models
    assert route.objective == Objective(latency_weight=0.1)
    assert route.fallback == ("auto", "gpt-4o-mini")
    assert route.affinity_s == 600


def test_where_nothing_is_known_that_is_said(tmp_path: Path):
    told = refusal(tmp_path, '[routes.a]\nmodels = ["x"]')

    assert told == "orchestrator.toml: routes.a.models[0]: there is no model 'x': known: none"


def test_a_selector_takes_its_options_from_the_file(tmp_path: Path):
    text = '[engine]\nselector = { name = "ucb", min_trials = 2, memory = { half_life_s = 60 } }\n'

    selector = built(tmp_path, text)["selector"]

    assert isinstance(selector, UCBModelSelector)
    assert selector.min_trials == 2
    assert selector.memory == Memory(half_life_s=60)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[routes.a]\nmodels = ["openai:gpt-4o", "opena:*"]',
            "routes.a.models[1]: there is no model 'opena:*': did you mean 'openai:gpt-4o'?",
        ),
        ('[routes.a]\nexclude = ["x"]', "routes.a.exclude[0]: there is no model 'x': known: "),
        ('[routes.a]\nmodels = ["auto"]', "routes.a.models[0]: there is no model 'auto'"),
        (
            '[routes.a]\nfallback = ["aut"]',
            "routes.a.fallback[0]: there is no model or route 'aut': did you mean 'auto'?",
        ),
        (
            "[routes.a]\naffinity_s = -1",
            "routes.a.affinity_s should be greater than or equal to 0, not -1",
        ),
        (
            "[routes.a.requirements]\nmax_cost = -1",
            "routes.a.requirements: max_cost must be at least 0, not -1.0",
        ),
        (
            '[routes.a.requirements]\ncapabilities = ["vison"]',
            "routes.a.requirements: there is no capability 'vison': did you mean 'vision'?",
        ),
        (
            '[routes.a]\nselector = "ucbb"',
            "routes.a.selector: there is no selector 'ucbb': known: cost, ",
        ),
        (
            '[routes.a]\nselector = { name = "ucb", min_trails = 3 }',
            "routes.a.selector: selector 'ucb': ",
        ),
        (
            '[routes.a]\nselector = { name = "ucb", memory = { days = 3 } }',
            "routes.a.selector: memory: ",
        ),
    ],
)
def test_a_route_that_means_nothing_says_where_and_why(tmp_path: Path, text: str, message: str):
    assert refusal(tmp_path, MODELS + text).startswith(f"orchestrator.toml: {message}")


def test_an_experiment_compares_routes_and_models(tmp_path: Path):
    text = """
[routes.careful]
models = ["best"]
[experiments.bigger]
variants = ["gpt-4o-mini", "careful"]
split = [0.9, 0.1]
min_effect = 0.02
max_units = 5000
"""

    orchestrator = Orchestrator.from_config(written(tmp_path, MODELS + text))

    assert orchestrator.experiments["bigger"].plan == ExperimentPlan(
        name="bigger",
        variants=("gpt-4o-mini", "careful"),
        split=(0.9, 0.1),
        min_effect=0.02,
        max_units=5000,
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[experiments.e]\nvariants = ["best", "bets"]',
            "experiments.e.variants[1]: there is no model 'bets': did you mean 'best'?",
        ),
        (
            '[experiments.auto]\nvariants = ["best", "gpt-4o-mini"]',
            "experiments.auto: there is a route 'auto' already",
        ),
        (
            '[experiments.e]\nvariants = ["best", "auto"]\nsplit = [0.9, 0.2]',
            "experiments.e: split must be 2 shares above 0 that sum to 1, not (0.9, 0.2)",
        ),
        ('[experiments.e]\nvariants = ["best"]', "experiments.e: variants must be two or more"),
    ],
)
def test_an_experiment_that_cannot_be_carried_out_says_where_and_why(
    tmp_path: Path, text: str, message: str
):
    assert refusal(tmp_path, MODELS + text).startswith(f"orchestrator.toml: {message}")


def test_fallbacks_that_go_in_a_circle_are_refused(tmp_path: Path):
    text = '[routes.a]\nfallback = ["b"]\n[routes.b]\nfallback = ["a"]\n'

    with pytest.raises(ConfigurationError, match="in a circle: a -> b -> a"):
        Orchestrator.from_config(written(tmp_path, MODELS + text))


def test_auto_can_be_told_what_it_chooses_among(tmp_path: Path):
    orchestrator = Orchestrator.from_config(
        written(tmp_path, MODELS + '[routes.auto]\nexclude = ["best"]\n')
    )

    found = orchestrator.explain("Hello")

    assert found.chosen == "openai:gpt-4o-mini"
    assert {row.key: row.refused for row in found.models}["openai:gpt-4o"] == "not_candidate"
