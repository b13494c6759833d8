"""Ask a small model on this machine; no key is needed.

First: `orchestrator models get smollm2`.
"""

import asyncio
from pathlib import Path

from orchestrator import Orchestrator


async def main() -> None:
    async with Orchestrator.from_config(Path(__file__).with_name("smollm2.toml")) as orchestrator:
        result = await orchestrator.generate("What is the capital of France?", max_cost=0.01)
        print(result.text)
        print(result.model, result.cost_usd, result.latency_s)
        await orchestrator.feedback(result.decision_id, quality=float("Paris" in result.text))


asyncio.run(main())
