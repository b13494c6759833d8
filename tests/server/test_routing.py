from __future__ import annotations

from typing import Any

import numpy as np

from orchestrator import ExperimentPlan
from orchestrator.routing.segments import ByEmbedding
from orchestrator.testing.openai_wire import DEFAULT_DIMENSIONS, embedding
from orchestrator.testing.scripted import ScriptedModel
from tests.server.serving import Door, door_to

PLAN = ExperimentPlan(name="try", variants=("a", "b"))


async def told(door: Door, context: dict[str, Any], model: str = "try") -> str:
    reply = await door.chat(model=model, orchestrator={"context": context})
    text: str = reply.json["choices"][0]["message"]["content"]
    return text


async def test_an_experiment_is_a_model_to_clients_and_units_keep_their_variants():
    models = [ScriptedModel(name, [name], "p") for name in "ab"]
    async with door_to(*models, engine={"experiments": [PLAN]}) as door:
        first, again = [[await told(door, {"unit": n}) for n in range(12)] for _ in range(2)]
        listed = await door.get("/v1/models/try")

    assert first == again
    assert set(first) == {"a", "b"}
    assert listed.json["id"] == "try"


async def test_a_session_of_a_client_stays_with_its_model():
    models = ScriptedModel("a", [ConnectionError("down"), "a"], "p"), ScriptedModel("b", ["b"], "p")
    async with door_to(*models, engine={"selector": "priority"}) as door:
        found = [await told(door, {"session": s}, "auto") for s in ("s", "s", "t")]

    assert found == ["b", "b", "a"]


async def test_a_clients_requests_are_told_apart_by_their_vectors():
    code, travel = "a python function", "a night train"
    points = np.array([embedding(text, DEFAULT_DIMENSIONS) for text in (code, travel)])
    by = ByEmbedding("e:embedder", points)
    models = (
        ScriptedModel("a", ["yes"], "p"),
        ScriptedModel("embedder", (), "e", capabilities=["embeddings"]),
    )
    # Longer than any machine takes: what takes too long is not this test's.
    async with door_to(*models, engine={"segmenter": by, "embed_within_s": 30.0}) as door:

        async def segment(text: str, **fields: Any) -> str:
            reply = await door.chat(messages=[{"role": "user", "content": text}], **fields)
            decision = door.orchestrator.decision(reply.headers["X-Orchestrator-Decision-Id"])
            return decision.segment

        found = [await segment(code), await segment(travel, stream=True)]
        named = await segment(code, orchestrator={"context": {"task": "art"}})
        reply = await door.post(
            "/api/v1/explain", {"messages": [{"role": "user", "content": code}]}
        )

    assert [*found, named] == [f"{by.version}:0", f"{by.version}:1", "art"]
    assert reply.json["segment"] == found[0]
