"""The engine of a model is killed in the middle of an answer, and the caller does not notice.

First: `orchestrator models get smollm2`.
"""

import asyncio
import os
import signal
from typing import Any

from orchestrator import EmbeddedModel, Model, Orchestrator, PrioritySelector
from orchestrator.core.events import CallStarted, ModelLoaded, ProcessExited
from orchestrator.integrations.embedded import embedded_resident
from orchestrator.integrations.model_files import find_model_file


class Backup(Model):
    """Knows little, but is always there."""

    async def generate_response(self, prompt: str, **options: Any) -> str:
        return "Ask me again later."


async def main() -> None:
    engine = embedded_resident("smollm2", find_model_file("smollm2"))
    models = [EmbeddedModel("smollm2", engine, priority=1), Backup("backup")]
    async with Orchestrator(models, selector=PrioritySelector()) as orchestrator:
        pids: list[int] = []
        orchestrator.on(ModelLoaded, lambda event: pids.append(event.pid))
        orchestrator.on(ProcessExited, lambda event: print("exit code", event.exit_code))
        await orchestrator.load_model("smollm2")

        def kill_soon(event: CallStarted) -> None:
            if event.model == "embedded:smollm2":
                loop = asyncio.get_running_loop()
                loop.call_later(0.2, os.kill, pids[-1], signal.SIGKILL)

        orchestrator.on(CallStarted, kill_soon)
        result = await orchestrator.generate("Tell me a long story.", max_tokens=400)
        for attempt in result.attempts:
            print(attempt.model, "failed" if attempt.error else "answered")
        print(result.text)


asyncio.run(main())
