"""How each route sees the pool for requests of one kind: who may serve, and at what cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

import numpy as np

from orchestrator.core.clock import Clock
from orchestrator.core.errors import InvalidRequestError
from orchestrator.core.estimates import Estimates, FloatArray
from orchestrator.core.objective import Objective, default_cost_weight
from orchestrator.core.requirements import Requirements
from orchestrator.core.selector import BoolArray, Candidates, Selector, checked_scores
from orchestrator.core.statistics import minute_of
from orchestrator.core.tokens import TokenEstimator
from orchestrator.core.views import Evidence, View
from orchestrator.engine.ask import Ask
from orchestrator.engine.measures import Measures
from orchestrator.engine.priors import Priors
from orchestrator.engine.recorder import Recorder
from orchestrator.routing.availability import Availability
from orchestrator.routing.budget import DailyBudget
from orchestrator.routing.derive import DEFAULT_OUTPUT_TOKENS, DEFAULT_PROMPT_TOKENS, Size
from orchestrator.routing.eligibility import Eligibility, Measured, Screening
from orchestrator.routing.exploration import explores
from orchestrator.routing.pacer import BudgetPacer
from orchestrator.routing.pool import Pool
from orchestrator.routing.registry import ModelRegistry
from orchestrator.routing.routes import Route, Routes

__all__ = ["Policy", "Prospect", "Prospects"]

_UPDATE_EVERY_S: Final = 1.0
"""How old measured speeds, costs and token counts may be."""
_KEPT: Final = 1024
_MEAN_CALL: Final = Size(DEFAULT_PROMPT_TOKENS, DEFAULT_OUTPUT_TOKENS)
_Key: TypeAlias = tuple[int, Size, str]


class Policy:
    """A route's selector with the view it reads and the weights in force.

    Attributes:
        odds: `SamplingSelector.odds` of a selector that samples, or None.
        explores: Whether its selector ever takes another model than the one believed best.
        scores: `Selector.scores`, looked at before they are believed unless the selector is ours.
    """

    __slots__ = (
        "_failure_weight",
        "cost_weight",
        "explores",
        "objective",
        "odds",
        "scores",
        "selector",
        "view",
    )

    def __init__(
        self, selector: Selector, view: View, objective: Objective, cost_weight: float
    ) -> None:
        self.selector = selector
        self.view = view
        self.objective = objective
        self.cost_weight = cost_weight
        self.odds = getattr(selector, "odds", None)
        self.explores = explores(selector)
        self.scores = selector.scores if _is_ours(selector) else self._checked_scores
        # An array without axes: numpy takes half as long to multiply by it as by a number.
        self._failure_weight = (
            None if objective.failure_weight == 1 else np.array(objective.failure_weight)
        )

    def _checked_scores(
        self, evidence: Evidence, candidates: Candidates, rng: np.random.Generator
    ) -> FloatArray:
        found = self.selector.scores(evidence, candidates, rng)
        return checked_scores(self.selector.name, found, candidates)

    def penalty(self, estimates: Estimates, cost: FloatArray) -> FloatArray:
        """Return `Objective.penalty` for costs that have been weighed already."""
        if estimates.any_failed:
            weight, p_fail = self._failure_weight, estimates.p_fail
            cost = cost + (p_fail if weight is None else p_fail * weight)
        if self.objective.latency_weight:
            cost = cost + self.objective.latency_weight * estimates.seconds
        return cost


class Prospect:
    """How one route sees the pool for one kind of request, whatever the models' health.

    Attributes:
        route: The route.
        policy: Who chooses, and what is worth how much.
        screening: Who meets the demands.
        usd: What one attempt costs on average; nan where unknown. Shape ``(n_arms,)``, as all.
        cost: What that, and a load, takes from an index of quality; inf for who does not meet the
            demands.
        possible: Whether anybody meets them.
        first: Those to be taken before the others, since their provider is preferred.
        penalty: What the objective takes from an index of quality, by what was ``seen`` when it
            was at ``seen_version``.
    """

    __slots__ = (
        "cost",
        "first",
        "penalty",
        "policy",
        "possible",
        "route",
        "screening",
        "seen",
        "seen_version",
        "usd",
    )

    def __init__(
        self,
        route: Route,
        policy: Policy,
        screening: Screening,
        cost_weight: float,
        usd: FloatArray,
        known: FloatArray,
        cold_s: FloatArray | None,
    ) -> None:
        self.route = route
        self.policy = policy
        self.screening = screening
        self.usd = usd
        # An unknown price is no penalty: a limit on cost is a requirement, not an objective.
        cost = cost_weight * known
        if cold_s is not None:
            cost = cost + (policy.objective.load_weight + policy.objective.latency_weight) * cold_s
        self.cost = np.where(screening.eligible, cost, np.inf)
        self.penalty = self.cost
        self.seen: Estimates | None = None
        self.seen_version = 0
        self.possible = bool(np.count_nonzero(screening.eligible))
        self.first = self.preferred(screening.eligible)

    def preferred(self, eligible: BoolArray) -> BoolArray:
        """Return those of the preferred provider, or all where there are none of it."""
        pool, prefer = self.screening.pool, self.screening.needs.prefer
        if prefer not in pool.providers:
            return eligible
        wanted: BoolArray = eligible & (pool.provider_ids == pool.providers.index(prefer))
        return wanted if np.count_nonzero(wanted) else eligible


class Prospects:
    """The prospects of one engine's requests, kept until what they rest on changes.

    Args:
        registry: The models.
        routes: The named policies.
        availability: Told when the pool changes.
        recorder: What has happened; told when the pool or the minute changes.
        selector: Chooses where a route names no other.
        objective: What is worth how much where a route says nothing else.
        clock: Time.
        estimator: How each model's token counts compare with our estimates.
        budget: A cap on spending, or None.
        pacer: Makes cost weigh more while money goes too fast, or None.
        priors: What is believed of models before their first call.
        cold_s: Returns the seconds that each model takes to be loaded, shape ``(n_arms,)``; None
            where all are ready.

    Attributes:
        pool: The models as they are now.
        measures: What they cost and how fast they are.
        pace: What the pacer adds to every cost weight, in points of quality per USD.
        cold_s: The seconds until each model could begin, or None where all are ready.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        routes: Routes,
        availability: Availability,
        recorder: Recorder,
        selector: Selector,
        objective: Objective,
        clock: Clock,
        estimator: TokenEstimator,
        budget: DailyBudget | None,
        pacer: BudgetPacer | None,
        priors: Priors,
        cold_s: Callable[[Pool], FloatArray | None],
    ) -> None:
        self._registry = registry
        self._routes = routes
        self._availability = availability
        self._recorder = recorder
        self._selector = selector
        self._objective = objective
        self._clock = clock
        self._estimator = estimator
        self._budget = budget
        self._pacer = pacer
        self._priors = priors
        self._cold_s = cold_s
        self.pace = 0.0
        self._update_at = -float("inf")
        self.adopt()

    def keep_up(self) -> float:
        """Follow the pool, the routes, the minute, and what was measured; return the time."""
        now = self._clock.monotonic()
        if self._registry.pool is not self.pool:
            self.adopt()
        if self._routes.version != self._routes_version:
            self._forget_routes()
        if now >= self._update_at:
            self._recorder.advance(minute_of(self._clock.wall()))
            self.measures.update(self._recorder.base.total)
            if self._pacer is not None:
                self.pace = self._pacer.multiplier(self._clock.wall())
            self.cold_s = self._cold_s(self.pool)
            self._kept.clear()
            self._update_at = now + _UPDATE_EVERY_S
        return now

    def look_again(self) -> None:
        """Work everything out anew for the next decision: a model was loaded, say, or has gone."""
        self._update_at = -float("inf")

    def adopt(self) -> None:
        """Take the registry's present models, and begin with what is recorded of them."""
        self.pool: Pool = self._registry.pool
        self._eligibility = Eligibility(self.pool, self._registry)
        self._availability.arrange(self.pool)
        prior = self._priors.of(self.pool, self._recorder.totals)
        self._recorder.arrange(self.pool.keys, prior)
        self.measures = Measures(self.pool, self._estimator, self._recorder.base.total)
        self.cold_s = self._cold_s(self.pool)
        if self._pacer is not None:
            # Nothing costs anything where there is no weight, so any start will do.
            weight = default_cost_weight(self.measures.most_usd(_MEAN_CALL))
            self._pacer.start = weight or self._pacer.start
        self._forget_routes()

    def of(self, ask: Ask, spent_usd: float = 0.0) -> Iterator[Prospect]:
        """Yield how each route of a request sees the pool.

        Raises:
            InvalidRequestError: The request contradicts what its own route demands.
        """
        for position, route in enumerate(ask.chain):
            try:
                yield self.on(route, ask, spent_usd)
            except InvalidRequestError:
                if not position:
                    raise
                # A fallback for other requests than this one.

    def on(self, route: Route, ask: Ask, spent_usd: float = 0.0) -> Prospect:
        """Return how one route sees the pool for a request.

        Args:
            route: The route.
            ask: The request.
            spent_usd: What its earlier attempts have cost.

        Raises:
            InvalidRequestError: The request contradicts what the route demands.
        """
        if spent_usd or self._budget is not None:
            return self._prospect(route, ask.needs, ask.size, spent_usd)
        # By identity: alike requests share their needs, and hashing these takes a microsecond.
        key = (id(ask.needs), ask.size, route.name)
        kept = self._kept.get(key)
        if kept is not None and kept[0] is ask.needs and kept[1] is route:
            return kept[2]
        found = self._prospect(route, ask.needs, ask.size, 0.0)
        if len(self._kept) >= _KEPT:
            self._kept.clear()
        self._kept[key] = (ask.needs, route, found)
        return found

    def candidates(self, prospect: Prospect, eligible: BoolArray, ask: Ask) -> Candidates:
        """Return what a selector is told about these models."""
        policy, pool, seen = prospect.policy, self.pool, prospect.policy.view.total
        if eligible is not prospect.screening.eligible:
            penalty = policy.penalty(seen, np.where(eligible, prospect.cost, np.inf))
        elif prospect.seen is seen and prospect.seen_version == seen.version:
            penalty = prospect.penalty  # no call has ended since
        else:
            penalty = prospect.penalty = policy.penalty(seen, prospect.cost)
            prospect.seen, prospect.seen_version = seen, seen.version
        # NamedTuple's own constructor is a Python function, and takes three times as long.
        return tuple.__new__(
            Candidates,
            (
                eligible,
                prospect.usd,
                penalty,
                pool.priority,
                pool.local,
                pool.streaming,
                self.measures.speed,
                ask.features,
                pool.keys,
            ),
        )

    def policy(self, route: Route) -> Policy:
        """Return who chooses on a route."""
        policy = self._policies.get(route.name)
        if policy is None:
            selector = route.selector or self._selector
            objective = route.objective or self._objective
            weight = objective.cost_weight
            if weight is None:
                weight = default_cost_weight(self.measures.most_usd(_MEAN_CALL))
            policy = Policy(selector, self._recorder.view_for(selector), objective, weight)
            self._policies[route.name] = policy
        return policy

    # ------------------------------------------------------------------------------------------

    def _prospect(
        self, route: Route, needs: Requirements, size: Size, spent_usd: float
    ) -> Prospect:
        needs = needs.joined(route.requirements)
        measured = self._measured(needs, size, spent_usd)
        screening = self._eligibility.screen(needs, self._routes.candidates(route), measured)
        policy = self.policy(route)
        weight = policy.cost_weight + self.pace
        usd, known = self.measures.mean_usd(size)
        return Prospect(route, policy, screening, weight, usd, known, self.cold_s)

    def _measured(self, needs: Requirements, size: Size, spent_usd: float) -> Measured:
        budget, measures = self._budget, self.measures
        prompt, output, counting = size.longest, size.output or 0, measures.counting
        if budget is None:
            # Where nobody will ask what it costs, nobody works it out.
            limited = needs.max_cost is not None
            cost_usd = measures.most_usd(size) if limited else self.pool.usd_in
            return Measured(cost_usd, measures.speed, counting, spent_usd, None, prompt, output)
        wall = self._clock.wall()
        return Measured(
            measures.most_usd(size),
            measures.speed,
            counting,
            spent_usd,
            budget.left(wall),
            prompt,
            output,
            budget.limit_usd,
            budget.ends_in_s(wall),
        )

    def _forget_routes(self) -> None:
        self._routes_version = self._routes.version
        self._policies: dict[str, Policy] = {}
        self._kept: dict[_Key, tuple[Requirements, Route, Prospect]] = {}


def _is_ours(selector: Selector) -> bool:
    return type(selector).__module__.startswith("orchestrator.")
