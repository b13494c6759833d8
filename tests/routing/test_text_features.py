from __future__ import annotations

import doctest
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import ConfigurationError
from orchestrator.core.params import EmbeddingParams, OwnParams, Params, TextGenerationParams
from orchestrator.core.tokens import estimate_tokens
from orchestrator.routing import text_features as module
from orchestrator.routing.text_features import excerpt, text_features, text_of, word_features

texts = st.text(max_size=200)
sizes = st.integers(1, 64)


def test_the_example_gives_what_it_says():
    assert doctest.testmod(module).failed == 0


@given(texts, sizes)
def test_features_have_length_1_or_are_all_0(text: str, n: int):
    found = word_features(text, n)

    assert found.shape == (n,)
    assert found.dtype == np.float64
    assert not found.any() or found @ found == pytest.approx(1.0)


@given(st.lists(st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True), max_size=20), st.randoms())
def test_order_case_and_repetition_do_not_matter(words: list[str], random: Any):
    again = [word.upper() for word in words] + words[:3]
    random.shuffle(again)

    assert (word_features(" ".join(words)) == word_features(", ".join(again))).all()


def test_every_process_finds_the_same():
    program = (
        "from orchestrator.routing.text_features import word_features;"
        "print(word_features('Wie weit ist es bis zum Mond?', 8).tolist())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }

    assert found == {f"{word_features('Wie weit ist es bis zum Mond?', 8).tolist()}\n"}


def test_hashes_spread_over_all_places_and_both_signs():
    counted = np.array([word_features(f"word{n}", 32) for n in range(3_200)])

    # 100 words are expected at each place and sign pair of 64: 50, with a deviation of 7.
    for sign in (1, -1):
        assert (np.abs((counted == sign).sum(axis=0) - 50) < 5 * 7).all()


def test_a_composed_and_a_decomposed_letter_are_one():
    assert (word_features("caf\u00e9") == word_features("cafe\u0301")).all()


def test_where_no_spaces_part_words_each_character_counts():
    near, far = word_features("東京の天気", 256), word_features("天気は東京", 256)

    assert near @ far == pytest.approx(0.8)


def test_a_long_text_is_read_at_both_ends():
    many = "a " * 5_000

    read = word_features(f"translate {many} unread {many} french", 256)

    assert (read == word_features("translate a french", 256)).all()


@pytest.mark.parametrize("nothing", ["", " ?! ", "\ud800"])
def test_a_text_without_words_says_nothing(nothing: str):
    assert not word_features(nothing).any()


def test_there_is_at_least_one_feature():
    with pytest.raises(ConfigurationError, match="at least 1, not 0"):
        word_features("text", 0)


PARTS: Any = [
    {"type": "image_url", "image_url": {"url": "data:"}},
    {"type": "text", "text": "What"},
    {"type": "text", "text": "is it?"},
]


@pytest.mark.parametrize(
    ("params", "text"),
    [
        (None, ""),
        (TextGenerationParams(prompt="hi", system_prompt="Be brief."), "hi"),
        (TextGenerationParams(messages=[{"role": "system", "content": "Be brief."}]), ""),
        (TextGenerationParams(messages=[{"role": "user", "content": PARTS}]), "What\nis it?"),
        (TextGenerationParams(messages=[{"role": "user", "content": ""}]), ""),
        (
            TextGenerationParams(
                messages=[
                    {"role": "user", "content": "first"},
                    {"role": "user", "content": "second"},
                    {"role": "assistant", "content": "answer"},
                ]
            ),
            "second",
        ),
        (EmbeddingParams(input=["one", "two"]), "one\ntwo"),
        (OwnParams(value="text"), "text"),
        (OwnParams(value=7), ""),
    ],
)
def test_a_request_is_about_what_its_user_said_last(params: Params | None, text: str):
    assert text_of(params) == text
    assert (text_features(params) == word_features(text)).all()


@given(st.text(max_size=2_000), st.integers(2, 1_000))
def test_an_excerpt_takes_half_a_window_and_is_the_beginning_and_the_end(text: str, window: int):
    found, n_tokens = excerpt(text, window), window // 2

    if estimate_tokens(text) <= n_tokens:
        assert found == text
    elif len(found) > 3:  # less is never left of a text
        assert estimate_tokens(found) <= n_tokens
        half = len(found) // 2
        assert (found[:half], found[-half:]) == (text[:half], text[-half:])


def test_of_a_book_no_more_is_read_than_of_any_text():
    assert len(excerpt("word " * 1_000_000, 10**9)) < 10_000


def test_a_window_that_is_not_known_is_a_small_one():
    assert excerpt("word " * 1_000, None) == excerpt("word " * 1_000, 512)
