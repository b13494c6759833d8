"""Say how good answers were, and the better arm is asked more and more often.

First: `orchestrator models get smollm2`.
"""

import asyncio
from collections import Counter

from orchestrator import EmbeddedModel, Orchestrator
from orchestrator.integrations.embedded import embedded_resident
from orchestrator.integrations.model_files import find_model_file

CAPITALS = {"France": "Paris", "Japan": "Tokyo", "Italy": "Rome", "Spain": "Madrid"}
TEACHER = "You are a helpful teacher. Give short, simple, correct answers."
PIRATE = "You are a pirate who loves to chat about the sea."


async def main() -> None:
    engine = embedded_resident("smollm2", find_model_file("smollm2"))
    models = [
        EmbeddedModel("teacher", engine, defaults={"system_prompt": TEACHER, "max_tokens": 12}),
        EmbeddedModel("pirate", engine, defaults={"system_prompt": PIRATE, "max_tokens": 12}),
    ]
    async with Orchestrator(models, seed=1) as orchestrator:
        asked: Counter[str] = Counter()
        for country in list(CAPITALS) * 6:
            result = await orchestrator.generate(f"What is the capital of {country}?")
            quality = float(CAPITALS[country] in result.text)
            await orchestrator.feedback(result.decision_id, quality=quality)
            asked[result.model] += 1
        for model, sums in orchestrator.get_model_statistics().items():
            right = sums["quality"] / max(sums["n_quality"], 1)
            print(f"{model}: asked {asked[model]} times, {right:.0%} right")


asyncio.run(main())
