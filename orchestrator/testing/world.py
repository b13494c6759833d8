"""A whole world from one seed: a pool, its weather, its clients, and the engine among them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from math import inf
from random import Random
from sys import maxsize
from typing import Final

from orchestrator.core.events import ModelUsed
from orchestrator.core.objective import Objective
from orchestrator.core.selector import Selector
from orchestrator.engine import Orchestrator
from orchestrator.routing.routes import Route
from orchestrator.testing.arms import Arm, Pool, Site, draw_pool
from orchestrator.testing.clients import Clients
from orchestrator.testing.clock import LoopClock
from orchestrator.testing.errands import draw_errands
from orchestrator.testing.loop import run_simulated
from orchestrator.testing.policies import draw_routes, draw_selector
from orchestrator.testing.provider_calls import calls_of
from orchestrator.testing.settings import Settings, draw_settings
from orchestrator.testing.trace import Trace, at_rest
from orchestrator.testing.transport import SimulatedTransport
from orchestrator.testing.weather import WorldLauncher, bring_about, draw_condition, draw_deaths

__all__ = ["SimulatedWorld"]

_PATIENCE_S: Final = 3_600.0
"""How long after the last arrival everything has to be over."""
_MIDNIGHT: Final = 20_000 * 86_400.0


class SimulatedWorld:
    """Draws a world and lets it happen: ``SimulatedWorld(17).run()``.

    The same seed gives the same world and, with the same code, the same trace.

    Args:
        seed: Of everything.
        n_errands: How much work there is; None draws it.
        selector: Who chooses; None draws one.
    """

    def __init__(
        self, seed: int, *, n_errands: int | None = None, selector: Selector | None = None
    ) -> None:
        self.seed = seed
        self.settings = draw_settings(self._rng("world"))
        if n_errands is not None:
            self.settings = replace(self.settings, n_errands=n_errands)
        self._selector = selector

    def run(self) -> Trace:
        """Let it happen.

        Raises:
            SimulationError: It came to a halt, never ended, or left tasks behind.
        """
        return run_simulated(self._happen, until_s=self.settings.duration_s + _PATIENCE_S)

    async def _happen(self) -> Trace:
        transport = SimulatedTransport(connect_s=0.01)
        pool = self._pool(transport)
        launcher = WorldLauncher(transport, pool, self._rng("processes"))
        routes = draw_routes(self._rng("routes"), pool)
        engine = self._engine(pool, transport, launcher, routes)
        trace = Trace(self.seed, self.settings, pool, engine)
        async with asyncio.TaskGroup() as group, engine:
            await self._live(group, trace, launcher, [route.name for route in routes])
            trace.closing = True
        trace.at_rest = at_rest(engine, pool, launcher)
        trace.calls = calls_of(pool, ((p.resident, p.server) for p in launcher.processes))
        return trace

    async def _live(
        self,
        group: asyncio.TaskGroup,
        trace: Trace,
        launcher: WorldLauncher,
        routes: Sequence[str],
    ) -> None:
        """Let the weather change and models come and go until it is time to close."""
        engine, pool = trace.engine, trace.pool
        clients = Clients(engine, trace, group)
        if self._rng("subscriber").random() < 0.3:
            engine.events.on(ModelUsed, _fail)
        rng = self._rng("weather")
        surroundings = [
            group.create_task(
                bring_about(site, _deaths(site, rng, self.settings), engine, launcher, pool)
            )
            for site in pool.sites.values()
        ]
        surroundings += [group.create_task(_come_and_go(engine, arm)) for arm in pool.arms.values()]
        errands = draw_errands(
            self._rng("errands"),
            pool,
            ("auto", "priority", *routes),
            self.settings.n_errands,
            self.settings.duration_s,
        )
        tasks = []
        for errand in errands:
            task = group.create_task(clients.run(errand))
            for after_s in errand.cancelled_after_s:
                asyncio.get_running_loop().call_at(errand.at_s + after_s, task.cancel)
            tasks.append(task)
        closes_s = self.settings.closes_s
        await asyncio.wait(tasks, timeout=closes_s)
        for task in surroundings:
            task.cancel()
        if closes_s is None:
            await asyncio.sleep(self._rng("end").choice((0.0, 200.0)))

    def _rng(self, part: str) -> Random:
        """Return a generator for one part, so that a change in one does not change the others."""
        return Random(f"{self.seed}:{part}")

    def _pool(self, transport: SimulatedTransport) -> Pool:
        rng = self._rng("pool")
        pool = draw_pool(rng, transport, lambda kind: draw_condition(rng, kind, self.settings))
        for arm in pool.arms.values():
            one, two = sorted(rng.uniform(0, self.settings.duration_s) for _ in range(2))
            arm.present = rng.choices(
                ([(0.0, inf)], [(one, inf)], [(0.0, two)], [(0.0, one), (two, inf)]),
                (85, 5, 5, 5),
            )[0]
        return pool

    def _engine(
        self,
        pool: Pool,
        transport: SimulatedTransport,
        launcher: WorldLauncher,
        routes: Sequence[Route],
    ) -> Orchestrator:
        rng, settings = self._rng("engine"), self.settings
        engine = Orchestrator(
            [arm.model for arm in pool.arms.values() if arm.present[0][0] == 0],
            selector=self._selector or draw_selector(rng),
            routes=routes,
            objective=rng.choice((None, Objective(latency_weight=0.1, failure_weight=2.0))),
            deadline_s=settings.deadline_s,
            timeouts=settings.timeouts,
            attempts=settings.attempts,
            breaker=settings.breaker,
            budget_usd_per_day=settings.budget_usd,
            transport=transport,
            launcher=launcher,
            # Now and then the day ends in the middle, and with it the day's budget.
            clock=LoopClock(_MIDNIGHT - rng.choice((3_600.0, settings.duration_s / 2))),
            seed=self.seed,
            node="sim",
            decision_limit=settings.decision_limit,
        )
        # Whoever judges a trace wants to see every decision whole, not the last few.
        engine._recorder.log._whole_limit = maxsize
        return engine


async def _come_and_go(engine: Orchestrator, arm: Arm) -> None:
    """Register and unregister a model at its times."""
    clock = asyncio.get_running_loop().time
    for joins_s, leaves_s in arm.present:
        if joins_s > 0:
            await asyncio.sleep(joins_s - clock())
            engine.register_model(arm.model)
        if leaves_s < inf:
            await asyncio.sleep(leaves_s - clock())
            engine.unregister_model(arm.key)


def _deaths(site: Site, rng: Random, settings: Settings) -> list[float]:
    return draw_deaths(rng, settings) if site.kind == "process" else []


def _fail(event: ModelUsed) -> None:
    raise RuntimeError("a subscriber's bug")
