from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from orchestrator.routing.segments import ByCentroid, ByKind, ByText
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
