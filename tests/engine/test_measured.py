"""A profile and probes of a real model, in the embedded engine."""

from __future__ import annotations

import pytest

from orchestrator import EmbeddedModel, Orchestrator
from orchestrator.engine.detection import Detector
from orchestrator.engine.profiling import Profiler
from orchestrator.integrations.gguf import read_gguf
from orchestrator.lifecycle.evidence import Source
from tests.integrations.real_engine import smollm2, smollm2_file


async def test_a_real_model_is_measured_and_seen_to_do_what_it_can():
    resident = smollm2(context=4096)
    model = EmbeddedModel("smollm2", resident, defaults={"temperature": 0})
    async with Orchestrator([model]) as orchestrator:
        around = orchestrator._parts, orchestrator._asking, orchestrator._say_if_wanted
        profile = await Profiler(orchestrator, *around).profile("smollm2", n=3, max_cost=0.0)
        sums = orchestrator.get_model_statistics()["embedded:smollm2"]
        report = await Detector(orchestrator, *around).detect(
            "smollm2", header=read_gguf(smollm2_file()).metadata, probe=True
        )

    assert (profile.calls, profile.success_rate, profile.stopped) == (3, 1.0, None)
    assert profile.first_token_s is not None
    assert profile.latency_s is not None
    assert 0 < profile.first_token_s.p50 < profile.latency_s.p50
    assert profile.tokens_per_s == pytest.approx(sums["tokens_out"] / sums["seconds"])
    assert sums["calls"] == sums["n_first"] == 3

    seen = {one.capability: one for one in report.evidence if one.source is Source.PROBE}
    able = {"chat_completion", "streaming", "json_schema", "function_calling", "embeddings"}
    assert able <= {name for name, one in seen.items() if one.present}
    assert not seen["vision"].present, "it has no projector"
    assert report.capabilities == resident.capabilities
