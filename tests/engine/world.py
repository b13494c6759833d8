"""An engine in the simulated world, and models that do as they are told."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

from orchestrator import Model, Orchestrator
from orchestrator.core.errors import ErrorClass, ModelAPIError
from orchestrator.core.events import Event
from orchestrator.selectors import PrioritySelector
from orchestrator.testing.clock import LoopClock
from orchestrator.testing.loop import run_simulated
from orchestrator.testing.scripted import ScriptedModel, Turn

P = ParamSpec("P")
BY_PRIORITY = PrioritySelector()


def simulated(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Let an async test run in the simulated world, which ends after a day."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        run_simulated(lambda: test(*args, **kwargs), until_s=86_400)

    return run


def engine(*models: Model, **options: Any) -> Orchestrator:
    """Return an engine that chooses by priority, and by the order of its models among equals."""
    options = {"selector": BY_PRIORITY, "clock": LoopClock(), "seed": 1, "node": "n", **options}
    return Orchestrator(models, **options)


def says(name: str, *turns: Turn | str | Exception, **facts: Any) -> ScriptedModel:
    """Return a model that answers with its own name, or does as its turns say."""
    return ScriptedModel(name, turns or (name,), "p", **facts)


def down(**facts: Any) -> ModelAPIError:
    """Return the error of a provider that is out of order."""
    return ModelAPIError(
        "down", **{"classification": ErrorClass.SERVICE_UNAVAILABLE, "status": 503, **facts}
    )


def invalid() -> ModelAPIError:
    """Return the error for a request that no model could answer."""
    return ModelAPIError("no such option", classification=ErrorClass.INVALID_REQUEST, status=400)


def listen(orchestrator: Orchestrator, *kinds: type[Event]) -> list[Any]:
    """Return the list into which events of these kinds will go."""
    heard: list[Any] = []
    for kind in kinds or (Event,):
        orchestrator.events.on(kind, heard.append)
    return heard


def pending(orchestrator: Orchestrator) -> float:
    """Return how many pulls have begun and not ended, by the rows."""
    totals = orchestrator.get_model_statistics().values()
    return sum(t["opened"] - t["closed"] - t["expired"] for t in totals)
