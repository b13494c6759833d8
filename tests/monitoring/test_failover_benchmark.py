"""The failover benchmark says of a log what is in it, and runs; who is better, no test asks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence

import pytest

from benchmarks.failover import Times, figures, table
from benchmarks.failover_traffic import Log
from tests.house.project import ROOT

TIMES = Times(begun=0.0, broke=10.0, mended=20.0, ended=40.0)


def steadily(*spans: tuple[float, float]) -> list[float]:
    """Return ten calls a second within each span."""
    return [begin + n / 10 for begin, end in spans for n in range(round((end - begin) * 10))]


def log_of(
    failing: Sequence[tuple[float, float]],
    well: Sequence[tuple[float, float]] = ((0, 40),),
    answered: Sequence[tuple[float, float]] = ((0, 10), (25, 40)),
) -> Log:
    others = steadily(*well)
    return Log(
        [steadily(*failing), others, steadily((0, 40))], [steadily(*answered), others, others]
    )


def test_times_are_counted_from_the_fault_and_from_its_end():
    found = figures(log_of([(0, 10.5), (25, 40)]), TIMES)

    assert found == {
        "lost": 0,
        "eject_s": pytest.approx(0.4),
        "return_s": pytest.approx(5.0),
        "wrong_ejections": 0,
    }


def test_who_is_called_all_the_time_is_never_ejected():
    found = figures(log_of([(0, 40)]), TIMES)

    assert found["eject_s"] is None


def test_two_probes_are_no_return():
    log = log_of([(0, 10.5), (22.0, 22.2)], answered=[(0, 10), (22.0, 22.2)])

    assert figures(log, TIMES)["return_s"] is None


def test_leaving_a_provider_alone_that_is_well_is_wrong():
    found = figures(log_of([(0, 4), (6, 10.5), (25, 40)], well=[(0, 12), (14, 40)]), TIMES)

    assert found["wrong_ejections"] == 2


def test_a_machine_that_stood_still_ejected_nobody():
    spans = [(0.0, 4.0), (6.0, 10.5), (25.0, 40.0)]
    log = Log([steadily(*spans), *[steadily((0, 4), (6, 40))] * 2], [[], [], []])

    assert figures(log, TIMES)["wrong_ejections"] == 0


def test_what_was_lost_is_counted():
    log = log_of([(0, 40)])
    log.lost.append((12.0, "TimeoutError: "))

    assert figures(log, TIMES)["lost"] == 1


def test_the_table_says_never_and_who_was_left_out():
    figure = {"lost": 0, "eject_s": 0.125, "return_s": None, "wrong_ejections": 1}
    text = table({"ours": {"hung": figure}, "skipped": {"litellm": "no module"}})

    assert "| hung | ours | 0 | 0.12 | never | 1 |" in text
    assert "litellm is left out: no module" in text


def test_it_runs_without_the_peer_and_loses_nothing():
    done = subprocess.run(
        [sys.executable, "benchmarks/failover.py", "--json", "--seconds=0.5", "--fault=throttled"],
        cwd=ROOT,
        env={**os.environ, "PEERS": "/no/such/python"},
        check=True,
        capture_output=True,
        text=True,
    )

    found = json.loads(done.stdout)
    assert found["ours"]["throttled"]["lost"] == 0
    assert found["ours"]["throttled"].keys() == {"lost", "eject_s", "return_s", "wrong_ejections"}
    assert "/no/such/python" in found["skipped"]["litellm"]
