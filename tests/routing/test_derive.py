from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.capabilities import capability_names
from orchestrator.core.params import EmbeddingParams, OwnParams, TextGenerationParams
from orchestrator.core.requirements import ANYTHING
from orchestrator.core.tokens import estimate_message_tokens, estimate_tokens
from orchestrator.routing.derive import Size, derived, size_of

TOOL: Any = {"type": "function", "function": {"name": "f", "parameters": {}}}
IMAGE: Any = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
AUDIO: Any = {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}


def text(*parts: Any, **options: Any) -> TextGenerationParams:
    content: Any = list(parts) if parts else "hello"
    return TextGenerationParams(messages=[{"role": "user", "content": content}], **options)


def demanded(params: Any, **options: Any) -> set[str]:
    return set(capability_names(derived(params, **options).capabilities))


@pytest.mark.parametrize(
    ("params", "capability", "origin"),
    [
        (text(tools=[TOOL]), "function_calling", "request: tools"),
        (text(tools=[TOOL], tool_choice="required"), "function_calling", "request: tools"),
        (
            text(response_format={"type": "json_object"}),
            "json_mode",
            "request: response_format json_object",
        ),
        (
            text(response_format={"type": "json_schema", "json_schema": {}}),
            "json_schema",
            "request: response_format json_schema",
        ),
        (text({"type": "text", "text": "what is it?"}, IMAGE), "vision", "request: image part"),
        (text(AUDIO), "audio", "request: audio part"),
    ],
)
def test_a_request_demands_what_it_needs_and_says_why(params: Any, capability: str, origin: str):
    assert demanded(params) == {"text_generation", capability}
    assert derived(params).origins == (
        ("text_generation", "request: text"),
        (capability, origin),
    )


def test_a_stream_demands_streaming():
    assert demanded(text(), stream=True) == {"text_generation", "streaming"}


@pytest.mark.parametrize(
    "params",
    [
        text(),
        text(tools=[]),
        text(tools=[TOOL], tool_choice="none"),
        text(response_format={"type": "text"}),
        text({"type": "text", "text": "hi"}),
        TextGenerationParams(prompt="image_url", temperature=1.0),
    ],
)
def test_a_plain_request_demands_nothing_but_text(params: TextGenerationParams):
    assert demanded(params) == {"text_generation"}


def test_an_image_anywhere_in_the_conversation_counts():
    params = TextGenerationParams(
        messages=[
            {"role": "user", "content": [IMAGE]},
            {"role": "assistant", "content": None},
            {"role": "user", "content": "and now?"},
        ]
    )

    assert demanded(params) == {"text_generation", "vision"}


def test_vectors_demand_embeddings_and_work_of_the_users_own_nothing():
    assert demanded(EmbeddingParams(input="a")) == {"embeddings"}
    assert derived(OwnParams(value=1)) is ANYTHING


@given(st.text(), st.none() | st.text(), st.none() | st.integers(1, 10_000))
def test_a_window_has_to_hold_the_whole_prompt_and_the_answer(
    prompt: str, system: str | None, max_tokens: int | None
):
    params = TextGenerationParams(prompt=prompt, system_prompt=system, max_tokens=max_tokens)

    size = size_of(params)

    assert size.prompt == size.longest == estimate_message_tokens(params.conversation())
    assert size.output == max_tokens
    assert size.window == size.prompt + (max_tokens or 0)


def test_tools_count_as_part_of_the_prompt():
    assert size_of(text(tools=[TOOL])).prompt > size_of(text()).prompt


@given(st.lists(st.text(min_size=1), min_size=1))
def test_of_several_texts_each_has_to_fit_by_itself(texts: list[str]):
    size = size_of(EmbeddingParams(input=texts))

    assert size.prompt == sum(map(estimate_tokens, texts))
    assert size.window == max(map(estimate_tokens, texts))
    assert size.output == 0


def test_a_request_of_unknown_size_is_taken_for_a_common_one():
    assert size_of(OwnParams(value=1)) == Size(750, None, 0)
    assert Size().window == 0


def test_where_a_size_comes_from_is_told():
    assert size_of(text()).origin == "request: prompt"
    assert size_of(text(max_tokens=5)).origin == "request: prompt + max_tokens"
