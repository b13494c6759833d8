from __future__ import annotations

import signal

import pytest

from orchestrator.lifecycle.exit_codes import describe_exit


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (0, "exit code 0"),
        (3, "exit code 3"),
        (-signal.SIGTERM, "SIGTERM"),
        (-signal.SIGSEGV, "SIGSEGV"),
        (-200, "signal 200"),
    ],
)
def test_an_exit_code_is_said_by_name(code: int, text: str):
    assert describe_exit(code) == text


def test_a_kill_from_outside_points_to_the_memory():
    assert describe_exit(-signal.SIGKILL).startswith("SIGKILL (")
    assert "memory" in describe_exit(-signal.SIGKILL)
