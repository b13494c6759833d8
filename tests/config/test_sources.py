from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Orchestrator, Route
from orchestrator.config import build, read_configuration
from orchestrator.config.sections import EngineSection
from orchestrator.core.errors import ConfigurationError, MissingExtraError
from orchestrator.testing.scripted import ScriptedModel
from tests.config.files import OPENAI, built, written

DEADLINE = "[engine]\ndeadline_s = 20\n"


def deadline(path: Path | None = None, **overrides: Any) -> object:
    return build(path, **overrides)["deadline_s"]


def test_an_argument_beats_the_environment_which_beats_the_file_which_beats_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert deadline() == 120

    path = written(tmp_path, DEADLINE)
    assert deadline(path) == 20

    monkeypatch.setenv("ORCHESTRATOR_ENGINE__DEADLINE_S", "10")
    assert deadline(path) == 10
    assert deadline(path, deadline_s=5) == 5


def test_the_defaults_are_those_of_the_engine_itself():
    parameters = inspect.signature(Orchestrator).parameters
    section = EngineSection()

    assert section.deadline_s == parameters["deadline_s"].default
    assert section.selector.name == parameters["selector"].default
    assert section.budget_usd_per_day is parameters["budget_usd_per_day"].default
    assert section.seed is parameters["seed"].default
    for policy in ("objective", "timeouts", "attempts", "breaker", "ejection", "restart"):
        value = getattr(section, policy)
        assert parameters[policy].default is None
        assert value == type(value)()


@pytest.mark.parametrize("name", ["orchestrator.toml", "orchestrator.yaml", "orchestrator.yml"])
def test_the_usual_file_of_the_working_folder_is_read(tmp_path: Path, name: str):
    written(tmp_path, DEADLINE if name.endswith("toml") else "engine: {deadline_s: 20}", name)

    assert deadline() == 20


def test_the_file_that_the_environment_names_goes_before_the_usual_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    written(tmp_path, DEADLINE)
    other = written(tmp_path, "[engine]\ndeadline_s = 7\n", "other.toml")
    monkeypatch.setenv("ORCHESTRATOR_CONFIG", str(other))

    assert deadline() == 7


def test_a_file_that_is_not_there_is_an_error_that_says_who_named_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(ConfigurationError, match=r"there is no configuration file .*gone\.toml$"):
        build(tmp_path / "gone.toml")

    monkeypatch.setenv("ORCHESTRATOR_CONFIG", "gone.toml")
    with pytest.raises(ConfigurationError, match=r"gone\.toml \(ORCHESTRATOR_CONFIG names it\)"):
        build()


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("a.toml", "[engine]\nx =", "is not TOML: Invalid value"),
        ("a.yaml", "engine: [", "is not YAML: .*line 1"),
        ("a.yaml", "- engine", "holds no table"),
        ("a.json", "{}", "neither TOML nor YAML"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, name: str, text: str, what: str):
    with pytest.raises(ConfigurationError, match=what):
        build(written(tmp_path, text, name))


def test_yaml_without_its_library_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("orchestrator.config.document.find_spec", lambda name: None)

    with pytest.raises(MissingExtraError, match=r"pip install 'orchestrator\[yaml\]'"):
        build(written(tmp_path, "{}", "a.yaml"))


def test_every_kind_of_setting_can_stand_in_the_environment(monkeypatch: pytest.MonkeyPatch):
    for name, value in {
        "ENGINE__SELECTOR": "cost",
        "ENGINE__OBJECTIVE": '{"latency_weight": 0.1}',
        "ENGINE__BREAKER__FAILURE_THRESHOLD": "7",
        "SERVER__ALLOWED_HOSTS": "a.example, b.example",
        "PROVIDERS__OFFICE__TYPE": "openai_compatible",
        "PROVIDERS__OFFICE__BASE_URL": "http://10.0.0.7/v1",
        "MODELS": '[{"key": "office:llama"}]',
        "PAID": "true",
        "ENGINE__SEED": "",
    }.items():
        monkeypatch.setenv(f"ORCHESTRATOR_{name}", value)

    settings = read_configuration().settings

    assert settings.engine.selector.name == "cost"
    assert settings.engine.objective.latency_weight == 0.1
    assert settings.engine.breaker.failure_threshold == 7
    assert settings.server.allowed_hosts == ("a.example", "b.example")
    assert settings.providers["office"].base_url == "http://10.0.0.7/v1"
    assert [model.identity.text for model in settings.models] == ["office:llama"]
    assert settings.paid
    assert settings.engine.seed is None


def test_the_gateways_key_host_and_port_have_short_names(monkeypatch: pytest.MonkeyPatch):
    for name, value in {"API_KEY": "gw", "HOST": "::1", "PORT": "8080"}.items():
        monkeypatch.setenv(f"ORCHESTRATOR_{name}", value)
    monkeypatch.setenv("ORCHESTRATOR_SERVER__PORT", "9090")

    server = read_configuration().settings.server

    assert server.api_key is not None
    assert server.api_key.get_secret_value() == "gw"
    assert (server.host, server.port) == ("::1", 9090)


def test_a_table_of_the_file_and_one_of_the_environment_are_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ORCHESTRATOR_ENGINE__BREAKER__OPEN_S", "3")

    arguments = built(tmp_path, "[engine.breaker]\nfailure_threshold = 9\n")

    assert (arguments["breaker"].failure_threshold, arguments["breaker"].open_s) == (9, 3.0)


def test_models_and_routes_in_code_join_those_of_the_file(tmp_path: Path):
    text = (
        f'{OPENAI}[[models]]\nkey = "openai:gpt-4o"\n'
        '[routes.own]\nmodels = ["mine"]\n[routes.both]\nfallback = ["further"]\n'
    )
    further = Route(name="further", models=("openai:*",))

    orchestrator = Orchestrator.from_config(
        written(tmp_path, text), models=[ScriptedModel("mine")], routes=[further]
    )

    assert orchestrator.registry.list_models() == ["openai:gpt-4o", "scripted:mine"]
    assert {"own", "both", "further"} <= set(orchestrator.routes)


def test_a_route_in_code_takes_the_place_of_one_in_the_file(tmp_path: Path):
    mine = Route(name="auto", exclude=("scripted:*",))

    arguments = built(tmp_path, "[routes.auto]\n", routes=[mine])

    assert arguments["routes"] == [mine]


def test_a_literal_key_warns_and_a_reference_does_not(tmp_path: Path):
    literal = '[providers.openai]\napi_key = "sk-literal"\n[server]\napi_key = "${A:-}"\n'

    with pytest.warns(UserWarning, match=r"providers\.openai\.api_key is a literal key") as warned:
        built(tmp_path, literal)

    assert len(warned) == 1
    assert "sk-literal" not in str(warned[0].message)
