"""What a completion costs the caller's process, against a bare POST to the same server.

Sequential calls, then 64 tasks that call without pause; whole answers, then streams of 20 chunks.
Wall time per call holds the mock provider's own part, CPU time is this process's alone.
"""

from __future__ import annotations

import asyncio
import importlib
import itertools
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from benchmarks.harness import Benchmark, Samples, Setting
from benchmarks.upstream import PROMPTS, STREAM_TEXT, UNARY_TEXT

_TASKS: Final = 64
_PARAMS: Final[dict[str, Any]] = {"temperature": 0.2, "max_tokens": 128}
_ARMS: Final = ("one", "two", "three")
_prompts: Final = itertools.cycle(PROMPTS)

benchmark = Benchmark(
    "completion", "One completion, us", baseline="aiohttp and orjson", needs_upstream=True
)
Ask: TypeAlias = Callable[[], Awaitable[str]]


@benchmark.contender("aiohttp and orjson")
async def bare(setting: Setting) -> Samples:
    """Post and parse, and nothing else."""
    import aiohttp
    import orjson

    url = f"{setting.upstream}/chat/completions"
    headers = {"Authorization": "Bearer sk-mock", "Content-Type": "application/json"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        def body(**facts: Any) -> bytes:
            asked = {"model": "mock", "messages": next(_prompts), **_PARAMS, **facts}
            return orjson.dumps(asked)

        async def whole() -> str:
            async with session.post(url, data=body(), headers=headers) as response:
                answer = orjson.loads(await response.read())
                return str(answer["choices"][0]["message"]["content"])

        async def streamed() -> str:
            texts: list[str] = []
            async with session.post(url, data=body(stream=True), headers=headers) as response:
                async for line in response.content:
                    if line.startswith(b"data: {"):
                        choices = orjson.loads(line[6:])["choices"]
                        texts += [choice["delta"].get("content") or "" for choice in choices]
            return "".join(texts)

        return await _measured(whole, streamed, setting)


@benchmark.contender("orchestrator")
async def orchestrator(setting: Setting) -> Samples:
    """Choose among three models, call, and take note of the outcome."""
    from orchestrator import OpenAICompatibleModel, Orchestrator, Price

    models = [
        OpenAICompatibleModel(
            name, "mock", setting.upstream, "sk-mock", price=Price.per_1k("0.001", "0.002")
        )
        for name in _ARMS
    ]
    async with Orchestrator(models) as engine:

        async def whole() -> str:
            return (await engine.generate(next(_prompts), **_PARAMS)).text

        async def streamed() -> str:
            async with engine.stream(next(_prompts), **_PARAMS) as stream:
                return "".join([chunk.text async for chunk in stream])

        return await _measured(whole, streamed, setting)


@benchmark.contender("openai", is_peer=True)
async def openai(setting: Setting) -> Samples:
    """OpenAI's own client, which chooses nothing."""
    client = importlib.import_module("openai").AsyncOpenAI(
        base_url=setting.upstream, api_key="sk-mock"
    )
    async with client:
        return await _measured(*_asks(client.chat.completions.create, "mock"), setting)


@benchmark.contender("litellm.Router", is_peer=True)
async def litellm(setting: Setting) -> Samples:
    """Choose among three deployments and call."""
    deployments = [
        {
            "model_name": "group",
            "litellm_params": {
                "model": f"openai/{name}",
                "api_base": setting.upstream,
                "api_key": "sk-mock",
            },
        }
        for name in _ARMS
    ]
    router = importlib.import_module("litellm").Router(model_list=deployments)
    return await _measured(*_asks(router.acompletion, "group"), setting)


def _asks(create: Callable[..., Awaitable[Any]], model: str) -> tuple[Ask, Ask]:
    """Return both kinds of call through a client whose answers look as OpenAI's."""

    async def whole() -> str:
        answer = await create(model=model, messages=next(_prompts), **_PARAMS)
        return str(answer.choices[0].message.content)

    async def streamed() -> str:
        chunks = await create(model=model, messages=next(_prompts), stream=True, **_PARAMS)
        texts = [c.delta.content or "" async for chunk in chunks for c in chunk.choices]
        return "".join(texts)

    return whole, streamed


# -- measuring ---------------------------------------------------------------------------------


async def _measured(whole: Ask, streamed: Ask, setting: Setting) -> Samples:
    """Check the answers, then time all four ways of asking in turn, window by window."""
    assert await whole() == UNARY_TEXT
    assert await streamed() == STREAM_TEXT
    ways: dict[str, tuple[Ask, int]] = {
        "whole": (whole, 1),
        f"whole x{_TASKS}": (whole, _TASKS),
        "stream": (streamed, 1),
        f"stream x{_TASKS}": (streamed, _TASKS),
    }
    window_s, n_windows = (0.002, 1) if setting.quick else (0.2, 7)
    for ask, n_tasks in ways.values():  # open every connection, fill every cache
        await _window(ask, n_tasks, window_s)
    windows = [
        {way: await _window(*ask, window_s) for way, ask in ways.items()} for _ in range(n_windows)
    ]
    found: Samples = {}
    for way in ways:
        found[f"{way}, us"] = statistics.median(window[way][0] for window in windows)
        found[f"{way} CPU, us"] = statistics.median(window[way][1] for window in windows)
    return found


async def _window(ask: Ask, n_tasks: int, seconds: float) -> tuple[float, float]:
    """Return the microseconds per call, on the wall and of CPU, of so many tasks."""
    calls = 0
    begun, cpu = time.perf_counter(), time.process_time()
    ends = begun + seconds

    async def work() -> None:
        nonlocal calls
        while True:
            await ask()
            calls += 1
            if time.perf_counter() >= ends:
                return

    if n_tasks == 1:
        await work()
    else:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(n_tasks):
                tasks.create_task(work())
    took, used = time.perf_counter() - begun, time.process_time() - cpu
    return took / calls * 1e6, used / calls * 1e6


if __name__ == "__main__":
    benchmark.main()
