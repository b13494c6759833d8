from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.lifecycle.evidence import Source, holding, joined
from orchestrator.lifecycle.name_patterns import FAMILIES, SPECIALISTS, evidence_of_name

CHAT = {"text_generation", "chat_completion", "streaming"}
TOOLS = CHAT | {"function_calling"}
JSON = TOOLS | {"json_mode"}
SCHEMA = JSON | {"json_schema"}

NAMES: dict[str, set[str]] = {
    "gpt-3.5-turbo": JSON,
    "gpt-4": TOOLS,
    "gpt-4-0613": TOOLS,
    "gpt-4-turbo-2024-04-09": JSON | {"vision"},
    "gpt-4o-mini": SCHEMA | {"vision"},
    "gpt-4.1-nano": SCHEMA | {"vision"},
    "gpt-5-mini": SCHEMA | {"vision"},
    "openai/gpt-4o": SCHEMA | {"vision"},
    "o3-mini": SCHEMA,
    "o4-mini": SCHEMA | {"vision"},
    "gpt-4o-transcribe": {"speech_to_text"},
    "whisper-large-v3": {"speech_to_text"},
    "gpt-4o-mini-tts": {"text_to_speech"},
    "tts-1-hd": {"text_to_speech"},
    "gpt-image-1": {"image_generation"},
    "omni-moderation-latest": {"moderation"},
    "llama-guard3:8b": {"moderation"},
    "text-embedding-3-small": {"embeddings"},
    "nomic-embed-text": {"embeddings"},
    "Qwen3-Embedding-0.6B": {"embeddings"},
    "BAAI/bge-m3": {"embeddings"},
    "intfloat/multilingual-e5-large": {"embeddings"},
    "BAAI/bge-reranker-v2-m3": {"rerank"},
    "claude-sonnet-4-5": TOOLS | {"vision"},
    "gemini-2.5-flash": SCHEMA | {"vision", "audio"},
    "mistral-large-latest": SCHEMA,
    "codestral-latest": {"code_generation"},
    "deepseek-chat": JSON,
    "command-r-plus": JSON,
    "gpt-oss:20b": SCHEMA,
    "llama3.1:8b": TOOLS,
    "meta-llama/Llama-3.1-8B": set(),
    "meta-llama/Llama-3.2-11B-Vision-Instruct": TOOLS | {"vision"},
    "Qwen/Qwen2.5-7B": set(),
    "Qwen/Qwen2.5-7B-Instruct": TOOLS,
    "qwen2.5-coder:7b": {"code_generation"},
    "Qwen/Qwen2.5-VL-7B-Instruct": TOOLS | {"vision"},
    "qwen3-vl:8b": CHAT | {"vision"},
    "llava:13b": CHAT | {"vision"},
    "SmolLM2-135M-Instruct": CHAT,
    "google/gemma-2-9b-it": CHAT,
    "my-own-model": set(),
    "commander-7b": set(),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_suggests_what_its_family_can_do(name: str):
    assert holding(joined(evidence_of_name(name, 3.0))) == NAMES[name]


@pytest.mark.parametrize("line", [*SPECIALISTS, *FAMILIES])
def test_no_line_of_the_table_is_idle(line):
    told = [one.detail for name in NAMES for one in evidence_of_name(name, 0.0)]

    assert any(detail.endswith(f"is like {line.pattern!r}") for detail in told)


def test_a_name_is_a_guess_with_its_date():
    (one, *_) = evidence_of_name("llava:13b", 3.0)

    assert (one.source, one.at, one.present) == (Source.NAME, 3.0, True)
    assert "llava:13b" in one.detail


@given(st.text(max_size=60))
def test_any_name_may_be_asked_about(name: str):
    evidence_of_name(name, 0.0)
