"""Outages of the simulated world: drawn beforehand, and brought about in time."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Final

from orchestrator.core.errors import ProcessError
from orchestrator.core.ports import ResidentSpec
from orchestrator.engine import Orchestrator
from orchestrator.testing.arms import Pool, Site
from orchestrator.testing.processes import SimulatedLauncher, SimulatedProcess
from orchestrator.testing.settings import Settings
from orchestrator.testing.transport import SimulatedTransport
from orchestrator.testing.troubles import Condition, Outage
from orchestrator.testing.voices import local_provider

__all__ = ["CANNOT_LOAD", "WorldLauncher", "bring_about", "draw_condition", "draw_deaths"]

CANNOT_LOAD: Final = "cannot_load"

_OUTAGES: Final = {
    "hosted": (
        "dead",
        "unreachable",
        "silent",
        "slow",
        "broken",
        "unavailable",
        "limited",
        "page",
        "bad_key",
        "bad_key",
        "unpaid",
        "forbidden",
        "missing",
    ),
    "process": (CANNOT_LOAD, CANNOT_LOAD, "silent", "broken"),
    "plain": ("silent", "broken", "unavailable", "limited", "dropped", "timed_out"),
}
_BLACKOUT: Final = {"hosted": "dead", "process": CANNOT_LOAD, "plain": "unavailable"}
_MISHAPS: Final = {
    "hosted": (
        "recut",
        "dripping",
        "slow",
        "silent",
        "refused",
        "dropped",
        "stalled",
        "truncated",
        "garbled",
        "endless",
        "page",
        "broken",
        "unavailable",
        "limited",
        "limited",
        "unpaid",
        "unpaid",
        "too_large",
        "too_long",
        "bad_request",
        "filtered",
    ),
    "process": ("recut", "silent", "dropped", "stalled", "truncated", "broken"),
    "plain": ("silent", "dropped", "timed_out", "unavailable", "limited", "broken", "bad_request"),
}
_HEALED_S: Final = 5.0
"""How long a refused key has been good again when its outage ends: no refusal is still on its way
when the engine is told."""


def draw_condition(rng: Random, kind: str, settings: Settings) -> Condition:
    """Draw how a ``hosted``, ``process`` or ``plain`` place fares."""
    duration_s = settings.duration_s
    outages = [Outage(_BLACKOUT[kind], *blackout) for blackout in settings.blackouts]
    for _ in range(rng.choice((1, 2, 4))):
        begins_s = rng.uniform(-0.1, 1) * duration_s
        ends_s = begins_s + rng.choice((2.0, 15.0, 60.0, duration_s)) * rng.uniform(0.5, 1.5)
        apart = all(ends_s < o.begins_s or o.ends_s < begins_s for o in outages)
        if apart and rng.random() < settings.roughness:
            name = rng.choice(_OUTAGES[kind])
            healed_s = _HEALED_S if name == "bad_key" else 0.0
            outages.append(Outage(name, begins_s, ends_s, healed_s))
    p_mishap = rng.choice((0.0, 0.1, 0.5)) * settings.roughness
    names = rng.sample(_MISHAPS[kind], rng.randint(1, 5))
    # Most can go wrong with a stream that breaks off, so they break off wherever it is rough.
    p_cut = rng.choice((0.05, 0.3)) if settings.roughness else 0.0
    mishaps = {"late": 0.2, "cut": p_cut, **dict.fromkeys(names, p_mishap / len(names))}
    return Condition(sorted(outages, key=lambda o: o.begins_s), mishaps, rng)


def draw_deaths(rng: Random, settings: Settings) -> list[float]:
    """Draw when the processes of one resident die."""
    count = rng.choice((2, 5, 10)) if rng.random() < settings.roughness else 0
    return sorted(rng.uniform(0, settings.duration_s) for _ in range(count))


async def bring_about(
    site: Site, deaths: list[float], engine: Orchestrator, launcher: WorldLauncher, pool: Pool
) -> None:
    """Let the outages of a site come and go, its processes die, and its keys be renewed."""
    clock = asyncio.get_running_loop().time
    moments: list[tuple[float, Outage | None]] = [(at_s, None) for at_s in deaths]
    moments += [(o.begins_s, o) for o in site.condition.outages]
    moments += [(o.ends_s, o) for o in site.condition.outages]
    for at_s, outage in sorted(moments, key=lambda moment: moment[0]):
        await asyncio.sleep(at_s - clock())
        if outage is None:
            for process in launcher.alive(site.name):
                process.die()
            continue
        begins = at_s == outage.begins_s
        if site.server is not None:
            if not begins:
                site.server.revive()
            elif outage.name == "dead":
                site.server.kill()
            elif outage.name == "unreachable":
                site.server.vanish()
        if outage.name == "bad_key" and not begins:
            for arm in pool.arms.values():
                if arm.site is site and arm.model.spec.credential_id is not None:
                    engine.restore_credential(arm.model.spec.credential_id)


class WorldLauncher(SimulatedLauncher):
    """Starts processes that fare as their site does."""

    def __init__(self, transport: SimulatedTransport, pool: Pool, rng: Random) -> None:
        super().__init__(transport, lambda spec: local_provider(rng))
        self._pool = pool
        self._rng = rng

    async def start(self, spec: ResidentSpec) -> SimulatedProcess:
        """Start it, or fail as long as the site cannot load."""
        condition = self._pool.sites[spec.name].condition
        self.load_s = self._rng.choice((0.1, 0.5, 3.0, 10.0))
        outage = condition.outage(asyncio.get_running_loop().time())
        if outage is not None and outage.name == CANNOT_LOAD:
            self.failures.append(ProcessError(f"{spec.name} does not load"))
        process = await super().start(spec)
        process.server.faults = condition
        process.stop_s = self._rng.choice((0.0, 0.3, 8.0))
        return process
