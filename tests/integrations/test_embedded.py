from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.core.capabilities import capability_names
from orchestrator.core.errors import ConfigurationError, InvalidRequestError, MissingExtraError
from orchestrator.core.model import ModelConstraints
from orchestrator.core.prices import Price
from orchestrator.integrations.embedded import EmbeddedModel, EmbeddedResident, embedded_resident
from tests.conftest import require
from tests.integrations.tiny_gguf import CHAT_MODEL, gguf


@pytest.fixture(autouse=True)
def engine_installed() -> None:
    require("xllamacpp", "pip install 'orchestrator[embedded]'")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(gguf())
    return path


def settings_of(resident: EmbeddedResident) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads(resident.command[-1])
    return settings


# -- the resident ------------------------------------------------------------------------------


def test_the_window_is_that_of_one_slot(path: Path):
    resident = embedded_resident("tiny", path, context=1000, slots=3)

    assert (resident.name, resident.slots, resident.context_window) == ("tiny", 3, 333)


def test_the_command_runs_this_interpreter_on_a_program_that_is_there(path: Path):
    interpreter, _, program, _ = embedded_resident("tiny", path).command

    assert interpreter == sys.executable
    assert Path(program).is_file()


def test_the_engine_leaves_one_core_to_the_program_unless_told_otherwise(path: Path):
    assert settings_of(embedded_resident("tiny", path))["threads"] >= 1
    assert settings_of(embedded_resident("tiny", path, threads=5))["threads"] == 5


def test_a_relative_path_is_made_absolute(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(path.parent)

    assert settings_of(embedded_resident("tiny", "tiny.gguf"))["path"] == str(path)


def test_equal_descriptions_are_equal(path: Path):
    assert embedded_resident("tiny", path) == embedded_resident("tiny", str(path))
    assert embedded_resident("tiny", path) != embedded_resident("tiny", path, slots=4)


def test_embeddings_are_declared_only_where_they_are_served(path: Path):
    assert "embeddings" in embedded_resident("tiny", path).capabilities
    assert "embeddings" not in embedded_resident("tiny", path, embeddings=False).capabilities


def test_a_model_that_was_not_trained_to_chat_does_not_declare_it(path: Path):
    plain = {key: value for key, value in CHAT_MODEL.items() if "chat" not in key}
    path.write_bytes(gguf(plain))

    capabilities = embedded_resident("tiny", path).capabilities

    assert "text_generation" in capabilities
    assert not {"chat_completion", "function_calling"} & capabilities


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"slots": 0}, "slots of resident 'tiny' is 0"),
        ({"context": -1}, "context of resident 'tiny' is -1"),
        ({"threads": 0}, "threads of resident 'tiny' is 0"),
        ({"context": 3, "slots": 4}, "context of resident 'tiny' is 3, not at least 4"),
        ({"context": 8192}, r"is 4096 tokens each, and tiny.gguf was trained on 2048"),
    ],
)
def test_settings_the_model_cannot_keep_are_refused(
    path: Path, settings: dict[str, int], complaint: str
):
    with pytest.raises(ConfigurationError, match=complaint):
        embedded_resident("tiny", path, **settings)  # type: ignore[arg-type]


def test_a_file_that_is_no_model_is_refused_before_any_process_starts(path: Path):
    path.write_bytes(b"<html>404</html>" * 10)
    with pytest.raises(ConfigurationError, match=r"tiny\.gguf is not a GGUF model"):
        embedded_resident("tiny", path)

    path.unlink()
    with pytest.raises(ConfigurationError, match=r"tiny\.gguf: No such file"):
        embedded_resident("tiny", path)


def test_without_the_engine_the_error_names_the_extra(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "xllamacpp", None)

    with pytest.raises(MissingExtraError, match=r"pip install 'orchestrator\[embedded\]'"):
        embedded_resident("tiny", path)


# -- models on it ------------------------------------------------------------------------------


def test_a_model_declares_what_its_resident_is(path: Path):
    resident = embedded_resident("tiny", path, context=1000, slots=2)
    model = EmbeddedModel("terse", resident)

    assert str(model.key) == "embedded:terse"
    assert capability_names(model.spec.capabilities) == resident.capabilities
    assert model.spec.context_window == 500
    assert model.spec.resident == "tiny"
    assert model.resident is resident
    assert model.spec.local
    assert model.spec.price == Price.free()
    assert model.spec.constraints.max_concurrent_requests == 2


def test_what_is_said_of_a_model_beats_what_its_resident_says(path: Path):
    model = EmbeddedModel(
        "terse",
        embedded_resident("tiny", path),
        quality=0.7,
        price=Price.per_million(1, 2),
        constraints=ModelConstraints(max_concurrent_requests=9),
        capabilities=("text_generation", "vision"),
    )

    assert model.spec.quality == 0.7
    assert model.spec.price == Price.per_million(1, 2)
    assert model.spec.constraints.max_concurrent_requests == 9
    assert "vision" in capability_names(model.spec.capabilities)
    assert "embeddings" not in capability_names(model.spec.capabilities)


def test_a_default_that_is_no_parameter_is_refused(path: Path):
    with pytest.raises(InvalidRequestError, match="temperatur"):
        EmbeddedModel("hot", embedded_resident("tiny", path), defaults={"temperatur": 1.5})
