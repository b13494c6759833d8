"""The command line: ``orchestrator serve``, ``ask``, ``models``, ``select``, ``demo``, ``config``.

A file per command, each of which imports what it needs when it is called, so that the others and
``--help`` stay quick. Results go to standard output, progress and errors to standard error.
"""

import sys
from importlib.util import find_spec

__all__ = ["main"]


def main() -> None:
    """Run the command that the arguments of this process name, and exit with its code."""
    if find_spec("typer") is None or find_spec("rich") is None:
        sys.stderr.write(
            "error: the command line needs an extra\nhint: pip install 'orchestrator[cli]'\n"
        )
        sys.exit(2)
    from orchestrator.cli.app import run

    sys.exit(run())
