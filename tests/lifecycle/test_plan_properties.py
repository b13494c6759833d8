"""Whatever happens in whatever order, every plan keeps the fifteen promises."""

from __future__ import annotations

from math import inf
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from orchestrator.core.errors import ModelDoesNotFitError, ModelLoadError, ProcessError
from orchestrator.core.ports import Endpoint, ResidentSize, ResidentSpec
from orchestrator.lifecycle import forecast, happenings
from orchestrator.lifecycle.book import Book, Resident
from orchestrator.lifecycle.effects import CancelLoad, Gone, Grant, Refuse, StartLoad, Stop
from orchestrator.lifecycle.happenings import Happening, Waiter
from orchestrator.lifecycle.plan import due
from orchestrator.lifecycle.policy import LifecyclePolicy, MemoryBudget
from orchestrator.lifecycle.restart import RestartPolicy
from orchestrator.lifecycle.state import Status
from tests.lifecycle.invariants import Checked

SIZES = {"a": 4, "b": 4, "c": 3, "d": 6, "huge": 13, "g": 5}
SPECS = [
    ResidentSpec(
        name,
        ("engine",),
        {},
        size=ResidentSize(weights_bytes=size, device="gpu:0" if name == "g" else "ram"),
        groups=frozenset(("alone",)) if name in "bc" else frozenset(),
        keep_alive_s=20.0 if name == "c" else None,
    )
    for name, size in SIZES.items()
]
POLICY = LifecyclePolicy(
    budget=MemoryBudget(ram_bytes=12, gpu_bytes={0: 8}, max_loaded_models=3),
    queue_limit=8,
    wait_limit_s=60,
    drain_deadline_s=15,
)
NAMES = st.sampled_from(sorted(SIZES))
AT = Endpoint("http://127.0.0.1:1/v1")


class Planner(RuleBasedStateMachine):
    """Callers, processes and an operator who do what they like; time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.checked = Checked()
        self.book = Book(POLICY, RestartPolicy())
        self.leases: list[tuple[Resident, int]] = []
        self.waiters: dict[Waiter, None] = {}
        self.starting: dict[str, bool] = {}
        """Loads under way, and whether they are being cancelled."""
        self.stopping: dict[str, None] = {}
        for spec in SPECS:
            self.book.register(spec)

    def tell(self, happening: Happening) -> None:
        for effect in self.checked.plan(self.book, happening, self.now):
            match effect:
                case StartLoad(name):
                    assert name not in self.starting, "3: two loads at once"
                    self.starting[name] = False
                case CancelLoad(name):
                    assert name in self.starting
                    self.starting[name] = True
                case Stop(name):
                    self.stopping[name] = None
                case Gone(name):
                    self.stopping.pop(name, None)
                case Grant(waiter):
                    del self.waiters[waiter]
                    assert waiter.granted is not None
                    self.leases.append((self.book.residents[waiter.resident], waiter.granted))
                case Refuse(waiter, _):
                    del self.waiters[waiter]

    # -- callers

    @rule(name=NAMES, priority=st.integers(0, 2), patience_s=st.sampled_from([1.0, 30.0, 60.0]))
    def ask(self, name: str, priority: int, patience_s: float) -> None:
        resident = self.book.residents[name]
        if resident.endpoint is not None:
            resident.leases += 1
            resident.last_used = self.now
            self.leases.append((resident, resident.life))
            return
        waiter = Waiter(name, self.now, self.now + patience_s, priority)
        self.waiters[waiter] = None
        self.tell(happenings.Asked(waiter))

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def give_back(self, data: Any) -> None:
        resident, life = self.leases.pop(data.draw(st.integers(0, len(self.leases) - 1)))
        if resident.give_back(life, self.now):
            self.tell(happenings.Tick())

    @precondition(lambda self: self.waiters)
    @rule(data=st.data())
    def leave(self, data: Any) -> None:
        waiter = data.draw(st.sampled_from(list(self.waiters)))
        del self.waiters[waiter]
        self.tell(happenings.Left(waiter))

    # -- processes

    @precondition(lambda self: self.starting)
    @rule(data=st.data(), how=st.sampled_from(["well", "well", "big", "badly"]))
    def load_ends(self, data: Any, how: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.starting)))
        self.end_load(name, how)

    def end_load(self, name: str, how: str) -> None:
        cancelled = self.starting.pop(name)
        resident = self.book.residents[name]
        holds = {resident.spec.size.device: SIZES[name] * (2 if how == "big" else 1)}
        if cancelled:
            self.tell(happenings.LoadCancelled(name))
        elif how == "badly":
            self.tell(happenings.LoadFailed(name, ModelLoadError("it is broken")))
        elif error := forecast.oversized(self.book, resident, holds):
            assert isinstance(error, ModelDoesNotFitError)
            self.tell(happenings.LoadFailed(name, error, holds))
        else:
            self.tell(happenings.Loaded(name, AT, 1, 1.0, holds))

    @precondition(lambda self: self.stopping)
    @rule(data=st.data(), well=st.booleans())
    def stop_ends(self, data: Any, well: bool) -> None:
        name = data.draw(st.sampled_from(list(self.stopping)))
        if well:
            self.end_process(name)
        else:
            del self.stopping[name]
            self.tell(happenings.StopFailed(name, ProcessError("it goes on")))

    @rule(name=NAMES)
    def die(self, name: str) -> None:
        if self.book.residents[name].status in (Status.LOADED, Status.DRAINING):
            self.end_process(name)

    def end_process(self, name: str) -> None:
        self.tell(happenings.ProcessEnded(name, 1, -9, ProcessError("it ended")))

    # -- an operator

    @rule(name=NAMES, force=st.booleans())
    def unload(self, name: str, force: bool) -> None:
        if name not in self.book.pins:
            self.tell(happenings.UnloadRequested(name, force))

    @rule(name=NAMES)
    def keep(self, name: str) -> None:
        self.tell(happenings.KeepRequested(name))

    @rule(name=NAMES, evict=st.booleans())
    def switch(self, name: str, evict: bool) -> None:
        if name in self.book.loaded:
            self.tell(happenings.Switched(name, "wanted", evict))
            assert self.book.current == name

    @rule(name=NAMES, pinned=st.booleans())
    def pin(self, name: str, pinned: bool) -> None:
        self.tell(happenings.Pinned(name, pinned))

    @rule(name=NAMES)
    def cancel_load(self, name: str) -> None:
        self.tell(happenings.LoadAbandoned(name))

    @rule(ram=st.integers(6, 14))
    def set_budget(self, ram: int) -> None:
        budget = MemoryBudget(ram_bytes=ram, gpu_bytes={0: 8}, max_loaded_models=3)
        room = self.book.most_room(self.book.limits_of(budget))
        if all(left >= 0 for left in room.values()):
            self.tell(happenings.BudgetSet(budget))

    # -- time

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 12.0, 40.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.tell(happenings.Tick())

    @rule()
    def wait_until_due(self) -> None:
        at = due(self.book, self.now)
        if at < inf:
            self.now = at
            self.tell(happenings.Tick())

    @invariant()
    def forecasts_can_be_made(self) -> None:
        for resident in self.book.residents.values():
            assert forecast.expected_load_s(self.book, resident, self.now) >= 0
            if not self.book.hopeless(resident):
                forecast.would_evict(self.book, resident)

    def teardown(self) -> None:
        """Once everything that is under way goes well, everybody is answered; then it closes."""
        for _ in range(200):
            if not self.waiters:
                break
            for name in sorted(self.starting):
                self.end_load(name, "well")
            for name in list(self.stopping):
                self.end_process(name)
            while self.leases:
                resident, life = self.leases.pop()
                resident.give_back(life, self.now)
            self.wait_until_due()
        assert not self.waiters, "15: somebody waits for ever"
        self.tell(happenings.Closed())
        for name in sorted(self.starting):
            self.starting.pop(name)
            self.tell(happenings.LoadCancelled(name))
        for name in [*self.book.leaving]:
            self.end_process(name)
        assert not any(self.book.reserved.values()), "14: bytes are left"


TestPlanner = Planner.TestCase
TestPlanner.settings = settings(max_examples=3 * settings().max_examples)
