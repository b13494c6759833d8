"""Worlds drawn from seeds, in each of which every promise is kept."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import pytest

from orchestrator.testing.world import SimulatedWorld
from tests.house.project import ROOT
from tests.simulation.checks import judge
from tests.simulation.phenomena import PHENOMENA, phenomena_of

SEEDS, MORE_SEEDS, STEP = 500, 2_000, 25


def stretches(first: int, stop: int) -> list[range]:
    return [range(start, start + STEP) for start in range(first, stop, STEP)]


def broken_promises(seeds: range, *, twice_every: int) -> str:
    found = [v for seed in seeds for v in judge(seed, twice=seed % twice_every == 0)]
    return "\n".join(str(violation) for violation in found[:10])


@pytest.mark.parametrize("seeds", stretches(0, SEEDS), ids=lambda s: f"{s.start}-{s.stop - 1}")
def test_every_promise_is_kept(seeds: range):
    assert broken_promises(seeds, twice_every=10) == ""


@pytest.mark.long
@pytest.mark.parametrize(
    "seeds", stretches(SEEDS, SEEDS + MORE_SEEDS), ids=lambda s: f"{s.start}-{s.stop - 1}"
)
def test_every_promise_is_kept_in_further_worlds(seeds: range):
    assert broken_promises(seeds, twice_every=1) == ""


def test_the_worlds_hold_what_they_are_there_for():
    seen: set[str] = set()
    for seed in range(SEEDS):
        seen |= phenomena_of(SimulatedWorld(seed).run())
        if seen == set(PHENOMENA):
            return
    pytest.fail(f"none of {SEEDS} worlds held {sorted(set(PHENOMENA) - seen)}")


PRINT_A_DIGEST = """
import hashlib, sys
from orchestrator.testing.world import SimulatedWorld
lines = "\\n".join(SimulatedWorld(int(sys.argv[1])).run().lines())
print(hashlib.sha256(lines.encode()).hexdigest())
"""


@pytest.mark.parametrize("seed", [6, 11])
def test_a_world_is_the_same_in_another_process(seed: int):
    here = hashlib.sha256("\n".join(SimulatedWorld(seed).run().lines()).encode()).hexdigest()

    for hash_seed in ("1", "2"):
        there = subprocess.run(
            [sys.executable, "-c", PRINT_A_DIGEST, str(seed)],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert there.stdout.strip() == here
