"""What holds of every plan, whatever happened: checked around each call of the planner."""

from __future__ import annotations

from collections import Counter
from math import inf

from orchestrator.core.errors import ModelDoesNotFitError
from orchestrator.core.events import ModelEvicted, ModelUnloading
from orchestrator.lifecycle.admission import line
from orchestrator.lifecycle.book import Book, Resident
from orchestrator.lifecycle.effects import Effect, Grant, Refuse, Say, StartLoad
from orchestrator.lifecycle.footprint import fits, room_for
from orchestrator.lifecycle.happenings import (
    BudgetSet,
    Closed,
    Happening,
    Loaded,
    UnloadRequested,
    Waiter,
)
from orchestrator.lifecycle.plan import due, plan
from orchestrator.lifecycle.state import OCCUPYING, Status
from orchestrator.lifecycle.victims import forcible

__all__ = ["LEGAL_EVENTS", "Checked"]

# After each event of one resident, what may come next.
LEGAL_EVENTS = {
    None: {"model-loading"},
    "model-loading": {"model-loaded", "model-load-failed"},
    "model-load-failed": {"model-loading"},
    "model-loaded": {"model-unloading", "process-exited"},
    "model-unloading": {"process-exited"},
    "process-exited": {"model-unloaded"},
    "model-unloaded": {"model-loading"},
}


class Checked:
    """A planner that is watched: `plan` raises AssertionError where a promise is broken."""

    def __init__(self) -> None:
        self.resolved: Counter[Waiter] = Counter()
        self.last_event: dict[str, str] = {}
        self.evictions = 0
        self.forced = 0

    def plan(self, book: Book, happening: Happening, now: float) -> list[Effect]:
        """Plan, and check that every promise was kept."""
        status = {name: r.status for name, r in book.residents.items()}
        loaded_at = {name: r.loaded_at for name, r in book.residents.items()}
        drain_ends = {name: r.act_at for name, r in book.residents.items()}
        reserved = dict(book.reserved)
        effects = plan(book, happening, now)

        self._sums(book)
        self._statuses(book, status)
        self._memory(book, happening, effects, reserved)
        self._waiters(book, effects, now)
        self._order(effects)
        for effect in effects:
            if isinstance(effect, Say) and effect.kind is ModelEvicted:
                self._eviction(book, effect, loaded_at, now)
            if isinstance(effect, Say) and effect.kind is ModelUnloading:
                self._unloading(effect, happening, drain_ends, now)
        assert due(book, now) > now, "it would be told of the time for ever"
        if not book.closing:
            self._fairness(book, now)
        return effects

    def _sums(self, book: Book) -> None:
        held: Counter[str] = Counter()
        for resident in book.residents.values():
            held.update(resident.holds)
            assert (resident.status in OCCUPYING) == bool(resident.holds), resident
        assert {d: n for d, n in book.reserved.items() if n} == +held

    def _statuses(self, book: Book, before: dict[str, Status]) -> None:
        for name, resident in book.residents.items():
            serves = resident.status is Status.LOADED
            assert (resident.endpoint is not None) == serves, "5: leases only of what is loaded"
            assert (name in book.loaded) == serves
            assert resident.leases >= 0, "4: a lease was given back twice"
            sticky = before.get(name) is Status.EVICTING
            assert not sticky or resident.status in (
                Status.EVICTING,
                Status.UNLOADED,
                Status.LOADING,  # unloaded, and wanted again at once
            ), "5: there is no way back"

    def _memory(
        self, book: Book, happening: Happening, effects: list[Effect], before: dict[str, int]
    ) -> None:
        starts = [effect.resident for effect in effects if isinstance(effect, StartLoad)]
        assert len(starts) == len(set(starts)), "3: single flight"
        assert len(book.loading) <= book.policy.parallel_loads
        for name in starts:
            needs = book.residents[name].needs
            for dimension, amount in needs.items():
                if amount and dimension in book.limits:
                    assert book.reserved[dimension] <= book.limits[dimension], "1: the budget"
        if isinstance(happening, (Loaded, BudgetSet)):
            return
        for dimension, limit in book.limits.items():
            most = max(limit, before.get(dimension, 0))
            assert book.reserved.get(dimension, 0) <= most, "1: the budget"

    def _waiters(self, book: Book, effects: list[Effect], now: float) -> None:
        for effect in effects:
            if isinstance(effect, (Grant, Refuse)):
                self.resolved[effect.waiter] += 1
                assert self.resolved[effect.waiter] == 1, "3: every waiter resolves once"
                assert effect.waiter not in book.waiting
            if isinstance(effect, Refuse) and isinstance(effect.error, ModelDoesNotFitError):
                evicted = [e for e in effects if isinstance(e, Say) and e.kind is ModelEvicted]
                names = [e.facts["for_resident"] for e in evicted]
                assert effect.waiter.resident not in names, "6: it evicts nobody"
        assert len(book.waiting) <= book.policy.queue_limit
        for waiter in book.waiting:
            resident = book.residents[waiter.resident]
            assert waiter in resident.waiters
            assert resident.status is not Status.LOADED, "8: nobody waits for what is loaded"
            assert waiter.limit_at > now, "15: it waits no longer than it would"
            if resident.status is not Status.LOADING:
                assert not book.hopeless(resident), "6: told at once that it cannot fit"
        assert not (book.closing and book.waiting), "14: closing resolves everybody"

    def _order(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Say) and effect.kind.name in LEGAL_EVENTS:
                name, event = effect.facts["resident"], effect.kind.name
                last = self.last_event.get(name)
                assert event in LEGAL_EVENTS[last], f"9: {event} of {name} after {last}"
                self.last_event[name] = event

    def _eviction(self, book: Book, effect: Say, loaded_at: dict[str, float], now: float) -> None:
        victim, whom = effect.facts["resident"], effect.facts["for_resident"]
        self.evictions += 1
        self.forced += effect.facts["forced"]
        assert not book.fixed(book.residents[victim]), "6: pinned and current stay"
        if whom is None:
            return
        oldest = next(iter(book.residents[whom].waiters), None)
        overdue = oldest is not None and (oldest.asked_at + book.policy.max_wait_for_load_s <= now)
        assert overdue or not effect.facts["forced"], "15: forced only for who waits too long"
        young = now < loaded_at.get(victim, -inf) + book.policy.min_residence_s
        assert overdue or not young, "11: no eviction inside the minimum residence"

    def _unloading(
        self, effect: Say, happening: Happening, drain_ends: dict[str, float], now: float
    ) -> None:
        if effect.facts["broken_leases"]:
            name = effect.facts["resident"]
            forced = isinstance(happening, Closed) or (
                isinstance(happening, UnloadRequested) and happening.force
            )
            assert forced or drain_ends[name] <= now, "2: no unload with a lease open"

    def _fairness(self, book: Book, now: float) -> None:
        """15: for who has waited too long, everything that may be done is under way."""
        candidates = line(book, now)
        if not candidates or candidates[0].overdue_at > now:
            return
        if len(book.loading) >= book.policy.parallel_loads:
            return
        first: Resident = candidates[0].resident
        held = [r.holds for r in (*book.loading.values(), *book.loaded.values())]
        coming = fits(first.needs, room_for(book.limits, *held))
        in_the_way = [r for r in forcible(book, now) if any(r.holds.get(d) for d in book.limits)]
        assert coming or (not in_the_way) or book.loading, "15: nobody is made to leave"
