from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Model, ModelConstraints, OpenAICompatibleModel, OpenAIModel
from orchestrator.core.errors import MissingExtraError
from orchestrator.integrations.llama_cpp import LlamaCppModel
from tests.config.files import OPENAI, built, refusal
from tests.conftest import require
from tests.integrations.tiny_gguf import gguf

OFFICE = '[providers.office]\ntype = "openai_compatible"\nbase_url = "http://10.0.0.7/v1"\n'


def models(folder: Path, text: str, **overrides: Any) -> list[Model]:
    found: list[Model] = built(folder, text, **overrides)["models"]
    return found


def test_a_key_alone_is_enough_for_a_provider_that_is_known(tmp_path: Path):
    (model,) = models(tmp_path, '[[models]]\nkey = "openai:gpt-4o-mini"\n')

    assert isinstance(model, OpenAIModel)
    assert model.spec.price is not None
    assert model.spec.context_window == 128_000


def test_everything_that_is_said_of_a_model_holds(tmp_path: Path):
    text = f"""{OFFICE}
[[models]]
provider = "office"
name = "careful"
wire_name = "llama-3.1-8b"
aliases = ["good", "slow"]
capabilities = ["chat_completion", "streaming"]
types = ["text:large"]
context_window = 8192
max_output_tokens = 1024
price = {{ input = 0.1, output = "0.2", cached_input = 0.05, per = "1K" }}
speed = 30
quality = 0.7
priority = 3
local = true
constraints = {{ max_concurrent_requests = 2, max_wait_s = 1 }}
"""

    (model,) = models(tmp_path, text)
    spec = model.spec

    assert isinstance(model, OpenAICompatibleModel)
    assert spec.key.text == "office:careful"
    assert spec.aliases == ("good", "slow")
    assert spec.types == {"text:large"}
    assert (spec.context_window, spec.max_output_tokens) == (8192, 1024)
    assert spec.price is not None
    assert spec.price.input_per_million == Decimal(100)
    assert spec.price.output_per_million == Decimal(200)
    assert spec.price.cached_input_per_million == Decimal(50)
    assert (spec.speed, spec.quality, spec.priority, spec.local) == (30, 0.7, 3, True)
    assert spec.constraints == ModelConstraints(max_concurrent_requests=2, max_wait_s=1)


def test_free_is_a_price(tmp_path: Path):
    (model,) = models(tmp_path, f'{OFFICE}[[models]]\nkey = "office:a"\nprice = "free"\n')

    assert model.spec.price is not None
    assert model.spec.price.cost(1000, 1000) == 0


def test_several_providers_may_be_of_one_type_each_with_its_own_credential(tmp_path: Path):
    text = """
[providers.work]
type = "openai"
api_key = "${OPENAI_API_KEY}"
organization = "org-1"
[providers.left]
type = "llama_cpp"
base_url = "http://left:8080"
[providers.right]
type = "llama_cpp"
base_url = "http://right:8080"
native_tools = true
[[models]]
key = "work:gpt-4o"
[[models]]
key = "left:qwen"
[[models]]
key = "right:qwen"
[[models]]
key = "openai:gpt-4o"
"""

    work, left, right, openai = models(tmp_path, text)

    assert [m.key.text for m in (work, left, right)] == ["work:gpt-4o", "left:qwen", "right:qwen"]
    assert isinstance(work, OpenAIModel)
    assert isinstance(left, LlamaCppModel)
    assert (left.provider, right.provider) == ("left", "right")
    assert work.spec.price == openai.spec.price
    assert left.spec.local


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[models]]\nname = "x"', "models[0] needs a key such as openai:gpt-4o, or a provider"),
        ('[[models]]\nkey = "gpt-4o"', "models[0] 'gpt-4o' names no provider"),
        (
            '[[models]]\nkey = "openai:gpt-4o"\nname = "x"',
            "models[0] has a key already; leave provider and name out",
        ),
        (
            f'{OFFICE}[[models]]\nkey = "ofice:x"',
            "models[0]: there is no provider 'ofice': did you mean 'office'?",
        ),
        (
            f'{OFFICE}[[models]]\nkey = "office:x"\n[[models]]\nkey = "office:x"',
            "models: office:x is registered already: name each model once",
        ),
        (
            f'{OFFICE}[[models]]\nkey = "office:x"\ncapabilities = ["vison"]',
            "models[0]: there is no capability 'vison': did you mean 'vision'?",
        ),
        (
            f'{OFFICE}[[models]]\nkey = "office:x"\ndefaults = {{ tempratur = 1 }}',
            "models[0].defaults: there is no parameter 'tempratur': did you mean 'temperature'?",
        ),
        (
            f'{OFFICE}[[models]]\nkey = "office:x"\ndefaults = {{ temperature = 3 }}',
            "models[0].defaults: temperature: Input should be less than or equal to 2",
        ),
        (
            f'{OFFICE}[[models]]\nkey = "office:x"\nresident = "y"',
            "models[0]: only models of the provider embedded have a resident",
        ),
        ("[providers.x]", "providers.x.type is missing: one of openai, openai_compatible, "),
        (
            '[providers.x]\ntype = "openai_compatible"',
            "providers.x.base_url is missing: write it as https://host/path",
        ),
        (
            '[providers.x]\ntype = "llama_cpp"\norganization = "o"',
            "providers.x.organization means nothing to type llama_cpp, only to openai",
        ),
        ("[providers.embedded]", "providers.embedded: embedded is the provider of what runs on"),
        (
            '[providers.office]\ntype = "openai_compatible"\nbase_url = "10.0.0.7"\n'
            '[[models]]\nkey = "office:x"',
            "models[0]: '10.0.0.7' is not a base URL",
        ),
        (
            '[[models]]\nname = "x"\nresident = "y"',
            "models[0]: there is no resident 'y'",
        ),
        (
            '[[models]]\nkey = "embedded:x"',
            "models[0]: resident is missing: known: none: describe one under [residents.NAME]",
        ),
    ],
)
def test_a_model_that_cannot_be_built_says_where_and_why(tmp_path: Path, text: str, message: str):
    assert refusal(tmp_path, text).startswith(f"orchestrator.toml: {message}")


def test_without_a_key_the_error_names_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("OPENAI_API_KEY")

    told = refusal(tmp_path, '[[models]]\nkey = "openai:gpt-4o"')

    assert told.startswith("orchestrator.toml: models[0]: there is no API key: OPENAI_API_KEY")


def test_arms_share_a_resident_and_need_not_name_the_only_one(tmp_path: Path):
    require("xllamacpp", "the engine: pip install 'orchestrator[embedded]'")
    (tmp_path / "own.gguf").write_bytes(gguf())
    text = """
[residents.small]
file = "own.gguf"
context = 2048
slots = 2
embeddings = false
[[models]]
name = "terse"
resident = "small"
defaults = { system_prompt = "Answer with one word.", max_tokens = 8 }
[[models]]
key = "embedded:plain"
"""

    terse, plain = models(tmp_path, text)

    assert terse.resident is not None
    assert terse.resident is plain.resident
    assert terse.spec.context_window == 1024
    assert terse.spec.price is not None
    assert plain.key.text == "embedded:plain"


def test_a_model_file_lies_relative_to_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    require("xllamacpp", "the engine: pip install 'orchestrator[embedded]'")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "own.gguf").write_bytes(gguf())
    text = '[residents.own]\nfile = "weights/own.gguf"\n[[models]]\nkey = "embedded:x"\n'
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    (model,) = models(tmp_path, text)

    assert model.resident is not None
    assert str(tmp_path / "weights" / "own.gguf") in model.resident.command[-1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[residents.a]\nfile = "smolm2"',
            "residents.a: file 'smolm2' is neither a known model file nor the path of a .gguf "
            "file: did you mean 'smollm2'?",
        ),
        ('[residents.a]\nfile = "gone.gguf"', "residents.a: "),
        ('[residents.a]\nfile = "smollm2"', "residents.a: the model file "),
        ("[residents.a]\n", "residents.a needs a file or a command, and not both"),
        ('[residents.a]\nfile = "x"\nslots = 0', "residents.a.slots should be greater than or equ"),
    ],
)
def test_a_resident_that_cannot_be_says_where_and_why(tmp_path: Path, text: str, message: str):
    assert refusal(tmp_path, text).startswith(f"orchestrator.toml: {message}")


def test_without_the_engine_a_resident_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "own.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr("orchestrator.integrations.embedded.find_spec", lambda name: None)

    with pytest.raises(MissingExtraError, match=r"orchestrator\[embedded\]"):
        built(tmp_path, '[residents.a]\nfile = "own.gguf"')


def test_defaults_reach_the_wire(tmp_path: Path):
    text = f'{OPENAI}[[models]]\nkey = "openai:gpt-4o"\ndefaults = {{ temperature = 0.5 }}\n'

    (model,) = models(tmp_path, text)

    assert isinstance(model, OpenAIModel)
    assert model._defaults == {"temperature": 0.5}
