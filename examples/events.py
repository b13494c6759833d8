"""Everything that happens is a typed event: subscribe to the types you want."""

import asyncio
from typing import Any

from orchestrator import Model, Orchestrator, PrioritySelector
from orchestrator.core.events import CallFailed, FailedOver, ModelUsed


class Fickle(Model):
    """Fails every call."""

    async def generate_response(self, prompt: str, **options: Any) -> str:
        raise ConnectionError("nobody is at home")


class Steady(Model):
    """Answers every call."""

    async def generate_response(self, prompt: str, **options: Any) -> str:
        return "at your service"


async def main() -> None:
    models = [Fickle("fickle", priority=1), Steady("steady")]
    async with Orchestrator(models, selector=PrioritySelector()) as orchestrator:
        # A callback runs inside the publisher, so it should be quick.
        orchestrator.on(FailedOver, lambda event: print(event.from_model, "->", event.to_model))
        # A subscription has a buffer, and is read whenever there is time.
        with orchestrator.events.subscribe(CallFailed, ModelUsed) as events:
            await orchestrator.generate("Hello")
            async for event in events:
                print(event.name, event.model, f"{event.latency_s:.3f} s")
                if isinstance(event, ModelUsed):
                    break


asyncio.run(main())
