"""Runs contenders side by side, so that what one machine measures means something on another.

Every round starts a fresh process per contender, one after the other, pinned to one CPU; helpers
(the mock provider, load generators) have another. A figure is the median over the rounds, a
ratio is taken against the baseline inside each round. This file imports nothing but the standard
library: a peer's interpreter may know nothing of this project.
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import json
import os
import platform
import statistics
import subprocess
import sys
import timeit
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

__all__ = [
    "BATCH_S",
    "HELPER_CPU",
    "Benchmark",
    "Samples",
    "Setting",
    "markdown",
    "microseconds",
    "pinned",
    "summary",
    "upstream",
]

ROOT: Final = Path(__file__).parents[1]
_CPUS: Final = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
CONTENDER_CPU: Final = _CPUS[0] if _CPUS else None
HELPER_CPU: Final = _CPUS[-1] if _CPUS else None
_QUIET: Final = {
    # asyncio reads into 256 KiB. glibc would map and unmap that for some processes at every read
    # and not for others, depending on what they allocated before.
    "MALLOC_MMAP_THRESHOLD_": "1048576",
    "MALLOC_TRIM_THRESHOLD_": "8388608",
    "PYTHONPATH": str(ROOT),
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOG": "ERROR",
    "OPENAI_API_KEY": "sk-mock",
    "NO_PROXY": "127.0.0.1",
}
_PATIENCE_S: Final = 600.0
BATCH_S: Final = 0.001
"""How long a batch of calls about lasts: less than a time slice, so that on a busy machine most
batches are not interrupted, and their median tells what an idle one would have."""

Samples: TypeAlias = dict[str, float | str]
"""What one process found: numbers by names that end in their unit, and remarks."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a contender is told.

    Attributes:
        quick: Only show that it works; the figures will mean nothing.
        upstream: Base URL of the mock provider, where the benchmark has one.
    """

    quick: bool = False
    upstream: str = ""

    @property
    def n_batches(self) -> int:
        """How many batches make a figure."""
        return 1 if self.quick else 400


@dataclass(frozen=True, slots=True)
class _Contender:
    measure: Callable[[Setting], Any]
    is_peer: bool


class Benchmark:
    """Contenders that do the same work, and the program that compares them.

    Args:
        name: Of its file.
        title: What is measured.
        baseline: The contender that the others are compared with.
        needs_upstream: Whether they call the mock provider.
    """

    def __init__(
        self, name: str, title: str, *, baseline: str, needs_upstream: bool = False
    ) -> None:
        self.name = name
        self.title = title
        self.baseline = baseline
        self._needs_upstream = needs_upstream
        self._contenders: dict[str, _Contender] = {}

    def contender(
        self, name: str, *, is_peer: bool = False
    ) -> Callable[[Callable[[Setting], Any]], Callable[[Setting], Any]]:
        """Add what a function, plain or async, measures in a process of its own.

        A peer runs under the interpreter that the environment's ``PEERS`` names, and may fail.
        """

        def add(measure: Callable[[Setting], Any]) -> Callable[[Setting], Any]:
            self._contenders[name] = _Contender(measure, is_peer)
            return measure

        return add

    def main(self, arguments: Sequence[str] | None = None) -> None:
        """Run as a program; the arguments are the command line's unless given."""
        parser = argparse.ArgumentParser(description=self.title)
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        parser.add_argument("--quick", action="store_true", help="only show that it works")
        parser.add_argument("--rounds", type=int, help="7, or 1 if quick")
        parser.add_argument("--contender", help=argparse.SUPPRESS)
        parser.add_argument("--upstream", default="", help=argparse.SUPPRESS)
        options = parser.parse_args(arguments)
        setting = Setting(options.quick, options.upstream)
        if options.contender:
            print(json.dumps(self._measure_here(options.contender, setting)))
            return
        found = self.run(setting, options.rounds or (1 if options.quick else 7))
        print(json.dumps(found) if options.json else markdown(found), flush=True)

    def run(self, setting: Setting, n_rounds: int) -> dict[str, Any]:
        """Measure every contender in every round and return what came out, ready for JSON.

        Raises:
            RuntimeError: A contender of our own failed.
        """
        rounds: dict[str, list[Samples]] = {name: [] for name in self._contenders}
        skipped: dict[str, str] = {}
        load_before = os.getloadavg()[0]
        with upstream() if self._needs_upstream else nullcontext("") as url:
            setting = replace(setting, upstream=url)
            for number in range(1, n_rounds + 1):
                for name in [n for n in self._contenders if n not in skipped]:
                    print(f"{self.name} {number}/{n_rounds}: {name}", file=sys.stderr, flush=True)
                    try:
                        rounds[name].append(self._measure_elsewhere(name, setting))
                    except RuntimeError as error:
                        if not self._contenders[name].is_peer:
                            raise
                        skipped[name] = str(error).splitlines()[-1]
        done = {name: samples for name, samples in rounds.items() if name not in skipped}
        return {
            "benchmark": self.name,
            "title": self.title,
            "baseline": self.baseline,
            "rounds": n_rounds,
            "quick": setting.quick,
            "machine": {
                "python": platform.python_version(),
                "platform": platform.platform(),
                "cpus": os.cpu_count(),
                "pinned": CONTENDER_CPU is not None,
                "load": [round(load_before, 2), round(os.getloadavg()[0], 2)],
            },
            "results": summary(done, self.baseline),
            "remarks": {name: _remarks(samples[-1]) for name, samples in done.items()},
            "skipped": skipped,
        }

    def _measure_here(self, name: str, setting: Setting) -> Samples:
        measure = self._contenders[name].measure
        found: Samples = (
            asyncio.run(measure(setting))
            if inspect.iscoroutinefunction(measure)
            else measure(setting)
        )
        return found

    def _measure_elsewhere(self, name: str, setting: Setting) -> Samples:
        contender = self._contenders[name]
        python = os.environ.get("PEERS") if contender.is_peer else None
        command = [python or sys.executable, "-m", f"benchmarks.{self.name}", "--contender", name]
        command += ["--upstream", setting.upstream, *(["--quick"] if setting.quick else [])]
        try:
            with pinned(CONTENDER_CPU):
                done = subprocess.run(
                    command,
                    env={**os.environ, **_QUIET},
                    capture_output=True,
                    text=True,
                    timeout=_PATIENCE_S,
                    check=False,
                )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RuntimeError(f"{name} failed: {error}") from error
        if done.returncode:
            raise RuntimeError(f"{name} failed: {done.stderr.strip()}")
        samples: Samples = json.loads(done.stdout.splitlines()[-1])
        return samples


def microseconds(timer: timeit.Timer, setting: Setting) -> float:
    """Return the median over many batches of how long a statement takes."""
    if setting.quick:
        return timer.timeit(1) * 1e6
    number, took = timer.autorange()
    number = max(1, round(number * BATCH_S / took))
    return statistics.median(timer.repeat(setting.n_batches, number)) / number * 1e6


@contextmanager
def pinned(cpu: int | None) -> Iterator[None]:
    """Let the processes started inside run on one CPU, where the system has a say in that."""
    if cpu is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def upstream() -> Iterator[str]:
    """Run the mock provider in a process of its own and yield its base URL."""
    with pinned(HELPER_CPU):
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.upstream"],
            env={**os.environ, **_QUIET},
            stdin=subprocess.PIPE,  # closed when we end, however we end, and then it ends
            stdout=subprocess.PIPE,
            text=True,
        )
    with process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()


# -- what came out -----------------------------------------------------------------------------


def summary(
    rounds: Mapping[str, Sequence[Samples]], baseline: str
) -> dict[str, dict[str, dict[str, float]]]:
    """Return median, best and ratio of every number of every contender.

    Args:
        rounds: Samples per contender, one for each round.
        baseline: Whom the ratios are against; a number it does not have gets none.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, samples in rounds.items():
        found[name] = {}
        for metric in [m for m, value in samples[0].items() if not isinstance(value, str)]:
            values = [float(sample[metric]) for sample in samples]
            best = max if metric.endswith("/s") else min
            found[name][metric] = {"median": statistics.median(values), "best": best(values)}
            against = rounds[baseline]
            if name != baseline and metric in against[0]:
                pairs = zip(values, against, strict=True)
                ratio = statistics.median(value / float(base[metric]) for value, base in pairs)
                found[name][metric]["ratio"] = ratio
    return found


def _remarks(samples: Samples) -> dict[str, str]:
    return {name: value for name, value in samples.items() if isinstance(value, str)}


def markdown(found: Mapping[str, Any]) -> str:
    """Return what came out as a Markdown table, with what has to be known to read it."""
    results = found["results"]
    metrics = list(dict.fromkeys(metric for figures in results.values() for metric in figures))
    rows = [["", *metrics], ["---"] * (1 + len(metrics))]
    rows += [[name, *(_cell(figures.get(m)) for m in metrics)] for name, figures in results.items()]
    before, after = found["machine"]["load"]
    lines = [f"## {found['title']}", "", *("| " + " | ".join(row) + " |" for row in rows), ""]
    lines += [
        f"Median of {found['rounds']} rounds (best); x: ratio to {found['baseline']}, inside each"
        f" round. Python {found['machine']['python']}, {found['machine']['cpus']} CPUs,"
        f" load {before} before and {after} after."
    ]
    for name, remarks in found["remarks"].items():
        lines += [f"- {name}, {what}: {text}" for what, text in remarks.items()]
    lines += [f"- {name} skipped: {reason}" for name, reason in found["skipped"].items()]
    return "\n".join(lines) + "\n"


def _cell(figures: Mapping[str, float] | None) -> str:
    if figures is None:
        return "-"
    cell = f"{_short(figures['median'])} ({_short(figures['best'])})"
    return f"{cell} x{figures['ratio']:.2f}" if "ratio" in figures else cell


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
