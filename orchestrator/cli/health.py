"""``orchestrator health``: which models are in service, and what speaks against the others."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from orchestrator.cli.engine import configured
from orchestrator.cli.failure import FAILED, OK
from orchestrator.cli.gateway import Url, encoded, found_gateway
from orchestrator.cli.options import AsJson, ConfigFile, Paid
from orchestrator.cli.output import console, table, write_json

if TYPE_CHECKING:
    from orchestrator.core.model import Model
    from orchestrator.engine import Orchestrator

__all__ = ["EXAMPLE", "health"]

EXAMPLE: Final = "Example: orchestrator health embedded:terse"

_CHECK_S: Final = 10.0


def health(
    model: Annotated[
        str | None, typer.Argument(help="A key, an alias or a name; every model if not given.")
    ] = None,
    url: Url = None,
    config: ConfigFile = None,
    paid: Paid = False,
    as_json: AsJson = False,
) -> int:
    """Say which models are in service; ends with 1 if one that was asked for is not.

    A running gateway tells what its requests and checks have seen. Else every server is asked
    now whether it is there; no model is called.
    """
    found = asyncio.run(_found(model, url, config, paid))
    well = sum(one["healthy"] for one in found)
    if as_json:
        write_json({"models": found, "count": len(found), "healthy": well})
    else:
        shown = table("model", "healthy", "breaker", "endpoint", "in memory", "back in", "issues")
        for one in found:
            shown.add_row(*_cells(one), style=None if one["healthy"] else "bold")
        console().print(shown)
    return OK if well == len(found) else FAILED


def _cells(one: dict[str, Any]) -> tuple[str, ...]:
    back_in_s = one["back_in_s"]
    return (
        one["model"],
        "yes" if one["healthy"] else "no",
        one["breaker"],
        one["endpoint"],
        one["lifecycle"] or "",
        "" if back_in_s is None else f"{back_in_s:.0f} s",
        "; ".join(one["issues"]),
    )


async def _found(
    model: str | None, url: str | None, config: Path | None, paid: bool
) -> list[dict[str, Any]]:
    async with found_gateway(url, config, paid=paid) as client:
        if client is not None:
            if model is not None:
                return [(await client.get(f"/api/v1/health/{encoded(model)}"))["health"]]
            found: list[dict[str, Any]] = (await client.get("/api/v1/health"))["models"]
            return found
    orchestrator = configured(config, paid=paid, serves=False).orchestrator
    models = orchestrator.registry.pool.models
    asked = models if model is None else [orchestrator.registry.get_model(model)]
    async with orchestrator, asyncio.TaskGroup() as tasks:
        checking = [tasks.create_task(_checked(orchestrator, each)) for each in asked]
    return [task.result() for task in checking]


async def _checked(orchestrator: Orchestrator, model: Model) -> dict[str, Any]:
    """Return the health of a model that nobody has called yet, from one look at its server."""
    from orchestrator.monitoring.check import check

    finding = await check(model, None, _CHECK_S)
    told = (await orchestrator.get_model_health(model.key.text)).to_dict()
    if finding.error is not None:
        told |= {"healthy": False, "issues": [*told["issues"], str(finding.error)]}
    return told
