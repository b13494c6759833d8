"""How many decisions a simulation plays per second, learning from each before the next."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from benchmarks.harness import Benchmark, Samples, Setting

_ARMS: Final = (0.88, 0.86, 0.83, 0.78, 0.7, 0.55, 0.5, 0.4, 0.3, 0.2)
_RUNS: Final = 1_000
_AT_LEAST_S: Final = 1.0

benchmark = Benchmark(
    "simulation",
    f"Decisions of a simulation of {len(_ARMS)} arms, per second",
    baseline="orchestrator ucb-tuned",
)


def _rate(play: Callable[[int], int], setting: Setting) -> Samples:
    """Return decisions per second; ``play`` takes a number of rounds and returns decisions."""
    rounds = 10
    play(rounds)
    while True:
        begun = time.perf_counter()
        decisions = play(rounds)
        took = time.perf_counter() - begun
        if took >= _AT_LEAST_S or setting.quick:
            return {"decisions, 1/s": decisions / took}
        rounds *= 2


def _ours(name: str, setting: Setting) -> Samples:
    """Play a thousand runs at once, by the code that serves."""
    from orchestrator.analysis.environments import Bernoulli
    from orchestrator.analysis.simulation import simulate
    from orchestrator.selectors import make_selector

    selector, arms = make_selector(name), Bernoulli(_ARMS)

    def play(rounds: int) -> int:
        return simulate(selector, arms, horizon=rounds, runs=_RUNS, seed=1).arms.size

    return _rate(play, setting)


def _mabwiser(policy: str, setting: Setting) -> Samples:
    """Play one run: ``predict``, then ``partial_fit`` of what came of it."""
    import numpy as np

    library = importlib.import_module("mabwiser.mab")

    def play(rounds: int) -> int:
        rng, arms = np.random.default_rng(1), list(range(len(_ARMS)))
        mab = library.MAB(arms, getattr(library.LearningPolicy, policy)())
        mab.fit(arms, [1] * len(arms))
        for luck in rng.random(rounds):
            arm = mab.predict()
            mab.partial_fit([arm], [int(luck < _ARMS[arm])])
        return rounds

    return _rate(play, setting)


def _river(setting: Setting) -> Samples:
    """Play one run: ``pull``, then ``update``."""
    import random

    library = importlib.import_module("river.bandit")

    def play(rounds: int) -> int:
        chance, arms = random.Random(1), list(range(len(_ARMS)))
        bandit: Any = library.UCB(delta=1.0, seed=1)
        for _ in range(rounds):
            arm = bandit.pull(arms)
            bandit.update(arm, chance.random() < _ARMS[arm])
        return rounds

    return _rate(play, setting)


for _name in ("ucb-tuned", "thompson", "default"):
    benchmark.contender(f"orchestrator {_name}")(partial(_ours, _name))
for _policy in ("UCB1", "ThompsonSampling"):
    benchmark.contender(f"MABWiser {_policy}", is_peer=True)(partial(_mabwiser, _policy))
benchmark.contender("river UCB", is_peer=True)(_river)


if __name__ == "__main__":
    benchmark.main()
