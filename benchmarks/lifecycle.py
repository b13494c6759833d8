"""What local models cost that come and go: a budget for two of four, and a thousand switches.

    python benchmarks/lifecycle.py --json --seconds 120

Real engines with SmolLM2. Sixteen clients ask for four residents in random order under a budget
that holds two of them; then sixteen clients ask whichever model is current, while that changes a
thousand times. `swaps_in_order_optimum` is what Belady's algorithm, which knows the future, would
swap if it served the same requests in their order of arrival.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import psutil

from orchestrator import EmbeddedModel, Orchestrator, OrchestratorError
from orchestrator.core.events import ModelLoaded
from orchestrator.core.ports import Endpoint, ResidentSize, ResidentSpec
from orchestrator.integrations.embedded import EmbeddedResident, embedded_resident
from orchestrator.integrations.model_files import get_model_file
from orchestrator.lifecycle import happenings
from orchestrator.lifecycle.book import Book
from orchestrator.lifecycle.happenings import Waiter
from orchestrator.lifecycle.plan import plan
from orchestrator.lifecycle.policy import LifecyclePolicy, MemoryBudget
from orchestrator.lifecycle.restart import RestartPolicy

_CLIENTS: Final = 16
_TOGETHER: Final = 2
_SWITCHES: Final = 1_000
_LEASES: Final = 20_000
_SLACK: Final = 1.05
_MANY: Final = 1_000
_SAMPLE_S: Final = 0.05
_MB: Final = 2**20
_QUESTION: Final = "Name one colour."


@dataclass(slots=True)
class _Run:
    """What the clients saw."""

    order: list[str] = field(default_factory=list)
    """Who was asked, in order of arrival."""
    waits_s: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def _residents() -> list[EmbeddedResident]:
    file = get_model_file("smollm2", report=_note)
    return [
        embedded_resident(
            f"window-{context}", file, context=context, slots=2, threads=1, embeddings=False
        )
        for context in (1024, 1536, 2048, 3072)
    ]


@asynccontextmanager
async def _engine(
    residents: Sequence[EmbeddedResident], budget: MemoryBudget
) -> AsyncIterator[Orchestrator]:
    models = [EmbeddedModel(r.name, r, defaults={"max_tokens": 8}) for r in residents]
    async with Orchestrator(models, lifecycle=LifecyclePolicy(budget=budget), seed=1) as engine:
        yield engine


async def _measured(residents: Sequence[EmbeddedResident]) -> list[int]:
    """Return the bytes that each resident takes, loaded alone."""
    async with _engine(residents, MemoryBudget()) as engine:
        for resident in residents:
            await engine.load_model(resident.name)
            await engine.unload_model(resident.name)
        return [known.needs_bytes for known in engine.memory().residents]


# -- a budget for two of four ------------------------------------------------------------------


async def _contention(
    residents: Sequence[EmbeddedResident], budget_bytes: int, seconds: float
) -> dict[str, float]:
    run, peak, loads = _Run(), 0, 0

    def loaded(event: ModelLoaded) -> None:
        nonlocal loads
        loads += 1

    async def client(engine: Orchestrator, rng: random.Random, until: float) -> None:
        while time.monotonic() < until:
            name = rng.choice(residents).name
            run.order.append(name)
            try:
                result = await engine.generate(_QUESTION, model=name, deadline_s=120)
            except OrchestratorError as error:
                run.failed.append(str(error))
            else:
                run.waits_s.append(result.attempts[-1].started_s)

    async def watch() -> None:
        nonlocal peak
        while True:
            peak = max(peak, await asyncio.to_thread(_children_bytes))
            await asyncio.sleep(_SAMPLE_S)

    async with _engine(residents, MemoryBudget(ram_bytes=budget_bytes)) as engine:
        engine.on(ModelLoaded, loaded)
        watching = asyncio.create_task(watch())
        until = time.monotonic() + seconds
        async with asyncio.TaskGroup() as clients:
            for number in range(_CLIENTS):
                clients.create_task(client(engine, random.Random(number), until))
            while (left := until - time.monotonic()) > 0:
                await asyncio.sleep(min(left, 10))
                _note(f"{max(left - 10, 0):.0f} s left, {len(run.waits_s)} answered, {loads} loads")
        watching.cancel()
    for reason in run.failed[:3]:
        _note(reason)
    return {
        "requests": len(run.order),
        "failed_requests": len(run.failed),
        "wait_max_s": max(run.waits_s),
        "memory_peak_over_budget": peak / budget_bytes,
        "swaps": loads - _TOGETHER,
        "swaps_in_order_optimum": _belady(run.order, _TOGETHER) - _TOGETHER,
    }


def _belady(order: Sequence[str], room: int) -> int:
    """Return how many loads serving in this order takes at least, with room for so many."""
    never = len(order)
    following = [never] * len(order)
    seen: dict[str, int] = {}
    for position in range(len(order) - 1, -1, -1):
        following[position] = seen.get(order[position], never)
        seen[order[position]] = position
    loads, held = 0, dict[str, int]()
    for position, name in enumerate(order):
        if name not in held:
            loads += 1
            if len(held) == room:
                del held[max(held, key=lambda one: held[one])]
        held[name] = following[position]
    return loads


# -- switching ---------------------------------------------------------------------------------


async def _switching(residents: Sequence[EmbeddedResident]) -> dict[str, float]:
    pair, failed, took, stopped = [r.name for r in residents[:2]], 0, list[float](), False

    async def client(engine: Orchestrator) -> None:
        nonlocal failed
        while not stopped:
            try:
                await engine.generate(_QUESTION, model="current")
            except OrchestratorError as error:
                failed += 1
                _note(str(error))

    async with _engine(residents[:2], MemoryBudget()) as engine:
        await engine.load_set(pair)
        await engine.switch_model(pair[0])
        async with asyncio.TaskGroup() as clients:
            for _ in range(_CLIENTS):
                clients.create_task(client(engine))
            for number in range(_SWITCHES):
                begun = time.perf_counter()
                await engine.switch_model(pair[(number + 1) % 2])
                took.append(time.perf_counter() - begun)
                await asyncio.sleep(0.01)
            stopped = True
        lease_us = await _leasing(engine, pair[0])
    return {
        "failed_requests": failed,
        "switches": len(took),
        "switch_p99_ms": sorted(took)[int(len(took) * 0.99)] * 1e3,
        "lease_us": lease_us,
    }


async def _leasing(engine: Orchestrator, resident: str) -> float:
    manager = engine._residency  # the leases alone, without the requests around them
    begun = time.perf_counter()
    for _ in range(_LEASES):
        async with manager.lease(resident):
            pass
    return (time.perf_counter() - begun) / _LEASES * 1e6


# -- planning ----------------------------------------------------------------------------------


def _planning() -> float:
    """Return the median milliseconds of one look at 1,000 residents, half of them loaded."""
    took = []
    for _ in range(15):
        book, now = _busy_book(), 100.0
        begun = time.perf_counter()
        plan(book, happenings.Tick(), now)
        took.append(time.perf_counter() - begun)
    return statistics.median(took) * 1e3


def _busy_book() -> Book:
    """Return a book in which a hundred callers wait, and everything loaded may leave."""
    budget = MemoryBudget(ram_bytes=_MANY // 2)
    book = Book(LifecyclePolicy(budget=budget, queue_limit=_MANY), RestartPolicy())
    for number in range(_MANY):
        size = ResidentSize(weights_bytes=1)
        book.register(ResidentSpec(f"r{number}", (), {}, size=size))
    for number in range(_MANY // 2):
        resident = book.residents[f"r{number}"]
        plan(book, happenings.Asked(Waiter(resident.name, 0.0, 200.0)), 0.0)
        plan(book, happenings.Loaded(resident.name, Endpoint("http://127.0.0.1"), 1, 1.0), 0.0)
        resident.give_back(resident.life, number * 1e-3)
    for number in range(100):
        plan(book, happenings.Asked(Waiter(f"r{_MANY // 2 + number}", 5.0, 200.0)), 5.0)
    return book


# -- the program -------------------------------------------------------------------------------


async def measure(seconds: float) -> dict[str, Any]:
    """Run all of it and return what came out."""
    residents = _residents()
    before = _own_bytes()
    _note("measuring what each of the four takes")
    sizes = sorted(await _measured(residents))
    budget = int(sum(sizes[-_TOGETHER:]) * _SLACK)
    assert budget < sum(sizes[: _TOGETHER + 1]), f"three fit as well: {sizes}"
    found = await _contention(residents, budget, seconds)
    _note(f"{_SWITCHES} switches")
    switched = await _switching(residents)
    gc.collect()
    left = _own_bytes() + _children_bytes() - before
    failed = found["failed_requests"] + switched["failed_requests"]
    return {
        **found,
        **switched,
        "failed_requests": failed,
        "memory_left_mb": left / _MB,
        "plan_1000_ms": _planning(),
        "budget_mb": budget / _MB,
        "seconds": seconds,
    }


def _own_bytes() -> int:
    return int(psutil.Process().memory_info().rss)


def _children_bytes() -> int:
    total = 0
    for child in psutil.Process().children(recursive=True):
        try:
            total += child.memory_info().rss
        except psutil.NoSuchProcess:
            continue  # it has just ended
    return total


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Measure, and print the figures one a line, or as one JSON object."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--seconds", type=float, default=120.0, help="of contention, 120")
    options = parser.parse_args()
    if not options.seconds > 0:
        parser.error(f"--seconds must be above 0, not {options.seconds:g}")
    found = asyncio.run(measure(options.seconds))
    if options.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:24} {value:,.4g}")


if __name__ == "__main__":
    main()
