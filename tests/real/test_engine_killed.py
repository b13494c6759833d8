"""The embedded engine is killed again and again while requests are in flight."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

from orchestrator import (
    BreakerPolicy,
    EmbeddedModel,
    OpenAICompatibleModel,
    Orchestrator,
    Price,
    PrioritySelector,
)
from orchestrator.core.events import (
    CallFailed,
    Event,
    FailedOver,
    ModelLoaded,
    ModelUsed,
    ProcessExited,
)
from orchestrator.lifecycle.restart import RestartPolicy
from orchestrator.testing.provider_server import ProviderServer
from tests.integrations.real_engine import smollm2

KILLS = 20
CLIENTS = 32
CUT = {"network_error", "partial_failure"}


class Witness:
    """What the bus told."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self.pid: int | None = None
        self.served = 0
        """Answers of the present process. Once it gave one, the clients keep it busy."""
        self.cut = 0
        self.deaths = 0
        self.failovers = 0
        self._changed = asyncio.Event()
        orchestrator.events.on(Event, self._see)

    def _see(self, event: Event) -> None:
        if isinstance(event, ModelLoaded):
            self.pid, self.served = event.pid, 0
        elif isinstance(event, ModelUsed):
            self.served += event.model.startswith("embedded:")
        elif isinstance(event, ProcessExited):
            self.deaths += not event.expected
            self.pid = None
        elif isinstance(event, CallFailed) and event.classification in CUT:
            self.cut += 1
        elif isinstance(event, FailedOver):
            self.failovers += 1
        self._changed.set()

    def is_serving(self) -> bool:
        return self.pid is not None and self.served > 0

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until a condition holds; events wake it."""
        while not holds():
            self._changed.clear()
            await self._changed.wait()


async def test_no_request_is_lost_while_the_engine_is_killed_twenty_times():
    resident = smollm2(slots=4, context=4096)
    embedded = EmbeddedModel("smollm2", resident, priority=10, defaults={"max_tokens": 60})
    lost: list[Exception] = []
    answered: dict[str, int] = {}
    async with ProviderServer(models=("backup",)) as server:
        backup = OpenAICompatibleModel("backup", "loopback", server.base_url, price=Price.free())
        orchestrator = Orchestrator(
            [embedded, backup],
            selector=PrioritySelector(),
            breaker=BreakerPolicy(open_s=0.1, max_open_s=0.1, recovery_threshold=1),
            restart=RestartPolicy(first_wait_s=0.05, longest_wait_s=0.1),
        )
        async with orchestrator, asyncio.TaskGroup() as tasks:
            seen = Witness(orchestrator)

            async def ask_forever(client: int) -> None:
                while True:
                    try:
                        result = await orchestrator.generate(f"Count to {client + 20}.")
                    except Exception as error:  # noqa: BLE001 - whatever it is, it was lost
                        lost.append(error)
                    else:
                        answered[result.model] = answered.get(result.model, 0) + 1

            clients = [tasks.create_task(ask_forever(n)) for n in range(CLIENTS)]
            for kill in range(1, KILLS + 1):
                await seen.until(seen.is_serving)
                cut_before = seen.cut
                assert seen.pid is not None
                os.kill(seen.pid, signal.SIGKILL)

                def has_cut_a_call(kill: int = kill, cut_before: int = cut_before) -> bool:
                    return seen.deaths == kill and seen.cut > cut_before

                await seen.until(has_cut_a_call)
            for client in clients:
                client.cancel()

    assert lost == []
    assert seen.deaths == KILLS
    assert seen.cut >= KILLS
    assert seen.failovers >= seen.cut
    assert answered[backup.key.text] >= KILLS
