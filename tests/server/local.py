"""Models in the memory of a gateway's engine, whose processes are simulated."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from orchestrator import Model
from orchestrator.core.errors import ProcessError
from orchestrator.core.ports import ResidentSize, ResidentSpec
from orchestrator.integrations.served import ServedModel
from orchestrator.lifecycle.policy import LifecyclePolicy, MemoryBudget
from orchestrator.lifecycle.restart import RestartPolicy
from orchestrator.testing import ProcessScript, SimulatedLauncher, SimulatedTransport
from tests.server.serving import Door, door_to

__all__ = ["BROKEN", "local", "local_door"]

BROKEN = ProcessScript(failure=ProcessError("the file is cut off"))


def local(name: str, size: int = 1, **facts: Any) -> ServedModel:
    """Return a model that takes so many bytes, on a resident of its own."""
    spec = ResidentSpec(name, ("engine",), {}, size=ResidentSize(weights_bytes=size))
    return ServedModel(name, spec, **facts)


@asynccontextmanager
async def local_door(
    *models: Model,
    scripts: Mapping[str, ProcessScript] | None = None,
    budget: Mapping[str, Any] | None = None,
    state: Path | None = None,
    **policy: Any,
) -> AsyncIterator[Door]:
    """Serve these models.

    Args:
        scripts: What becomes of each start of a resident; else it loads at once.
        budget: Arguments of the `MemoryBudget`.
        state: The file of what is remembered, or None.
        policy: Further arguments of the `LifecyclePolicy`.
    """
    transport, fates = SimulatedTransport(), scripts or {}
    launcher = SimulatedLauncher(
        transport, script_for=lambda spec: fates.get(spec.name, ProcessScript())
    )
    limits = MemoryBudget(**(budget or {}))
    engine: dict[str, Any] = {
        "state": state,
        "transport": transport,
        "launcher": launcher,
        "restart": RestartPolicy(first_wait_s=0.01),
        "lifecycle": LifecyclePolicy(budget=limits, **{"min_residence_s": 0.0, **policy}),
    }
    async with door_to(*models, engine=engine) as door:
        yield door
