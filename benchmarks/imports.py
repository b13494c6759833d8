"""What it takes to get going: the import alone, then the first call, in a bare interpreter."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Final

from benchmarks.harness import Benchmark, Samples, Setting

benchmark = Benchmark("imports", "Import and first call", baseline="aiohttp", needs_upstream=True)

_PROGRAM: Final = """
import time
begun = time.perf_counter()
{imports}
imported = time.perf_counter()
import json, sys
modules = set(sys.modules)
{call}
called = time.perf_counter()
packages = {{m.partition(".")[0] for m in modules}} - set(sys.stdlib_module_names)
print(json.dumps({{
    "import, ms": (imported - begun) * 1e3,
    "and first call, ms": (called - begun) * 1e3,
    "modules": len(modules),
    "modules after the call": len(sys.modules),
    "imports": " ".join(sorted(p for p in packages if not p.startswith("_"))),
}}))
"""
_ASK: Final = '{"model": "mock", "messages": [{"role": "user", "content": "hello"}]}'


@benchmark.contender("aiohttp")
def aiohttp(setting: Setting) -> Samples:
    """The client and a first post."""
    return _start(
        "import aiohttp, asyncio",
        f"""
async def main():
    async with aiohttp.ClientSession() as session:
        async with session.post("{setting.upstream}/chat/completions", json={_ASK}) as response:
            await response.json()
asyncio.run(main())
""",
    )


@benchmark.contender("orchestrator")
def orchestrator(setting: Setting) -> Samples:
    """The library, and a first answer over HTTP."""
    return _start(
        "import orchestrator, asyncio",
        f"""
async def main():
    model = orchestrator.OpenAICompatibleModel("one", "mock", "{setting.upstream}", "sk-mock")
    async with orchestrator.Orchestrator([model]) as engine:
        await engine.generate("hello")
asyncio.run(main())
""",
    )


@benchmark.contender("openai", is_peer=True)
def openai(setting: Setting) -> Samples:
    """OpenAI's own client and a first completion."""
    return _start(
        "from openai import AsyncOpenAI\nimport asyncio",
        f"""
async def main():
    async with AsyncOpenAI(base_url="{setting.upstream}", api_key="sk-mock") as client:
        await client.chat.completions.create(**{_ASK})
asyncio.run(main())
""",
    )


@benchmark.contender("litellm", is_peer=True)
def litellm(setting: Setting) -> Samples:
    """LiteLLM's library and a first completion."""
    return _start(
        "import litellm, asyncio",
        f"""
asyncio.run(litellm.acompletion(
    **{_ASK} | {{"model": "openai/mock"}}, api_base="{setting.upstream}", api_key="sk-mock"
))
""",
    )


def _start(imports: str, call: str) -> Samples:
    """Run it in an interpreter that has imported nothing yet."""
    program = _PROGRAM.format(imports=imports, call=call)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    found: Samples = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    benchmark.main()
