"""The parts, wired, and their life from `async with` to its end."""

from __future__ import annotations

import inspect
import random
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

import anyio
import numpy as np
from anyio.abc import TaskGroup

from orchestrator.core.bus import EventBus
from orchestrator.core.clock import Clock, SystemClock
from orchestrator.core.data_folder import data_folder
from orchestrator.core.errors import ConfigurationError, EngineClosedError
from orchestrator.core.estimates import FloatArray
from orchestrator.core.events import EngineStarted, Event
from orchestrator.core.model import Model
from orchestrator.core.objective import Objective
from orchestrator.core.ports import Endpoint, ProcessLauncher, Timeouts, Transport
from orchestrator.core.selector import Selector, demand_selector
from orchestrator.core.statistics import minute_of
from orchestrator.core.tokens import TokenEstimator
from orchestrator.core.warm_start import WarmStart
from orchestrator.engine import extras
from orchestrator.engine.asking import Asking
from orchestrator.engine.chooser import Chooser
from orchestrator.engine.contexts import Contexts
from orchestrator.engine.health import Health
from orchestrator.engine.launcher import LazyLauncher
from orchestrator.engine.membership import Membership
from orchestrator.engine.parts import Parts, Places
from orchestrator.engine.priors import Priors
from orchestrator.engine.ratings import Ratings
from orchestrator.engine.recorder import Recorder
from orchestrator.engine.selection import Unused
from orchestrator.engine.settlement import Settlement
from orchestrator.engine.trials import Trials
from orchestrator.lifecycle.manager import ModelManager
from orchestrator.lifecycle.memory import ProcessProbe
from orchestrator.lifecycle.policy import LifecyclePolicy
from orchestrator.lifecycle.restart import RestartPolicy
from orchestrator.routing.attempts import AttemptPolicy
from orchestrator.routing.auto_switch import AutoSwitchPolicy
from orchestrator.routing.availability import Availability
from orchestrator.routing.breaker import BreakerPolicy
from orchestrator.routing.budget import DailyBudget
from orchestrator.routing.ejection import EjectionPolicy
from orchestrator.routing.exploration import ExplorationLedger
from orchestrator.routing.pacer import BudgetPacer
from orchestrator.routing.pool import Pool
from orchestrator.routing.registry import ModelRegistry
from orchestrator.routing.routes import BY_PRIORITY, Route, Routes
from orchestrator.routing.segments import ByEmbedding, Segmenter
from orchestrator.selectors import PrioritySelector, make_selector
from orchestrator.selectors.experiment import ExperimentPlan

if TYPE_CHECKING:
    from orchestrator.engine.evaluators import Evaluator
    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.engine.state import StateKeeper
    from orchestrator.lifecycle.schedule import ProfilingSchedule
    from orchestrator.monitoring import ModelHealthMonitor
    from orchestrator.store import LogWriter, Store

__all__ = ["Engine"]

_E = TypeVar("_E", bound=Event)
_NEVER_S = 1e6
"""Stands for the load of what does not fit: finite, since a weight may be 0."""


class Engine:
    """What every request, every model and every question works on.

    Args:
        models: The pool to start with; more can be registered at any time.
        selector: Who chooses where a route names nobody else: an instance or a name.
        routes: Named policies; ``auto`` is taken where a request names none.
        segmenter: Tells kinds of requests apart that name no task; None: they are all one.
        embed_within_s: How long a request waits at most for an embedding model to tell it apart.
        experiments: Names behind which routes or models are compared; see `Experiment`.
        objective: What quality, money, time and failures are worth to each other.
        deadline_s: The whole time of a request that names none; of streams, until the first token.
        timeouts: How long each phase of one call may take.
        attempts: How many calls one request may make.
        breaker: When a model counts as unhealthy.
        ejection: How much of the pool may be out, and what happens when all of it is.
        health_monitor: Checks models in the background; None leaves it to the requests.
        budget_usd_per_day: A hard cap on spending per UTC day, or None.
        pace_usd_per_day: What a UTC day is to cost: cost weighs the more the faster it is spent.
            It refuses nobody. None is no pace.
        exploration_usd_per_day: What exploring may cost in a UTC day; beyond it decisions are
            greedy. inf only keeps the ledger, None keeps none.
        evaluators: Who rates answers that nobody has rated: async functions, ours, or their names.
        warm_start: Outcomes of elsewhere, or None; `orchestrator warm-start` reads tables of them.
        prior_weight: Pulls that a declared quality, or a family's mean, counts for.
        families: Patterns of keys such as ``openai:gpt-4o*``: a model that nobody has called yet
            is believed to be as good as those that match the same one.
        transport: Sends HTTP; None is a client of our own.
        launcher: Starts the processes of local models; None starts real ones.
        restart: How long such a process rests after it has failed.
        lifecycle: How much memory local models may hold, and how they come and go.
        load: Models to be loaded at the start, beside the first requests.
        auto_switch: When to leave a current model that does badly; None is never.
        profiling: When models are measured by themselves; None is never.
        clock: Time.
        seed: Makes exploration and jitter repeatable.
        node: Name of this process in decision ids, letters and digits; None draws one.
        decision_limit: Decisions that late feedback can name.
        store: Where every decision and the statistics are kept beyond this process, or None.
        state: The file in which pins, the current model and what was in memory outlive the
            process, or None.
        auto_save_s: How often to look for changes that nobody told of; 0 never.
        restore_loaded: Load at the start what was in memory at the end, evicting nobody.
    """

    def __init__(
        self,
        models: Iterable[Model] = (),
        *,
        selector: Selector | str = "default",
        routes: Sequence[Route] = (),
        segmenter: Segmenter | ByEmbedding | None = None,
        embed_within_s: float = 0.25,
        experiments: Sequence[ExperimentPlan] = (),
        objective: Objective | None = None,
        deadline_s: float = 120.0,
        timeouts: Timeouts | None = None,
        attempts: AttemptPolicy | None = None,
        breaker: BreakerPolicy | None = None,
        ejection: EjectionPolicy | None = None,
        health_monitor: ModelHealthMonitor | None = None,
        budget_usd_per_day: float | None = None,
        pace_usd_per_day: float | None = None,
        exploration_usd_per_day: float | None = None,
        evaluators: Iterable[Evaluator | str | Mapping[str, Any]] = (),
        warm_start: WarmStart | None = None,
        prior_weight: float = 2.0,
        families: Sequence[str] = (),
        transport: Transport | None = None,
        launcher: ProcessLauncher | None = None,
        restart: RestartPolicy | None = None,
        lifecycle: LifecyclePolicy | None = None,
        load: Sequence[str] = (),
        auto_switch: AutoSwitchPolicy | None = None,
        profiling: ProfilingSchedule | None = None,
        clock: Clock | None = None,
        seed: int | None = None,
        node: str | None = None,
        decision_limit: int = 100_000,
        store: Store | None = None,
        state: str | Path | None = None,
        auto_save_s: float = 60.0,
        restore_loaded: bool = False,
    ) -> None:
        if not deadline_s > 0:
            raise ConfigurationError(f"deadline_s must be above 0, not {deadline_s!r}")
        self._clock = clock or SystemClock()
        self._deadline_s = deadline_s
        self._node = node or secrets.token_hex(4)
        if not self._node.isalnum():
            raise ConfigurationError(f"node takes letters and digits only, not {self._node!r}")
        self._rng = random.Random(seed)
        self._selector = make_selector(selector) if isinstance(selector, str) else selector
        demand_selector(self._selector)
        self._tasks: TaskGroup | None = None
        self._exits = AsyncExitStack()

        self.events = EventBus(self._clock)
        """What happens, as typed events: subscribe here."""
        self.registry = ModelRegistry()
        """The models and their names; change it through the engine."""
        self._routes = Routes(self.registry, lambda: self.current_model)
        self._routes.add([Route(name=BY_PRIORITY, selector=PrioritySelector()), *routes])
        self._recorder = Recorder(self._node, decision_limit)
        self._store = store
        self._writer: LogWriter | None = None
        self._state: StateKeeper | None = None
        if health_monitor is not None:
            breaker = health_monitor.policy(breaker)
        self._availability = Availability(breaker, ejection)
        self._budget = (
            None
            if budget_usd_per_day is None
            else DailyBudget(budget_usd_per_day, self._clock.wall())
        )
        self._exploration = (
            None
            if exploration_usd_per_day is None
            else ExplorationLedger(exploration_usd_per_day, self._clock.wall())
        )
        pacer = None
        if pace_usd_per_day is not None:  # from where it starts is said by the pool's prices
            pacer = BudgetPacer(pace_usd_per_day, self._clock.wall(), start=1.0)
        self._trials = Trials(self._node, experiments, self._recorder, self._say_if_wanted)
        self._trials.check_free(self._routes.routes)
        self._ratings = Ratings(self._recorder, self._trials, self.events, self._clock)
        estimator = TokenEstimator()
        settlement = Settlement(
            self._recorder,
            self._availability,
            self.events,
            self._clock,
            self._rng,
            self._budget,
            pacer,
        )
        chooser = Chooser(
            self._node,
            self.registry,
            self._routes,
            self._availability,
            self._recorder,
            self._selector,
            objective or Objective(),
            self._clock,
            estimator=estimator,
            seed=seed,
            budget=self._budget,
            pacer=pacer,
            exploration=self._exploration,
            priors=Priors(prior_weight, warm_start, families),
            cold_s=self._cold_s,
            on_notice=settlement.tell,
        )
        timeouts = timeouts or Timeouts()
        self._residency = ModelManager(
            (),
            launcher
            or LazyLauncher(
                lambda: self._membership.transport, self._warm_up, data_folder() / "logs"
            ),
            self.events,
            self._clock,
            warm_up=self._warm_up,
            policy=lifecycle,
            restart=restart,
            # The processes of another launcher may be none of this machine's.
            probe=ProcessProbe() if launcher is None else None,
            on_change=self._changed,
        )
        places = Places(self._clock, timeouts, self._residency)
        self._membership = Membership(
            self.registry, places, self._residency, transport, self, self._say_if_wanted
        )
        self._evaluations = extras.evaluated_by(
            evaluators,
            cast("Orchestrator", self),  # an engine is never made by itself
            self._clock,
            self._ratings.rate_unrated,
            self._say_if_wanted,
        )
        self._parts = Parts(
            chooser=chooser,
            settlement=settlement,
            trials=self._trials,
            places=places,
            bus=self.events,
            clock=self._clock,
            rng=self._rng,
            estimator=estimator,
            timeouts=timeouts,
            evaluations=self._evaluations,
            attempts=attempts or AttemptPolicy(),
        )
        self._contexts = Contexts(self._recorder.statistics, segmenter)
        self._contexts.read_by((self._selector, *(route.selector for route in routes)))
        self._asking = Asking(self._node, self._routes, self._contexts, deadline_s, self._trials)
        if isinstance(segmenter, ByEmbedding):
            self._parts.segments = extras.told_apart_by(
                segmenter,
                embed_within_s,
                self._parts,
                self._asking,
                self.registry,
                self._availability,
                self._recorder.statistics,
                self._say_if_wanted,
            )
        self._unused = Unused(self._parts)
        self._monitor = health_monitor
        self._health = Health(
            self.registry,
            self._availability,
            self._clock,
            self._residency.statuses,
            health_monitor,
        )
        self._load_first = tuple(load)
        self._auto_switch = auto_switch
        self._profiling = profiling
        self._current: str | None = None
        self._membership.add(models)
        if state is not None:
            self._state = extras.remembered_at(
                state,
                self.registry,
                self._residency,
                lambda: self.current_model,
                self._make_current,
                self._clock,
                self.events,
                node=self._node,
                auto_save_s=auto_save_s,
                restore_loaded=restore_loaded,
            )
        if health_monitor is not None:
            extras.watched_by(
                health_monitor,
                self.registry,
                self._availability,
                places,
                lambda: self._residency.loaded,
                self._budget,
                self._clock,
                self._rng,
                settlement.tell,
            )

    # -- its life ------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._tasks is not None:
            raise EngineClosedError("the engine is running already")
        async with AsyncExitStack() as exits:
            # Before the task group: what is wrong with a store is no group of errors.
            if self._store is not None:
                exits.push_async_callback((await self._remember(self._store)).aclose)
            if self._state is not None:
                await self._state.open()
                exits.push_async_callback(self._state.aclose)
            tasks = await exits.enter_async_context(anyio.create_task_group())
            await exits.enter_async_context(self._residency)
            self._exits, self._tasks = exits.pop_all(), tasks
        if self._writer is not None:
            tasks.start_soon(self._writer.run)
        if self._state is not None:
            tasks.start_soon(self._state.run)
        if self._evaluations is not None:
            self._evaluations.start(tasks)
        if self._parts.segments is not None:
            self._parts.segments.start(tasks)
        if self._monitor is not None:
            tasks.start_soon(self._monitor.run)
        if self.events.wants(EngineStarted):
            self._say(EngineStarted, node=self._node, models=self.registry.pool.keys)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._tasks is not None
        self._unused.close()
        self._parts.deadlines.close()
        if self._evaluations is not None:
            self._evaluations.close()
        if self._parts.segments is not None:
            self._parts.segments.close()
        if self._writer is not None:
            await self._writer.aclose()
            self._writer = self._recorder.sink = None
        if self._state is not None:
            await self._state.aclose()  # before anything is unloaded
        self._tasks.cancel_scope.cancel()
        try:
            await self._exits.aclose()
        finally:
            self._tasks = None
            with anyio.move_on_after(5, shield=True):
                await self._membership.aclose()

    @property
    def current_model(self) -> str | None:
        """Key of the model that the name ``current`` leads to, or None."""
        pool, resident = self.registry.pool, self._residency.current
        arm = None if self._current is None else pool.index.get(self._current)
        if arm is not None and pool.models[arm].spec.resident in (None, resident):
            return self._current
        # Another one has taken its place: it was unloaded, say.
        found = (m.key.text for m in pool.models if resident and m.spec.resident == resident)
        return next(found, None)

    # -- events --------------------------------------------------------------------------------

    def on(self, kind: type[_E], handler: Callable[[_E], Awaitable[None] | object]) -> None:
        """Call a handler, plain or async, for every event of a kind while the engine runs.

        A plain one runs inside `EventBus.publish`; an async one in a task of its own, event by
        event, behind a buffer of 1,024: where it falls further behind, the oldest are lost and
        `EventsDropped` says so. What either raises becomes a `SubscriberFailed`.

        Raises:
            InvalidRequestError: The kind is no class of events, or the handler cannot be called.
            EngineClosedError: An async handler, and the engine is not running.
        """
        if not inspect.iscoroutinefunction(handler):
            self.events.on(kind, handler)
            return
        tasks, name = self._running(), getattr(handler, "__qualname__", repr(handler))
        # Subscribed here and not in the task, which begins when the loop next gets to it.
        events = self._exits.enter_context(self.events.subscribe(kind, name=name))
        tasks.start_soon(self.events.feed, events, handler)

    # ------------------------------------------------------------------------------------------

    async def _remember(self, store: Store) -> LogWriter:
        """Read what was learned before, and write down what happens from now on."""
        from orchestrator.store import LogWriter  # only where something is to be kept

        writer = LogWriter(
            *(store, self._recorder.statistics, self._clock, self.events), self._trials.shares
        )
        try:
            rows, shares = await writer.open()
        except BaseException:
            await writer.aclose()
            raise
        self._recorder.advance(minute_of(self._clock.wall()))
        self._recorder.merge(rows)
        self._trials.restore(shares)
        self._parts.chooser.forget()  # families may have a mean now
        self._writer = self._recorder.sink = writer
        return writer

    def _cold_s(self, pool: Pool) -> FloatArray | None:
        """Return the seconds until each model could begin, or None where all are ready."""
        residents = {m.spec.resident for m in pool.models if m.spec.resident is not None}
        if not residents:
            return None
        waits = {r: min(self._residency.cold_start(r)[0], _NEVER_S) for r in residents}
        return np.array([waits.get(m.spec.resident or "", 0.0) for m in pool.models])

    def _make_current(self, key: str) -> None:
        self._current = key

    def _changed(self) -> None:
        """What is in memory, or current, is another."""
        self._parts.chooser.look_again()
        if self._state is not None:
            self._state.changed()

    async def save_state(self) -> Path:
        """Write the state file now and return its path.

        Raises:
            StateSaveError: It could not be written; the one from before is as it was.
            ConfigurationError: There is none.
        """
        self._running()
        if self._state is None:
            raise ConfigurationError(
                "nothing is remembered",
                hint="give it a file: path under [state], or Orchestrator(state=PATH)",
            )
        return await self._state.save_now()

    async def _warm_up(self, endpoint: Endpoint) -> None:
        from orchestrator.integrations.embedded import warm_up

        await warm_up(self._membership.transport, endpoint)

    def _running(self) -> TaskGroup:
        if self._tasks is None:
            raise EngineClosedError(
                "the engine is not running", hint="async with Orchestrator(...) as orchestrator"
            )
        return self._tasks

    def _say_if_wanted(self, kind: type[Event], **facts: object) -> None:
        if self.events.wants(kind):
            self._say(kind, **facts)

    def _say(self, kind: Callable[..., Event], **facts: object) -> None:
        clock = self._clock
        self.events.publish(kind(at=clock.monotonic(), wall=clock.wall(), **facts))
