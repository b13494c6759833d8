from __future__ import annotations

import doctest
from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import ConfigurationError, ModelResponseError
from orchestrator.core.params import TextGenerationParams
from orchestrator.core.requirements import ANYTHING, Requirements
from orchestrator.core.statistics import MAX_SEGMENTS
from orchestrator.routing import segments as module
from orchestrator.routing.derive import derived
from orchestrator.routing.segments import (
    ByCentroid,
    ByEmbedding,
    ByKind,
    ByText,
    Segmenter,
    unit_vector,
)
from orchestrator.routing.text_features import word_features

CODE = "write a python function that reverses a list of integers"
TRAVEL = "which trains run from Paris to Rome during the night"
BY_CENTROID = ByCentroid(np.array([word_features(text, 64) for text in (CODE, TRAVEL)]))
ON_TWO: list[Segmenter] = [ByText(), BY_CENTROID]


def asked(prompt: str) -> TextGenerationParams:
    return TextGenerationParams(prompt=prompt)


def kind(stream: bool = False, **options: Any) -> str | None:
    params = asked("hi").model_copy(update=options)
    return ByKind().segment(params, derived(params, stream=stream))


def test_the_example_gives_what_it_says():
    assert doctest.testmod(module).failed == 0


def test_kinds_differ_by_what_a_request_needs_and_not_by_how_its_answer_comes():
    tools: Any = [{"type": "function", "function": {"name": "f"}}]

    assert kind() == kind(stream=True) == "kind-1:text_generation"
    assert kind(tools=tools) == "kind-1:function_calling+text_generation"
    assert ByKind().segment(None, Requirements.of({"model_type": "video"})) == "kind-1:video"
    assert ByKind().segment(None, ANYTHING) is None


def test_alike_texts_share_a_centroid_that_others_are_not_in():
    found = [
        BY_CENTROID.segment(asked(text), ANYTHING)
        for text in (CODE, f"Please {CODE}!", TRAVEL, f"{TRAVEL}, please?")
    ]

    assert found[0] == found[1] != found[2] == found[3]


def test_untrained_segments_mostly_keep_texts_together_that_share_most_words():
    rng = np.random.default_rng(1)
    prompts = [[f"w{n}" for n in rng.integers(10_000, size=20)] for _ in range(400)]
    segment = ByText(32).segment

    found = [segment(asked(" ".join(words)), ANYTHING) for words in prompts]
    alike = [segment(asked(" ".join([*words[1:], "please"])), ANYTHING) for words in prompts]

    # By chance a 32nd would agree, 13 of them with a deviation of 4.
    assert sum(a == b for a, b in zip(found, alike, strict=True)) > 200
    assert sum(a == b for a, b in pairwise(found)) < 13 + 5 * 4


@pytest.mark.parametrize("segmenter", [*ON_TWO, ByKind()], ids=lambda s: type(s).__name__)
def test_a_segment_begins_with_the_version_of_what_found_it(segmenter: Segmenter):
    needs = Requirements.of({"capabilities": ["vision"]})

    assert str(segmenter.segment(asked(CODE), needs)).startswith(f"{segmenter.version}:")


@pytest.mark.parametrize("segmenter", ON_TWO, ids=lambda s: type(s).__name__)
def test_without_words_there_is_no_telling(segmenter: Segmenter):
    assert segmenter.segment(asked("?"), ANYTHING) is None
    assert segmenter.segment(None, ANYTHING) is None


def test_directions_never_change():
    # Statistics are kept under what they find: other ones need another version.
    found = [ByText(n).segment(asked(CODE), ANYTHING) for n in (2, 32, 1024)]

    assert found == ["text-1.2:1", "text-1.32:22", "text-1.1024:73"]


def test_different_texts_spread_over_all_segments():
    words = [f"w{n}" for n in range(2_000)]
    rng = np.random.default_rng(1)
    by_text = ByText(8)
    found = Counter(
        by_text.segment(asked(" ".join(rng.choice(words, 12))), ANYTHING) for _ in range(2_000)
    )

    assert len(found) == 8
    # An even share is an eighth. Directions are a little uneven, and shares with them.
    assert max(found.values()) < 2_000 / 4


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_centroids_come_back_from_json_as_they_were(k: int, n: int, seed: int):
    centroids = np.random.default_rng(seed).uniform(-1, 1, (k, n))
    found = ByCentroid(centroids)
    again = ByCentroid.from_dict(orjson.loads(orjson.dumps(found.to_dict())))

    assert again.version == found.version
    assert again.to_dict() == found.to_dict()
    for text in (CODE, TRAVEL):
        assert again.segment(asked(text), ANYTHING) == found.segment(asked(text), ANYTHING)


def test_other_centroids_are_another_version():
    version = ByCentroid(np.array([[0.5, 0.0]])).version

    assert version != ByCentroid(np.array([[0.0, 0.5]])).version
    assert version == ByCentroid(np.array([[0.5, -1e-9]])).version


def test_the_nearest_centroid_is_that_by_distance():
    x = word_features("one", 2)
    # The second has the larger product with x and lies farther off.
    found = ByCentroid(np.array([0.9 * x, x + x[::-1]]))

    assert found.segment(asked("one"), ANYTHING) == f"{found.version}:0"


@pytest.mark.parametrize("n", [1, MAX_SEGMENTS + 1])
def test_a_number_of_segments_that_cannot_be_kept_is_refused(n: int):
    with pytest.raises(ConfigurationError, match=f"between 2 and 1,024, not {n}"):
        ByText(n)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ([], "these are no segments"),
        ({}, "these are no segments: KeyError"),
        ({"features": 1, "centroids": [[0.1], [0.1, 0.2]]}, "these are no segments"),
        ({"features": 1, "centroids": [["a"]]}, "these are no segments"),
        ({"features": 1, "centroids": []}, r"not an array of shape \(0,\)"),
        ({"features": 1, "centroids": [0.5]}, r"not an array of shape \(1,\)"),
        ({"features": 1, "centroids": [[0.1]] * 1025}, "1 to 1,024 vectors"),
        ({"features": 1, "centroids": [[2.0]]}, r"numbers in \[-1, 1\]"),
        ({"features": 1, "centroids": [[None]]}, "numbers in"),
        ({"features": 2, "centroids": [[0.5]]}, "version 2 of text features, not 1"),
    ],
)
def test_what_are_no_segments_is_refused(data: Any, told: str):
    with pytest.raises(ConfigurationError, match=told):
        ByCentroid.from_dict(data)


# -- by an embedding model ---------------------------------------------------------------------

EMBEDDED = ByEmbedding("p:e", np.array([[1.0, 0.0], [0.0, 1.0]]))


def test_the_nearest_centroid_to_a_vector_names_its_segment_however_long_it_is():
    assert EMBEDDED.segment([0.9, 0.1]) == EMBEDDED.segment([90, 10]) == f"{EMBEDDED.version}:0"
    assert EMBEDDED.segment([0.1, 0.9]) == f"{EMBEDDED.version}:1"


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_embedded_centroids_come_back_from_json_as_they_were(k: int, n: int, seed: int):
    rng = np.random.default_rng(seed)
    found = ByEmbedding("p:e", rng.uniform(-1, 1, (k, n)))
    again = ByEmbedding.from_dict(orjson.loads(orjson.dumps(found.to_dict())))
    vector = rng.normal(size=n)

    assert (again.version, again.model, again.n_dimensions) == (found.version, "p:e", n)
    assert again.to_dict() == found.to_dict()
    assert again.segment(vector) == found.segment(vector)


def test_another_model_or_other_centroids_are_another_version():
    ones = np.ones((2, 4)) / 2
    versions = {
        ByEmbedding("p:e", ones).version,
        ByEmbedding("p:f", ones).version,
        ByEmbedding("p:e", ones / 2).version,
        ByEmbedding("p:e", ones.reshape(4, 2)).version,
        ByCentroid(ones).version,
    }

    assert len(versions) == 5
    assert ByEmbedding("p:e", ones).version == ByEmbedding("p:e", ones + 1e-9).version


@pytest.mark.parametrize(
    ("vector", "told"),
    [
        ([1.0], r"shape \(1,\), not 2 numbers"),
        ([1.0, 0.0, 0.0], r"shape \(3,\), not 2 numbers"),
        ([[1.0, 0.0]], r"shape \(1, 2\)"),
        ([0.0, 0.0], "of length 0.0"),
        ([1.0, float("nan")], "of length nan"),
        ([1e200, 0.0], "of length inf"),
        ([1.0, "x"], "gave no vector"),
        ([1.0, [2.0]], "gave no vector"),
        (None, "shape"),
    ],
)
def test_what_is_no_vector_of_this_model_is_refused(vector: Any, told: str):
    with pytest.raises(ModelResponseError, match=told) as refused:
        EMBEDDED.segment(vector)

    assert refused.value.model == "p:e"


def test_before_there_are_centroids_a_vector_may_have_any_dimensions():
    assert unit_vector([3, 4], None, "p:e").tolist() == [0.6, 0.8]
    with pytest.raises(ModelResponseError, match=r"shape \(0,\)|length 0"):
        unit_vector([], None, "p:e")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"embedding": 2}, "version 2 of how texts are embedded, not 1"),
        ({"model": None}, "named by its key, not None"),
        ({"dimensions": 3}, "have 2 dimensions, not 3"),
        ({"centroids": [[2.0, 0.0]]}, r"numbers in \[-1, 1\]"),
        ({"centroids": None}, "not an array of shape"),
        ({"centroids": [["a"]]}, "these are no segments"),
    ],
)
def test_what_are_no_segments_of_vectors_is_refused(change: dict[str, Any], told: str):
    with pytest.raises(ConfigurationError, match=told):
        ByEmbedding.from_dict({**EMBEDDED.to_dict(), **change})
