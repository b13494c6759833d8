"""``orchestrator config``: is the configuration right, what does it say, what could it say."""

from __future__ import annotations

from typing import Final

import typer

from orchestrator.cli.engine import configured
from orchestrator.cli.options import AsJson, ConfigFile
from orchestrator.cli.output import console, note, table, write_json
from orchestrator.cli.serve import gateway_to

__all__ = ["app", "check", "schema", "show"]

app = typer.Typer(help="Check and show the configuration.")

_CHECK_EXAMPLE: Final = "Example: orchestrator config check --config orchestrator.toml"
_SHOW_EXAMPLE: Final = "Example: orchestrator config show --config orchestrator.toml"
_SCHEMA_EXAMPLE: Final = "Example: orchestrator config schema > config.schema.json"


@app.callback(invoke_without_command=True)
def _config(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command("check", epilog=_CHECK_EXAMPLE)
def check(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Read the configuration and build everything in it, without starting anything."""
    found = configured(config)
    gateway_to(found)
    configuration, orchestrator = found
    models, routes = orchestrator.registry.list_models(), list(orchestrator.routes)
    if as_json:
        write_json(
            {
                "file": configuration.path,
                "models": models,
                "routes": routes,
                "warnings": configuration.warnings,
            }
        )
        return
    where = configuration.path or "no file"
    console().print(f"{where}: {len(models)} models, {len(routes)} routes, all well", markup=False)


@app.command("show", epilog=_SHOW_EXAMPLE)
def show(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Show every setting and where it came from; secrets are masked."""
    from orchestrator.config import read_configuration
    from orchestrator.config.listing import listing

    configuration = read_configuration(config)
    found = listing(configuration)
    if as_json:
        settings = {setting.path: setting._asdict() for setting in found}
        write_json({"file": configuration.path, "settings": settings})
        return
    note(f"configuration: {configuration.path or 'no file'}")
    listed = table("setting", "value", "from")
    for setting in found:
        style = "dim" if setting.origin == "default" else None
        value = "" if setting.value is None else str(setting.value)
        listed.add_row(setting.path, value, setting.origin, style=style)
    console().print(listed)


@app.command("schema", epilog=_SCHEMA_EXAMPLE)
def schema(as_json: AsJson = False) -> None:
    """Write the JSON schema of configuration files, with which editors complete and check them.

    It is one JSON object with or without --json.
    """
    from orchestrator.config.schema import json_schema

    write_json(json_schema())
