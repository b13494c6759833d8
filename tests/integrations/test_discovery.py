"""Servers are asked which models they list."""

from __future__ import annotations

import pytest

from orchestrator import OpenAICompatibleModel, OpenAIModel, Price
from orchestrator.core.errors import ModelResponseError
from orchestrator.integrations.discovery import ask_servers
from orchestrator.integrations.http.transport import HttpTransport
from orchestrator.integrations.llama_cpp import LlamaCppModel
from orchestrator.integrations.openai_codec import OpenAICodec
from orchestrator.integrations.openai_dialect import Dialect
from orchestrator.testing.provider_server import ProviderServer

CODEC = OpenAICodec(Dialect(name="acme"))


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b'{"data": [{"id": "a"}, {"id": "b"}, {"id": "a"}]}', ["a", "b"]),
        (b'{"models": [{"name": "a", "model": "a"}], "data": [{"id": "a"}]}', ["a"]),
        (b'{"models": [{"name": "a:latest"}]}', ["a:latest"]),
        (b'{"data": []}', []),
        (b'{"data": [{"id": null}, {}]}', []),
    ],
)
def test_every_model_of_a_list_has_one_name(body: bytes, names: list[str]):
    assert CODEC.listed_names(body) == names


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"data": 7}', b'{"data": ["a"]}'])
def test_what_is_no_list_of_models_is_an_error(body: bytes):
    with pytest.raises(ModelResponseError, match="acme cannot be read"):
        CODEC.listed_names(body)


async def test_each_server_is_asked_once_with_its_key():
    transport = HttpTransport()
    async with ProviderServer(api_key="sk-right") as right:
        models = [
            OpenAICompatibleModel("a", "acme", right.base_url, "sk-right"),
            OpenAICompatibleModel("b", "acme", right.base_url, "sk-right"),
            OpenAICompatibleModel("c", "other", right.base_url, "sk-of-another"),
        ]
        for model in models:
            model.bind(transport)
        found = await ask_servers(models)
        await transport.aclose()

    assert [one.names for one in found] == [("echo",), ()]
    assert len(right.requests) == 2
    assert "sk-of-another" not in str(found[1].error)


def test_a_sibling_is_spoken_to_alike_and_known_by_its_own_name():
    paid = OpenAICompatibleModel("a", "acme", "http://host/v1", "sk", price=Price.per_million(1, 2))
    free = LlamaCppModel("a", "http://host")
    openai = OpenAIModel("gpt-4o", "sk")

    assert paid.sibling("b").spec.price is None, "another model has another price"
    assert free.sibling("b").spec.price == Price.free()
    assert (paid.sibling("b").key.text, paid.sibling("b").endpoint) == ("acme:b", paid.endpoint)
    assert paid.sibling("b").spec.credential_id == paid.spec.credential_id
    assert openai.sibling("o3").spec == OpenAIModel("o3", "sk").spec
