"""What a process's exit code says to a person."""

from __future__ import annotations

import signal

__all__ = ["describe_exit"]

_LIKELY_CAUSES = {
    "SIGKILL": "killed from outside, or the system ran out of memory",
    "SIGILL": "the engine was built for a newer processor",
    "SIGABRT": "the engine gave up on an internal error",
}


def describe_exit(code: int) -> str:
    """Return the code, or the name of the signal where it is negative, and what it points to."""
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
    cause = _LIKELY_CAUSES.get(name)
    return f"{name} ({cause})" if cause else name
