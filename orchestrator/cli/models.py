"""``orchestrator models``: what is in the pool, and model files to put there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from orchestrator.cli.engine import configured
from orchestrator.cli.options import AsJson, ConfigFile, Paid
from orchestrator.cli.output import console, note, table, write_json

if TYPE_CHECKING:
    from orchestrator.config import Configuration
    from orchestrator.core.model import ModelSpec
    from orchestrator.core.prices import Price

__all__ = ["app", "get", "list_models"]

app = typer.Typer(help="List the models of the pool; fetch model files.")

_LIST_EXAMPLE: Final = "Example: orchestrator models list --config orchestrator.toml"
_GET_EXAMPLE: Final = "Example: orchestrator models get smollm2"


@app.callback(invoke_without_command=True, epilog=_LIST_EXAMPLE)
def _models(
    context: typer.Context, config: ConfigFile = None, paid: Paid = False, as_json: AsJson = False
) -> None:
    if context.invoked_subcommand is None:
        list_models(config, paid, as_json)


@app.command("list", epilog=_LIST_EXAMPLE)
def list_models(config: ConfigFile = None, paid: Paid = False, as_json: AsJson = False) -> None:
    """List the models of the pool, its routes, and models that could join."""
    configuration, orchestrator = configured(config, paid=paid)
    specs = [model.spec for model in orchestrator.registry.pool.models]
    if as_json:
        write_json(
            {
                "models": [spec.to_dict() for spec in specs],
                "routes": list(orchestrator.routes),
                "could_join": _could_join(configuration),
            }
        )
        return
    listed = table("model", "window", "in / out per 1M", "can", right=("window",))
    for spec in specs:
        listed.add_row(*_cells(spec))
    console().print(listed)
    console().print(f"\nroutes: {', '.join(orchestrator.routes)}", markup=False)
    for source, keys in _could_join(configuration).items():
        note(f"{source} is set: with --paid, {', '.join(keys)} would join")


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


def _could_join(configuration: Configuration) -> dict[str, list[str]]:
    """Return the keys of models that would join with --paid, by what offers them."""
    return {
        offer.source: [model.identity.text for model in offer.models]
        for offer in configuration.offers
        if offer not in configuration.joining
    }


def _cells(spec: ModelSpec) -> tuple[str, ...]:
    facts: dict[str, Any] = spec.to_dict()
    aliases = f" ({', '.join(spec.aliases)})" if spec.aliases else ""
    window = "" if spec.context_window is None else f"{spec.context_window:,}"
    return f"{spec.key}{aliases}", window, _price(spec.price), ", ".join(facts["capabilities"])


def _price(price: Price | None) -> str:
    if price is None:
        return "unknown"
    if not (price.input_per_million or price.output_per_million):
        return "free"
    return f"${price.input_per_million:f} / ${price.output_per_million:f}"
