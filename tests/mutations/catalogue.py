"""What is broken, and which check of the simulated world has to notice."""

from __future__ import annotations

from dataclasses import dataclass

from tests.simulation.checks import COMES_TO_AN_END, IS_REPEATABLE, LEAVES_NO_TASK


@dataclass(frozen=True, slots=True)
class Mutation:
    """One way to break the code.

    Attributes:
        name: What the code then does, as a claim.
        where, old, new: As in `mutated`.
        check: Who notices.
        at: The seed of a world in which it shows, for what shows in few.
    """

    name: str
    where: str
    old: str
    new: str
    check: str
    at: int = 0


_ATTEMPTS = "orchestrator.engine.attempts:Attempts"
_PLAN = "orchestrator.routing.attempts:AttemptPlan"
_CHOOSER = "orchestrator.engine.chooser:Chooser"
_SETTLEMENT = "orchestrator.engine.settlement:Settlement"
_STREAM = "orchestrator.engine.streaming:TextStream"
_RECORDER = "orchestrator.engine.recorder:Recorder"

MUTATIONS = (
    # -- how requests end
    Mutation(
        "a deadline that strikes looks like a cancellation",
        "orchestrator.engine.deadlines:Deadline.__exit__",
        "raise TimeoutError from error",
        "return",
        "ends_once",
    ),
    Mutation(
        "giving up raises the last error, whatever it is",
        f"{_ATTEMPTS}._give_up",
        "raise exhausted from error",
        "raise error",
        "fails_with_a_reason",
    ),
    Mutation(
        "a broken stream ends as if it were whole",
        f"{_STREAM}._interrupted",
        "raise self._interruption(chosen, error, text) from error",
        "return",
        "fails_with_a_reason",
    ),
    Mutation(
        "deadlines are looked at every ten seconds",
        "orchestrator.engine.deadlines:Deadlines._enter",
        "loop.call_at(deadline.at, self._strike, loop)",
        "loop.call_at(deadline.at + 10, self._strike, loop)",
        "keeps_its_deadline",
    ),
    Mutation(
        "deadlines never strike",
        "orchestrator.engine.deadlines:Deadline.strike",
        "self._task.cancel()",
        "pass",
        COMES_TO_AN_END,
    ),
    Mutation(
        "a plain model may take its time",
        "orchestrator.engine.unary:_ask",
        "if model.keeps_timeouts:",
        "if model:",
        "waits_for_nobody_silent",
    ),
    Mutation(
        "a stream may be silent before its first token",
        f"{_STREAM}._next",
        "if self._keeps_timeouts:",
        "if self.chosen:",
        "waits_for_nobody_silent",
    ),
    # -- attempts
    Mutation(
        "attempts are not counted",
        f"{_PLAN}.next_step",
        "if self.attempts >= self._policy.max_attempts:",
        "if False:",
        "keeps_to_its_attempts",
    ),
    Mutation(
        "retries are not counted",
        f"{_PLAN}._retry",
        "if self.retries >= self._policy.retries:",
        "if self.retries >= 6:",
        "keeps_to_its_attempts",
    ),
    Mutation(
        "the retry budget always pays",
        "orchestrator.routing.retry_budget:RetryBudget.withdraw",
        "return False",
        "return True",
        "keeps_to_its_retry_budget",
    ),
    Mutation(
        "nothing is ever retried",
        f"{_PLAN}._retry",
        "if first_at == inf:",
        "if True:",
        "gives_up_on_nobody_early",
    ),
    Mutation(
        "tried models are taken again",
        f"{_CHOOSER}.decide",
        "if tried:",
        "if False:",
        "keeps_order",
    ),
    # -- nothing is lost
    Mutation(
        "there is no failover",
        f"{_PLAN}.next_step",
        "if others_eligible:",
        "if False:",
        "loses_nothing",
    ),
    Mutation(
        "nobody is a last resort",
        f"{_CHOOSER}.decide",
        "if resort is not None and resort.arm is not None:",
        "if False:",
        "loses_nothing",
    ),
    Mutation(
        "only the first route has a last resort",
        f"{_CHOOSER}.decide",
        "for prospect, eligible in out:",
        "for prospect, eligible in out[:1]:",
        "loses_nothing",
    ),
    Mutation(
        "fallback routes are not taken",
        "orchestrator.routing.routes:Routes.chain",
        "return list(self._expanded(route)) if route.fallback else [route]",
        "return [route]",
        "loses_nothing",
    ),
    Mutation(
        "an unavailable model ends the request",
        "orchestrator.routing.consequences:consequence_of",
        "found = CONSEQUENCES[error.classification]",
        "found = replace(CONSEQUENCES[error.classification],"
        " try_another=error.classification is not ErrorClass.SERVICE_UNAVAILABLE)",
        "loses_nothing",
    ),
    Mutation(
        "a refused credential stays refused for ever",
        "orchestrator.routing.availability:Availability.restore_credential",
        "self._quarantined.pop(credential_id, None)",
        "pass",
        "loses_nothing",
    ),
    # -- events
    Mutation(
        "a failover is announced to the same model too",
        f"{_ATTEMPTS}.after",
        "if following.decision.key != chosen.decision.key:",
        "if True:",
        "keeps_order",
    ),
    Mutation(
        "a decision is announced after its call",
        f"{_ATTEMPTS}.after",
        "if self._parts.bus.wants(ModelSelected):",
        "if self._called(following):",
        "keeps_order",
    ),
    Mutation(
        "an answer is announced twice",
        f"{_SETTLEMENT}.answered",
        "return usd",
        "self._publish(ModelUsed, request_id=decision.request_id, decision_id=decision.id,"
        " model=decision.key, attempt=decision.attempt, latency_s=latency_s,"
        " first_token_s=first_token_s, prompt_tokens=usage.prompt_tokens,"
        " completion_tokens=usage.completion_tokens, cost_usd=usd); return usd",
        "ends_each_attempt_once",
    ),
    Mutation(
        "a cancelled call ends in silence",
        f"{_SETTLEMENT}._say_failed",
        "if self._bus.wants(CallFailed):",
        "if kind != 'cancelled' and self._bus.wants(CallFailed):",
        "ends_each_attempt_once",
    ),
    Mutation(
        "an explored model is said to be impossible",
        "orchestrator.core.decisions:Decision.propensity",
        "spread = self.floor / int(np.count_nonzero(self.eligible))",
        "spread = 0.0",
        "says_how_likely_each_choice_was",
    ),
    # -- what providers see
    Mutation(
        "a model is asked twice",
        "orchestrator.engine.unary:_ask",
        "if model.keeps_timeouts:",
        "if model.keeps_timeouts and await model.answer(params, call):",
        "tells_the_truth",
    ),
    Mutation(
        "every tenth token is forgotten",
        "orchestrator.integrations.openai_answer:read_usage",
        '_count(usage, "completion_tokens"),',
        '_count(usage, "completion_tokens") * 9 // 10,',
        "tells_the_truth",
    ),
    Mutation(
        "nobody learns that a stream starts over",
        f"{_STREAM}._prepare_to_go_on",
        "self._prologue = (TextChunk(restarted=True),)",
        "self._prologue = ()",
        "passes_answers_on",
    ),
    Mutation(
        "the second continuation holds the first one too",
        f"{_STREAM}._prepare_to_go_on",
        "_continued(self._asked, text)",
        "_continued(self._params, text)",
        "passes_answers_on",
    ),
    Mutation(
        "capabilities are not looked at",
        "orchestrator.routing.eligibility:Eligibility._declared",
        "wanted = np.uint64(needs.capabilities)",
        "wanted = np.uint64(0)",
        "calls_only_who_may_serve",
    ),
    Mutation(
        "exclusions are not looked at",
        "orchestrator.routing.eligibility:Eligibility._declared",
        "mask[pool.index[key]] = False",
        "pass",
        "calls_only_who_may_serve",
    ),
    Mutation(
        "windows are not looked at",
        "orchestrator.routing.eligibility:Eligibility._mask",
        "if measured.most_tokens(needs) > shape.min_window:",
        "if False:",
        "calls_only_who_may_serve",
    ),
    Mutation(
        "an abandoned stream goes on",
        f"{_STREAM}._end",
        "await close()",
        "pass",
        "leaves_nobody_working",
    ),
    # -- health
    Mutation(
        "each call that a dying process cuts is a failure of its own",
        f"{_ATTEMPTS}._settle_failure",
        "cause_id=process if one_death else None,",
        "cause_id=None,",
        "ejects_on_evidence",
    ),
    Mutation(
        "a model is ejected a failure too early",
        "orchestrator.routing.breaker:Breaker.failure",
        "if self._failures_in_a_row >= policy.failure_threshold:",
        "if self._failures_in_a_row >= policy.failure_threshold - 1:",
        "ejects_on_evidence",
    ),
    Mutation(
        "who is out of service is chosen like anybody else",
        f"{_CHOOSER}.decide",
        "eligible = eligible & usable",
        "pass",
        "spares_the_ejected",
    ),
    # -- what is written down
    Mutation(
        "an outcome may count twice",
        "orchestrator.engine.recorder:Recorder.close",
        "if self.log.close(decision.sequence):",
        "for _ in range(1 + self.log.close(decision.sequence)):",
        "adds_up",
    ),
    Mutation(
        "a cancelled call counts as a failure",
        f"{_SETTLEMENT}.cancelled",
        "if late:",
        "if True:",
        "adds_up",
    ),
    Mutation(
        "what failed calls cost is forgotten",
        f"{_SETTLEMENT}.failed",
        "self._recorder.close(decision, outcome, kind)",
        "self._recorder.close(decision, Outcome(False), kind)",
        "adds_up",
    ),
    Mutation(
        "a cancelled call is never settled",
        "orchestrator.engine.unary:_answer",
        "attempts.cancelled(chosen, late=deadline.expired)",
        "pass",
        "leaves_nothing_pending",
    ),
    Mutation(
        "an abandoned stream is never settled",
        f"{_STREAM}._abandon",
        "if self._unsettled:",
        "if False:",
        "leaves_nothing_pending",
    ),
    Mutation(
        "selections never expire",
        "orchestrator.engine.selection:Selection.release",
        "if chosen is not None:",
        "if False:",
        "leaves_nothing_pending",
    ),
    Mutation(
        "views forget who leaves the window, not what",
        "orchestrator.core.views:View.advance",
        "self._take(self._of(segment) if self.segmented else self._total, arm, taken)",
        "pass",
        "shows_what_it_knows",
    ),
    Mutation(
        "a model that comes back is a stranger",
        f"{_RECORDER}.arrange",
        "view.replay(known)",
        "pass",
        "shows_what_it_knows",
    ),
    Mutation(
        "the same quality counts again",
        f"{_RECORDER}.rate",
        "if known.quality == quality:",
        "if False:",
        "takes_ratings",
    ),
    Mutation(
        "a correction adds to what it corrects",
        f"{_RECORDER}.rate",
        "quality - (was or 0.0)",
        "quality",
        "adds_up",
    ),
    # -- what is held and spent
    Mutation(
        "what a request has spent is forgotten",
        f"{_ATTEMPTS}._made",
        "self.spent_usd += usd",
        "pass",
        "keeps_to_max_cost",
        at=163,
    ),
    Mutation(
        "nothing is set aside of the day's budget",
        "orchestrator.routing.budget:DailyBudget.reserve",
        "self.reserved_usd += usd",
        "pass",
        "keeps_to_the_cap",
    ),
    Mutation(
        "the day of a day's budget never ends",
        "orchestrator.routing.budget:DailyBudget.spent",
        "if wall // _DAY_S > self._day:",
        "if False:",
        "keeps_to_the_cap",
    ),
    Mutation(
        "a place is never given back",
        "orchestrator.engine.admission:Admission.leave",
        "self.busy -= 1",
        "pass",
        "gives_places_back",
    ),
    Mutation(
        "a lease is never given back",
        "orchestrator.lifecycle.book:Resident.give_back",
        "self.leases -= 1",
        "pass",
        "gives_leases_back",
    ),
    Mutation(
        "places are not counted",
        "orchestrator.engine.admission:Admission.try_enter",
        "if self.busy >= self._places or self._queue:",
        "if self._queue:",
        "crowds_nobody",
    ),
    # -- the world itself
    Mutation(
        "a process belongs to nobody",
        "orchestrator.lifecycle.run_loop:RunLoop._do",
        "self._tasks.start_soon(self._processes.live, self._book.residents[name])",
        "import asyncio; asyncio.get_running_loop().create_task("
        "self._processes.live(self._book.residents[name]))",
        LEAVES_NO_TASK,
    ),
    Mutation(
        "jitter is not seeded",
        "orchestrator.routing.backoff:backoff_s",
        "rng.uniform(",
        "Random().uniform(",
        IS_REPEATABLE,
    ),
    Mutation(
        "deadlines that strike together strike in any order",
        "orchestrator.engine.deadlines:Deadlines._strike",
        "[d for d in self._open if d.at <= now]",
        "{d for d in self._open if d.at <= now}",
        IS_REPEATABLE,
    ),
)

_PROMISE = "tests.lifecycle.test_promises"

LIFECYCLE_MUTATIONS = (
    Mutation(
        "a model in use is unloaded for another",
        "orchestrator.lifecycle.leaving:leave",
        "if resident.leases and not force:",
        "if False:",
        f"{_PROMISE}:test_a_lease_is_finished_also_by_who_has_to_leave",
    ),
    Mutation(
        "a model in use counts as unused",
        "orchestrator.lifecycle.victims:evictable",
        "if not resident.leases and",
        "if",
        f"{_PROMISE}:test_a_leased_model_is_not_unloaded",
    ),
    Mutation(
        "a model marked for eviction goes on giving leases",
        "orchestrator.lifecycle.book:Book.move",
        "resident.address if resident.status is Status.LOADED else None",
        "resident.address",
        f"{_PROMISE}:test_a_model_marked_for_eviction_gives_no_new_lease",
    ),
    Mutation(
        "each caller starts a load of his own",
        "orchestrator.lifecycle.admission:line",
        "if resident.status in _COLD:",
        "if resident.status is not Status.LOADED:",
        f"{_PROMISE}:test_all_who_wait_share_one_load",
    ),
    Mutation(
        "there is no minimum residence",
        "orchestrator.lifecycle.book:Book.idle_from",
        "resident.loaded_at + self.policy.min_residence_s",
        "resident.loaded_at",
        f"{_PROMISE}:test_nobody_is_evicted_inside_its_minimum_residence",
    ),
    Mutation(
        "a model that is always busy never leaves",
        "orchestrator.lifecycle.admission:admit",
        "if found is None and overdue:",
        "if False:",
        f"{_PROMISE}:test_a_cold_model_is_served_although_others_are_always_busy",
    ),
    Mutation(
        "others take what somebody has waited for too long",
        "orchestrator.lifecycle.admission:admit",
        "                expecting += 1\n            coming = room_for(coming, resident.needs)",
        "                expecting += 1",
        f"{_PROMISE}:test_nobody_overtakes_who_has_waited_too_long",
    ),
    Mutation(
        "the gap between two requests is taken for idleness",
        "orchestrator.lifecycle.book:Book.idle_from",
        "resident.last_used + self.policy.linger_s",
        "resident.last_used",
        f"{_PROMISE}:test_the_gap_between_two_requests_is_no_reason_to_swap",
    ),
    Mutation(
        "more leave than suffice",
        "orchestrator.lifecycle.victims:choose",
        "return _spared(taken, short)",
        "return taken",
        f"{_PROMISE}:test_only_as_many_leave_as_suffice",
    ),
    Mutation(
        "what can never fit is waited for",
        "orchestrator.lifecycle.queue:refuse_hopeless",
        "if not fits(resident.needs, most):",
        "if False:",
        f"{_PROMISE}:test_what_can_never_fit_is_refused_at_once_and_evicts_nobody",
    ),
    Mutation(
        "what is pinned is evicted like anything",
        "orchestrator.lifecycle.book:Book.fixed",
        "resident.name in self.pins or ",
        "",
        f"{_PROMISE}:test_a_smaller_budget_makes_the_least_recently_used_leave_at_once",
    ),
    Mutation(
        "a lease granted to who has just left is never given back",
        "orchestrator.lifecycle.plan:_take_in",
        "if waiter.granted is not None:",
        "if False:",
        f"{_PROMISE}:test_a_lease_granted_to_who_has_just_left_is_given_back",
    ),
    Mutation(
        "nobody is refused for waiting long",
        "orchestrator.lifecycle.queue:refuse_late",
        "if w.limit_at <= now",
        "if False",
        f"{_PROMISE}:test_who_waits_too_long_is_refused",
    ),
    Mutation(
        "a drain has no deadline",
        "orchestrator.lifecycle.leaving:finish_drains",
        "if not resident.leases or resident.act_at <= now:",
        "if not resident.leases:",
        f"{_PROMISE}:test_a_drain_ends_at_its_deadline_and_says_so",
    ),
    Mutation(
        "a surprise in memory is not made good",
        "orchestrator.lifecycle.plan:plan",
        "        shrink(book, now, effects)",
        "        pass",
        f"{_PROMISE}:test_a_model_that_takes_more_than_it_said_makes_others_leave",
    ),
    Mutation(
        "memory counts as free while its process is being stopped",
        "orchestrator.lifecycle.leaving:_stop",
        "resident.act_at = inf",
        "resident.act_at = inf; book.hold(resident, {})",
        f"{_PROMISE}:test_a_process_that_cannot_be_stopped_keeps_its_memory_until_it_is",
    ),
)
"""As above, but noticed by one test, a function without arguments."""
