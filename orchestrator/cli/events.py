"""``orchestrator events``: what happens in a running gateway, as it happens."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Final
from urllib.parse import urlencode

import typer

from orchestrator.cli.output import console
from orchestrator.core.errors import ConfigurationError

__all__ = ["EXAMPLE", "events"]

EXAMPLE: Final = "Example: orchestrator events --type failed-over --type model-used"

_OWN_COLUMNS: Final = ("event", "at", "wall", "id")
_SILENCE_S: Final = 60.0
"""A gateway that sends nothing for so long, not even a sign of life, is gone."""


def events(
    url: Annotated[str, typer.Option(help="Of the gateway.")] = "http://127.0.0.1:3001",
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

    async with aclosing(_payloads(url, kinds)) as payloads:
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


async def _payloads(url: str, kinds: list[str]) -> AsyncGenerator[bytes, None]:
    from orchestrator.core.ports import HttpRequest, Timeouts
    from orchestrator.integrations.http.transport import HttpTransport
    from orchestrator.integrations.sse import SseDecoder

    query = f"?{urlencode({'types': ','.join(kinds)})}" if kinds else ""
    key = os.environ.get("ORCHESTRATOR_API_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    request = HttpRequest("GET", f"{url.rstrip('/')}/api/v1/events{query}", headers)
    timeouts = Timeouts(first_token_s=_SILENCE_S, idle_s=_SILENCE_S)
    transport, decoder = HttpTransport(), SseDecoder()
    try:
        async with transport.stream(request, timeouts) as http:
            if http.status != 200:
                raise _refused(url, http.status, await http.read())
            async for data in http:
                for payload in decoder.feed(data):
                    yield payload
    finally:
        await transport.aclose()


def _refused(url: str, status: int, body: bytes) -> ConfigurationError:
    import orjson

    try:
        message = orjson.loads(body)["error"]["message"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        message = "that is no gateway of ours"
    return ConfigurationError(f"{url} answered {status}: {message}")


def _line(event: dict[str, Any]) -> str:
    facts = (f"{name}={value}" for name, value in event.items() if name not in _OWN_COLUMNS)
    return f"{event['event']:<18} {' '.join(facts)}"
