"""Steady traffic through one router to several providers, and a log of where it went.

``python -m benchmarks.failover_traffic CONTENDER RATE URL...`` prints ``ready``, sends requests
until its standard input is closed, with a line for each answer of the first provider, and prints
the `Log` as JSON. A request is sent when it is due,
however many are under way. Nothing of this project is imported for a peer, whose interpreter may
know nothing of it.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Final, TypeAlias

__all__ = ["CONTENDERS", "PATIENCE_S", "REST_S", "Log"]

PATIENCE_S: Final = 1.0
"""How long either router waits for one provider."""
_DEADLINE_S: Final = 10.0
REST_S: Final = 5.0
"""How long either leaves a provider alone at first: litellm's default ``cooldown_time``."""
_PROMPT: Final = "What is the capital of France?"


@dataclass(slots=True)
class Log:
    """What happened, in seconds of the machine's monotonic clock.

    Attributes:
        attempts: When each provider was called, by its place in the list.
        answers: When a request was answered by each.
        lost: When a request failed, and how.
    """

    attempts: list[list[float]]
    answers: list[list[float]]
    lost: list[tuple[float, str]] = field(default_factory=list)


Ask: TypeAlias = Callable[[], Awaitable[int]]
"""Sends one request and returns who answered it, by the place in the list."""


@asynccontextmanager
async def _ours(urls: Sequence[str], log: Log) -> AsyncIterator[Ask]:
    """Defaults, but for the patience, the first rest, and a choice as random as litellm's."""
    from orchestrator import BreakerPolicy, OpenAICompatibleModel, Orchestrator, Timeouts
    from orchestrator.core.events import CallStarted
    from orchestrator.monitoring import ModelHealthMonitor

    models = [
        OpenAICompatibleModel(str(place), "loopback", url, "sk-mock", wire_name="echo")
        for place, url in enumerate(urls)
    ]
    keys = [model.key.text for model in models]
    async with Orchestrator(
        models,
        selector="random",
        timeouts=Timeouts(
            connect_s=PATIENCE_S,
            first_token_s=PATIENCE_S,
            idle_s=PATIENCE_S,
            answer_s=PATIENCE_S,
        ),
        deadline_s=_DEADLINE_S,
        breaker=BreakerPolicy(open_s=REST_S),
        health_monitor=ModelHealthMonitor(),
    ) as engine:
        engine.on(CallStarted, lambda e: log.attempts[keys.index(e.model)].append(time.monotonic()))

        async def ask() -> int:
            result = await engine.generate(_PROMPT)
            return keys.index(result.attempts[-1].model)

        yield ask


@asynccontextmanager
async def _litellm(urls: Sequence[str], log: Log) -> AsyncIterator[Ask]:
    """Defaults, but for the patience, and retries enough to try every deployment."""
    litellm = importlib.import_module("litellm")
    router = litellm.Router(
        model_list=[
            {
                "model_name": "group",
                "model_info": {"id": str(place)},
                "litellm_params": {"model": "openai/echo", "api_base": url, "api_key": "sk-mock"},
            }
            for place, url in enumerate(urls)
        ],
        routing_strategy="simple-shuffle",
        timeout=PATIENCE_S,
        num_retries=len(urls),
    )
    choose = router.async_get_available_deployment

    async def noted(*args: Any, **kwargs: Any) -> Any:
        found = await choose(*args, **kwargs)
        log.attempts[int(found["model_info"]["id"])].append(time.monotonic())
        return found

    router.async_get_available_deployment = noted

    async def ask() -> int:
        answer = await router.acompletion(
            model="group", messages=[{"role": "user", "content": _PROMPT}]
        )
        return int(answer._hidden_params["model_id"])

    yield ask


CONTENDERS: Final = {"ours": _ours, "litellm": _litellm}


async def _send(ask: Ask, log: Log) -> None:
    try:
        async with asyncio.timeout(_DEADLINE_S):
            place = await ask()
    except Exception as error:  # noqa: BLE001 - however it failed, the request is lost
        log.lost.append((time.monotonic(), f"{type(error).__name__}: {error}"))
    else:
        log.answers[place].append(time.monotonic())
        if place == 0:  # who is to fail, and return
            print(log.answers[0][-1], flush=True)


async def _drive(contender: str, rate: float, urls: Sequence[str]) -> Log:
    """Send ``rate`` requests a second until standard input is closed."""
    log = Log([[] for _ in urls], [[] for _ in urls])
    async with CONTENDERS[contender](urls, log) as ask, asyncio.TaskGroup() as requests:
        ended = requests.create_task(asyncio.to_thread(sys.stdin.read))
        await ask()  # whatever is imported or opened on first use
        print("ready", flush=True)
        due = time.monotonic()
        while not ended.done():
            requests.create_task(_send(ask, log))
            due += 1 / rate
            await asyncio.sleep(max(due - time.monotonic(), 0))
    return log


if __name__ == "__main__":
    _, _contender, _rate, *_urls = sys.argv
    print(json.dumps(asdict(asyncio.run(_drive(_contender, float(_rate), _urls)))))
