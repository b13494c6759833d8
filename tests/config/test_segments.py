from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from orchestrator import Orchestrator
from orchestrator.routing.segments import ByCentroid, ByEmbedding, ByKind, ByText
from tests.config.files import built, refusal, written

CENTROIDS = '[selection]\nsegmenter = "centroids"\nsegments = "segments.json"\n'


def test_requests_are_not_told_apart_unless_that_is_asked_for(tmp_path: Path):
    assert built(tmp_path, "")["segmenter"] is None


@pytest.mark.parametrize(("name", "kind"), [("kind", ByKind), ("text", ByText)])
def test_a_segmenter_has_a_name(tmp_path: Path, name: str, kind: type[Any]):
    assert type(built(tmp_path, f'[selection]\nsegmenter = "{name}"\n')["segmenter"]) is kind


def test_centroids_are_read_from_beside_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    trained = ByCentroid(np.eye(4))
    (tmp_path / "segments.json").write_bytes(orjson.dumps(trained.to_dict()))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)

    assert built(tmp_path, CENTROIDS)["segmenter"].version == trained.version


@pytest.mark.parametrize("line", ['segmenter = "centroids"', 'segments = "segments.json"'])
def test_centroids_and_their_file_belong_together(tmp_path: Path, line: str):
    assert "belong together" in refusal(tmp_path, f"[selection]\n{line}\n")


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "cannot be read"), ("{", "cannot be read"), ("{}", "these are no segments")],
)
def test_a_file_that_holds_no_segments_is_refused_at_its_place(
    tmp_path: Path, content: str | None, told: str
):
    if content is not None:
        written(tmp_path, content, "segments.json")

    told_whole = refusal(tmp_path, CENTROIDS)

    assert told_whole.startswith("orchestrator.toml: selection.segments: segments.json")
    assert told in told_whole


# -- by an embedding model ---------------------------------------------------------------------

POOL = """
[providers.office]
type = "openai_compatible"
base_url = "http://10.0.0.7:8000/v1"

[[models]]
key = "office:e5"
capabilities = ["embeddings"]

[[models]]
key = "office:llama"
"""


def embedded(folder: Path, model: str, **changes: Any) -> ByEmbedding:
    found = ByEmbedding(model, np.eye(4))
    data = {**found.to_dict(), **changes}
    (folder / "segments.json").write_bytes(orjson.dumps(data))
    return found


def test_centroids_may_rest_on_an_embedding_model_of_the_pool(tmp_path: Path):
    trained = embedded(tmp_path, "office:e5")

    found = built(tmp_path, f"{CENTROIDS}embed_within_s = 0.5\n{POOL}")

    assert isinstance(found["segmenter"], ByEmbedding)
    assert found["segmenter"].version == trained.version
    assert found["embed_within_s"] == 0.5
    Orchestrator(**found)


@pytest.mark.parametrize(
    ("model", "changes", "told"),
    [
        ("office:e4", {}, "it rests on 'office:e4', which is not in the pool"),
        ("office:llama", {}, "it rests on 'office:llama', which does not embed"),
        ("office:e5", {"dimensions": 5}, "the centroids have 4 dimensions, not 5"),
        ("office:e5", {"embedding": 0}, "these segments rest on version 0 of how"),
    ],
)
def test_what_the_pool_cannot_embed_by_is_refused_at_its_place(
    tmp_path: Path, model: str, changes: dict[str, Any], told: str
):
    embedded(tmp_path, model, **changes)

    told_whole = refusal(tmp_path, CENTROIDS + POOL)

    assert told_whole.startswith(f"orchestrator.toml: selection.segments: segments.json: {told}")


def test_the_limit_is_above_0(tmp_path: Path):
    assert "embed_within_s" in refusal(tmp_path, "[selection]\nembed_within_s = 0\n")
