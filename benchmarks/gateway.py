"""What one core of our gateway carries, against a bare pass-through that parses both ways.

The gateway runs in the contender's process, on its CPU; `wrk`, or our own generator where there
is none, loads it from the other, where the mock provider runs as well. We collect garbage as rarely
as `orchestrator serve` does; a second pass-through shows what that alone gives.
"""

from __future__ import annotations

import asyncio
import json
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.harness import HELPER_CPU, Benchmark, Samples, Setting, pinned
from benchmarks.upstream import PROMPTS, STREAM_TEXT, UNARY_TEXT

_CONNECTIONS: Final = 64
_WRK: Final = shutil.which("wrk")
_SCRIPT: Final = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local requests, sent = {}, 0
init = function()
  for body in io.lines("%s") do requests[#requests + 1] = wrk.format(nil, nil, nil, body) end
end
request = function()
  sent = sent + 1
  return requests[sent %% #requests + 1]
end
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '{"requests": %%d, "seconds": %%g, "p99_ms": %%g, "errors": %%d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(99) / 1e3,
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""

benchmark = Benchmark(
    "gateway",
    f"A gateway on one core, {_CONNECTIONS} connections, loaded by {'wrk' if _WRK else 'load.py'}",
    baseline="aiohttp pass-through",
    needs_upstream=True,
)


@benchmark.contender("aiohttp pass-through")
async def pass_through(setting: Setting) -> Samples:
    """Parse the request, post it, parse the answer, write it; streams go through as they come."""
    return await _passed_through(setting)


@benchmark.contender("aiohttp pass-through, garbage rarely collected")
async def pass_through_rarely(setting: Setting) -> Samples:
    """The same with our collector's settings."""
    return await _passed_through(setting, rarely=True)


@benchmark.contender("orchestrator")
async def orchestrator(setting: Setting) -> Samples:
    """Our gateway in front of three models."""
    from orchestrator import OpenAICompatibleModel, Orchestrator, Price
    from orchestrator.server import Gateway
    from orchestrator.server.garbage import collect_rarely

    models = [
        OpenAICompatibleModel(
            name, "mock", setting.upstream, "sk-mock", price=Price.per_1k("0.001", "0.002")
        )
        for name in ("one", "two", "three")
    ]
    async with Orchestrator(models) as engine, Gateway(engine, port=0) as gateway:
        collect_rarely()
        return await _loaded(gateway.url, setting)


async def _passed_through(setting: Setting, *, rarely: bool = False) -> Samples:
    import aiohttp
    import orjson
    from aiohttp import web

    url = f"{setting.upstream}/chat/completions"
    headers = {"Authorization": "Bearer sk-mock", "Content-Type": "application/json"}
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async def proxy(request: web.Request) -> web.StreamResponse:
        body = orjson.dumps(orjson.loads(await request.read()))
        async with session.post(url, data=body, headers=headers) as answer:
            if answer.content_type != "text/event-stream":
                whole = orjson.dumps(orjson.loads(await answer.read()))
                return web.Response(body=whole, content_type="application/json")
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            async for data in answer.content.iter_any():
                await response.write(data)
            await response.write_eof()
            return response

    app = web.Application()
    app.router.add_post("/v1/chat/completions", proxy)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with session:
        if rarely:
            from orchestrator.server.garbage import collect_rarely

            collect_rarely()
        found = await _loaded(f"http://127.0.0.1:{runner.addresses[0][1]}", setting)
        await runner.cleanup()
    return found


async def _loaded(base_url: str, setting: Setting) -> Samples:
    """Check the answers of the gateway that runs in this process, then load it."""
    url = f"{base_url}/v1/chat/completions"
    await _check(url)
    found: Samples = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("whole", "stream"):
            bodies = _written(Path(folder, kind), stream=kind == "stream")
            if not setting.quick:
                await _load(url, 1, bodies)  # opens the connections behind it
            cpu = time.process_time()
            load = await _load(url, 1 if setting.quick else 3, bodies)
            cpu = time.process_time() - cpu
            assert not load["errors"], load
            found[f"{kind}, 1/s"] = load["requests"] / load["seconds"]
            found[f"{kind} CPU, us"] = cpu / load["requests"] * 1e6
            found[f"{kind} p99, ms"] = load["p99_ms"]
    found["RSS, MB"] = _rss_mb()
    return found


async def _check(url: str) -> None:
    import aiohttp

    async with aiohttp.ClientSession() as session:
        async with session.post(url, json=_body(PROMPTS[0], stream=False)) as response:
            answer = await response.json()
            assert answer["choices"][0]["message"]["content"] == UNARY_TEXT
        async with session.post(url, json=_body(PROMPTS[0], stream=True)) as response:
            assert _text(await response.text()) == STREAM_TEXT


def _written(file: Path, *, stream: bool) -> Path:
    file.write_text("\n".join(json.dumps(_body(prompt, stream=stream)) for prompt in PROMPTS))
    return file


def _body(prompt: list[Any], *, stream: bool) -> dict[str, Any]:
    asked = {"model": "auto", "messages": prompt, "temperature": 0.2, "max_tokens": 128}
    return {**asked, "stream": True} if stream else asked


async def _load(url: str, seconds: int, bodies: Path) -> dict[str, float]:
    if _WRK:
        script = bodies.with_suffix(".lua")
        script.write_text(_SCRIPT % bodies)
        command = [_WRK, "-t1", f"-c{_CONNECTIONS}", f"-d{seconds}s", "-s", str(script), url]
    else:
        command = [sys.executable, "-m", "benchmarks.load"]
        command += [url, str(seconds), str(_CONNECTIONS), str(bodies)]
    with pinned(HELPER_CPU):
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    found: dict[str, float] = json.loads(output.splitlines()[-1])
    return found


def _text(events: str) -> str:
    chunks = [json.loads(line[6:]) for line in events.splitlines() if line.startswith("data: {")]
    return "".join(c["delta"].get("content") or "" for chunk in chunks for c in chunk["choices"])


def _rss_mb() -> float:
    """Return the memory in use now, or the most there ever was where the system says no more."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes, on macOS


if __name__ == "__main__":
    benchmark.main()
