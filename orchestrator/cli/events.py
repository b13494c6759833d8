"""``orchestrator events``: what happens in a running gateway, as it happens."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated, Any, Final

import typer

from orchestrator.cli.gateway import DEFAULT_URL, running_gateway
from orchestrator.cli.output import console

__all__ = ["EXAMPLE", "events"]

EXAMPLE: Final = "Example: orchestrator events --type failed-over --type model-used"

_OWN_COLUMNS: Final = ("event", "at", "wall", "id")


def events(
    url: Annotated[str, typer.Option(help="Of the gateway.")] = DEFAULT_URL,
    kinds: Annotated[
        list[str] | None, typer.Option("--type", help="Only events of this type; repeatable.")
    ] = None,
    count: Annotated[int | None, typer.Option(help="End after so many.", min=1)] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write one JSON object per line and nothing else.")
    ] = False,
) -> None:
    """Follow the events of a gateway until Ctrl-C.

    Its key is taken from ORCHESTRATOR_API_KEY.
    """
    asyncio.run(_follow(url, kinds or [], count, as_json))


async def _follow(url: str, kinds: list[str], count: int | None, as_json: bool) -> None:
    import orjson

    async with running_gateway(url) as gateway, gateway.events(*kinds) as payloads:
        shown = 0
        async for payload in payloads:
            if as_json:
                sys.stdout.write(f"{payload.decode()}\n")
                sys.stdout.flush()
            else:
                console().print(_line(orjson.loads(payload)), markup=False)
            shown += 1
            if shown == count:
                return


def _line(event: dict[str, Any]) -> str:
    facts = (f"{name}={value}" for name, value in event.items() if name not in _OWN_COLUMNS)
    return f"{event['event']:<18} {' '.join(facts)}"
