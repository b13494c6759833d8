"""From requirements to a decision: the synchronous heart of every request."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from orchestrator.core.clock import Clock
from orchestrator.core.decisions import Decision, Refusal, RefusalCode
from orchestrator.core.errors import InvalidRequestError, NoEligibleModelsError
from orchestrator.core.estimates import Estimates, FloatArray, Prior
from orchestrator.core.model import Model
from orchestrator.core.objective import Objective, default_cost_weight
from orchestrator.core.requirements import Requirements
from orchestrator.core.selector import BoolArray, Candidates, Selector
from orchestrator.core.statistics import minute_of
from orchestrator.core.tokens import TokenEstimator
from orchestrator.core.views import View
from orchestrator.engine.measures import Measures
from orchestrator.engine.recorder import Recorder
from orchestrator.routing.availability import Availability, Notice
from orchestrator.routing.budget import DailyBudget
from orchestrator.routing.derive import DEFAULT_OUTPUT_TOKENS, DEFAULT_PROMPT_TOKENS, Size
from orchestrator.routing.eligibility import Eligibility, Measured, Refusals, refusal_table
from orchestrator.routing.pool import Pool
from orchestrator.routing.registry import ModelRegistry
from orchestrator.routing.routes import Route, Routes
from orchestrator.selectors import choose

__all__ = ["Ask", "Chooser", "Chosen", "Verdict"]

_UPDATE_EVERY_S = 1.0
"""How old measured speeds, costs and token counts may be."""


class Ask(NamedTuple):
    """What one request wants of selection, the same for each of its attempts.

    Attributes:
        request_id: The request.
        needs: What the caller demands and the request implies, without the routes' demands.
        chain: The route and its fallbacks, in order.
        size: How large the request is.
        segment: The kind of request statistics are kept for.
        what: What it asks for, for messages: a model type.
        deadline_s: The whole time it has.
        features: A feature vector for contextual selectors, or None.
    """

    request_id: str
    needs: Requirements
    chain: Sequence[Route]
    size: Size
    segment: str
    what: str
    deadline_s: float
    features: FloatArray | None = None


class Chosen(NamedTuple):
    """A decision and the model it names."""

    decision: Decision
    model: Model


@dataclass(frozen=True, slots=True)
class Verdict:
    """One route's view of the pool for one request; what `Chooser.explain` shows."""

    route: Route
    needs: Requirements
    size: Size
    selector: Selector
    eligible: BoolArray
    scores: FloatArray | None
    penalty: FloatArray
    estimates: Estimates
    cost_usd: FloatArray
    refused: Mapping[str, Refusal]


class _View(NamedTuple):
    """What one route makes of one request: who meets its demands, whatever their health."""

    route: Route
    needs: Requirements
    candidates: tuple[str, ...] | None
    measured: Measured
    mask: BoolArray


class _Policy:
    """A route's selector with the view it reads and the weights in force."""

    __slots__ = ("cost_weight", "objective", "selector", "view")

    def __init__(
        self, selector: Selector, view: View, objective: Objective, cost_weight: float
    ) -> None:
        self.selector = selector
        self.view = view
        self.objective = objective
        self.cost_weight = cost_weight


class Chooser:
    """Chooses for every request of one engine.

    Args:
        node: Name of this process in decision ids.
        registry: The models.
        routes: The named policies.
        availability: Which models are out of service.
        recorder: What has happened.
        selector: Chooses where a route names no other.
        objective: What is worth how much where a route says nothing else.
        clock: Time.
        estimator: How each model's token counts compare with our estimates.
        seed: Makes exploration repeatable; None draws one.
        budget: A cap on spending, or None.
        prior_weight: Pulls that a model's declared quality counts for.
        on_notice: Told when a decision begins a probe.
    """

    def __init__(
        self,
        node: str,
        registry: ModelRegistry,
        routes: Routes,
        availability: Availability,
        recorder: Recorder,
        selector: Selector,
        objective: Objective,
        clock: Clock,
        *,
        estimator: TokenEstimator,
        seed: int | None = None,
        budget: DailyBudget | None = None,
        prior_weight: float = 2.0,
        on_notice: Callable[[Notice], None] = lambda notice: None,
    ) -> None:
        self._node = node
        self._registry = registry
        self._routes = routes
        self._availability = availability
        self._recorder = recorder
        self._selector = selector
        self._objective = objective
        self._clock = clock
        self._estimator = estimator
        self._budget = budget
        self._prior_weight = prior_weight
        self._on_notice = on_notice
        self._generator = np.random.default_rng(seed)
        self._rng = random.Random(seed)
        self._sequence = 0
        self._minute = -1
        self._update_at = -float("inf")
        self._routes_version = routes.version
        self._adopt(registry.pool)

    # -- deciding ------------------------------------------------------------------------------

    def decide(
        self,
        ask: Ask,
        *,
        tried: Collection[str] = (),
        only: Collection[str] | None = None,
        spent_usd: float = 0.0,
        attempt: int = 1,
    ) -> Chosen:
        """Choose a model and record the decision.

        Args:
            ask: What is wanted.
            tried: Keys that this request has tried and that are not to be taken again.
            only: Keys to choose among even if they are tried or out of service, or None.
            spent_usd: What its earlier attempts have cost.
            attempt: Which attempt this is, counted from 1.

        Raises:
            NoEligibleModelsError: Nobody may serve; the message says why, model by model.
        """
        now = self._refresh()
        usable = self._availability.usable(now)
        out: list[_View] = []
        for view in self._views(ask, spent_usd, now):
            mask = view.mask
            if only is not None:
                mask = mask & self._arms(only)
            else:
                if tried:
                    mask = mask & ~self._arms(tried)
                if self._availability.outages:
                    out.append(view._replace(mask=mask))
                    mask = mask & usable
            if np.count_nonzero(mask):
                return self._choose(ask, view, mask, tried, attempt, now)
        for view in out:
            resort = self._availability.last_resort(view.mask, now)
            if resort is not None and resort.arm is not None:
                alone = self._arms((self._pool.keys[resort.arm],))
                return self._choose(ask, view, alone, tried, attempt, now)
        raise self._nobody(ask, tried, spent_usd, now)

    def standing(
        self, ask: Ask, tried: Collection[str], spent_usd: float
    ) -> tuple[bool, tuple[str, ...]]:
        """Return whether an untried model may serve, and which tried ones could again.

        Health does not matter here: an untried model that is out of service is a last resort, a
        tried one has failed this very request.
        """
        now = self._refresh()
        untried = False
        again: dict[str, None] = {}
        known = self._arms(tried)
        for view in self._views(ask, spent_usd, now):
            others = view.mask & ~known
            usable = (others & self._availability.usable(now)).any()
            untried = untried or bool(usable) or self._has_last_resort(others, now)
            again.update(
                dict.fromkeys(self._pool.keys[a] for a in np.flatnonzero(view.mask & known))
            )
        return untried, tuple(again)

    def serves(self, key: str, ask: Ask) -> bool:
        """Return whether a model meets the demands of a request on one of its routes."""
        now = self._refresh()
        arm = self._pool.index.get(key)
        return arm is not None and any(view.mask[arm] for view in self._views(ask, 0.0, now))

    def forget(self) -> None:
        """Follow a recorder that was reset."""
        self._adopt(self._registry.pool)

    def explain(self, ask: Ask) -> list[Verdict]:
        """Return how each route of the chain sees the pool; nothing is recorded."""
        now = self._refresh()
        verdicts = []
        for view in self._views(ask, 0.0, now):
            eligible = self._preferred(view.needs, view.mask & self._availability.usable(now))
            policy = self._policy(view.route)
            known = self._candidates_for(policy, eligible, ask)
            scores = None
            if np.count_nonzero(eligible):
                evidence = policy.view.evidence(ask.segment)
                scores = policy.selector.scores(evidence, known, np.random.default_rng(0))
            verdicts.append(
                Verdict(
                    view.route,
                    view.needs,
                    ask.size,
                    policy.selector,
                    eligible,
                    scores,
                    known.penalty,
                    policy.view.total,
                    self._measures.most_usd(ask.size),
                    self._refusals(view, (), eligible),
                )
            )
        return verdicts

    def cost_weight(self, route: Route) -> float:
        """Return the points of quality per USD in force on a route."""
        self._refresh()
        return self._policy(route).cost_weight

    # ------------------------------------------------------------------------------------------

    def _views(self, ask: Ask, spent_usd: float, now: float) -> Iterator[_View]:
        for position, route in enumerate(ask.chain):
            try:
                needs = ask.needs.joined(route.requirements)
            except InvalidRequestError:
                if position:
                    continue  # a fallback for other requests than this one
                raise
            candidates = self._routes.candidates(route)
            measured = self._measure(needs, ask.size, spent_usd, now)
            mask = self._eligibility.mask(needs, candidates, measured)
            yield _View(route, needs, candidates, measured, mask)

    def _arms(self, keys: Collection[str]) -> BoolArray:
        mask = np.zeros(len(self._pool), dtype=np.bool_)
        mask[[self._pool.index[key] for key in keys if key in self._pool.index]] = True
        return mask

    def _has_last_resort(self, eligible: BoolArray, now: float) -> bool:
        resort = self._availability.last_resort(eligible, now)
        return resort is not None and resort.arm is not None

    def _choose(
        self,
        ask: Ask,
        view: _View,
        eligible: BoolArray,
        tried: Collection[str],
        attempt: int,
        now: float,
    ) -> Chosen:
        if view.needs.prefer is not None:
            eligible = self._preferred(view.needs, eligible)
        policy = self._policy(view.route)
        selector = policy.selector
        scores = selector.scores(
            policy.view.evidence(ask.segment),
            self._candidates_for(policy, eligible, ask),
            self._generator,
        )
        choice = choose(scores, eligible, selector.floor, self._rng)
        usd = self._measures.most_usd_of(choice.arm, ask.size)
        key = self._pool.keys[choice.arm]
        ticket, notice = self._availability.begin(key, now)
        decision = Decision(
            self._node,
            self._minute,
            self._sequence,
            ask.request_id,
            self._pool.keys,
            choice.arm,
            selector.name,
            choice.propensity,
            choice.scores,
            ask.segment,
            view.needs,
            usd,
            attempt,
            self._refusals(view, tried, eligible),
            ticket,
        )
        self._sequence += 1
        self._recorder.open(decision)
        if self._budget is not None and usd:
            self._budget.reserve(usd)
        if notice is not None:
            self._on_notice(notice)
        return Chosen(decision, self._pool.models[choice.arm])

    def _refusals(
        self, view: _View, tried: Collection[str], eligible: BoolArray | None = None
    ) -> Refusals:
        return Refusals(
            self._eligibility,
            view.needs,
            view.candidates,
            view.measured,
            self._availability.outages,
            tried,
            eligible,
        )

    def _preferred(self, needs: Requirements, eligible: BoolArray) -> BoolArray:
        if needs.prefer not in self._pool.providers:
            return eligible
        wanted = self._pool.provider_ids == self._pool.providers.index(needs.prefer)
        preferred: BoolArray = eligible & wanted
        return preferred if np.count_nonzero(preferred) else eligible

    def _candidates_for(self, policy: _Policy, eligible: BoolArray, ask: Ask) -> Candidates:
        pool = self._pool
        # An unknown price is no penalty: a limit on cost is a requirement, not an objective.
        usd, known = self._measures.mean_usd(ask.size)
        return Candidates(
            eligible,
            usd,
            policy.objective.penalty(policy.view.total, known, policy.cost_weight),
            pool.priority,
            pool.local,
            pool.streaming,
            self._measures.speed,
            ask.features,
        )

    def _measure(self, needs: Requirements, size: Size, spent_usd: float, now: float) -> Measured:
        budget, window, output = self._budget, size.window, size.output or 0
        if budget is None:
            # Where nobody will ask what it costs, nobody works it out.
            cost_usd = self._pool.usd_in
            if needs.max_cost is not None:
                cost_usd = self._measures.most_usd(size)
            return Measured(cost_usd, self._measures.speed, spent_usd, None, now, window, output)
        wall = self._clock.wall()
        return Measured(
            self._measures.most_usd(size),
            self._measures.speed,
            spent_usd,
            budget.left(wall),
            now,
            window,
            output,
            budget.limit_usd,
            budget.ends_in_s(wall),
        )

    # -- keeping up ----------------------------------------------------------------------------

    def _refresh(self) -> float:
        now = self._clock.monotonic()
        if self._registry.pool is not self._pool:
            self._adopt(self._registry.pool)
        if self._routes.version != self._routes_version:
            self._policies.clear()
            self._routes_version = self._routes.version
        minute = minute_of(self._clock.wall())
        if minute != self._minute:
            self._minute = minute
            self._recorder.advance(minute)
        if now >= self._update_at:
            self._measures.update(self._recorder.base.total)
            self._eligibility.window = self._measures.window
            self._update_at = now + _UPDATE_EVERY_S
        return now

    def _adopt(self, pool: Pool) -> None:
        self._pool = pool
        self._eligibility = Eligibility(pool, self._registry)
        self._availability.arrange(pool)
        declared = [m.spec.quality for m in pool.models]
        prior = None
        if any(quality is not None for quality in declared):
            prior = Prior(
                np.array([0.0 if q is None else self._prior_weight for q in declared]),
                np.array([0.5 if q is None else q for q in declared]),
            )
        self._recorder.arrange(pool.keys, prior)
        self._policies: dict[str, _Policy] = {}
        seen = self._recorder.base.total
        self._measures = Measures(pool, self._estimator, seen)
        self._eligibility.window = self._measures.window

    def _policy(self, route: Route) -> _Policy:
        policy = self._policies.get(route.name)
        if policy is None:
            selector = route.selector or self._selector
            objective = route.objective or self._objective
            weight = objective.cost_weight
            if weight is None:
                mean = Size(DEFAULT_PROMPT_TOKENS, DEFAULT_OUTPUT_TOKENS)
                weight = default_cost_weight(self._measures.most_usd(mean))
            policy = _Policy(selector, self._recorder.view_for(selector), objective, weight)
            self._policies[route.name] = policy
        return policy

    def _nobody(
        self, ask: Ask, tried: Collection[str], spent_usd: float, now: float
    ) -> NoEligibleModelsError:
        refused: dict[str, Refusal] = {}
        for view in self._views(ask, spent_usd, now):
            for key, refusal in self._refusals(view, tried).items():
                known = refused.get(key)
                if known is None or known.code is RefusalCode.NOT_CANDIDATE:
                    refused[key] = refusal
        waits = [r.retry_after_s for r in refused.values() if r.retry_after_s is not None]
        wait_s = min(waits) if waits else None
        return NoEligibleModelsError(
            f"no model may serve this request\n{refusal_table(refused)}",
            refused=refused,
            retry_after_s=wait_s,
            hint="relax a requirement or register a model that meets them all"
            if wait_s is None
            else f"try again in {wait_s:.0f} s",
        )
