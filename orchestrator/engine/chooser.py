"""From requirements to a decision: the synchronous heart of every request."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np

from orchestrator.core.clock import Clock
from orchestrator.core.decisions import Decision, Refusal, RefusalCode
from orchestrator.core.errors import NoEligibleModelsError
from orchestrator.core.estimates import Estimates, FloatArray
from orchestrator.core.objective import Objective
from orchestrator.core.requirements import Requirements
from orchestrator.core.selector import BoolArray, Selector
from orchestrator.core.tokens import TokenEstimator
from orchestrator.engine.ask import Ask, Chosen
from orchestrator.engine.prospects import Prospect, Prospects
from orchestrator.engine.recorder import Recorder
from orchestrator.routing.availability import Availability, Notice
from orchestrator.routing.budget import DailyBudget
from orchestrator.routing.derive import Size
from orchestrator.routing.refusals import Refusals, refusal_table
from orchestrator.routing.registry import ModelRegistry
from orchestrator.routing.routes import Route, Routes
from orchestrator.selectors import choose

__all__ = ["Chooser", "Verdict"]


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
        self._availability = availability
        self._recorder = recorder
        self._budget = budget
        self._on_notice = on_notice
        self._generator = np.random.default_rng(seed)
        self._rng = random.Random(seed)
        self._sequence = 0
        self._prospects = Prospects(
            registry,
            routes,
            availability,
            recorder,
            selector,
            objective,
            clock,
            estimator,
            budget,
            prior_weight,
        )

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
        prospects = self._prospects
        now = prospects.keep_up()
        usable = self._availability.usable(now)
        if not tried and only is None and not self._availability.outages:
            first = prospects.on(ask.chain[0], ask, spent_usd)
            if first.possible:
                return self._choose(ask, first, first.first, (), attempt, now)
        out: list[tuple[Prospect, BoolArray]] = []
        for prospect in prospects.of(ask, spent_usd):
            eligible = prospect.screening.eligible
            if only is not None:
                eligible = eligible & self._arms(only)
            else:
                if tried:
                    eligible = eligible & ~self._arms(tried)
                if self._availability.outages:
                    out.append((prospect, eligible))
                    eligible = eligible & usable
            if np.count_nonzero(eligible):
                eligible = prospect.preferred(eligible)
                return self._choose(ask, prospect, eligible, tried, attempt, now)
        for prospect, eligible in out:
            resort = self._availability.last_resort(eligible, now)
            if resort is not None and resort.arm is not None:
                alone = self._arms((prospects.pool.keys[resort.arm],))
                return self._choose(ask, prospect, alone, tried, attempt, now)
        raise self._nobody(ask, tried, spent_usd, now)

    def standing(
        self, ask: Ask, tried: Collection[str], spent_usd: float
    ) -> tuple[bool, tuple[str, ...]]:
        """Return whether an untried model may serve, and which tried ones could again.

        Health does not matter here: an untried model that is out of service is a last resort, a
        tried one has failed this very request.
        """
        now = self._prospects.keep_up()
        keys = self._prospects.pool.keys
        untried = False
        again: dict[str, None] = {}
        known = self._arms(tried)
        for prospect in self._prospects.of(ask, spent_usd):
            eligible = prospect.screening.eligible
            others = eligible & ~known
            usable = (others & self._availability.usable(now)).any()
            untried = untried or bool(usable) or self._has_last_resort(others, now)
            again.update(dict.fromkeys(keys[a] for a in np.flatnonzero(eligible & known)))
        return untried, tuple(again)

    def serves(self, key: str, ask: Ask) -> bool:
        """Return whether a model meets the demands of a request on one of its routes."""
        self._prospects.keep_up()
        arm = self._prospects.pool.index.get(key)
        found = self._prospects.of(ask)
        return arm is not None and any(prospect.screening.eligible[arm] for prospect in found)

    def forget(self) -> None:
        """Follow a recorder that was reset."""
        self._prospects.adopt()

    def explain(self, ask: Ask) -> list[Verdict]:
        """Return how each route of the chain sees the pool; nothing is recorded."""
        prospects = self._prospects
        now = prospects.keep_up()
        verdicts = []
        for prospect in prospects.of(ask):
            policy, screening = prospect.policy, prospect.screening
            eligible = prospect.preferred(screening.eligible & self._availability.usable(now))
            known = prospects.candidates(prospect, eligible, ask)
            scores = None
            if np.count_nonzero(eligible):
                evidence = policy.view.evidence(ask.segment)
                scores = policy.selector.scores(evidence, known, np.random.default_rng(0))
            verdicts.append(
                Verdict(
                    prospect.route,
                    screening.needs,
                    ask.size,
                    policy.selector,
                    eligible,
                    scores,
                    known.penalty,
                    policy.view.total,
                    prospects.measures.most_usd(ask.size),
                    Refusals(screening, self._availability.outages, now, (), eligible),
                )
            )
        return verdicts

    def cost_weight(self, route: Route) -> float:
        """Return the points of quality per USD in force on a route."""
        self._prospects.keep_up()
        return self._prospects.policy(route).cost_weight

    # ------------------------------------------------------------------------------------------

    def _arms(self, keys: Collection[str]) -> BoolArray:
        index = self._prospects.pool.index
        mask = np.zeros(len(index), dtype=np.bool_)
        mask[[index[key] for key in keys if key in index]] = True
        return mask

    def _has_last_resort(self, eligible: BoolArray, now: float) -> bool:
        resort = self._availability.last_resort(eligible, now)
        return resort is not None and resort.arm is not None

    def _choose(
        self,
        ask: Ask,
        prospect: Prospect,
        eligible: BoolArray,
        tried: Collection[str],
        attempt: int,
        now: float,
    ) -> Chosen:
        prospects, policy = self._prospects, prospect.policy
        selector, pool = policy.selector, prospects.pool
        candidates = prospects.candidates(prospect, eligible, ask)
        evidence = policy.view.evidence(ask.segment)
        scores = selector.scores(evidence, candidates, self._generator)
        arm, greedy = choose(scores, eligible, selector.floor, self._rng)
        usd = prospects.measures.most_usd_of(arm, ask.size)
        ticket, notice = self._availability.begin(pool.keys[arm], now)
        decision = Decision(
            self._node,
            self._recorder.minute,
            self._sequence,
            ask.request_id,
            pool.keys,
            arm,
            greedy,
            selector.name,
            selector.floor,
            scores,
            eligible,
            ask.segment,
            prospect.screening.needs,
            usd,
            attempt,
            Refusals(prospect.screening, self._availability.outages, now, tried, eligible),
            ticket,
            None if policy.odds is None else policy.odds(evidence, candidates),
        )
        self._sequence += 1
        self._recorder.open(decision)
        if self._budget is not None and usd:
            self._budget.reserve(usd)
        if notice is not None:
            self._on_notice(notice)
        return Chosen(decision, pool.models[arm])

    def _nobody(
        self, ask: Ask, tried: Collection[str], spent_usd: float, now: float
    ) -> NoEligibleModelsError:
        refused: dict[str, Refusal] = {}
        for prospect in self._prospects.of(ask, spent_usd):
            refusals = Refusals(prospect.screening, self._availability.outages, now, tried)
            for key, refusal in refusals.items():
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
