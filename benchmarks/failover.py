"""What becomes of requests when one of three providers fails: ours beside litellm's router.

For each fault three providers are started, each in a process of its own, and each router in turn
sends them steady traffic. After a while the first provider fails, and later it is well again.

- lost: requests without an answer, though two providers were well all the time
- eject_s: from the begin of the fault until the failing provider is left alone
- return_s: from its end until the provider serves as before
- wrong_ejections: times that a provider was left alone which was well

A provider is left alone where nobody calls it for a second in which others are called; it serves
again with the first of five answers within a second. ``PEERS`` names the interpreter that has
litellm, if this one has not.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from itertools import pairwise
from typing import Any, Final, NamedTuple, TypeAlias

from benchmarks.failing_provider import FAULTS, Provider
from benchmarks.failover_traffic import CONTENDERS, REST_S, Log
from benchmarks.harness import CONTENDER_CPU, ROOT, pinned

__all__ = ["Times", "figures"]

RATE: Final = 60.0
_ALONE_S: Final = 1.0
_OTHERS_CALLED: Final = 20
"""So many calls of others within that second: else nobody was called, and the machine stood."""
_SERVES: Final = 5
_WARM_UP_S: Final = 3.0
_ENDS_WITHIN_S: Final = 30.0

Figures: TypeAlias = dict[str, float | None]


class Times(NamedTuple):
    """When what happened, in seconds of the machine's monotonic clock."""

    begun: float
    broke: float
    mended: float
    ended: float


def figures(log: Log, times: Times, failing: int = 0) -> Figures:
    """Return what a log says.

    Args:
        log: Of one router.
        times: When the fault began and ended, and the traffic.
        failing: The provider that failed.

    Returns:
        ``lost``, ``eject_s``, ``return_s`` and ``wrong_ejections``; None is never.
    """
    left_alone = _left_alone(log, failing, times.broke, times.mended)
    serves_at = _serves_at(log.answers[failing], times.mended)
    wrong = len(_left_alone(log, failing, times.begun, times.broke))
    for place in range(len(log.attempts)):
        if place != failing:
            wrong += len(_left_alone(log, place, times.begun, times.ended))
    return {
        "lost": len(log.lost),
        "eject_s": round(left_alone[0] - times.broke, 3) if left_alone else None,
        "return_s": None if serves_at is None else round(serves_at - times.mended, 3),
        "wrong_ejections": wrong,
    }


def _serves_at(answers: Sequence[float], since: float) -> float | None:
    """Return the first of five answers within a second, or None if there are no such five."""
    late = [at for at in answers if at >= since]
    firsts = zip(late, late[_SERVES - 1 :], strict=False)
    return next((first for first, last in firsts if last - first <= 1.0), None)


def _left_alone(log: Log, place: int, since: float, until: float) -> list[float]:
    """Return each time within these at which the calls of a provider ceased for a while."""
    others = sorted(at for p, calls in enumerate(log.attempts) if p != place for at in calls)
    calls = [since, *(at for at in log.attempts[place] if since <= at <= until), until]
    found = []
    for last, following in pairwise(calls):
        meanwhile = sum(last < at < following for at in others)
        if following - last >= _ALONE_S and meanwhile >= _OTHERS_CALLED:
            found.append(last)
    return found


class _SkippedError(Exception):
    """A contender could not start."""


def _measure(contender: str, fault: str, fault_s: float, providers: Sequence[Provider]) -> Figures:
    """Let one fault befall the first provider while a contender sends traffic."""
    python = os.environ.get("PEERS") if contender != "ours" else None
    command = [python or sys.executable, "-m", "benchmarks.failover_traffic", contender, str(RATE)]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "NO_PROXY": "127.0.0.1",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "CRITICAL",
    }
    with tempfile.TemporaryFile("w+") as complaints, pinned(CONTENDER_CPU):
        try:
            process = subprocess.Popen(
                [*command, *(provider.url for provider in providers)],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                text=True,
            )
        except OSError as error:
            raise _SkippedError(str(error)) from error
        with process:
            try:
                assert process.stdin is not None
                assert process.stdout is not None
                if process.stdout.readline().strip() != "ready":
                    complaints.seek(0)
                    why = complaints.read().strip().splitlines() or ["it ended at once"]
                    raise _SkippedError(why[-1])
                begun = time.monotonic()
                time.sleep(min(_WARM_UP_S, fault_s))
                broke = time.monotonic()
                providers[0].break_down(fault)
                time.sleep(fault_s)  # real time, of real processes: what is measured
                providers[0].mend(fault)
                mended = time.monotonic()
                answers: list[float] = []
                logs: list[Log] = []
                heard = threading.Thread(target=_hear, args=(process.stdout, answers, logs))
                heard.start()
                # The rests of ours double: it may be away for as long again as the fault lasted.
                gives_up = mended + 2.5 * fault_s + 2 * REST_S
                while time.monotonic() < gives_up and _serves_at(answers, mended) is None:
                    time.sleep(0.2)
                time.sleep(min(_WARM_UP_S, fault_s))
                times = Times(begun, broke, mended, time.monotonic())
                process.stdin.close()
                heard.join(_ENDS_WITHIN_S)
            except BaseException:
                process.kill()
                raise
    if logs[0].lost:
        first = logs[0].lost[0][1].splitlines()[0][:160]
        print(f"failover: {fault}, {contender} lost requests, the first: {first}", file=sys.stderr)
    return figures(logs[0], times)


def _hear(lines: Iterable[str], answers: list[float], logs: list[Log]) -> None:
    """Take down when the first provider answers, and at the end the whole log."""
    for line in lines:
        if line.startswith("{"):
            logs.append(Log(**json.loads(line)))
        else:
            answers.append(float(line))


def run(fault_s: float, faults: Sequence[str]) -> dict[str, Any]:
    """Return the figures of every contender that could start, by fault; and who could not."""
    found: dict[str, Any] = {contender: {} for contender in CONTENDERS}
    skipped: dict[str, str] = {}
    for fault in faults:
        with ExitStack() as exits:
            providers = [exits.enter_context(Provider()) for _ in range(3)]
            for contender in [name for name in CONTENDERS if name not in skipped]:
                print(f"failover: {fault}, {contender}", file=sys.stderr, flush=True)
                try:
                    found[contender][fault] = _measure(contender, fault, fault_s, providers)
                except _SkippedError as why:
                    if contender == "ours":
                        raise RuntimeError(f"ours failed: {why}") from why
                    skipped[contender] = str(why)
                    del found[contender]
                    print(f"failover: {contender} is left out: {why}", file=sys.stderr)
    return {**found, "skipped": skipped} if skipped else found


def table(found: dict[str, Any]) -> str:
    """Return the figures as a Markdown table."""
    skipped = found.get("skipped", {})
    rows = [
        "| fault | | lost | ejected after, s | back after, s | wrong ejections |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for fault in found["ours"]:
        for contender in [name for name in CONTENDERS if name not in skipped]:
            figure = found[contender][fault]
            cells = [
                "never" if value is None else f"{value:.2f}" if name.endswith("_s") else str(value)
                for name, value in figure.items()
            ]
            rows.append(f"| {fault} | {contender} | {' | '.join(cells)} |")
    rows += [f"\n{contender} is left out: {why}" for contender, why in skipped.items()]
    return "\n".join(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each fault lasts")
    parser.add_argument(
        "--fault",
        action="append",
        choices=FAULTS,
        help="only this one; may be given again. "
        + "; ".join(f"{fault}: {what}" for fault, what in FAULTS.items()),
    )
    options = parser.parse_args(arguments)
    if not options.seconds > 0:
        parser.error(f"--seconds must be above 0, not {options.seconds:g}")
    found = run(options.seconds, options.fault or list(FAULTS))
    print(json.dumps(found) if options.json else table(found), flush=True)


if __name__ == "__main__":
    main()
