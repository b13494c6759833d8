"""Regrets are those of the textbook: simulations of others, of the same problems.

`textbook.csv` quotes, per problem, delay in rounds and algorithm, the mean regret after 10,000
rounds with half the width of its 95 % interval, and where it is known the mean after 1,000.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from orchestrator.analysis.problems import problem
from orchestrator.analysis.regret import regret_curve
from orchestrator.analysis.simulation import simulate
from orchestrator.core.estimates import FloatArray
from orchestrator.core.selector import Selector
from orchestrator.core.views import ALL, Memory
from orchestrator.selectors import make_selector

_FILE: Final = Path(__file__).with_name("textbook.csv")
ROWS: Final = list(csv.DictReader(_FILE.read_text("utf-8").splitlines()))
RUNS: Final = 200
SHORT: Final = [
    row
    for row in ROWS
    if row["problem"] in "AF" and row["algorithm"] in ("UCB1 c=2", "UCB-tuned", "KL-UCB", "TS Beta")
    if row["regret_1000"]
]
_FADING: Final = math.log(0.5)


def _ucb(name: str, factor: float) -> Callable[[Memory], Selector]:
    options = {"exploration_factor": factor, "min_trials": 1, "floor": 0.0}
    return lambda memory: make_selector(name, {**options, "memory": memory})


def _sampling(name: str) -> Callable[[Memory], Selector]:
    return lambda memory: make_selector(name, {"floor": 0.0, "memory": memory})


POLICIES: Final[dict[str, Callable[[Memory], Selector]]] = {
    "random": lambda memory: make_selector("random"),
    "eps-greedy 0.1": lambda memory: make_selector("epsilon-greedy", {"epsilon": 0.1}),
    "UCB1 c=2": _ucb("ucb1", 2.0),
    "UCB c=2": _ucb("ucb1", 2.0),
    "UCB c=.5": _ucb("ucb1", 0.5),
    "UCB-tuned": _ucb("ucb-tuned", 2.0),
    "KL-UCB": _ucb("kl-ucb", 2.0),
    "TS Beta": _sampling("thompson"),
    "TS": _sampling("thompson"),
    "NIG-TS": _sampling("nig-thompson"),
}


def policy(algorithm: str) -> Selector:
    """Build what the reference calls, for example, ``D-UCB c=2 g=.9975`` or ``SW-TS tau=500``."""
    words, memory = algorithm.split(), ALL
    if algorithm.startswith("SW-"):
        memory = Memory(window_s=int(words.pop().removeprefix("tau=")))
    elif algorithm.startswith("D-"):
        gamma = words.pop().removeprefix("g=") if "g=" in algorithm else ".9975"
        memory = Memory(half_life_s=_FADING / math.log(float(gamma)))
    return POLICIES[" ".join(words).removeprefix("SW-").removeprefix("D-")](memory)


def regrets(row: dict[str, str], horizon: int) -> FloatArray:
    environment = problem(row["problem"], delay=int(row["delay"]))
    selector = policy(row["algorithm"])
    return regret_curve(simulate(selector, environment, horizon=horizon, runs=RUNS, seed=1)).final


def named(row: dict[str, str]) -> str:
    return f"{row['problem']}-{row['delay']}-{row['algorithm']}"


@pytest.mark.parametrize("row", SHORT, ids=named)
def test_regret_after_a_thousand_rounds_is_that_of_the_textbook(row: dict[str, str]):
    found = regrets(row, 1000)

    # Its thousand runs scatter as ours do.
    error = found.std(ddof=1) * math.hypot(1 / math.sqrt(RUNS), 1 / math.sqrt(1000))
    assert found.mean() == pytest.approx(float(row["regret_1000"]), abs=4 * error)


@pytest.mark.long
@pytest.mark.parametrize("row", ROWS, ids=named)
def test_regret_is_that_of_the_textbook(row: dict[str, str]):
    found = regrets(row, 10_000)

    error = math.hypot(found.std(ddof=1) / math.sqrt(RUNS), float(row["ci95"]) / 1.96)
    assert found.mean() == pytest.approx(float(row["regret"]), abs=4 * error)
