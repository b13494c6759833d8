"""The planner: told what happened, it changes the book and says what is to be done.

No clock, no event loop, no I/O: the same happenings at the same times have the same effects.
"""

from __future__ import annotations

from math import inf

from orchestrator.core.errors import EngineClosedError, ModelLoadError
from orchestrator.core.events import (
    ModelLoaded,
    ModelLoadFailed,
    ModelPinned,
    ModelUnloaded,
    ProcessExited,
)
from orchestrator.lifecycle import queue
from orchestrator.lifecycle.admission import admit
from orchestrator.lifecycle.book import Book, Resident
from orchestrator.lifecycle.effects import CancelLoad, Effect, Gone, Say
from orchestrator.lifecycle.footprint import total_bytes
from orchestrator.lifecycle.happenings import (
    Asked,
    BudgetSet,
    Closed,
    Happening,
    KeepRequested,
    Left,
    LoadAbandoned,
    LoadCancelled,
    Loaded,
    LoadFailed,
    Pinned,
    ProcessEnded,
    Recalled,
    StopFailed,
    Switched,
    Tick,
    UnloadRequested,
)
from orchestrator.lifecycle.leaving import (
    finish_drains,
    leave,
    retry_stop,
    shrink,
    switch,
    unload_unused,
)
from orchestrator.lifecycle.recalling import recall
from orchestrator.lifecycle.state import Cause, Status

__all__ = ["due", "plan"]


def plan(book: Book, happening: Happening, now: float) -> list[Effect]:
    """Take in what happened, and decide what follows.

    Args:
        book: What is known; changed in place, by nobody else but leases on what is loaded.
        happening: What happened.
        now: When, in seconds of one monotonic clock.

    Returns:
        What to do, in this order.
    """
    effects: list[Effect] = []
    _take_in(book, happening, now, effects)
    queue.refuse_late(book, now, effects)
    finish_drains(book, now, effects)
    queue.refuse_hopeless(book, now, effects)
    if not book.closing:
        shrink(book, now, effects)
        admit(book, now, effects)
        if book.pins or book.current:
            queue.refuse_hopeless(book, now, effects)  # one of them may have begun to load
        unload_unused(book, now, effects)
    return effects


def due(book: Book, now: float) -> float:
    """Return when the planner has to be told of the time, later than now; inf is never.

    A lease that is given back may make that earlier; see `ModelManager`.
    """
    times = [waiter.limit_at for waiter in book.waiting]
    times += [resident.act_at for resident in book.leaving.values()]
    to_restore = book.to_restore()
    times += [resident.restart.not_before for resident in to_restore]
    patience_s = book.policy.max_wait_for_load_s
    times += [waiter.asked_at + patience_s for waiter in book.waiting]
    unused = [resident for resident in book.loaded.values() if not resident.leases]
    times += [book.unused_at(resident) for resident in unused]
    if book.waiting or to_restore:
        times += [book.idle_from(resident) for resident in unused]
    return min((time for time in times if time > now), default=inf)


def _take_in(book: Book, happening: Happening, now: float, effects: list[Effect]) -> None:
    match happening:
        case Tick():
            pass
        case Asked(waiter):
            queue.enqueue(book, waiter, effects)
            queue.grant(book, book.residents[waiter.resident], now, effects)
        case Left(waiter):
            queue.withdraw(book, waiter)
            if waiter.granted is not None:
                book.residents[waiter.resident].give_back(waiter.granted, now)
        case Loaded():
            _loaded(book, happening, now, effects)
        case LoadFailed(name, error, holds):
            resident = book.residents[name]
            resident.needs |= holds
            _note_failure(book, resident, error, now)
            book.move(resident, Cause.LOAD_FAILED)
            effects.append(Say(ModelLoadFailed, {"resident": name, "reason": str(error)}))
            queue.refuse_all(book, resident, now, effects)
        case LoadAbandoned(name):
            _abandon(book, book.residents[name], effects)
        case LoadCancelled(name):
            book.move(book.residents[name], Cause.LOAD_CANCELLED)
            reason = "closed during the load" if book.closing else "cancelled"
            effects.append(Say(ModelLoadFailed, {"resident": name, "reason": reason}))
        case ProcessEnded():
            _ended(book, happening, now, effects)
        case StopFailed(name, error):
            resident = book.residents[name]
            if resident.status is Status.EVICTING:  # it may have ended in spite of that
                retry_stop(book, resident, error, now, effects)
        case UnloadRequested(name, force):
            _unload(book, book.residents[name], force, now, effects)
        case KeepRequested(name):
            resident = book.residents[name]
            if resident.status is Status.DRAINING and resident.leaving == "requested":
                book.move(resident, Cause.KEEP)
                queue.grant(book, resident, now, effects)
        case Switched(name, reason, evict_previous):
            previous = book.loaded.get(book.current or "")
            switch(book, name, reason, effects)
            if evict_previous and previous is not None and not book.fixed(previous):
                leave(book, previous, "switched", now, effects)
            _abandon_hopeless(book, effects)
        case Pinned(name, pinned):
            if pinned:
                book.pins[name] = None
            else:
                book.pins.pop(name, None)
            effects.append(Say(ModelPinned, {"resident": name, "pinned": pinned}))
            _abandon_hopeless(book, effects)
        case Recalled(state, current):
            recall(book, state, current)
        case BudgetSet(budget):
            book.set_budget(budget)
            _abandon_hopeless(book, effects)
        case Closed():
            _close(book, now, effects)


def _loaded(book: Book, loaded: Loaded, now: float, effects: list[Effect]) -> None:
    resident = book.residents[loaded.resident]
    resident.address = loaded.endpoint
    resident.restart = resident.restart.after_ready(now)
    resident.error = None
    resident.loaded_at = resident.last_used = now
    known = resident.load_s
    resident.load_s = loaded.load_s if known is None else (known + loaded.load_s) / 2
    resident.needs |= loaded.holds
    book.move(resident, Cause.READY)
    book.hold(resident, resident.needs)
    facts = {
        "resident": loaded.resident,
        "load_s": loaded.load_s,
        "pid": loaded.pid,
        "memory_bytes": total_bytes(loaded.holds) if loaded.holds else None,
    }
    effects.append(Say(ModelLoaded, facts))
    queue.grant(book, resident, now, effects)


def _ended(book: Book, ended: ProcessEnded, now: float, effects: list[Effect]) -> None:
    resident = book.residents[ended.resident]
    expected = resident.status is Status.EVICTING
    if not expected:
        resident.leaving = "crashed"
        _note_failure(book, resident, ended.error, now)
    book.move(resident, Cause.UNLOADED if expected else Cause.CRASHED)
    name = resident.name
    exited = {"resident": name, "pid": ended.pid, "exit_code": ended.exit_code}
    unloaded = {"resident": name, "reason": resident.leaving, "left_bytes": ended.left_bytes}
    effects += [
        Say(ProcessExited, {**exited, "expected": expected}),
        Say(ModelUnloaded, unloaded),
        Gone(name),
    ]


def _note_failure(book: Book, resident: Resident, error: Exception, now: float) -> None:
    resident.error = error
    resident.restart = resident.restart.after_failure(now, book.restart)


def _unload(book: Book, resident: Resident, force: bool, now: float, effects: list[Effect]) -> None:
    if resident.status is Status.DRAINING and force:
        resident.act_at = now
    elif resident.status is Status.LOADED:
        leave(book, resident, "requested", now, effects, force=force)
        if resident.name == book.current:
            latest = max(book.loaded.values(), key=lambda r: r.last_used, default=None)
            name = latest.name if latest else None
            switch(book, name, "previous_model_unloaded", effects)


def _abandon(book: Book, resident: Resident, effects: list[Effect]) -> None:
    if resident.status is Status.LOADING:
        for waiter in list(resident.waiters):
            error = ModelLoadError(f"the load of {resident.name} was cancelled")
            queue.refuse(book, waiter, error, effects)
        effects.append(CancelLoad(resident.name))


def _abandon_hopeless(book: Book, effects: list[Effect]) -> None:
    for resident in list(book.loading.values()):
        if short := book.hopeless(resident):
            for waiter in list(resident.waiters):
                queue.refuse(book, waiter, queue.does_not_fit(book, resident, short), effects)
            effects.append(CancelLoad(resident.name))


def _close(book: Book, now: float, effects: list[Effect]) -> None:
    book.closing = True
    for waiter in list(book.waiting):
        queue.refuse(book, waiter, EngineClosedError("closed during the load"), effects)
    effects += [CancelLoad(name) for name in book.loading]
    for resident in list(book.loaded.values()):
        leave(book, resident, "closed", now, effects, force=True)
    for resident in book.leaving.values():
        if resident.status is Status.DRAINING:
            resident.leaving, resident.act_at = "closed", now
