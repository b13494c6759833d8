from __future__ import annotations

import pytest

from orchestrator.core.capabilities import CAPABILITIES
from orchestrator.core.model_types import TEXT_TYPES, ModelType, types_served_by

NAMES = {
    "TEXT_SMALL": "text:small",
    "TEXT_MEDIUM": "text:medium",
    "TEXT_LARGE": "text:large",
    "TEXT_EMBEDDING": "text:embedding",
    "IMAGE_GENERATION": "image:generation",
    "IMAGE_ANALYSIS": "image:analysis",
    "SPEECH_TO_TEXT": "speech:to:text",
    "TEXT_TO_SPEECH": "text:to:speech",
    "CODE_GENERATION": "code:generation",
    "CLASSIFICATION": "classification",
    "RERANK": "rerank",
}


@pytest.mark.parametrize(("name", "value"), NAMES.items())
def test_a_type_is_its_text(name: str, value: str):
    assert ModelType(value) is ModelType[name]
    assert ModelType[name] == value
    assert str(ModelType[name]) == f"{ModelType[name]}" == value


def test_no_type_is_without_a_test():
    assert {t.name for t in ModelType} == set(NAMES)


def test_a_text_model_without_a_size_serves_all_three():
    assert types_served_by(frozenset({"chat_completion"})) == set(TEXT_TYPES)


def test_each_capability_brings_its_own_kinds_of_work():
    assert types_served_by(frozenset({"embeddings", "vision"})) == {
        ModelType.TEXT_EMBEDDING,
        ModelType.IMAGE_ANALYSIS,
    }


def test_some_capabilities_are_no_kind_of_work_by_themselves():
    assert types_served_by(frozenset({"streaming", "json_mode", "function_calling"})) == set()


def test_more_capabilities_never_serve_less():
    every = types_served_by(frozenset(CAPABILITIES))

    assert all(types_served_by(frozenset({name})) <= every for name in CAPABILITIES)
