"""What every test may count on: Hypothesis's profiles, and `require`."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest
from hypothesis import HealthCheck, settings

# No deadlines: a slow machine is not a failure.
_COMMON = settings(
    deadline=None, database=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("ci", _COMMON, derandomize=True, max_examples=100)
settings.register_profile("long", _COMMON, max_examples=2_000, stateful_step_count=100)
settings.load_profile("ci")


def require(needed: str | bool, reason: str) -> None:
    """Skip the test where what it needs is absent; in continuous integration, fail it.

    Args:
        needed: The name of a top-level module, or whether the need is met.
        reason: What is missing and how to get it.
    """
    met = find_spec(needed) is not None if isinstance(needed, str) else needed
    if met:
        return
    if os.environ.get("CI"):
        pytest.fail(f"absent in continuous integration: {reason}")
    pytest.skip(reason)
