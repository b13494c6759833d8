"""Fakes that users test their own services with; `docs/testing.md` shows how.

What time does is `run_simulated`'s; who answers is a `ScriptedModel` without a wire, a
`SimulatedServer` behind a `SimulatedTransport`, or a `ProviderServer` on a real port; what goes
wrong is a `FaultPlan`. `SimulatedWorld` draws all of that from one seed. Nothing here is imported
by the parts that serve.
"""

from typing import TYPE_CHECKING

from orchestrator.core.first_use import on_first_use as _on_first_use
from orchestrator.testing.clock import LoopClock
from orchestrator.testing.echo import echo
from orchestrator.testing.faults import (
    Cut,
    Dripping,
    Dropped,
    Endless,
    Fault,
    FaultPlan,
    Garbled,
    Instead,
    Late,
    Recut,
    Refused,
    Stalled,
    Truncated,
    failure,
    html_page,
)
from orchestrator.testing.loop import (
    DeadlockError,
    LeftoverTasksError,
    LivelockError,
    OutOfTimeError,
    OutsideWorldError,
    SimulatedLoop,
    SimulationError,
    run_simulated,
)
from orchestrator.testing.openai_provider import OpenAIProvider
from orchestrator.testing.openai_wire import Reply, ToolCall
from orchestrator.testing.processes import (
    ProcessScript,
    SimulatedLauncher,
    SimulatedProbe,
    SimulatedProcess,
)
from orchestrator.testing.scripted import Drawn, ScriptedCall, ScriptedModel, Turn
from orchestrator.testing.simulated_server import Exchange, SimulatedServer
from orchestrator.testing.transport import SimulatedTransport

if TYPE_CHECKING:
    from orchestrator.testing.provider_server import ProviderServer, Received
    from orchestrator.testing.trace import Trace
    from orchestrator.testing.world import SimulatedWorld

__all__ = [
    "Cut",
    "DeadlockError",
    "Drawn",
    "Dripping",
    "Dropped",
    "Endless",
    "Exchange",
    "Fault",
    "FaultPlan",
    "Garbled",
    "Instead",
    "Late",
    "LeftoverTasksError",
    "LivelockError",
    "LoopClock",
    "OpenAIProvider",
    "OutOfTimeError",
    "OutsideWorldError",
    "ProcessScript",
    "ProviderServer",
    "Received",
    "Recut",
    "Refused",
    "Reply",
    "ScriptedCall",
    "ScriptedModel",
    "SimulatedLauncher",
    "SimulatedLoop",
    "SimulatedProbe",
    "SimulatedProcess",
    "SimulatedServer",
    "SimulatedTransport",
    "SimulatedWorld",
    "SimulationError",
    "Stalled",
    "ToolCall",
    "Trace",
    "Truncated",
    "Turn",
    "echo",
    "failure",
    "html_page",
    "run_simulated",
]

# What needs aiohttp or the whole engine.
__getattr__ = _on_first_use(
    __name__,
    {
        "ProviderServer": "orchestrator.testing.provider_server",
        "Received": "orchestrator.testing.provider_server",
        "SimulatedWorld": "orchestrator.testing.world",
        "Trace": "orchestrator.testing.trace",
    },
)
