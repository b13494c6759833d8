"""How a command that failed says so: what happened, what to try, and an exit code."""

from __future__ import annotations

import sys
from typing import Any, Final

from orchestrator.cli.output import write_json
from orchestrator.core.errors import OrchestratorError, RequestError

__all__ = ["FAILED", "INTERRUPTED", "OK", "WRONG", "report"]

OK: Final = 0
FAILED: Final = 1
"""What was asked could not be done."""
WRONG: Final = 2
"""The command, the configuration or the request has to change first."""
INTERRUPTED: Final = 130
"""By Ctrl-C; 128 and the signal's number, as shells have it."""


def report(error: Exception, *, as_json: bool) -> int:
    """Tell of an error and return the exit code that belongs to it.

    Args:
        error: One of ours, or what typer raises for a command that it does not understand.
        as_json: Also write it as the one object on standard output.
    """
    if isinstance(error, OrchestratorError):
        message, hint, code = error.message, error.hint, error.code
        left_with = WRONG if isinstance(error, RequestError) else FAILED
    else:
        message, hint, code = _usage(error)
        left_with = WRONG
    sys.stderr.write(f"error: {message}\n")
    if hint:
        sys.stderr.write(f"hint: {hint}\n")
    if as_json:
        write_json({"error": {"code": code, "message": message, "hint": hint}})
    return left_with


def _usage(error: Any) -> tuple[str, str | None, str]:
    context = getattr(error, "ctx", None)
    hint = None if context is None else f"{context.command_path} --help"
    return error.format_message().rstrip("."), hint, "usage"
