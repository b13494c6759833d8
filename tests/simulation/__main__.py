"""Replay one world: ``python -m tests.simulation SEED [TAG ...]``.

Prints what was not kept, and what happened to the requests with these tags.
"""

from __future__ import annotations

import sys

from orchestrator.testing.world import SimulatedWorld
from tests.simulation.checks import judge


def main(seed: int, tags: list[str]) -> int:
    """Replay it; 1 if a promise was not kept."""
    found = judge(seed, twice=True)
    lines = [str(violation) for violation in found] or ["every promise was kept"]
    if tags:
        wanted = [f"#{tag} " for tag in tags] + [f"tag='{tag}'" for tag in tags]
        told = SimulatedWorld(seed).run().lines()
        lines += [line for line in told if any(mark in line for mark in wanted)]
    sys.stdout.write("\n".join(lines) + "\n")
    return bool(found)


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]), sys.argv[2:]))
