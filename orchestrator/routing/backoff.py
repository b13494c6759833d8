"""How long a request waits before it tries the same model again."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final

__all__ = ["BACKOFF_CAPS_S", "backoff_s"]

BACKOFF_CAPS_S: Final = (1.0, 2.0, 4.0)
"""The longest wait before the first, the second, and every later retry."""


def backoff_s(
    retry: int,
    retry_after_s: float | None,
    left_s: float,
    rng: Random,
    caps_s: Sequence[float] = BACKOFF_CAPS_S,
) -> float | None:
    """Return how many seconds to wait, or None if the deadline would pass meanwhile.

    The wait is drawn evenly from zero to the cap, which spreads the retries of many clients
    best for the least waiting.

    Args:
        retry: Which retry it is, counted from 1.
        retry_after_s: What the provider asked for; goes before our own time.
        left_s: Seconds until the deadline.
        rng: Draws the wait.
        caps_s: The longest wait of each retry; the last goes for all that follow.

    Source:
        Brooker (2015), Exponential Backoff And Jitter, "full jitter".
    """
    if retry_after_s is None:
        wait_s = rng.uniform(0.0, caps_s[min(retry, len(caps_s)) - 1])
    else:
        wait_s = max(0.0, retry_after_s)
    return wait_s if wait_s < left_s else None
