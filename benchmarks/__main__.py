"""Run every benchmark, one after the other; arguments as for each."""

from __future__ import annotations

import importlib
import sys
from typing import Final

from benchmarks.harness import Benchmark

NAMES: Final = (
    *("imports", "selection", "policies", "outcomes", "simulation"),
    *("events", "completion", "gateway"),
)


def main() -> None:
    """Print what all of them find: tables, or one JSON object per line."""
    for name in NAMES:
        benchmark: Benchmark = importlib.import_module(f"benchmarks.{name}").benchmark
        benchmark.main(sys.argv[1:])


if __name__ == "__main__":
    main()
