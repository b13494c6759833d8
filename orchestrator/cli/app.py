"""The commands together."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from orchestrator import __version__
from orchestrator.cli import (
    ask,
    config,
    evaluate,
    events,
    health,
    log,
    models,
    ope,
    replay,
    segments,
    select,
    serve,
    simulate,
    warm_start,
)
from orchestrator.cli.demo import command as demo
from orchestrator.cli.failure import INTERRUPTED, OK, report
from orchestrator.core.errors import OrchestratorError, TryLaterError

__all__ = ["app", "run"]

app = typer.Typer(
    help="One pool of every model you can reach; the best one that may serve, for each request.",
    epilog="Exit codes: 0 done, 1 failed, 2 the command or the configuration is wrong.",
    pretty_exceptions_enable=False,
)
app.command("serve", epilog=serve.EXAMPLE)(serve.serve)
app.command("ask", epilog=ask.EXAMPLE)(ask.ask)
app.command("select", epilog=select.EXAMPLE)(select.select)
app.add_typer(models.app, name="models")
app.command("health", epilog=health.EXAMPLE)(health.health)
app.add_typer(config.app, name="config")
app.add_typer(log.app, name="log")
app.command("events", epilog=events.EXAMPLE)(events.events)
app.command("simulate", epilog=simulate.EXAMPLE)(simulate.simulate)
app.command("evaluate", epilog=evaluate.EXAMPLE)(evaluate.evaluate)
app.command("replay", epilog=replay.EXAMPLE)(replay.replay)
app.command("ope", epilog=ope.EXAMPLE)(ope.ope)
app.command("warm-start", epilog=warm_start.EXAMPLE)(warm_start.warm_start)
app.add_typer(segments.app, name="segments")
app.command("demo", epilog=demo.EXAMPLE)(demo.demo)


@app.callback(invoke_without_command=True)
def _orchestrator(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; errors are told in a line or two.

    Args:
        arguments: What stands behind the program's name; None takes this process's.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        code = app(args=words, prog_name="orchestrator", standalone_mode=False)
    except KeyboardInterrupt:
        return INTERRUPTED
    except (OrchestratorError, typer.TyperException) as error:
        return report(error, as_json="--json" in words)
    except MemoryError as error:
        told = TryLaterError(f"there is not enough memory: {error}", hint="ask for less at once")
        return report(told, as_json="--json" in words)
    return code if isinstance(code, int) else OK
