"""``orchestrator select``: who would be chosen for a request, and why."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from orchestrator.cli.engine import configured
from orchestrator.cli.failure import FAILED, OK
from orchestrator.cli.options import (
    AsJson,
    Capabilities,
    ConfigFile,
    ContextLength,
    Excluded,
    MaxCost,
    MinSpeed,
    ModelName,
    Paid,
    Provider,
    RouteName,
    demands,
)
from orchestrator.cli.output import console, note, table, write_json
from orchestrator.core.money import format_usd

if TYPE_CHECKING:
    from orchestrator.engine import Orchestrator
    from orchestrator.engine.explanation import Explanation, ModelRow

__all__ = ["EXAMPLE", "select"]

EXAMPLE: Final = (
    "Example: orchestrator select --explain --tools --prompt 'Book a table' --max-cost 0.01"
)

_A_TOOL: Final = {
    "type": "function",
    "function": {"name": "example", "parameters": {"type": "object", "properties": {}}},
}
_FORCED: Final = 1e6
"""Above every score that a selector means as one: it wants the arm tried before it compares."""


def select(
    config: ConfigFile = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show how each model scored or why it was refused.")
    ] = False,
    prompt: Annotated[str | None, typer.Option(help="The request, to be counted.")] = None,
    tools: Annotated[bool, typer.Option("--tools", help="As if it offered a tool.")] = False,
    stream: Annotated[bool, typer.Option("--stream", help="As if streamed.")] = False,
    model: ModelName = None,
    route: RouteName = None,
    max_cost: MaxCost = None,
    min_speed: MinSpeed = None,
    context_length: ContextLength = None,
    max_tokens: Annotated[int | None, typer.Option(help="Most tokens of the answer.")] = None,
    capability: Capabilities = None,
    provider: Provider = None,
    exclude: Excluded = None,
    paid: Paid = False,
    as_json: AsJson = False,
) -> int:
    """Say which model a request would go to; nobody is called.

    What calls have shown is read from the decision log, if one is kept; else prices, priorities
    and declarations count. A gateway explains with all that it has learned: POST /api/v1/explain.
    """
    options = demands(
        model=model,
        route=route,
        max_cost=max_cost,
        min_speed=min_speed,
        context_length=context_length,
        max_tokens=max_tokens,
        capabilities=capability,
        provider=provider,
        exclude_models=exclude,
    )
    if tools:
        options["tools"] = [_A_TOOL]
    request = prompt if prompt is not None else ("" if tools or stream else None)
    orchestrator = configured(config, paid=paid).orchestrator
    found = asyncio.run(_explain(orchestrator, request, stream, options))
    if as_json:
        write_json(found.to_dict())
    elif explain:
        _show(found)
    elif found.chosen is not None:
        console().print(found.chosen, markup=False)
    if found.chosen is None:
        note("error: no model may serve this request")
        if not (explain or as_json):
            note("hint: --explain says why, model by model")
        return FAILED
    return OK


async def _explain(
    orchestrator: Orchestrator, request: str | None, stream: bool, options: dict[str, Any]
) -> Explanation:
    async with orchestrator:
        if request is None:
            return orchestrator.explain(**options)
        return orchestrator.explain(request, stream=stream, **options)


def _show(found: Explanation) -> None:
    out = console()
    if found.origins:
        wanted = table("requirement", "value", "demanded by")
        for name, origin in found.origins:
            value = found.requirements.get(name)
            wanted.add_row(name, "" if value is None else str(value), origin)
        out.print(wanted)
        out.print()
    numbers = ("score", "mean", "pulls", "failed", "penalty", "at most", "load")
    models = table("model", *numbers, "why not", right=numbers)
    for row in found.models:
        chosen = row.key == found.chosen
        models.add_row(*_cells(row), style="bold" if chosen else "dim" if row.refused else None)
    out.print(models)
    said = f"\nselector {found.selector}, segment {found.segment}: {found.chosen or 'nobody'}"
    out.print(said, markup=False)


def _cells(row: ModelRow) -> tuple[str, ...]:
    score = "" if row.score is None else f"{row.score:.4g}"
    if row.score is not None and row.score > _FORCED:
        score = "trial" if row.pulls else "untried"
    return (
        row.key,
        score,
        f"{row.mean:.2f}",
        f"{row.pulls:.0f}",
        f"{row.p_fail:.0%}",
        f"{row.penalty:.3f}",
        "unknown" if row.cost_usd is None else format_usd(row.cost_usd),
        f"{row.load_s:.1f} s" if row.load_s else "",
        row.reason or (f"would evict {', '.join(row.evicts)}" if row.evicts else ""),
    )
