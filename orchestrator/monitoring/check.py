"""One check of a model: what is asked of it, and what that says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from orchestrator.core.errors import ErrorClass, ModelAPIError, ModelTimeoutError
from orchestrator.core.model import Model

__all__ = ["Finding", "check", "checks_itself"]


class Finding(NamedTuple):
    """What a check found.

    Attributes:
        error: What was wrong, or None.
        shallow: No answer was asked for: the model was reached, or not, and that is all.
        usd: What it cost.
    """

    error: Exception | None
    shallow: bool
    usd: float = 0.0


def checks_itself(model: Model) -> bool:
    """Say whether the model's class has a health check of its own."""
    return type(model).health_check is not Model.health_check


async def check(
    model: Model, ask: Callable[[Model], Awaitable[float]] | None, limit_s: float
) -> Finding:
    """Check a model: by its own `Model.health_check`, then by a question if one may be asked.

    Args:
        model: Who.
        ask: Puts a question to it and returns the cost in USD, or None for none.
        limit_s: How long all of it may take; longer is a failure.
    """
    shallow = ask is None
    try:
        async with asyncio.timeout(limit_s):
            if not await model.health_check():
                return Finding(
                    ModelAPIError(
                        f"{model.key} says that it is not well",
                        classification=ErrorClass.SERVICE_UNAVAILABLE,
                    ),
                    shallow=True,
                )
            return Finding(None, shallow, 0.0 if ask is None else await ask(model))
    except TimeoutError:
        late = ModelTimeoutError(
            f"{model.key} did not answer a check in {limit_s:g} s", phase="first_token"
        )
        return Finding(late, shallow)
    except Exception as error:  # noqa: BLE001 - whatever it is, that is what the check found
        return Finding(error, shallow)
