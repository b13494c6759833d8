from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator import Model
from orchestrator.core.bounds import Liveness, ProcessBounds
from orchestrator.core.ports import ResidentSpec
from orchestrator.integrations.served import ServedModel
from orchestrator.lifecycle.command import CommandResident
from tests.config.files import built, refusal
from tests.conftest import require
from tests.integrations.tiny_gguf import gguf

COMMAND = 'command = ["server", "--port", "{port}"'


def the_model(folder: Path, text: str) -> Model:
    (model,) = built(folder, text)["models"]
    assert isinstance(model, Model)
    return model


def the_resident(folder: Path, text: str) -> ResidentSpec:
    model = the_model(folder, f'{text}\n[[models]]\nname = "x"\nresident = "mine"\n')
    assert model.resident is not None
    return model.resident


def test_a_command_serves_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "a.gguf").write_bytes(b"12345")
    text = f"""
[residents.mine]
{COMMAND}, "-m", "{{path}}", "--alias", "{{name}}"]
path = "weights/a.gguf"
env = {{ KEY = "{{key}}", HF_TOKEN = "${{HF_TOKEN}}" }}
cwd = "weights"
served_name = "their-name"
ready_path = "/ready"
ready_timeout_s = 7
[[models]]
name = "quick"
resident = "mine"
context_window = 1024
capabilities = ["chat_completion"]
defaults = {{ temperature = 0 }}
"""
    model = the_model(tmp_path, text)
    resident = model.resident

    assert isinstance(model, ServedModel)
    assert model.key.text == "embedded:quick"
    assert model.spec.context_window == 1024
    assert model.spec.local
    assert model.spec.price is not None
    assert isinstance(resident, CommandResident)
    assert resident.filled(80, "key") == (
        ["server", "--port", "80", "-m", f"{tmp_path}/weights/a.gguf", "--alias", "their-name"],
        {"KEY": "key", "HF_TOKEN": "secret"},
    )
    assert resident.cwd == str(tmp_path / "weights")
    assert resident.ready_paths == ("/ready",)
    assert (resident.ready_timeout_s, resident.size.weights_bytes) == (7, 5)


def test_both_kinds_take_the_same_bounds(tmp_path: Path):
    require("xllamacpp", "the engine: pip install 'orchestrator[embedded]'")
    (tmp_path / "own.gguf").write_bytes(gguf())
    bounds = """
memory_gb = 0.5
nice = 5
cores = [0]
liveness = { every_s = 3, path = "/x" }
"""
    wanted = ProcessBounds(
        memory_bytes=500_000_000, nice=5, cores=(0,), liveness=Liveness(every_s=3, path="/x")
    )

    for kind in ('file = "own.gguf"', f"{COMMAND}]"):
        assert the_resident(tmp_path, f"[residents.mine]\n{kind}\n{bounds}").bounds == wanted


def test_a_file_is_asked_something_that_takes_no_slot_and_a_command_for_a_token(tmp_path: Path):
    require("xllamacpp", "the engine: pip install 'orchestrator[embedded]'")
    (tmp_path / "own.gguf").write_bytes(gguf())

    for kind, path in (('file = "own.gguf"', "/slots"), (f"{COMMAND}]", None)):
        liveness = the_resident(tmp_path, f"[residents.mine]\n{kind}\n").bounds.liveness
        assert liveness == Liveness(path=path)


def test_liveness_can_be_turned_off(tmp_path: Path):
    text = f"[residents.mine]\n{COMMAND}]\nliveness = {{ every_s = 0 }}\n"

    assert the_resident(tmp_path, text).bounds.liveness.every_s == 0


def test_weights_may_lie_in_folders_that_were_allowed(tmp_path: Path):
    outside, inside = tmp_path / "models", tmp_path / "configuration"
    for folder in (outside, inside):
        folder.mkdir()
    (outside / "a").touch()
    text = f'[residents.mine]\n{COMMAND}, "{{path}}"]\npath = "../models/a"\n'

    assert "residents.mine" in refusal(inside, text)
    allowed = '[engine]\nmodel_folders = ["../models"]\n'
    the_resident(inside, allowed + text)


@pytest.mark.parametrize("name", ["own.gguf", "link.gguf"])
def test_a_model_file_outside_the_allowed_folders_is_refused(tmp_path: Path, name: str):
    require("xllamacpp", "the engine: pip install 'orchestrator[embedded]'")
    (tmp_path / "own.gguf").write_bytes(gguf())
    folder = tmp_path / "configuration"
    folder.mkdir()
    (folder / "link.gguf").symlink_to("../own.gguf")
    path = name if name == "link.gguf" else f"{tmp_path}/{name}"

    told = refusal(folder, f'[residents.mine]\nfile = "{path}"\n')

    assert "is outside the folders that models may come from" in told
    assert told.endswith("add its folder to engine.model_folders")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slots = 2", "residents.mine needs a file or a command, and not both"),
        (f'file = "a.gguf"\n{COMMAND}]', "residents.mine needs a file or a command, and not both"),
        (f"{COMMAND}]\nslots = 2", "residents.mine has slots, which means nothing to a command"),
        (
            'file = "a.gguf"\npath = "x"',
            "residents.mine has path, which means nothing to a file",
        ),
        ('command = "server"', "residents.mine.command should be a list, not 'server'"),
        (f'{COMMAND}, "{{prt}}"]', "residents.mine: '{prt}' holds an unknown placeholder: known: "),
        ('command = ["server"]', "residents.mine: the command of resident 'mine' says nowhere"),
        (f"{COMMAND}]\nnice = 20", "residents.mine.nice should be less than or equal to 19"),
        (f"{COMMAND}]\nnice = -1", "residents.mine.nice should be greater than or equal to 0"),
        (f"{COMMAND}]\nmemory_gb = 0", "residents.mine.memory_gb should be greater than 0"),
        (f"{COMMAND}]\ncores = [-1]", "residents.mine.cores[0] should be greater than or equal"),
        (
            f"{COMMAND}]\nliveness = {{ every_s = -1 }}",
            "residents.mine.liveness.every_s must be at least 0, not -1",
        ),
        (
            f"{COMMAND}]\nliveness = {{ path = 'slots' }}",
            "residents.mine.liveness.path must begin with a slash, unlike 'slots'",
        ),
        (f"{COMMAND}, '{{path}}']\npath = 'gone'", "residents.mine: there is no "),
    ],
)
def test_a_resident_that_cannot_be_says_where_and_why(tmp_path: Path, text: str, message: str):
    assert refusal(tmp_path, f"[residents.mine]\n{text}\n").startswith(
        f"orchestrator.toml: {message}"
    )


def test_what_is_put_into_the_environment_is_never_quoted(tmp_path: Path):
    told = refusal(tmp_path, f"[residents.mine]\n{COMMAND}]\nenv = {{ PIN = 1234 }}\n")

    assert "residents.mine.env.PIN" in told
    assert "1234" not in told
