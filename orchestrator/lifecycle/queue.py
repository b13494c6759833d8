"""Who waits for a lease: how many, how long, and what they are told."""

from __future__ import annotations

from orchestrator.core.errors import (
    ModelDoesNotFitError,
    ModelLoadError,
    OrchestratorError,
    OverloadedError,
)
from orchestrator.lifecycle.book import Book, Resident
from orchestrator.lifecycle.effects import Effect, Grant, Refuse
from orchestrator.lifecycle.footprint import Amounts, fits
from orchestrator.lifecycle.happenings import Waiter
from orchestrator.lifecycle.state import Status

__all__ = [
    "does_not_fit",
    "enqueue",
    "grant",
    "refuse",
    "refuse_all",
    "refuse_hopeless",
    "refuse_late",
    "withdraw",
]


def enqueue(book: Book, waiter: Waiter, effects: list[Effect]) -> None:
    """Let a caller wait; where the queue is full, whoever matters least goes."""
    book.waiting[waiter] = None
    book.residents[waiter.resident].waiters[waiter] = None
    if len(book.waiting) > book.policy.queue_limit:
        # Of the least important ones the last to come, who has waited for nothing yet.
        least = min(reversed(book.waiting), key=lambda w: w.priority)
        refuse(
            book,
            least,
            OverloadedError(
                f"{book.policy.queue_limit} callers wait for local models already",
                hint="raise queue_limit, or ask with more priority",
            ),
            effects,
        )


def withdraw(book: Book, waiter: Waiter) -> None:
    """Forget somebody who waits."""
    book.waiting.pop(waiter, None)
    book.residents[waiter.resident].waiters.pop(waiter, None)


def refuse(book: Book, waiter: Waiter, error: OrchestratorError, effects: list[Effect]) -> None:
    """Send somebody who waits away."""
    withdraw(book, waiter)
    effects.append(Refuse(waiter, error))


def grant(book: Book, resident: Resident, now: float, effects: list[Effect]) -> None:
    """Give everybody who waits for a resident a lease, if it is loaded."""
    if resident.status is not Status.LOADED:
        return
    for waiter in list(resident.waiters):
        withdraw(book, waiter)
        waiter.granted = resident.life
        resident.leases += 1
        resident.last_used = now
        effects.append(Grant(waiter))


def refuse_late(book: Book, now: float, effects: list[Effect]) -> None:
    """Send away whoever has waited as long as he would."""
    for waiter in [w for w in book.waiting if w.limit_at <= now]:
        waited_s = waiter.limit_at - waiter.asked_at
        error = OverloadedError(
            f"{waiter.resident} was not in memory within {waited_s:g} s",
            hint="allow more memory, or more time with wait_limit_s",
        )
        refuse(book, waiter, error, effects)


def refuse_all(book: Book, resident: Resident, now: float, effects: list[Effect]) -> None:
    """Send away whoever waits for a resident, each with an error of his own."""
    for waiter in list(resident.waiters):
        refuse(book, waiter, _rests(book, resident, now), effects)


def refuse_hopeless(book: Book, now: float, effects: list[Effect]) -> None:
    """Send away whoever waits for what rests after a failure, or can never fit.

    Nobody is kept waiting for a rest to end, so that the caller can turn to another model at once.
    """
    if not book.waiting:
        return
    most = book.most_room(book.limits)
    for name in dict.fromkeys([waiter.resident for waiter in book.waiting]):
        resident = book.residents[name]
        if resident.status in (Status.LOADING, Status.LOADED):
            continue
        # Of what stays a cold one is no part, so the same room is there for all.
        if not fits(resident.needs, most):
            short = book.hopeless(resident)
            for waiter in list(resident.waiters):
                refuse(book, waiter, does_not_fit(book, resident, short), effects)
        elif book.rest_s(resident, now) > 0:
            refuse_all(book, resident, now, effects)


def does_not_fit(book: Book, resident: Resident, short: Amounts) -> ModelDoesNotFitError:
    """Return what to tell somebody who wants what can never be loaded."""
    room = book.most_room(book.limits, besides=resident)
    dimension = next(iter(short))
    beside = [n for n in (*book.pins, book.current) if n and n != resident.name]
    return ModelDoesNotFitError(
        f"{resident.name} needs {resident.needs[dimension]:,} of {dimension}, "
        f"and there is room for {room[dimension]:,}"
        + (f" beside {', '.join(dict.fromkeys(beside))}" if beside else ""),
        needs=resident.needs,
        room=room,
        hint="unpin or unload what is in its way" if beside else "raise the memory budget",
    )


def _rests(book: Book, resident: Resident, now: float) -> ModelLoadError:
    cause = resident.error
    if isinstance(cause, ModelDoesNotFitError):
        return ModelDoesNotFitError(cause.message, needs=cause.needs, room=cause.room)
    what = "could not be loaded" if resident.status is Status.FAILED else "is not in memory"
    error = ModelLoadError(
        f"{resident.name} {what}: {cause}", retry_after_s=book.rest_s(resident, now)
    )
    error.__cause__ = cause
    return error
