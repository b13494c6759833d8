"""Segments by the vectors of the embedded engine: trained with it, and served by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator import Orchestrator
from orchestrator.core.model import Model
from orchestrator.core.prices import Price
from tests.cli.command import command_beside
from tests.cli.test_segments import CODE, TRAVEL
from tests.cli.test_segments import written as listed
from tests.config.files import bare, share_model_files, written
from tests.integrations.real_engine import smollm2_file

POOL = """
[residents.small]
file = "smollm2"
context = 2048

[[models]]
name = "terse"
resident = "small"
"""
SERVES = """
[lifecycle]
load = ["embedded:terse"]

[selection]
segmenter = "centroids"
segments = "segments.json"
# Longer than any machine takes: what takes too long is not this test's.
embed_within_s = 50.0
"""


class Parrot(Model):
    """Answers at once, so that the engine only embeds."""

    def __init__(self) -> None:
        super().__init__("parrot", price=Price.free())

    async def generate_response(self, prompt: str, **options: object) -> str:
        return "Hello!"


async def test_the_real_engine_trains_segments_and_requests_are_told_apart_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    smollm2_file()
    bare(monkeypatch, tmp_path)
    share_model_files(tmp_path)
    written(tmp_path, POOL)
    prompts = listed(tmp_path / "prompts.csv", [*CODE, *TRAVEL])
    words = ("--embedding-model", "terse", "--segments", "3", "--out", "segments.json", "--json")
    ran = await command_beside("segments", "train", prompts, *words)
    assert ran.code == 0, ran.stderr

    file = written(tmp_path, SERVES + POOL)
    found = {}
    async with Orchestrator.from_config(file, models=[Parrot()]) as orchestrator:
        await orchestrator.load_model("terse")
        for segment in ran.json["segments"]:
            result = await orchestrator.generate(segment["example"], model="parrot")
            found[segment["segment"]] = orchestrator.decision(result.decision_id).segment
        calls = orchestrator.get_model_statistics()["embedded:terse"]["ok"]
        told_apart = orchestrator.told_apart

    assert ran.json["embedding_model"] == "embedded:terse"
    assert sum(segment["prompts"] for segment in ran.json["segments"]) == 7
    assert found == {segment: segment for segment in found}
    assert calls == len(found) == 3
    assert told_apart is not None
    assert (told_apart.found, told_apart.missed, told_apart.failure) == (3, 0, None)
