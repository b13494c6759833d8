from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.capabilities import (
    CAPABILITIES,
    ModelCapabilities,
    capability_mask,
    capability_names,
)
from orchestrator.core.errors import UnknownCapabilityError

some = st.frozensets(st.sampled_from(CAPABILITIES))


@given(some)
def test_a_mask_holds_exactly_its_names(names: frozenset[str]):
    assert capability_names(capability_mask(names)) == names


@given(some, some)
def test_masks_join_and_intersect_as_sets_do(a: frozenset[str], b: frozenset[str]):
    assert capability_mask(a) | capability_mask(b) == capability_mask(a | b)
    assert capability_mask(a) & capability_mask(b) == capability_mask(a & b)


def test_every_capability_has_a_bit_of_its_own_within_64():
    masks = [capability_mask([name]) for name in CAPABILITIES]

    assert len(set(masks)) == len(masks)
    assert all(mask.bit_count() == 1 and mask < 1 << 64 for mask in masks)


@given(some, st.none() | st.integers(1))
def test_the_keywords_and_the_names_say_the_same(names: frozenset[str], max_tokens: int | None):
    declared = ModelCapabilities.of(names, max_tokens)

    assert declared.names == names
    assert declared.mask == capability_mask(names)
    assert declared.max_tokens == max_tokens


def test_the_keywords_of_python_users_are_all_there():
    declared = ModelCapabilities(
        text_generation=True,
        code_generation=True,
        function_calling=True,
        vision=True,
        audio=True,
        max_tokens=4096,
        supports_streaming=True,
    )

    assert declared.names == {
        "text_generation",
        "code_generation",
        "function_calling",
        "vision",
        "audio",
        "streaming",
    }


def test_there_is_a_keyword_for_every_capability():
    keywords = {f.name for f in fields(ModelCapabilities)} - {"max_tokens"}

    assert keywords - {"supports_streaming"} == set(CAPABILITIES) - {"streaming"}


def test_an_unknown_capability_is_refused_with_the_nearest_known_one():
    with pytest.raises(UnknownCapabilityError, match="did you mean 'function_calling'"):
        capability_mask(["function_caling"])


def test_a_capability_like_no_other_is_refused_with_the_whole_list():
    with pytest.raises(UnknownCapabilityError, match="text_generation, chat_completion"):
        capability_mask(["xyz"])


@pytest.mark.parametrize("bad", ["vision", [1], [None], [["vision"]]])
def test_what_is_no_list_of_names_is_refused(bad: object):
    with pytest.raises(UnknownCapabilityError):
        capability_mask(bad)  # type: ignore[arg-type]
