from __future__ import annotations

from typing import Any

from orchestrator import ExperimentPlan
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
