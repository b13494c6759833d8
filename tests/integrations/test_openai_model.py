from __future__ import annotations

from decimal import Decimal

import orjson
import pytest
from pydantic import SecretStr

from orchestrator.core.capabilities import capability_names
from orchestrator.core.errors import ConfigurationError
from orchestrator.core.keys import ModelKey
from orchestrator.core.model import Call, ModelConstraints
from orchestrator.core.params import TextGenerationParams
from orchestrator.core.ports import HttpRequest, Timeouts
from orchestrator.core.prices import Price, PriceBook
from orchestrator.integrations.llama_cpp import LlamaCppModel
from orchestrator.integrations.openai_dialect import Dialect
from orchestrator.integrations.openai_model import OpenAICompatibleModel, OpenAIModel
from orchestrator.integrations.remote import RemoteModel
from tests.integrations.recordings import TOOLS, recorded
from tests.integrations.scripted_transport import Scripted, ScriptedTransport


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "LLAMA_CPP_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


async def sent(model: RemoteModel, **params: object) -> HttpRequest:
    """Return the request a model sends."""
    transport = ScriptedTransport(Scripted([recorded("llama_cpp_chat.json")]))
    model.bind(transport)
    asked = TextGenerationParams.model_validate({"prompt": "Hello", **params})
    await model.answer(asked, Call(None, Timeouts()))
    return transport.requests[0]


async def body_of(model: RemoteModel, **params: object) -> dict[str, object]:
    body: dict[str, object] = orjson.loads((await sent(model, **params)).body or b"")
    return body


def capabilities(model: RemoteModel) -> frozenset[str]:
    return capability_names(model.spec.capabilities)


# -- OpenAI ------------------------------------------------------------------------------------


async def test_openai_gets_its_golden_request():
    model = OpenAIModel(name="gpt-4o", api_key="sk-1", organization="org-1")
    request = await sent(model, system_prompt="Be brief.", max_tokens=9, temperature=0.5)
    assert request.url == "https://api.openai.com/v1/chat/completions"
    assert request.headers == {
        "Content-Type": "application/json",
        "Authorization": "Bearer sk-1",
        "OpenAI-Organization": "org-1",
    }
    assert request.body == (
        b'{"model":"gpt-4o","messages":[{"role":"system","content":"Be brief."},'
        b'{"role":"user","content":"Hello"}],"stream":false,'
        b'"temperature":0.5,"max_completion_tokens":9}'
    )


async def test_the_key_comes_from_the_argument_else_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment\n")
    from_environment = await sent(OpenAIModel("gpt-4o"))
    assert from_environment.headers["Authorization"] == "Bearer sk-environment"
    from_argument = await sent(OpenAIModel("gpt-4o", api_key=SecretStr("sk-argument")))
    assert from_argument.headers["Authorization"] == "Bearer sk-argument"


def test_a_missing_key_names_the_variable():
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY is not set"):
        OpenAIModel("gpt-4o")


@pytest.mark.parametrize("key", ["sk with\nnewline", "sk-\x00", "sk-schlüssel", "  "])
def test_a_key_no_header_can_carry_is_refused_without_being_shown(key: str):
    with pytest.raises(ConfigurationError) as caught:
        OpenAIModel("gpt-4o", api_key=key)
    assert "sk" not in str(caught.value)


def test_an_organization_no_header_can_carry_is_refused():
    with pytest.raises(ConfigurationError, match="OpenAI-Organization"):
        OpenAIModel("gpt-4o", api_key="k", organization="org\r\nHost: evil")


async def test_another_base_url_is_used():
    model = OpenAIModel("gpt-4o", api_key="k", base_url="https://proxy.example/openai/v1/")
    assert (await sent(model)).url == "https://proxy.example/openai/v1/chat/completions"


def test_price_and_window_come_from_the_list():
    spec = OpenAIModel("gpt-4o", api_key="k").spec
    assert spec.key == ModelKey("openai", "gpt-4o")
    assert spec.price == Price.per_million("2.50", 10, cached_input="1.25")
    assert spec.context_window == 128_000
    assert not spec.local


def test_what_the_user_says_outranks_the_list():
    spec = OpenAIModel("gpt-4o", api_key="k", price=Price.free(), context_window=5).spec
    assert (spec.price, spec.context_window) == (Price.free(), 5)


def test_a_price_book_of_the_users_own_is_asked():
    prices = PriceBook()
    prices.override(ModelKey("openai", "my-tune"), Price.per_million(1, 2), context_window=77)
    spec = OpenAIModel("my-tune", api_key="k", prices=prices).spec
    assert spec.price is not None
    assert spec.price.input_per_million == Decimal(1)
    assert spec.context_window == 77


def test_an_arm_is_looked_up_by_its_name_at_the_provider():
    spec = OpenAIModel("terse", api_key="k", wire_name="gpt-4o").spec
    assert spec.key.name == "terse"
    assert spec.context_window == 128_000


def test_a_model_nobody_lists_has_no_price_and_what_its_name_tells():
    spec = OpenAIModel("gpt-4.9-unheard-of", api_key="k").spec
    assert spec.price is None
    assert spec.context_window == 128_000
    assert "vision" in capability_names(spec.capabilities)


@pytest.mark.parametrize(
    ("name", "can", "cannot"),
    [
        ("gpt-4o-mini", {"vision", "json_schema", "function_calling"}, {"embeddings"}),
        ("ft:gpt-4o:org::id", {"vision", "json_schema"}, set()),
        ("gpt-4", {"function_calling"}, {"json_mode", "json_schema", "vision"}),
        ("gpt-4-turbo", {"json_mode", "vision"}, {"json_schema"}),
        ("gpt-3.5-turbo", {"json_mode"}, {"json_schema", "vision"}),
        ("o4-mini", {"vision", "json_schema", "function_calling"}, set()),
        ("gpt-5.6-terra", {"vision", "function_calling"}, set()),
        ("gpt-6-astra", {"vision", "json_schema"}, {"function_calling"}),
        ("text-embedding-3-small", {"embeddings"}, {"text_generation", "chat_completion"}),
        ("something-new", {"chat_completion", "streaming", "json_schema"}, {"vision"}),
    ],
)
def test_a_name_tells_what_the_model_can_do(name: str, can: set[str], cannot: set[str]):
    found = capabilities(OpenAIModel(name, api_key="k"))
    assert can <= found
    assert not cannot & found


def test_declared_capabilities_outrank_the_name():
    model = OpenAIModel("gpt-4o", api_key="k", capabilities=("text_generation",))
    assert not {"vision", "function_calling"} & capabilities(model)


@pytest.mark.parametrize("name", ["o3", "gpt-5", "gpt-5-mini-2025-08-07", "gpt-6-astra"])
async def test_models_that_always_reason_are_sent_no_sampling_parameters(name: str):
    params = {"temperature": 0, "top_p": 0.5, "stop_sequences": ["."], "seed": 1, "max_tokens": 5}
    body = await body_of(OpenAIModel(name, api_key="k"), **params)
    assert not {"temperature", "top_p", "stop", "max_tokens"} & body.keys()
    assert (body["max_completion_tokens"], body["seed"]) == (5, 1)


@pytest.mark.parametrize("name", ["gpt-5-chat-latest", "gpt-5.1", "gpt-5.4-mini", "gpt-4.1"])
async def test_models_that_reason_on_demand_are_sent_sampling_parameters(name: str):
    assert (await body_of(OpenAIModel(name, api_key="k"), temperature=0))["temperature"] == 0


@pytest.mark.parametrize(
    ("name", "effort"),
    [("gpt-5.6-sol", "none"), ("gpt-6.1-terra", "none"), ("gpt-5.4", None), ("o3", None)],
)
async def test_models_that_take_tools_only_without_reasoning_are_told_so(
    name: str, effort: str | None
):
    body = await body_of(OpenAIModel(name, api_key="k"), tools=TOOLS)
    assert body.get("reasoning_effort") == effort
    assert "reasoning_effort" not in await body_of(OpenAIModel(name, api_key="k"))


async def test_the_o_series_is_not_asked_about_parallel_calls():
    params = {"tools": TOOLS, "parallel_tool_calls": False}
    assert "parallel_tool_calls" not in await body_of(OpenAIModel("o3", api_key="k"), **params)
    assert "parallel_tool_calls" in await body_of(OpenAIModel("gpt-4o", api_key="k"), **params)


def test_models_with_the_same_key_share_its_fate():
    one, two, other = (
        OpenAIModel(name, api_key=key).spec.credential_id
        for name, key in (("gpt-4o", "sk-1"), ("o3", "sk-1"), ("gpt-4", "sk-2"))
    )
    assert one == two != other
    assert one is not None
    assert "sk-1" not in one


def test_keywords_of_a_model_pass_through():
    spec = OpenAIModel(
        "gpt-4o",
        api_key="k",
        priority=5,
        aliases=["fast"],
        speed=80,
        quality=0.9,
        max_output_tokens=100,
        constraints=ModelConstraints(max_concurrent_requests=2),
    ).spec
    assert (spec.priority, spec.aliases, spec.speed, spec.quality) == (5, ("fast",), 80, 0.9)
    assert spec.max_output_tokens == 100
    assert spec.constraints.max_concurrent_requests == 2


# -- any compatible server ---------------------------------------------------------------------


async def test_any_server_that_speaks_the_format_is_a_row():
    model = OpenAICompatibleModel(
        "llama-3.3-70b-versatile", "groq", "https://api.groq.com/openai/v1", "gsk-1"
    )
    assert model.spec.key.text == "groq:llama-3.3-70b-versatile"
    assert model.spec.price is not None
    request = await sent(model, max_tokens=9)
    assert request.url == "https://api.groq.com/openai/v1/chat/completions"
    assert b'"max_tokens":9' in (request.body or b"")


async def test_a_dialect_says_what_a_server_does_differently():
    dialect = Dialect(name="azure", auth_header="api-key", auth_scheme="")
    model = OpenAICompatibleModel(
        "gpt-4o", "azure", "https://a.example/openai/v1", "k", dialect=dialect
    )
    assert (await sent(model)).headers["api-key"] == "k"


async def test_a_server_without_a_key_gets_none():
    model = OpenAICompatibleModel("m", "vllm", "http://localhost:8000/v1")
    assert "Authorization" not in (await sent(model)).headers
    assert model.spec.credential_id is None


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000/v1",
        "ftp://host/v1",
        "https://",
        "",
        "https://host/v1?key=1",
        "https://u:p@host",
    ],
)
def test_what_is_no_base_url_is_refused(url: str):
    with pytest.raises(ConfigurationError, match="base URL"):
        OpenAICompatibleModel("m", "vllm", url)


# -- llama.cpp ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "argument", "host"),
    [
        (None, None, "http://localhost:8080"),
        ("http://gpu:8081", None, "http://gpu:8081"),
        ("http://gpu:8081", "http://other:1", "http://other:1"),
        (None, "http://other:1/", "http://other:1"),
        (None, "http://other:1/v1", "http://other:1"),
    ],
)
async def test_llama_cpp_is_where_the_argument_or_the_environment_says(
    variable: str | None, argument: str | None, host: str, monkeypatch: pytest.MonkeyPatch
):
    if variable is not None:
        monkeypatch.setenv("LLAMA_CPP_BASE_URL", variable)
    assert (await sent(LlamaCppModel("m", argument))).url == f"{host}/v1/chat/completions"


def test_llama_cpp_is_local_and_free():
    spec = LlamaCppModel("m").spec
    assert (spec.local, spec.price, spec.key.text) == (True, Price.free(), "llama_cpp:m")


def test_llama_cpp_declares_what_every_chat_model_can_do_there():
    found = capabilities(LlamaCppModel("m"))
    assert {"streaming", "json_schema", "function_calling"} <= found
    assert not {"embeddings", "vision"} & found


async def test_llama_cpp_emulates_tools_unless_its_template_knows_them():
    assert "tools" not in await body_of_tool_call(LlamaCppModel("m"))
    assert "tools" in await body_of(LlamaCppModel("m", native_tools=True), tools=TOOLS)


async def body_of_tool_call(model: RemoteModel) -> dict[str, object]:
    transport = ScriptedTransport(Scripted([recorded("llama_cpp_required_tool.json")]))
    model.bind(transport)
    asked = TextGenerationParams.model_validate(
        {"prompt": "Weather?", "tools": TOOLS, "tool_choice": "required"}
    )
    await model.answer(asked, Call(None, Timeouts()))
    body: dict[str, object] = orjson.loads(transport.requests[0].body or b"")
    return body
