"""Whatever callers and processes do, in whatever order, the promises of residency hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import anyio
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.bus import EventBus
from orchestrator.core.errors import (
    EngineClosedError,
    InvalidRequestError,
    ModelLoadError,
    ProcessError,
)
from orchestrator.core.events import Event
from orchestrator.core.ports import ResidentSpec
from orchestrator.lifecycle.manager import ModelManager
from orchestrator.testing.loop import run_simulated
from tests.lifecycle.scripted import SPEC, ScriptedProcess

# After each event, what may come next.
LEGAL = {
    None: {"model-loading"},
    "model-loading": {"model-loaded", "model-load-failed"},
    "model-load-failed": {"model-loading"},
    "model-loaded": {"model-unloading", "process-exited"},
    "model-unloading": {"process-exited"},
    "process-exited": {"model-unloaded"},
    "model-unloaded": {"model-loading"},
}
RESTING = {None, "model-load-failed", "model-unloaded"}


class LoopClock:
    def monotonic(self) -> float:
        return anyio.current_time()

    def wall(self) -> float:
        return anyio.current_time()


class RandomLauncher:
    """Loads take a while and may fail; there is never more than one process at a time."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._busy = False
        self.processes: list[ScriptedProcess] = []

    async def start(self, spec: ResidentSpec) -> ScriptedProcess:
        assert not self._busy, "two loads at once"
        assert not any(process.alive for process in self.processes), "two processes at once"
        self._busy = True
        try:
            await anyio.sleep(self._rng.uniform(0, 3))
            if self._rng.random() < 0.3:
                raise ProcessError("it ended")
        finally:
            self._busy = False
        self.processes.append(ScriptedProcess(len(self.processes)))
        self.processes[-1].stubborn = self._rng.random() < 0.2
        return self.processes[-1]


@dataclass(frozen=True)
class Step:
    """What one caller, or fate, does at one moment."""

    at: float
    what: str
    patience_s: float
    hold_s: float


STEPS = st.lists(
    st.builds(
        Step,
        at=st.floats(0, 10),
        what=st.sampled_from(["lease", "lease", "lease", "unload", "die"]),
        patience_s=st.floats(0, 6),
        hold_s=st.floats(0, 6),
    ),
    max_size=20,
)


@given(steps=STEPS, seed=st.integers(0, 2**32), close_at=st.floats(0, 20))
def test_residency_keeps_its_promises(steps: Sequence[Step], seed: int, close_at: float):
    run_simulated(lambda: live(steps, Random(seed), close_at), until_s=10_000)


async def live(steps: Sequence[Step], rng: Random, close_at: float) -> None:
    events: list[Event] = []
    bus = EventBus(LoopClock())
    bus.on(Event, lambda e: events.append(e) if e.name in LEGAL else None)
    launcher = RandomLauncher(rng)
    residency = ModelManager([SPEC], launcher, bus, LoopClock())
    ended: list[Step] = []
    refusals: list[ModelLoadError] = []

    async def lease(step: Step) -> None:
        with anyio.move_on_after(step.patience_s):
            try:
                async with residency.lease("small") as endpoint:
                    assert endpoint == launcher.processes[-1].endpoint, "not the newest process"
                    process = launcher.processes[-1]
                    await anyio.sleep(step.hold_s)
                    assert closing or not process.stops, "stopped under an open lease"
            except ModelLoadError as error:
                refusals.append(error)
            except EngineClosedError:
                assert closing

    async def act(step: Step) -> None:
        await anyio.sleep(step.at)
        if step.what == "lease":
            await lease(step)
        elif step.what == "die" and launcher.processes:
            launcher.processes[-1].die()
        elif step.what == "unload":
            with anyio.move_on_after(step.patience_s):
                try:
                    await residency.unload("small")
                except InvalidRequestError:
                    pass
                except EngineClosedError:
                    assert closing
        ended.append(step)

    closing = False
    async with anyio.create_task_group() as callers:
        async with residency:
            for step in steps:
                callers.start_soon(act, step)
            await anyio.sleep(close_at)
            closing = True
        assert not any(process.alive for process in launcher.processes), "outlived by a process"

    assert len(ended) == len(steps), "somebody was never answered"
    assert all(0 <= (refusal.retry_after_s or 0) <= 30 for refusal in refusals)
    last = None
    for event in events:
        assert event.name in LEGAL[last], f"{event.name} after {last}"
        last = event.name
    assert last in RESTING
