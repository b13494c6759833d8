from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import InvalidRequestError
from orchestrator.lifecycle.detection import (
    evidence_of_declaration,
    evidence_of_header,
    evidence_of_listing,
    listed_window,
)
from orchestrator.lifecycle.evidence import Evidence, Source, holding, joined

TEXT = {"text_generation", "chat_completion"}

# Entries as the servers write them, shortened to what matters and a little beside it.
OPENROUTER: dict[str, Any] = {
    "id": "openai/gpt-4o",
    "canonical_slug": "openai/gpt-4o",
    "context_length": 128000,
    "architecture": {
        "modality": "text+image->text",
        "input_modalities": ["text", "image", "file"],
        "output_modalities": ["text"],
        "tokenizer": "GPT",
    },
    "supported_parameters": ["max_tokens", "response_format", "structured_outputs", "tools"],
    "pricing": {"prompt": "0.0000025", "completion": "0.00001"},
}
OLLAMA: dict[str, Any] = {
    "details": {"format": "gguf", "family": "gemma3"},
    "model_info": {"general.architecture": "gemma3", "gemma3.context_length": 131072},
    "capabilities": ["completion", "vision"],
}
VLLM: dict[str, Any] = {
    "id": "Qwen/Qwen2.5-7B-Instruct",
    "object": "model",
    "owned_by": "vllm",
    "root": "Qwen/Qwen2.5-7B-Instruct",
    "parent": None,
    "max_model_len": 32768,
    "permission": [],
}
LLAMA_CPP: dict[str, Any] = {
    "id": "model.gguf",
    "object": "model",
    "owned_by": "llamacpp",
    "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["text"]},
    "meta": {"n_ctx": 2048, "n_ctx_train": 131072, "n_params": 8030261312},
}


def judged(evidence: tuple[Evidence, ...]) -> tuple[set[str], set[str]]:
    """Return what evidence speaks for and against."""
    decided = joined(evidence)
    has = set(holding(decided))
    return has, set(decided) - has


# -- a declaration -----------------------------------------------------------------------------


def test_a_declaration_says_what_it_names_and_denies_nothing():
    assert judged(evidence_of_declaration(["vision", "audio"], 1.0)) == ({"vision", "audio"}, set())


# -- a server's listing ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "has", "lacks"),
    [
        (
            OPENROUTER,
            TEXT | {"vision", "function_calling", "json_mode", "json_schema"},
            {"audio", "image_generation", "embeddings"},
        ),
        (OLLAMA, TEXT | {"vision"}, {"function_calling", "embeddings", "rerank"}),
        (VLLM, set(), set()),
        (LLAMA_CPP, {"vision"}, {"audio"}),
    ],
    ids=["OpenRouter", "Ollama", "vLLM", "llama.cpp"],
)
def test_each_servers_entries_are_understood(entry: dict[str, Any], has: set[str], lacks: set[str]):
    assert judged(evidence_of_listing(entry, 1.0)) == (has, lacks)


def test_the_half_of_llama_cpps_list_that_looks_like_ollamas_denies_nothing():
    entry = {"name": "m", "capabilities": ["completion"], "details": {"format": "gguf"}}

    assert judged(evidence_of_listing(entry, 1.0)) == (set(), set())
    entry["capabilities"] = ["completion", "multimodal"]
    assert judged(evidence_of_listing(entry, 1.0)) == ({"vision"}, set())


def test_plain_flags_count_wherever_they_stand():
    entry = {
        "supports_functions": True,
        "json_mode": False,
        "capabilities": {"vision": True, "completion_fim": True},
    }

    assert judged(evidence_of_listing(entry, 1.0)) == (
        {"function_calling", "vision"},
        {"json_mode", "json_schema"},
    )


def test_structured_outputs_without_a_response_format_are_json_all_the_same():
    entry = {"supported_parameters": ["structured_outputs"]}

    assert judged(evidence_of_listing(entry, 1.0))[0] == {"json_mode", "json_schema"}


@pytest.mark.parametrize(
    ("entry", "window"),
    [
        (OPENROUTER, 128000),
        (OLLAMA, 131072),
        (VLLM, 32768),
        (LLAMA_CPP, 2048),
        ({"meta": {"n_ctx_train": 8192}}, 8192),
        ({"meta": None, "context_length": None}, None),
        ({"max_model_len": True}, None),
        ({}, None),
    ],
)
def test_the_window_is_read_where_each_server_writes_it(entry: dict[str, Any], window: int | None):
    assert listed_window(entry) == window


@pytest.mark.parametrize("read", [lambda e: evidence_of_listing(e, 1.0), listed_window])
def test_an_entry_that_is_none_is_refused(read: Any):
    with pytest.raises(InvalidRequestError, match="is a mapping") as caught:
        read(["gpt-4o"])

    assert caught.value.param == "listing"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
FIELDS = (
    "architecture",
    "capabilities",
    "context_length",
    "json_mode",
    "max_model_len",
    "meta",
    "model_info",
    "supported_parameters",
)


@given(st.dictionaries(st.sampled_from(FIELDS), ANYTHING))
def test_a_field_of_another_shape_says_nothing_and_breaks_nothing(entry: dict[str, Any]):
    assert all(one.source is Source.LISTING for one in evidence_of_listing(entry, 1.0))
    window = listed_window(entry)
    assert window is None or window >= 1


# -- a GGUF file -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metadata", "has", "lacks"),
    [
        (
            {"general.architecture": "llama", "tokenizer.chat_template": "{{ messages }}"},
            TEXT,
            set(),
        ),
        (
            {"general.architecture": "qwen2", "tokenizer.chat_template": "{% if tools %}"},
            TEXT | {"function_calling"},
            set(),
        ),
        ({"general.architecture": "llama"}, set(), {"chat_completion"}),
        (
            {
                "general.architecture": "nomic-bert",
                "nomic-bert.pooling_type": 1,
                "nomic-bert.attention.causal": False,
            },
            {"embeddings"},
            TEXT,
        ),
        ({"general.architecture": "bert", "bert.pooling_type": 4}, {"rerank"}, {"chat_completion"}),
        (
            {
                "general.architecture": "clip",
                "clip.has_vision_encoder": True,
                "clip.has_audio_encoder": False,
            },
            {"vision"},
            {"audio"},
        ),
        ({}, set(), {"chat_completion"}),
    ],
    ids=["chat", "tools", "base", "encoder", "reranker", "projector", "nothing"],
)
def test_a_header_says_what_its_model_was_trained_for(
    metadata: dict[str, Any], has: set[str], lacks: set[str]
):
    evidence = evidence_of_header(metadata, 1.0)

    assert judged(evidence) == (has, lacks)
    assert {one.source for one in evidence} == {Source.HEADER}
