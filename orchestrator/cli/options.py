"""Options that several commands share, and what they say to the engine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

__all__ = [
    "AsJson",
    "Capabilities",
    "ConfigFile",
    "ContextLength",
    "Excluded",
    "MaxCost",
    "MinSpeed",
    "ModelName",
    "Paid",
    "Provider",
    "RouteName",
    "demands",
]

ConfigFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="Configuration file; else the one that ORCHESTRATOR_CONFIG names, else "
        "orchestrator.toml of this folder, else none.",
    ),
]
AsJson: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Write one JSON object to stdout and nothing else.")
]
Paid: TypeAlias = Annotated[
    bool,
    typer.Option("--paid", help="Let models that cost money join whose key the environment holds."),
]
ModelName: TypeAlias = Annotated[
    str | None, typer.Option("--model", "-m", help="A key, an alias, a name or a route.")
]
RouteName: TypeAlias = Annotated[
    str | None, typer.Option("--route", help="Among whom to choose; auto if not given.")
]
MaxCost: TypeAlias = Annotated[
    float | None, typer.Option("--max-cost", help="US dollars for the whole request.")
]
MinSpeed: TypeAlias = Annotated[
    float | None, typer.Option("--min-speed", help="Output tokens per second.")
]
ContextLength: TypeAlias = Annotated[
    int | None, typer.Option("--context-length", help="Tokens the window must hold.")
]
Capabilities: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--capability", help="What the model must be able to do; may be repeated."),
]
Provider: TypeAlias = Annotated[
    str | None, typer.Option("--provider", help="Only models of this provider.")
]
Excluded: TypeAlias = Annotated[
    list[str] | None, typer.Option("--exclude", help="A model to leave out; may be repeated.")
]


def demands(**options: Any) -> dict[str, Any]:
    """Return those options that were given, by the names that the engine has for them."""
    return {name: value for name, value in options.items() if value not in (None, [])}
