"""An answer as it arrives; failures before its first token go to another model unnoticed.

First: `orchestrator models get smollm2`.
"""

import asyncio
from pathlib import Path

from orchestrator import Orchestrator, StreamInterruptedError


async def main() -> None:
    async with Orchestrator.from_config(Path(__file__).with_name("smollm2.toml")) as orchestrator:
        try:
            async with orchestrator.stream("Tell me about the sea.", max_tokens=60) as stream:
                print(stream.model)
                async for chunk in stream:
                    print(chunk.text, end="", flush=True)
        except StreamInterruptedError as error:
            print(f"\nbroke off after {len(error.partial_text)} characters")
        else:
            result = stream.result
            print(f"\nfirst token after {result.first_token_s:.2f} s, all {result.latency_s:.2f} s")


asyncio.run(main())
