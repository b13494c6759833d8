"""``orchestrator models``: what is in the pool, and what can be done with it."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from orchestrator.cli.engine import configured
from orchestrator.cli.gateway import Url, found_gateway
from orchestrator.cli.loading import EXAMPLES as LOADING
from orchestrator.cli.loading import load, pin, switch, unload, unpin
from orchestrator.cli.measuring import EXAMPLES as MEASURING
from orchestrator.cli.measuring import discover, profile, show
from orchestrator.cli.options import AsJson, ConfigFile, Paid
from orchestrator.cli.output import console, note, table, write_json

__all__ = ["app", "get", "list_models"]

app = typer.Typer(help="List, load, measure and find models; fetch model files.")

_LIST_EXAMPLE: Final = "Example: orchestrator models list --config orchestrator.toml"
_GET_EXAMPLE: Final = "Example: orchestrator models get smollm2"


@app.callback(invoke_without_command=True, epilog=_LIST_EXAMPLE)
def _models(
    context: typer.Context,
    url: Url = None,
    config: ConfigFile = None,
    paid: Paid = False,
    as_json: AsJson = False,
) -> None:
    if context.invoked_subcommand is None:
        list_models(url, config, paid, as_json)


@app.command("list", epilog=_LIST_EXAMPLE)
def list_models(
    url: Url = None, config: ConfigFile = None, paid: Paid = False, as_json: AsJson = False
) -> None:
    """List the models of the pool, its routes, and models that could join.

    The pool is that of a running gateway, if there is one, else what is configured.
    """
    found = asyncio.run(_of_gateway(url, config, paid)) or _configured(config, paid)
    if as_json:
        write_json(found)
        return
    listed = table("model", "status", "window", "in / out per 1M", "can", right=("window",))
    for model in found["models"]:
        listed.add_row(*_cells(model))
    console().print(listed)
    console().print(f"\nroutes: {', '.join(found['routes'])}", markup=False)
    for source, keys in found["could_join"].items():
        note(f"{source} is set: with --paid, {', '.join(keys)} would join")


app.command(epilog=MEASURING["show"])(show)
app.command(epilog=LOADING["load"])(load)
app.command(epilog=LOADING["unload"])(unload)
app.command(epilog=LOADING["switch"])(switch)
app.command(epilog=LOADING["pin"])(pin)
app.command(epilog=LOADING["unpin"])(unpin)
app.command(epilog=MEASURING["profile"])(profile)
app.command(epilog=MEASURING["discover"])(discover)


@app.command("get", epilog=_GET_EXAMPLE)
def get(
    name: Annotated[str, typer.Argument(help="Of the file, such as smollm2.")],
    as_json: AsJson = False,
) -> None:
    """Fetch a model file, unless it is there already."""
    from orchestrator.integrations.model_files import KNOWN_FILES

    path = _fetch(name)
    if not as_json:
        console().print(str(path), markup=False)
        return
    known = KNOWN_FILES[name]
    size, licence = known.size_bytes, known.licence
    write_json({"name": name, "path": path, "size_bytes": size, "licence": licence})


def _fetch(name: str) -> Path:
    """Fetch a file and show how that goes: a bar in a terminal, else a line for each step."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from orchestrator.integrations.model_files import get_model_file

    err = console(stderr=True)
    if not err.is_terminal:
        return get_model_file(name, report=note)
    text = TextColumn("{task.description}", markup=False)
    with Progress(text, BarColumn(), TimeElapsedColumn(), console=err, transient=True) as steps:
        step = steps.add_task(f"looking for {name}", total=None)
        return get_model_file(name, report=lambda said: steps.update(step, description=said))


async def _of_gateway(url: str | None, config: Path | None, paid: bool) -> dict[str, Any] | None:
    async with found_gateway(url, config, paid=paid) as client:
        if client is None:
            return None
        entries = (await client.get("/v1/models"))["data"]
        described = (await client.get("/api/v1/models"))["models"]
    statuses = {model["key"]: model["status"] for model in described}
    models, routes = [], []
    for entry in entries:
        facts = entry["orchestrator"]
        if facts.pop("kind") == "route":
            routes.append(entry["id"])
        else:
            models.append({**facts, "status": statuses.get(facts["key"])})
    return {"models": models, "routes": routes, "could_join": {}}


def _configured(config: Path | None, paid: bool) -> dict[str, Any]:
    configuration, orchestrator = configured(config, paid=paid)
    return {
        "models": [
            {**model.spec.to_dict(), "status": None} for model in orchestrator.registry.pool.models
        ],
        "routes": list(orchestrator.routes),
        "could_join": {
            offer.source: [model.identity.text for model in offer.models]
            for offer in configuration.offers
            if offer not in configuration.joining
        },
    }


def _cells(model: dict[str, Any]) -> tuple[str, ...]:
    aliases = f" ({', '.join(model['aliases'])})" if model["aliases"] else ""
    window = "" if model["context_window"] is None else f"{model['context_window']:,}"
    return (
        f"{model['key']}{aliases}",
        model["status"] or "",
        window,
        _price(model["price"]),
        ", ".join(model["capabilities"]),
    )


def _price(price: dict[str, str] | None) -> str:
    if price is None:
        return "unknown"
    asked, answered = Decimal(price["input_per_million"]), Decimal(price["output_per_million"])
    return f"${asked:f} / ${answered:f}" if asked or answered else "free"
