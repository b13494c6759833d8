"""Worlds of local models drawn from seeds, in each of which every promise is kept."""

from __future__ import annotations

import pytest

from tests.lifecycle.world import LifecycleWorld

SEEDS, MORE_SEEDS, STEP = 500, 5_000, 50

PHENOMENA = {
    "big",
    "budget changed",
    "clock jumped",
    "closed",
    "does not fit",
    "evicted",
    "evicted for a small budget",
    "fails",
    "forced to leave",
    "hangs",
    "leased a hung process",
    "load cancelled",
    "load failed",
    "process died",
    "process gone under a lease",
    "refused",
    "served",
    "slow",
    "switched",
    "unload fails",
    "unloaded",
    "unloaded when idle",
}


def stretches(first: int, stop: int) -> list[range]:
    return [range(start, start + STEP) for start in range(first, stop, STEP)]


def live_through(seeds: range) -> None:
    for seed in seeds:
        try:
            LifecycleWorld(seed).run()
        except BaseException as error:
            error.add_note(f"replay it: .venv/bin/python -m tests.lifecycle.world {seed}")
            raise


@pytest.mark.parametrize("seeds", stretches(0, SEEDS), ids=lambda s: f"{s.start}-{s.stop - 1}")
def test_every_promise_is_kept(seeds: range):
    live_through(seeds)


@pytest.mark.long
@pytest.mark.parametrize(
    "seeds", stretches(SEEDS, SEEDS + MORE_SEEDS), ids=lambda s: f"{s.start}-{s.stop - 1}"
)
def test_every_promise_is_kept_in_further_worlds(seeds: range):
    live_through(seeds)


def test_the_worlds_hold_what_they_are_there_for():
    seen: set[str] = set()
    for seed in range(SEEDS):
        seen |= set(+LifecycleWorld(seed).run().seen)
        if seen >= PHENOMENA:
            return
    pytest.fail(f"none of {SEEDS} worlds held {sorted(PHENOMENA - seen)}")


@pytest.mark.parametrize("seed", [3, 7, 34])
def test_a_world_is_the_same_when_it_is_lived_again(seed: int):
    def told() -> list[str]:
        # Events are numbered through the whole process.
        return [line.partition(" id=")[0] for line in LifecycleWorld(seed).run().story]

    assert told() == told()
