"""``orchestrator ask``: one answer from the best model that may give it."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from orchestrator.cli.engine import configured
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
from orchestrator.cli.output import note, write_json
from orchestrator.core.money import format_usd

if TYPE_CHECKING:
    from orchestrator.core.results import TextResult
    from orchestrator.engine import Orchestrator

__all__ = ["EXAMPLE", "ask"]

EXAMPLE: Final = 'Example: orchestrator ask "What is the capital of France?" --max-cost 0.01'


def ask(
    prompt: Annotated[str, typer.Argument(help="What to ask; - reads standard input.")],
    config: ConfigFile = None,
    model: ModelName = None,
    route: RouteName = None,
    max_cost: MaxCost = None,
    min_speed: MinSpeed = None,
    context_length: ContextLength = None,
    capability: Capabilities = None,
    provider: Provider = None,
    exclude: Excluded = None,
    system: Annotated[str | None, typer.Option(help="The system prompt.")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 is always the same.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Most tokens of the answer.")] = None,
    deadline: Annotated[float | None, typer.Option(help="Seconds for the whole request.")] = None,
    stream: Annotated[
        bool | None,
        typer.Option(
            "--stream/--no-stream",
            help="Write the answer as it comes; only models that can do that are asked.",
            show_default="in a terminal",
        ),
    ] = None,
    paid: Paid = False,
    as_json: AsJson = False,
) -> None:
    """Ask the pool, and write the answer.

    Who answered, in how many attempts, at what cost, is told on standard error.
    """
    text = sys.stdin.read() if prompt == "-" else prompt
    options = demands(
        model=model,
        route=route,
        max_cost=max_cost,
        min_speed=min_speed,
        context_length=context_length,
        capabilities=capability,
        provider=provider,
        exclude_models=exclude,
        system_prompt=system,
        temperature=temperature,
        max_tokens=max_tokens,
        deadline_s=deadline,
    )
    in_pieces = sys.stdout.isatty() if stream is None else stream
    orchestrator = configured(config, paid=paid).orchestrator
    result = asyncio.run(_ask(orchestrator, text, options, stream=in_pieces, silent=as_json))
    if as_json:
        write_json(_as_dict(result))
    else:
        _tell(result)


async def _ask(
    orchestrator: Orchestrator, prompt: str, options: dict[str, Any], *, stream: bool, silent: bool
) -> TextResult:
    async with orchestrator:
        if not stream:
            result = await orchestrator.generate(prompt, **options)
            if not silent:
                _write(result.text)
        else:
            async with orchestrator.stream(prompt, **options) as pieces:
                async for chunk in pieces:
                    if not silent:
                        _write(chunk.text)
            result = pieces.result
    return result


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _tell(result: TextResult) -> None:
    if not result.text.endswith("\n"):
        _write("\n")
    attempts = len(result.attempts)
    tried = "" if attempts == 1 else f" after {attempts - 1} failed"
    note(
        f"{result.model}{tried}, {format_usd(result.cost_usd)}, {result.latency_s:.2f} s, "
        f"{result.usage.completion_tokens} tokens, decision {result.decision_id}"
    )


def _as_dict(result: TextResult) -> dict[str, Any]:
    usage = result.usage
    return {
        "text": result.text,
        "model": result.model,
        "decision_id": result.decision_id,
        "request_id": result.request_id,
        "cost_usd": result.cost_usd,
        "latency_s": result.latency_s,
        "finish_reason": result.answer.finish_reason,
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
        },
        "attempts": [
            {
                "model": attempt.model,
                "latency_s": attempt.latency_s,
                "cost_usd": attempt.cost_usd,
                "error": None if attempt.error is None else str(attempt.error),
            }
            for attempt in result.attempts
        ],
    }
