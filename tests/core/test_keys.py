from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import InvalidKeyError
from orchestrator.core.keys import PROVIDER_ALIASES, ModelKey, canonical_provider

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(
    lambda text: text == text.strip()
)
providers = names.filter(lambda text: ":" not in text and text not in PROVIDER_ALIASES)


def test_the_first_colon_ends_the_provider():
    key = ModelKey.parse("ollama:llama3:8b")

    assert (key.provider, key.name, key.version) == ("ollama", "llama3:8b", None)


def test_a_name_may_hold_slashes_and_at_signs():
    key = ModelKey.parse("openrouter:meta-llama/llama-3@free")

    assert (key.name, key.version) == ("meta-llama/llama-3@free", None)


def test_what_follows_the_last_at_sign_is_a_version_only_if_it_is_registered():
    registered = ModelKey.parse("local:a@b@v2", versions={"v2"})
    unknown = ModelKey.parse("local:a@b@v3", versions={"v2"})

    assert (registered.name, registered.version) == ("a@b", "v2")
    assert (unknown.name, unknown.version) == ("a@b@v3", None)


def test_a_version_needs_a_name_before_it():
    assert ModelKey.parse("local:@v2", versions={"v2"}).name == "@v2"


@given(providers, names)
def test_a_key_reads_back_from_its_text(provider: str, name: str):
    key = ModelKey(provider, name)

    assert ModelKey.parse(str(key)) == key
    assert str(key) == key.text == f"{provider}:{name}"


@given(providers, names, names.filter(lambda version: "@" not in version))
def test_a_key_with_a_version_reads_back_where_the_version_is_known(
    provider: str, name: str, version: str
):
    key = ModelKey(provider, name, version)

    assert ModelKey.parse(str(key), versions=[version]) == key


@pytest.mark.parametrize(("alias", "name"), PROVIDER_ALIASES.items())
def test_a_provider_is_known_under_its_other_names(alias: str, name: str):
    assert canonical_provider(alias) == canonical_provider(name) == name
    assert ModelKey.parse(f"{alias}:some") == ModelKey(name, "some")


def test_users_may_call_anthropic_claude():
    assert ModelKey.parse("claude:opus").provider == "anthropic"


@pytest.mark.parametrize("text", ["", "gpt-4", ":gpt-4", "openai:", " openai:gpt-4", "openai: gpt"])
def test_a_text_without_provider_or_name_is_no_key(text: str):
    with pytest.raises(InvalidKeyError):
        ModelKey.parse(text)


def test_a_key_without_a_provider_says_how_to_write_one():
    with pytest.raises(InvalidKeyError, match="provider:name"):
        ModelKey.parse("gpt-4")


def test_keys_sort_as_their_texts_with_and_without_versions():
    keys = [ModelKey("b", "x"), ModelKey("a", "x", "v1"), ModelKey("a", "x")]

    assert [str(key) for key in sorted(keys)] == ["a:x", "a:x@v1", "b:x"]


def test_equal_keys_are_one_entry_of_a_dictionary():
    assert {ModelKey("a", "x"): 1} == {ModelKey.parse("a:x"): 1}
