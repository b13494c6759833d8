"""``orchestrator models load`` and its like: models of a running gateway come and go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Final, TypeAlias

import typer

from orchestrator.cli.gateway import GatewayClient, Url, encoded, running_gateway
from orchestrator.cli.options import AsJson
from orchestrator.cli.output import console, table, write_json
from orchestrator.cli.progress import beside, following

__all__ = ["EXAMPLES", "Named", "load", "pin", "switch", "unload", "unpin"]

EXAMPLES: Final = {
    "load": "Example: orchestrator models load embedded:terse --dry-run",
    "unload": "Example: orchestrator models unload embedded:terse",
    "switch": "Example: orchestrator models switch embedded:terse",
    "pin": "Example: orchestrator models pin embedded:terse",
    "unpin": "Example: orchestrator models unpin embedded:terse",
}

Named: TypeAlias = Annotated[str, typer.Argument(help="A key, an alias or a name.")]

_EVENTS: Final = ("model-loading", "load-progress", "model-evicted")


def load(
    model: Named,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be loaded and who would go.")
    ] = False,
    priority: Annotated[int, typer.Option(help="Higher is loaded first where several wait.")] = 0,
    wait: Annotated[
        float | None, typer.Option(help="Seconds to wait at most; else as configured.")
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Bring a model into the memory of a running gateway, and show how that goes.

    The load goes on if this is interrupted.
    """
    body: dict[str, Any] = {"model": model, "priority": priority, "dryRun": dry_run}
    if wait is not None:
        body["waitLimitS"] = wait
    found = asyncio.run(_moved(url, model, "load", body))
    if as_json:
        write_json(found)
    elif dry_run:
        _show_plan(found)
    else:
        console().print(f"{found['key']} is in memory", markup=False)


def switch(
    model: Named,
    evict_previous: Annotated[
        bool,
        typer.Option("--evict-previous", help="Take the one before out of memory afterwards."),
    ] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Make a model the current one of a running gateway, loading it first.

    Requests that name the model `current` go to it from then on; those in flight finish.
    """
    body = {"model": model, "evictPrevious": evict_previous}
    found = asyncio.run(_moved(url, model, "switch", body))
    if as_json:
        write_json(found)
    else:
        was = found["previousModel"] or "none"
        console().print(f"{found['key']} is current, after {was}", markup=False)


def unload(
    model: Named,
    force: Annotated[
        bool, typer.Option("--force", help="Do not wait for its calls; they break off.")
    ] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Take a model out of the memory of a running gateway once its calls have ended."""
    found = asyncio.run(_post(url, "/api/v1/models/unload", {"model": model, "force": force}))
    if as_json:
        write_json(found)
    else:
        console().print(f"{found['key']} is out of memory", markup=False)


def pin(model: Named, url: Url = None, as_json: AsJson = False) -> None:
    """Keep a model of a running gateway in memory once it is there."""
    _pin(model, url, pinned=True, as_json=as_json)


def unpin(model: Named, url: Url = None, as_json: AsJson = False) -> None:
    """Let a model of a running gateway be evicted again."""
    _pin(model, url, pinned=False, as_json=as_json)


def _pin(model: str, url: str | None, *, pinned: bool, as_json: bool) -> None:
    path = f"/api/v1/models/{encoded(model)}/pin"
    found = asyncio.run(_post(url, path, {"pinned": pinned}))
    if as_json:
        write_json(found)
    else:
        is_pinned = "pinned" if found["pinned"] else "not pinned"
        console().print(f"{found['key']} is {is_pinned}", markup=False)


async def _post(url: str | None, path: str, body: dict[str, Any]) -> dict[str, Any]:
    async with running_gateway(url) as client:
        return await client.post(path, body)


async def _moved(url: str | None, model: str, verb: str, body: dict[str, Any]) -> dict[str, Any]:
    """Post what may load a model, and show the load if there is one."""
    async with running_gateway(url) as client:
        work = partial(client.post, f"/api/v1/models/{verb}", body)
        memory = (await client.get(f"/api/v1/models/{encoded(model)}"))["model"]["memory"]
        if memory is None:
            return await work()
        resident: str = memory["resident"]

        return await beside(partial(_watch, client, resident), work)


async def _watch(client: GatewayClient, resident: str, watches: Callable[[], None]) -> None:
    import orjson

    with following() as say:
        async with client.events(*_EVENTS) as payloads:
            watches()
            async for payload in payloads:
                if said := _words(orjson.loads(payload), resident):
                    say(said)


def _words(event: dict[str, Any], resident: str) -> str | None:
    match event:
        case {"event": "model-evicted", "for_resident": whom, "resident": who} if whom == resident:
            return f"{who} goes to make room"
        case {"event": "model-loading", "resident": who} if who == resident:
            return f"loading {who} ..."
        case {"event": "load-progress", "resident": who} if who == resident:
            phase = event["phase"].replace("_", " ")
            spent, expected = event["elapsed_s"], event["expected_s"]
            return f"{phase} {who}: {spent:.1f} s of about {expected:.1f} s"
    return None


def _show_plan(found: dict[str, Any]) -> None:
    plan = found["plan"]
    shown = table("plan", "")
    shown.add_row("load", ", ".join(plan["load"]) or "nothing: it is there")
    shown.add_row("evict", ", ".join(plan["evict"]) or "nobody")
    shown.add_row("memory", f"{plan['needsBytes']:,} bytes")
    shown.add_row("time", f"about {plan['expectedS']:.1f} s")
    console().print(shown)
