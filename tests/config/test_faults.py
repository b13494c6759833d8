from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.config import build, read_configuration
from orchestrator.core.errors import ConfigurationError
from tests.config.files import OPENAI, refusal, written

MODEL = f'{OPENAI}[[models]]\nkey = "openai:gpt-4o"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[engine]\ndeadlin_s = 3",
            "orchestrator.toml: engine.deadlin_s is no setting: did you mean 'deadline_s'?",
        ),
        (
            "[engine]\ndeadline_s = -3",
            "orchestrator.toml: engine.deadline_s should be greater than 0, not -3",
        ),
        (
            "[engine]\nseed = 'x'",
            "orchestrator.toml: engine.seed should be a valid integer, unable to parse string as "
            "an integer, not 'x'",
        ),
        (
            "[engine.breaker]\nfailure_thresold = 3",
            "orchestrator.toml: engine.breaker.failure_thresold is no setting: "
            "did you mean 'failure_threshold'?",
        ),
        (
            "[engine.breaker]\nfailure_rate = 3",
            "orchestrator.toml: engine.breaker.failure_rate must be in [0, 1], not 3.0",
        ),
        (
            "[engine.objective]\ncost_weight = -1",
            "orchestrator.toml: engine.objective: cost_weight must be at least 0, not -1.0",
        ),
        (
            "[engine.timeouts]\nidle_s = 0",
            "orchestrator.toml: engine.timeouts.idle_s must be above 0, not 0.0",
        ),
        ("models = 3", "orchestrator.toml: models should be a list, not 3"),
        ("engine = 3", "orchestrator.toml: engine should be a table, not 3"),
        (
            "modls = 3",
            "orchestrator.toml: modls is no setting: did you mean 'models'?",
        ),
        (
            "[providers.x]\ntype = 'opnai'",
            "orchestrator.toml: providers.x.type should be 'openai', 'openai_compatible' or "
            "'llama_cpp', not 'opnai'",
        ),
        (
            MODEL + "price = { input = -1, output = 2 }",
            "orchestrator.toml: models[0].price.input should be greater than or equal to 0, not -1",
        ),
        (
            MODEL + "price = { input = 1 }",
            "orchestrator.toml: models[0].price.output is missing",
        ),
        (
            MODEL + "constraints = { max_queue = -1 }",
            "orchestrator.toml: models[0].constraints.max_queue must be at least 0, not -1",
        ),
        (
            MODEL + "contxt_window = 10",
            "orchestrator.toml: models[0].contxt_window is no setting: "
            "did you mean 'context_window'?",
        ),
        (
            "[routes.a.requirements]\nmin_sped = 3",
            "orchestrator.toml: routes.a.requirements.min_sped is no setting: "
            "did you mean 'min_speed'?",
        ),
    ],
)
def test_a_mistake_names_file_setting_fault_and_what_is_allowed(
    tmp_path: Path, text: str, message: str
):
    assert refusal(tmp_path, text) == message


def test_several_mistakes_are_told_together_a_line_each(tmp_path: Path):
    told = refusal(tmp_path, "modls = 3\n[engine]\ndeadline_s = -3\nsed = 1").splitlines()

    assert len(told) == 3
    assert all(line.startswith("orchestrator.toml: ") for line in told)


def test_past_ten_mistakes_the_others_are_counted(tmp_path: Path):
    text = "\n".join(f"wrong_{n} = 1" for n in range(14))

    assert refusal(tmp_path, text).splitlines()[10:] == ["and 4 more"]


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (
            "ORCHESTRATOR_ENGINE__DEADLINE_S",
            "-3",
            "environment variable ORCHESTRATOR_ENGINE__DEADLINE_S should be greater than 0, "
            "not '-3'",
        ),
        (
            "ORCHESTRATOR_PORT",
            "http",
            "environment variable ORCHESTRATOR_PORT should be a valid integer, unable to parse "
            "string as an integer, not 'http'",
        ),
        (
            "ORCHESTRATOR_ENGINE__OBJECTIVE",
            '{"cost_weigth": 1}',
            "environment variable ORCHESTRATOR_ENGINE__OBJECTIVE is no setting: "
            "did you mean 'cost_weight'?",
        ),
        (
            "ORCHESTRATOR_ENGIN__DEADLINE_S",
            "3",
            "environment variable ORCHESTRATOR_ENGIN__DEADLINE_S: there is no section 'engin': "
            "did you mean 'engine'?",
        ),
        (
            "ORCHESTRATOR_ENGINE__SED",
            "3",
            "environment variable ORCHESTRATOR_ENGINE__SED is no setting: did you mean 'seed'?",
        ),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
):
    monkeypatch.setenv(variable, value)

    with pytest.raises(ConfigurationError) as refused:
        read_configuration()

    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("variable", "question"),
    [
        ("ORCHESTRATOR_PROT", ": did you mean ORCHESTRATOR_PORT?"),
        ("ORCHESTRATOR_DATADIR", ": did you mean ORCHESTRATOR_DATA_DIR?"),
        ("ORCHESTRATOR_ENGINE_DEADLINE_S", ": did you mean ORCHESTRATOR_ENGINE__DEADLINE_S?"),
        ("ORCHESTRATOR_port", ": did you mean ORCHESTRATOR_PORT?"),
        ("ORCHESTRATOR_FOO", ""),
    ],
)
def test_a_variable_that_begins_like_ours_and_means_nothing_warns(
    monkeypatch: pytest.MonkeyPatch, variable: str, question: str
):
    monkeypatch.setenv(variable, "3099")

    told = f"the environment variable {variable} means nothing{question}"
    assert read_configuration().warnings == (told,)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ORCHESTRATOR_PORT", "3099"),
        ("ORCHESTRATOR_DATA_DIR", "/tmp"),
        ("ORCHESTRATOR_PAID", "1"),
        ("ORCHESTRATOR_paid", "1"),
        ("ORCHESTRATOR_MODELS", "[]"),
        ("ORCHESTRATOR_ENGINE__SEED", "3"),
        ("ORCHESTRATOR_FOO", ""),
        ("ORCHESTRATION_FOO", "x"),
    ],
)
def test_a_variable_that_means_something_or_is_not_ours_does_not_warn(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
):
    monkeypatch.setenv(variable, value)

    assert read_configuration().warnings == ()


def test_a_missing_variable_names_file_and_setting(tmp_path: Path):
    told = refusal(tmp_path, '[providers.openai]\napi_key = "${NOT_SET}"')

    assert told == (
        "orchestrator.toml: providers.openai.api_key: the environment variable NOT_SET is not "
        "set: set it, or give a default: ${NOT_SET:-...}"
    )


@pytest.mark.parametrize(
    "text",
    [
        '[providers.openai]\napi_key = ["sk-canary"]',
        '[providers.openai]\napi_key = "sk-canary"\nbase_url = 3\nheaders = { a = ["sk-canary"] }',
        '[server]\napi_key = { value = "sk-canary" }',
    ],
)
def test_an_error_never_quotes_a_key(tmp_path: Path, text: str):
    with pytest.raises(ConfigurationError) as refused:
        build(written(tmp_path, text))

    assert "canary" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__
