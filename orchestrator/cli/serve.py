"""``orchestrator serve``: the gateway in front of a configured engine."""

from __future__ import annotations

import asyncio
import shlex
import signal
from collections.abc import Coroutine
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from orchestrator.cli.engine import Configured, configured
from orchestrator.cli.options import AsJson, ConfigFile, Paid
from orchestrator.cli.output import note, write_json
from orchestrator.core.errors import ModelDoesNotFitError, ModelLoadError

if TYPE_CHECKING:
    from orchestrator.engine import Orchestrator
    from orchestrator.server import Gateway

__all__ = ["EXAMPLE", "gateway_to", "serve"]

EXAMPLE: Final = "Example: orchestrator serve --config examples/smollm2.toml --port 3001"

_QUESTION: Final = (
    '{"model": "auto", "messages": [{"role": "user", "content": "What is the capital of France?"}]}'
)


def serve(
    config: ConfigFile = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port; 0 is any that is free.", show_default="3001")
    ] = None,
    paid: Paid = False,
    as_json: AsJson = False,
) -> None:
    """Serve the pool over HTTP, as OpenAI's clients speak it.

    Local models are loaded first, so that the first request is as fast as the others. Ends with
    Ctrl-C or SIGTERM. With --json the object tells the address, once it is reached.
    """
    found = configured(config, paid=paid)
    asyncio.run(_until_told_to_stop(_serve(found, host, port, as_json)))


async def _until_told_to_stop(serving: Coroutine[Any, Any, None]) -> None:
    """Serve, and end in order at the first signal that asks for it."""
    task = asyncio.ensure_future(serving)
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # on Windows, where Ctrl-C cancels by itself
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        note("stopped")


def gateway_to(found: Configured, host: str | None = None, port: int | None = None) -> Gateway:
    """Return the gateway as it is configured; it listens once it is entered.

    Args:
        found: The configuration and its engine.
        host: Where to listen, if not where it is configured.
        port: The same.

    Raises:
        ConfigurationError: Others reach the address and there is no key, or a setting is wrong.
    """
    from orchestrator.server import Gateway

    server = found.configuration.settings.server
    return Gateway(
        found.orchestrator,
        host=server.host if host is None else host,
        port=server.port if port is None else port,
        api_key=server.api_key,
        allowed_hosts=server.allowed_hosts,
        allowed_origins=server.allowed_origins,
    )


async def _serve(found: Configured, host: str | None, port: int | None, as_json: bool) -> None:
    from orchestrator.server.garbage import collect_rarely

    configuration, orchestrator = found
    gateway = gateway_to(found, host, port)
    with_key = configuration.settings.server.api_key is not None
    async with orchestrator, gateway:
        note(f"configuration: {configuration.path or 'none, only what the environment offers'}")
        await _load_local_models(orchestrator)
        _tell_of_the_pool(found)
        _announce(gateway, orchestrator, as_json=as_json, with_key=with_key)
        collect_rarely()
        await gateway.serve_forever()


async def _load_local_models(orchestrator: Orchestrator) -> None:
    """Bring local models into memory, in order, as long as nobody has to make room."""
    models = {m.spec.resident: m for m in orchestrator.registry.pool.models if m.spec.resident}
    for resident, model in models.items():
        begun = perf_counter()
        try:
            if orchestrator.plan_set([model.key.text]).evict:
                note(f"{resident} waits for its first request: there is no room beside the others")
                continue
            note(f"loading {resident} ...")
            await orchestrator.load_model(model.key.text)
        except ModelDoesNotFitError as error:
            note(f"warning: {error.message}")
        except ModelLoadError as error:
            note(f"warning: {error.message}; the next request for it tries again")
        else:
            note(f"loaded {resident} in {perf_counter() - begun:.1f} s")


def _tell_of_the_pool(found: Configured) -> None:
    configuration, orchestrator = found
    for model in orchestrator.registry.pool.models:
        note(f"  {model.key}")
    weight = orchestrator.cost_weight()
    if weight:
        note(f"1 USD weighs as much as {weight:,.0f} points of quality")
    for offer in configuration.offers:
        keys = ", ".join(model.identity.text for model in offer.models)
        if offer.paid and not configuration.settings.paid:
            note(f"{offer.source} is set: with --paid, {keys} would join, under 1 USD a day")
    if configuration.budget_usd_per_day is not None:
        note(f"at most {configuration.budget_usd_per_day:g} USD are spent per UTC day")


def _announce(
    gateway: Gateway, orchestrator: Orchestrator, *, as_json: bool, with_key: bool
) -> None:
    if as_json:
        facts: dict[str, Any] = {"url": gateway.url, "models": orchestrator.registry.list_models()}
        write_json(facts)
        return
    lines = [f"curl -s {gateway.url}/v1/chat/completions", "-H 'Content-Type: application/json'"]
    if with_key:
        lines.append('-H "Authorization: Bearer $ORCHESTRATOR_API_KEY"')
    lines.append(f"-d {shlex.quote(_QUESTION)}")
    typer.echo(f"serving at {gateway.url}; try")
    typer.echo("  " + " \\\n    ".join(lines))
