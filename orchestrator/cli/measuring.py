"""``orchestrator models show``, ``profile`` and ``discover``: what models are like."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from orchestrator.cli.gateway import Url, encoded, gateway, running_gateway
from orchestrator.cli.loading import Named
from orchestrator.cli.options import AsJson, ConfigFile, Paid
from orchestrator.cli.output import console, note, table, write_json
from orchestrator.cli.progress import beside, progress
from orchestrator.core.errors import ConfigurationError

__all__ = ["EXAMPLES", "discover", "profile", "show"]

EXAMPLES: Final = {
    "show": "Example: orchestrator models show embedded:terse",
    "profile": "Example: orchestrator models profile embedded:terse --calls 5 --json",
    "discover": "Example: orchestrator models discover --config orchestrator.toml",
}


def show(
    model: Named,
    url: Url = None,
    config: ConfigFile = None,
    paid: Paid = False,
    as_json: AsJson = False,
) -> None:
    """Show one model: what it can do, how it is in memory, and how it has done."""
    found = asyncio.run(_shown(model, url, config, paid))
    if as_json:
        write_json(found)
        return
    facts = table("model", found["key"])
    for name, value in _facts(found):
        facts.add_row(name, "unknown" if value is None else str(value))
    console().print(facts)


async def _shown(model: str, url: str | None, config: Path | None, paid: bool) -> dict[str, Any]:
    async with gateway(url, config, paid=paid) as client:
        found: dict[str, Any] = (await client.get(f"/api/v1/models/{encoded(model)}"))["model"]
        return found


def _facts(found: dict[str, Any]) -> list[tuple[str, Any]]:
    model, metrics, memory = found["model"], found["performanceMetrics"], found["memory"]
    facts = [
        ("status", model["status"]),
        ("window", model["contextWindow"]),
        ("can", ", ".join(model["capabilities"])),
        ("calls", metrics["totalInferences"]),
        ("succeeded", _given(metrics["successRate"], "{:.1%}")),
        ("latency", _given(metrics["averageLatency"], "{:,.0f} ms")),
        ("speed", _given(metrics["tokensPerSecond"], "{:.1f} tokens/s")),
        ("profiled", metrics["lastBenchmarked"]),
    ]
    if memory is None:
        return facts
    return [
        *facts,
        ("resident", memory["resident"]),
        ("memory", f"{memory['memoryBytes']:,} of {memory['needsBytes']:,} bytes"),
        ("ready in", f"about {memory['expectedLoadS']:.1f} s"),
        ("pinned", "yes" if memory["pinned"] else "no"),
        ("last failure", memory["error"] or "none"),
    ]


def profile(
    model: Named,
    calls: Annotated[int, typer.Option(help="Calls to make.", min=1)] = 10,
    max_cost: Annotated[
        float | None, typer.Option(help="US dollars that all of them may cost.", min=0)
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only estimate tokens, cost and time.")
    ] = False,
    url: Url = None,
    config: ConfigFile = None,
    paid: Paid = False,
    as_json: AsJson = False,
) -> None:
    """Measure a model with real calls, one after the other.

    They count in its statistics. A local model is loaded for it, which is not part of its times.
    """
    body: dict[str, Any] = {"testCount": calls, "dryRun": dry_run}
    if max_cost is not None:
        body["maxCost"] = max_cost
    found = asyncio.run(_profiled(model, body, url, config, paid))
    if as_json:
        write_json(found)
    elif dry_run:
        _show_estimate(found["estimate"])
    else:
        _show_profile(found["profile"])


async def _profiled(
    model: str, body: dict[str, Any], url: str | None, config: Path | None, paid: bool
) -> dict[str, Any]:
    import orjson

    n = body["testCount"]
    async with gateway(url, config, paid=paid) as client:
        key = (await client.get(f"/api/v1/models/{encoded(model)}"))["model"]["key"]
        work = partial(client.post, f"/api/v1/models/{encoded(key)}/profile", body)
        if body["dryRun"]:
            return await work()

        async def watch(watches: Callable[[], None]) -> None:
            # Others may call it too; then the bar is ahead of the profile, and waits at its end.
            kinds = ("model-used", "call-failed")
            with progress(per_step=1) as watching:
                async with client.events(*kinds) as payloads:
                    watches()
                    on_call, done = watching(f"calling {key} {n} times", n), 0
                    async for payload in payloads:
                        done += orjson.loads(payload)["model"] == key
                        on_call(min(done, n))

        return await beside(watch, work)


def _show_estimate(found: dict[str, Any]) -> None:
    shown = table("estimate", found["model"])
    shown.add_row("calls", str(found["calls"]))
    shown.add_row(
        "tokens", f"{found['prompt_tokens']} in, at most {found['max_output_tokens']} out"
    )
    shown.add_row("cost", _given(found["cost_usd"], "at most about {:g} USD") or "unknown")
    shown.add_row("time", _given(found["seconds"], "at most about {:.0f} s") or "unknown")
    console().print(shown)


def _show_profile(found: dict[str, Any]) -> None:
    numbers = ("mean", "p50", "p95", "p99")
    shown = table(found["model"], *numbers, right=numbers)
    for name, label in (("first_token_s", "first token, s"), ("latency_s", "whole answer, s")):
        spread = found[name]
        values = ("",) * 4 if spread is None else [f"{spread[number]:.3f}" for number in numbers]
        shown.add_row(label, *values)
    out = console()
    out.print(shown)
    speed = _given(found["tokens_per_s"], ", {:.1f} tokens/s") or ""
    memory = _given(found["memory_bytes"], ", {:,} bytes of memory") or ""
    out.print(
        f"{found['calls']} calls, {found['success_rate']:.0%} answered{speed}, "
        f"{found['cost_usd']:g} USD{memory}",
        markup=False,
    )
    for kind, times in found["errors"].items():
        out.print(f"{kind}: {times}", markup=False)
    if found["stopped"]:
        note(f"it ended early: {found['stopped']}")


def discover(
    register: Annotated[
        bool,
        typer.Option("--register", help="Let what is found join the pool of a running gateway."),
    ] = False,
    url: Url = None,
    config: ConfigFile = None,
    paid: Paid = False,
    as_json: AsJson = False,
) -> None:
    """Ask the server of every provider in the pool which models it lists.

    A provider that is down is told, and keeps nobody from the others.
    """
    if register and (config is not None or paid):
        raise ConfigurationError(
            "a pool that is gone with this command need not grow",
            hint="leave --config and --paid out, and name a running gateway with --url",
        )
    found = asyncio.run(_discovered(register, url, config, paid))
    if as_json:
        write_json(found)
        return
    new = set(found["new"])
    shown = table("provider", "models", "not in the pool", "", right=("models",))
    for provider, listed in found["providers"].items():
        missing = [name for name in listed["models"] if f"{provider}:{name}" in new]
        shown.add_row(provider, str(listed["found"]), ", ".join(missing), listed["error"] or "")
    if found["providers"]:
        console().print(shown)
    else:
        note("no model of the pool has a server that could be asked")
    if found["registered"]:
        note(f"joined: {', '.join(found['registered'])}")


async def _discovered(
    register: bool, url: str | None, config: Path | None, paid: bool
) -> dict[str, Any]:
    opened = running_gateway(url) if register else gateway(url, config, paid=paid)
    async with opened as client:
        return await client.post("/api/v1/models/discover", {"register": register})


def _given(value: float | None, words: str) -> str | None:
    return None if value is None else words.format(value)
