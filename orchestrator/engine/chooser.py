"""From requirements to a decision: the synchronous heart of every request."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from orchestrator.core.capabilities import capability_mask
from orchestrator.core.clock import Clock
from orchestrator.core.decisions import Decision, Refusal, RefusalCode
from orchestrator.core.draws import lazy_generator
from orchestrator.core.errors import NoEligibleModelsError
from orchestrator.core.estimates import Estimates, FloatArray
from orchestrator.core.objective import Objective
from orchestrator.core.requirements import Requirements
from orchestrator.core.selector import BoolArray, Selector
from orchestrator.core.tokens import TokenEstimator
from orchestrator.engine.ask import Ask, Chosen
from orchestrator.engine.priors import Priors
from orchestrator.engine.prospects import Prospect, Prospects
from orchestrator.engine.recorder import Recorder
from orchestrator.routing.affinity import AFFINITY, Affinity
from orchestrator.routing.availability import Availability, Notice
from orchestrator.routing.budget import DailyBudget
from orchestrator.routing.derive import Size
from orchestrator.routing.exploration import ExplorationLedger, believed, utility
from orchestrator.routing.pacer import BudgetPacer
from orchestrator.routing.pool import Pool
from orchestrator.routing.refusals import Refusals, refusal_table
from orchestrator.routing.registry import ModelRegistry
from orchestrator.routing.routes import Route, Routes
from orchestrator.selectors import choose

__all__ = ["Chooser", "Verdict"]

_EMBEDDINGS: Final = capability_mask(("embeddings",))


@dataclass(frozen=True, slots=True)
class Verdict:
    """One route's view of the pool for one request; what `Chooser.explain` shows."""

    route: Route
    needs: Requirements
    size: Size
    selector: str
    eligible: BoolArray
    scores: FloatArray | None
    penalty: FloatArray
    estimates: Estimates
    cost_usd: FloatArray
    cold_s: FloatArray | None
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
        pacer: Makes cost weigh more while money goes too fast, or None.
        exploration: Counts what exploring costs and caps it, or None.
        priors: What is believed of models before their first call; None: what they declare.
        cold_s: Returns the seconds that each model takes to be loaded; None where all are ready.
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
        pacer: BudgetPacer | None = None,
        exploration: ExplorationLedger | None = None,
        priors: Priors | None = None,
        cold_s: Callable[[Pool], FloatArray | None] = lambda pool: None,
        on_notice: Callable[[Notice], None] = lambda notice: None,
    ) -> None:
        self._node = node
        self._availability = availability
        self._recorder = recorder
        self._budget = budget
        self._exploration = exploration
        self._clock = clock
        self._on_notice = on_notice
        self._generator = lazy_generator(seed)
        self._rng = random.Random(seed)
        self._sequence = 0
        self._affinity = Affinity()
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
            pacer,
            priors or Priors(),
            cold_s,
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
        if ask.session is not None and not tried and only is None:
            staying = self._staying(ask, usable, now)
            if staying is not None:
                return self._choose(ask, *staying, (), attempt, now, forced=True)
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

    def stay(self, ask: Ask, key: str) -> None:
        """Let the session of a request stay with the model that answered it."""
        lasts_s = ask.chain[0].affinity_s
        self._affinity.answered(_session(ask), key, self._clock.monotonic(), lasts_s)

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

    def keep_up(self) -> None:
        """Follow the registry, as every decision does first."""
        self._prospects.keep_up()

    def look_again(self) -> None:
        """Follow what has changed elsewhere than in the pool, such as what is in memory."""
        self._prospects.look_again()

    def forget(self) -> None:
        """Follow a recorder that was reset."""
        self._prospects.adopt()

    def explain(self, ask: Ask) -> list[Verdict]:
        """Return how each route of the chain sees the pool; nothing is recorded."""
        prospects = self._prospects
        now = prospects.keep_up()
        usable = self._availability.usable(now)
        staying = None if ask.session is None else self._staying(ask, usable, now)
        verdicts = []
        for prospect in prospects.of(ask):
            policy, screening = prospect.policy, prospect.screening
            eligible = prospect.preferred(screening.eligible & usable)
            if staying is not None:
                eligible = staying[1] & screening.eligible
            known = prospects.candidates(prospect, eligible, ask)
            scores = None
            if np.count_nonzero(eligible):
                evidence = policy.view.evidence(ask.segment)
                scores = policy.scores(evidence, known, np.random.default_rng(0))
                ledger = self._exploration if policy.explores else None
                if ledger is not None and ledger.exhausted(self._clock.wall()):
                    scores = utility(evidence, known)
            verdicts.append(
                Verdict(
                    prospect.route,
                    screening.needs,
                    ask.size,
                    policy.selector.name if staying is None else AFFINITY,
                    eligible,
                    scores,
                    known.penalty,
                    policy.view.total,
                    prospects.measures.most_usd(ask.size),
                    prospects.cold_s,
                    Refusals(screening, self._availability.outages, now, (), eligible),
                )
            )
        return verdicts

    def affordable_output(self, decision: Decision, ask: Ask, spent_usd: float) -> int | None:
        """Return how many tokens of output may be paid for; None if nothing limits them.

        Args:
            decision: The attempt that is about to be made.
            ask: Its request.
            spent_usd: What earlier attempts have cost.
        """
        limit, budget = decision.requirements.max_cost, self._budget
        if limit is None and budget is None:
            return None
        arm = self._prospects.pool.index.get(decision.key)
        if arm is None:
            return None
        usd = math.inf if limit is None else limit - spent_usd
        if budget is not None:  # of which this attempt has reserved its part already
            usd = min(usd, budget.left(self._clock.wall()) + (decision.cost_usd or 0.0))
        return self._prospects.measures.output_for(arm, ask.size, usd)

    def cost_weight(self, route: Route) -> float:
        """Return the points of quality per USD in force on a route, the pacer's included."""
        self._prospects.keep_up()
        return self._prospects.policy(route).cost_weight + self._prospects.pace

    # ------------------------------------------------------------------------------------------

    def _arms(self, keys: Collection[str]) -> BoolArray:
        index = self._prospects.pool.index
        mask = np.zeros(len(index), dtype=np.bool_)
        mask[[index[key] for key in keys if key in index]] = True
        return mask

    def _staying(
        self, ask: Ask, usable: BoolArray, now: float
    ) -> tuple[Prospect, BoolArray] | None:
        """Return the model that a session stays with, alone, and the route by which it may serve.

        None if there is none, or if it may not serve this request now.
        """
        key = self._affinity.model(_session(ask), now)
        arm = None if key is None else self._prospects.pool.index.get(key)
        if key is None or arm is None or not usable[arm]:
            return None
        for prospect in self._prospects.of(ask):
            if prospect.screening.eligible[arm]:
                return prospect, self._arms((key,))
        return None

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
        *,
        forced: bool = False,
    ) -> Chosen:
        prospects, policy, screening = self._prospects, prospect.policy, prospect.screening
        outages = self._availability.outages
        selector, pool = policy.selector, prospects.pool
        candidates = prospects.candidates(prospect, eligible, ask)
        evidence = policy.view.evidence(ask.segment)
        floor, odds = (0.0, None) if forced else (selector.floor, policy.odds)
        ledger = self._exploration if policy.explores and not forced else None
        if ledger is not None and ledger.exhausted(self._clock.wall()):
            scores = utility(evidence, candidates)
            floor, odds, ledger = 0.0, None, None
        else:
            scores = policy.scores(evidence, candidates, self._generator)
        arm, greedy = choose(scores, eligible, floor, self._rng)
        if ledger is not None:
            ledger.add(arm, believed(evidence, candidates), candidates, self._clock.wall())
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
            AFFINITY if forced else selector.name,
            floor,
            scores,
            eligible,
            ask.segment,
            screening.needs,
            usd,
            attempt,
            lambda: Refusals(screening, outages, now, tried, eligible),
            ticket,
            None if odds is None else odds(evidence, candidates),
            1.0 if ask.trial is None else ask.trial.propensity,
        )
        self._sequence += 1
        self._recorder.open(decision, ask.features)
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
                if known is None or _hopes(refusal) > _hopes(known):
                    refused[key] = refusal
        waits = [r.retry_after_s for r in refused.values() if r.retry_after_s is not None]
        wait_s = min(waits) if waits else None
        return NoEligibleModelsError(
            f"no model may serve this request\n{refusal_table(refused)}",
            refused=refused,
            retry_after_s=wait_s,
            hint=_way_out(refused, wait_s),
        )


def _hopes(refusal: Refusal) -> tuple[bool, bool]:
    """Return how much a refusal leaves to hope for, among those that a chain has for one model.

    Where one of the routes has only to wait, the request has only to wait.
    """
    return refusal.retry_after_s is not None, refusal.code is not RefusalCode.NOT_CANDIDATE


def _way_out(refused: Mapping[str, Refusal], wait_s: float | None) -> str:
    """Return what whoever asked may try."""
    if wait_s is not None:
        return f"try again in {wait_s:.0f} s"
    if any(refusal.code is RefusalCode.BUDGET for refusal in refused.values()):
        return "allow fewer tokens with max_tokens, or raise the budget"
    return "relax a requirement or register a model that meets them all"


def _session(ask: Ask) -> Hashable:
    """Return what a session's requests of one kind share: others are for other models."""
    needs = ask.needs
    return ask.session, ask.chain[0].name, needs.model_type, needs.capabilities & _EMBEDDINGS
