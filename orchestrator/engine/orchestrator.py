"""The engine: one pool of models, one call, the best answer."""

from __future__ import annotations

import inspect
import random
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, Unpack, overload

import anyio
from anyio.abc import TaskGroup

from orchestrator.core.bus import EventBus
from orchestrator.core.clock import Clock, SystemClock
from orchestrator.core.decisions import Decision, parse_decision_id
from orchestrator.core.errors import (
    ConfigurationError,
    EngineClosedError,
    InvalidRequestError,
    UnknownDecisionError,
)
from orchestrator.core.events import (
    EngineStarted,
    Event,
    FeedbackRecorded,
    ModelSelected,
)
from orchestrator.core.handlers import HandlerModel, ModelHandler, Plugin
from orchestrator.core.keys import ModelKey
from orchestrator.core.model import Model
from orchestrator.core.model_types import TEXT_TYPES, ModelType
from orchestrator.core.objective import Objective
from orchestrator.core.params import (
    EmbeddingParams,
    OwnParams,
    Params,
    TextGenerationParams,
    TextRequest,
    as_text_params,
    validated,
)
from orchestrator.core.ports import Endpoint, ProcessLauncher, Timeouts, Transport
from orchestrator.core.requirements import as_count, as_limit
from orchestrator.core.results import EmbeddingResult, HandlerResult, Result, TextResult
from orchestrator.core.selector import Selector
from orchestrator.core.statistics import Outcome, minute_of
from orchestrator.core.tokens import TokenEstimator
from orchestrator.core.warm_start import WarmStart
from orchestrator.engine.asking import Asking
from orchestrator.engine.attempts import Attempts
from orchestrator.engine.chooser import Chooser
from orchestrator.engine.contexts import DEFAULT_SEGMENT, Contexts
from orchestrator.engine.evaluation import Evaluations
from orchestrator.engine.evaluators import Evaluator, make_evaluator
from orchestrator.engine.explanation import Explanation
from orchestrator.engine.health import ModelHealth
from orchestrator.engine.membership import Membership
from orchestrator.engine.options import (
    EmbedOptions,
    SelectOptions,
    TextOptions,
    UseOptions,
    split,
)
from orchestrator.engine.parts import Parts, Places
from orchestrator.engine.priors import Priors
from orchestrator.engine.recorder import Recorder
from orchestrator.engine.selection import Selection, Unused
from orchestrator.engine.settlement import Settlement
from orchestrator.engine.streaming import OnInterrupt, TextStream
from orchestrator.engine.trials import Trials
from orchestrator.engine.unary import answer
from orchestrator.lifecycle.process import SubprocessLauncher
from orchestrator.lifecycle.residency import ProcessResidency
from orchestrator.lifecycle.restart import RestartPolicy
from orchestrator.routing.attempts import AttemptPolicy
from orchestrator.routing.availability import Availability
from orchestrator.routing.breaker import BreakerPolicy
from orchestrator.routing.budget import DailyBudget
from orchestrator.routing.ejection import EjectionPolicy
from orchestrator.routing.exploration import ExplorationLedger, Explored
from orchestrator.routing.pacer import BudgetPacer
from orchestrator.routing.registry import ModelRegistry
from orchestrator.routing.routes import AUTO, Route, Routes
from orchestrator.routing.segments import Segmenter
from orchestrator.selectors import PrioritySelector, make_selector
from orchestrator.selectors.experiment import Experiment, ExperimentPlan

if TYPE_CHECKING:
    from orchestrator.store import LogWriter, Store

__all__ = ["BY_PRIORITY", "Orchestrator"]

_E = TypeVar("_E", bound=Event)
_UNUSED_S = 60.0
"""How long a selection without a deadline waits to be used."""
BY_PRIORITY = "priority"
"""The route on which `use_model` tries providers in the order of their priority."""


class Orchestrator:
    """Puts every model into one pool and answers each request with the best that may serve.

    Use it as ``async with Orchestrator(models=[...]) as orchestrator``.

    Args:
        models: The pool to start with; more can be registered at any time.
        selector: Who chooses where a route names nobody else: an instance or a name.
        routes: Named policies; ``auto`` is taken where a request names none.
        segmenter: Tells kinds of requests apart that name no task; None: they are all one.
        experiments: Names behind which routes or models are compared; see `Experiment`.
        objective: What quality, money, time and failures are worth to each other.
        deadline_s: The whole time of a request that names none; of streams, until the first token.
        timeouts: How long each phase of one call may take.
        attempts: How many calls one request may make.
        breaker: When a model counts as unhealthy.
        ejection: How much of the pool may be out, and what happens when all of it is.
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
        clock: Time.
        seed: Makes exploration and jitter repeatable.
        node: Name of this process in decision ids, letters and digits; None draws one.
        decision_limit: Decisions that late feedback can name.
        store: Where every decision and the statistics are kept beyond this process, or None.
    """

    def __init__(
        self,
        models: Iterable[Model] = (),
        *,
        selector: Selector | str = "ucb",
        routes: Sequence[Route] = (),
        segmenter: Segmenter | None = None,
        experiments: Sequence[ExperimentPlan] = (),
        objective: Objective | None = None,
        deadline_s: float = 120.0,
        timeouts: Timeouts | None = None,
        attempts: AttemptPolicy | None = None,
        breaker: BreakerPolicy | None = None,
        ejection: EjectionPolicy | None = None,
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
        clock: Clock | None = None,
        seed: int | None = None,
        node: str | None = None,
        decision_limit: int = 100_000,
        store: Store | None = None,
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
        self._tasks: TaskGroup | None = None
        self._exits = AsyncExitStack()

        self.events = EventBus(self._clock)
        """What happens, as typed events: subscribe here."""
        self.registry = ModelRegistry()
        """The models and their names; change it through the engine."""
        self._routes = Routes(self.registry)
        self._routes.add([Route(name=BY_PRIORITY, selector=PrioritySelector()), *routes])
        self._recorder = Recorder(self._node, decision_limit)
        self._store = store
        self._writer: LogWriter | None = None
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
        self._trials = Trials(experiments, self._recorder, self._say_if_wanted)
        self._trials.check_free(self._routes.routes)
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
            on_notice=settlement.tell,
        )
        timeouts = timeouts or Timeouts()
        self._residency = ProcessResidency(
            (),
            launcher or SubprocessLauncher(),
            self.events,
            self._clock,
            warm_up=self._warm_up,
            restart=restart,
        )
        places = Places(self._clock, timeouts, self._residency)
        self._membership = Membership(
            self.registry, places, self._residency, transport, self, self._say_if_wanted
        )
        judging = [make_evaluator(wanted) for wanted in evaluators]
        self._evaluations = (
            Evaluations(judging, self, self._clock, self._rate_unrated, self._say_if_wanted)
            if judging
            else None
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
        self._unused = Unused(self._parts)
        self.register_models(models)

    @classmethod
    def from_config(cls, path: str | Path | None = None, **overrides: Any) -> Self:
        """Build from a configuration file and the environment; arguments beat both.

        ``models`` and ``routes`` join those of the file.

        Raises:
            ConfigurationError: The file or a value in it is wrong; the message says where.
        """
        from orchestrator.config import build

        return cls(**build(path, **overrides))

    # -- its life ------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._tasks is not None:
            raise EngineClosedError("the engine is running already")
        async with AsyncExitStack() as exits:
            # Before the task group: what is wrong with a store is no group of errors.
            if self._store is not None:
                exits.push_async_callback((await self._remember(self._store)).aclose)
            tasks = await exits.enter_async_context(anyio.create_task_group())
            await exits.enter_async_context(self._residency)
            self._exits, self._tasks = exits.pop_all(), tasks
        if self._writer is not None:
            tasks.start_soon(self._writer.run)
        if self._evaluations is not None:
            self._evaluations.start(tasks)
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
        if self._writer is not None:
            await self._writer.aclose()
            self._writer = self._recorder.sink = None
        self._tasks.cancel_scope.cancel()
        try:
            await self._exits.aclose()
        finally:
            self._tasks = None
            with anyio.move_on_after(5, shield=True):
                await self._membership.aclose()

    # -- the pool ------------------------------------------------------------------------------

    def register_model(self, model: Model, *, replace: bool = False) -> ModelKey:
        """Add a model; see `ModelRegistry.register_model`."""
        self.register_models([model], replace=replace)
        return model.key

    def register_models(self, models: Iterable[Model], *, replace: bool = False) -> None:
        """Add several models, or none if one of them cannot be added.

        Raises:
            DuplicateModelError: A key or an alias is taken.
            ConfigurationError: Two models name different residents alike.
        """
        self._membership.add(models, replace=replace)

    def register_handler(
        self,
        model_type: ModelType | str,
        handler: ModelHandler,
        provider: str,
        priority: int = 0,
        **facts: Any,
    ) -> ModelKey:
        """Add a function that serves one kind of work; see `HandlerModel`."""
        return self.register_model(HandlerModel(model_type, handler, provider, priority, **facts))

    def register_plugin(self, plugin: Plugin) -> list[ModelKey]:
        """Add the models of a plugin, or none if one of them cannot be added.

        Raises:
            DuplicateModelError: The plugin or one of its models is registered already.
        """
        return self._membership.add_plugin(plugin)

    def unregister_model(self, name: str, provider: str = "") -> None:
        """Remove a model: it is never chosen again, and calls in flight finish.

        Raises:
            ModelNotFoundError: There is none of this name, or several.
        """
        self._membership.remove(name, provider)

    def unregister_plugin(self, name: str) -> None:
        """Remove a plugin's models.

        Raises:
            ModelNotFoundError: There is no such plugin.
        """
        self._membership.remove_plugin(name)

    def add_routes(self, routes: Sequence[Route]) -> None:
        """Add named policies, all or none; one of a known name takes its place."""
        self._trials.check_free(route.name for route in routes)
        self._contexts.read_by(route.selector for route in routes)
        self._routes.add(routes)

    @property
    def routes(self) -> tuple[str, ...]:
        """Names of the routes, then of the experiments."""
        return (*self._routes.routes, *self._trials.experiments)

    @property
    def experiments(self) -> Mapping[str, Experiment]:
        """The experiments by name: ask one how it stands."""
        return MappingProxyType(self._trials.experiments)

    def get_model_providers(self, model_type: ModelType | str) -> list[str]:
        """Return who serves a kind of work, in the order of preference."""
        found = [m for m in self.registry.pool.models if str(model_type) in m.spec.types]
        ranked = sorted(found, key=lambda m: -m.spec.priority)
        return list(dict.fromkeys(m.provider for m in ranked))

    async def load(self, name: str) -> None:
        """Bring a local model into memory now rather than with its first request.

        Raises:
            ModelNotFoundError: There is none of this name, or several.
            ModelLoadError: It could not be loaded.
        """
        resident = self.registry.get_model(name).spec.resident
        if resident is not None:
            async with self._residency.lease(resident):
                return

    # -- requests ------------------------------------------------------------------------------

    async def select_model(self, **options: Unpack[SelectOptions]) -> Selection:
        """Choose a model without calling it yet.

        Args:
            options: Requirements (see `Requirements`), ``route`` or ``model``, ``context``,
                ``deadline_s``, and the request's size as ``prompt_tokens`` and ``max_tokens``.

        Raises:
            NoEligibleModelsError: Nobody may serve; the message says why, model by model.
            ModelNotFoundError: There is no such route or model.
            RequestError: A requirement is wrong.
        """
        self._running()
        ask = self._asking.for_selection(options)
        chosen = self._parts.chooser.decide(ask)
        decision = chosen.decision
        if self.events.wants(ModelSelected):
            self._say(
                ModelSelected,
                request_id=ask.request_id,
                decision_id=decision.id,
                model=decision.key,
                selector=decision.selector,
                propensity=decision.propensity,
                attempt=1,
            )
        selection = Selection(self._parts, self._asking, self._unused, ask, chosen)
        self._unused.add(selection, options.get("deadline_s") or _UNUSED_S)
        return selection

    async def generate(self, request: TextRequest, **options: Unpack[TextOptions]) -> TextResult:
        """Answer a prompt, messages, or full parameters, with the best model that may.

        Args:
            request: What to answer.
            options: Requirements, routing, and fields of `TextGenerationParams`.

        Raises:
            NoEligibleModelsError: Nobody may serve; the message says why, model by model.
            AttemptsExhaustedError: Everything that was allowed has failed.
            DeadlineExceededError: ``deadline_s`` passed.
            RequestError: The request is wrong, in our eyes or the provider's.
        """
        routing, needs, rest = split(options)
        params = as_text_params(request, rest)
        result = await self._answer(params, routing, needs)
        assert isinstance(result, TextResult)
        return result

    def stream(
        self,
        request: TextRequest,
        *,
        on_interrupt: OnInterrupt = "error",
        **options: Unpack[TextOptions],
    ) -> TextStream:
        """Answer in pieces: ``async with orchestrator.stream(...) as stream``.

        Arguments and errors as for `generate`; entering raises them. Beside these, iterating
        raises `StreamInterruptedError` if the stream breaks after its first content token and
        ``on_interrupt`` is ``error``.
        """
        self._running()
        routing, needs, rest = split(options)
        params = as_text_params(request, rest)
        ask = self._asking.for_request(params, routing, needs, stream=True)
        return TextStream(self._parts, Attempts(self._parts, ask), params, on_interrupt)

    async def embed(
        self, texts: str | list[str], **options: Unpack[EmbedOptions]
    ) -> EmbeddingResult:
        """Turn texts into vectors, in the same order; errors as for `generate`."""
        routing, needs, rest = split(options)
        params = validated(EmbeddingParams, {"input": texts, **rest})
        result = await self._answer(params, routing, needs)
        assert isinstance(result, EmbeddingResult)
        return result

    @overload
    async def use_model(
        self,
        model_type: Literal[
            ModelType.TEXT_SMALL,
            ModelType.TEXT_MEDIUM,
            ModelType.TEXT_LARGE,
            ModelType.CODE_GENERATION,
        ],
        params: TextGenerationParams | Mapping[str, Any],
        provider: str | None = None,
        **options: Unpack[UseOptions],
    ) -> str: ...
    @overload
    async def use_model(
        self,
        model_type: Literal[ModelType.TEXT_EMBEDDING],
        params: EmbeddingParams | Mapping[str, Any],
        provider: str | None = None,
        **options: Unpack[UseOptions],
    ) -> list[float] | list[list[float]]: ...
    @overload
    async def use_model(
        self,
        model_type: str,
        params: Any,
        provider: str | None = None,
        **options: Unpack[UseOptions],
    ) -> Any: ...
    async def use_model(
        self,
        model_type: ModelType | str,
        params: Any,
        provider: str | None = None,
        **options: Any,
    ) -> Any:
        """Do a kind of work and return its bare result: text, a vector, or what a handler gave.

        Providers are tried in the order of their priority; name another route to let a selector
        choose. ``provider`` pins one, ``prefer`` only puts it first.

        Raises:
            InvalidRequestError: The parameters are not those of this kind of work.
            AttemptsExhaustedError: ``No providers available for`` this type any more.
            As `generate`.
        """
        kind = str(model_type)
        params = _params_for(kind, params)
        routing, needs, rest = split(options)
        if rest:
            raise InvalidRequestError(
                f"there is no option {next(iter(rest))!r}", param=next(iter(rest))
            )
        if not (routing.get("route") or routing.get("model")):
            routing["route"] = BY_PRIORITY
        needs |= {"model_type": kind, "provider": provider or needs.get("provider")}
        result = await self._answer(params, routing, needs, kind)
        if isinstance(result, TextResult):
            return result.text
        if isinstance(result, EmbeddingResult):
            return result.vectors[0] if isinstance(params.input, str) else result.vectors
        assert isinstance(result, HandlerResult)
        return result.answer.value

    async def feedback(self, decision_id: str, *, quality: float) -> None:
        """Say how good an answer was, in [0, 1]; late is fine, twice the same changes nothing.

        Raises:
            InvalidRequestError: The quality is not a number in [0, 1].
            UnknownDecisionError: No decision of this id is remembered.
        """
        self._rate(decision_id, quality)

    def _rate_unrated(self, decision: Decision, quality: float, evaluator: str) -> None:
        """Take what an evaluator says, unless a caller has said something, or it is forgotten."""
        known = self._recorder.log.find(decision.sequence, self._recorder.minute)
        if known is not None and known.quality is None:
            self._rate(decision.id, quality, evaluator)

    def _rate(self, decision_id: str, quality: float, evaluator: str | None = None) -> None:
        self._recorder.advance(minute_of(self._clock.wall()))
        before, changed = self._recorder.rate(decision_id, quality)
        self._trials.rated(decision_id, quality)
        if changed and self.events.wants(FeedbackRecorded):
            self._say(
                FeedbackRecorded,
                decision_id=decision_id,
                model=before.key,
                quality=float(quality),
                corrected=before.quality is not None,
                evaluator=evaluator,
            )

    # -- why -----------------------------------------------------------------------------------

    def explain(
        self,
        request: TextRequest | None = None,
        *,
        stream: bool = False,
        **options: Unpack[TextOptions],
    ) -> Explanation:
        """Say how a request would be decided now, model by model; nothing is recorded.

        Arguments as for `generate` or `stream`; without a request, as for `select_model`.
        """
        if request is None:
            ask = self._asking.for_selection(options)
        else:
            routing, needs, rest = split(options)
            params = as_text_params(request, rest)
            ask = self._asking.for_request(params, routing, needs, stream=stream)
        return Explanation.of(self.registry.pool, self._parts.chooser.explain(ask))

    def cost_weight(self, route: str = AUTO) -> float:
        """Return the points of quality that one USD weighs on a route."""
        return self._parts.chooser.cost_weight(self._routes.chain(route)[0])

    def decision(self, decision_id: str) -> Decision:
        """Return one of the last decisions as it was made.

        Raises:
            UnknownDecisionError: It is not among the last few, or not of this process.
        """
        parsed = parse_decision_id(decision_id)
        found = None if parsed is None else self._recorder.log.whole(parsed[2])
        if found is None or found.id != decision_id:
            raise UnknownDecisionError(
                f"the decision {decision_id!r} is not kept in full",
                hint="the last 256 are",
            )
        return found

    async def get_model_health(self, name: str) -> ModelHealth:
        """Return whether a model may be chosen, and what speaks against it."""
        key = self.registry.resolve(name)
        self._availability.arrange(self.registry.pool)
        self._availability.usable(now := self._clock.monotonic())
        return ModelHealth.of(
            key, self._availability.state(key), self._availability.outages.get(key), now
        )

    def get_model_statistics(self) -> dict[str, dict[str, float]]:
        """Return every model's sums since the start; see `COLUMNS` for their units."""
        return self._recorder.totals()

    def update_model_performance(
        self,
        name: str,
        *,
        success: bool,
        latency_s: float = 0.0,
        cost_usd: float = 0.0,
        tokens_out: int = 0,
    ) -> None:
        """Take the outcome of a call that was made elsewhere.

        Raises:
            ModelNotFoundError: There is none of this name, or several.
            InvalidRequestError: A number is negative or none at all.
        """
        outcome = Outcome(
            bool(success),
            as_limit("cost_usd", cost_usd),
            0,
            as_count("tokens_out", tokens_out),
            as_limit("latency_s", latency_s),
        )
        self._recorder.observe(
            self.registry.resolve(name), minute_of(self._clock.wall()), DEFAULT_SEGMENT, outcome
        )

    def reset_statistics(self) -> None:
        """Forget every outcome."""
        self._recorder.reset()
        self._parts.chooser.forget()

    def restore_credential(self, credential_id: str) -> None:
        """Try a refused credential again, since it has changed."""
        self._availability.restore_credential(credential_id)

    @property
    def loaded(self) -> frozenset[str]:
        """Names of the residents that are in memory."""
        return self._residency.loaded

    @property
    def spent_today_usd(self) -> float | None:
        """What the day's budget has paid so far, or None if there is no budget."""
        return None if self._budget is None else self._budget.spent(self._clock.wall())

    @property
    def explored_today(self) -> Explored | None:
        """What exploring has cost and brought today, or None if no ledger is kept of it."""
        ledger = self._exploration
        return None if ledger is None else ledger.today(self._clock.wall())

    # -- events --------------------------------------------------------------------------------

    def on(self, kind: type[_E], handler: Callable[[_E], Awaitable[None] | object]) -> None:
        """Call a handler, plain or async, for every event of a kind while the engine runs.

        A plain one runs inside `EventBus.publish`; an async one in a task of its own, event by
        event. What either raises becomes a `SubscriberFailed`.
        """
        if not inspect.iscoroutinefunction(handler):
            self.events.on(kind, handler)
            return
        self._running().start_soon(self.events.feed, kind, handler)

    # ------------------------------------------------------------------------------------------

    async def _remember(self, store: Store) -> LogWriter:
        """Read what was learned before, and write down what happens from now on."""
        from orchestrator.store import LogWriter  # only where something is to be kept

        writer = LogWriter(store, self._recorder.statistics, self._clock, self.events)
        try:
            rows = await writer.open()
        except BaseException:
            await writer.aclose()
            raise
        self._recorder.advance(minute_of(self._clock.wall()))
        self._recorder.merge(rows)
        self._parts.chooser.forget()  # families may have a mean now
        self._writer = self._recorder.sink = writer
        return writer

    async def _warm_up(self, endpoint: Endpoint) -> None:
        from orchestrator.integrations.embedded import warm_up

        await warm_up(self._membership.transport, endpoint)

    def _running(self) -> TaskGroup:
        if self._tasks is None:
            raise EngineClosedError(
                "the engine is not running", hint="async with Orchestrator(...) as orchestrator"
            )
        return self._tasks

    def _answer(
        self,
        params: Params,
        routing: Mapping[str, Any],
        needs: Mapping[str, Any],
        what: str | None = None,
    ) -> Coroutine[Any, Any, Result]:
        self._running()
        ask = self._asking.for_request(params, routing, needs, what=what)
        return answer(self._parts, Attempts(self._parts, ask), params)

    def _say_if_wanted(self, kind: type[Event], **facts: object) -> None:
        if self.events.wants(kind):
            self._say(kind, **facts)

    def _say(self, kind: Callable[..., Event], **facts: object) -> None:
        clock = self._clock
        self.events.publish(kind(at=clock.monotonic(), wall=clock.wall(), **facts))


def _params_for(kind: str, params: Any) -> Any:
    """Return the parameters of a kind of work; kinds of the user's own take anything."""
    wanted = _PARAMS.get(kind)
    if wanted is None or isinstance(params, wanted):
        return params if isinstance(params, Params) or wanted else OwnParams(value=params)
    if isinstance(params, Mapping):
        return validated(wanted, dict(params))
    raise InvalidRequestError(
        f"{kind} takes {wanted.__name__}, not {type(params).__name__}", param="params"
    )


_PARAMS: dict[str, type[Params]] = {
    **dict.fromkeys((t.value for t in TEXT_TYPES), TextGenerationParams),
    ModelType.CODE_GENERATION.value: TextGenerationParams,
    ModelType.TEXT_EMBEDDING.value: EmbeddingParams,
}
