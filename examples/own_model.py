"""Models of your own: subclass `Model`, write `generate_response`, say what it costs and can do."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from orchestrator import Model, Orchestrator, Price


class Shouting(Model):
    """Answers at once, whole or in pieces."""

    async def generate_response(self, prompt: str, **options: Any) -> str:
        return prompt.upper()

    async def stream_response(self, prompt: str, **options: Any) -> AsyncIterator[str]:
        for word in prompt.split():
            yield f"{word.upper()} "


class Database(Model):
    """Connects before its first call, and lets go when the engine ends."""

    async def initialize(self) -> None:
        self.rows = {"capital of France": "Paris"}

    async def generate_response(self, prompt: str, **options: Any) -> str:
        return next(answer for words, answer in self.rows.items() if words in prompt)

    async def cleanup(self) -> None:
        self.rows.clear()


async def main() -> None:
    models = [
        Shouting("shouting", price=Price.free(), quality=0.2),
        Database("database", price=Price.per_1k("0.001", "0.002"), quality=0.9),
    ]
    async with Orchestrator(models) as orchestrator:
        cheap = await orchestrator.generate("What is the capital of France?", max_cost=0)
        print(cheap.model, "says", cheap.text)
        good = await orchestrator.generate(
            "What is the capital of France?", exclude_models=["shouting"]
        )
        print(good.model, "says", good.text)
        async with orchestrator.stream("one word after the other") as stream:
            async for chunk in stream:
                print(chunk.text, end="")
        print(f"\n{stream.model} streams")


asyncio.run(main())
