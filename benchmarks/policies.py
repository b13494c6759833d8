"""What one decision and one outcome cost each selector, without an engine around it."""

from __future__ import annotations

import importlib
import random
import timeit
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from benchmarks.harness import Benchmark, Samples, Setting, microseconds

SIZES: Final = (10, 100, 1_000)
N_FEATURES: Final = 32
SELECTORS: Final = (
    *("ucb-tuned", "ucb1", "kl-ucb", "thompson", "nig-thompson", "epsilon-greedy", "default"),
    *("sw-ucb-tuned", "d-ucb-tuned", "lin-ucb", "lin-ts"),
    *("round-robin", "random", "priority", "cost", "performance"),
)
_SLOW_S: Final = 0.02
"""A call that takes longer is timed once a round: what interrupts it is little beside it."""
_WARM: Final = 2_000
"""Outcomes of all arms together when the clock starts, at least 20 of each: no arm is forced any
more. Between 20 and 90 % of an arm's are won."""

benchmark = Benchmark(
    "policies",
    "One decision and one outcome of a policy among so many arms, us",
    baseline="ucb-tuned",
)


def _timed(
    prepare: Callable[[int], tuple[Callable[[], Any], Callable[[], Any]]], setting: Setting
) -> Samples:
    """Return what deciding and taking an outcome cost, as prepared for each number of arms."""
    found: Samples = {}
    for size in SIZES[: 1 if setting.quick else None]:
        decide, learn = prepare(size)
        for what, call in ("decide", decide), ("learn", learn):
            call()
            timer = timeit.Timer("call()", globals={"call": call})
            once_s = timer.timeit(1)
            found[f"{what} {size:,}, us"] = (
                once_s * 1e6 if once_s > _SLOW_S else microseconds(timer, setting)
            )
    return found


def _history(size: int) -> list[tuple[int, int]]:
    """Return which arm was pulled, and whether it won."""
    chance = random.Random(1)
    rates = [0.2 + 0.7 * chance.random() for _ in range(size)]
    pulls = [number % size for number in range(max(_WARM, 20 * size))]
    return [(arm, int(chance.random() < rates[arm])) for arm in pulls]


def _ours(name: str, size: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Scores and choice with the floor that the selector ships with; outcomes with a rating.

    What a decision reads is brought up to date as part of the outcome.
    """
    import numpy as np

    from orchestrator.core.selector import Candidates
    from orchestrator.core.statistics import Column, Outcome
    from orchestrator.core.views import View
    from orchestrator.selectors import choose, make_selector

    selector, keys = make_selector(name), [f"p:m{number}" for number in range(size)]
    view = View(selector.memory, keys, segmented=selector.segmented, n_extra=selector.n_extra)
    view.advance(1)
    features = np.random.default_rng(0).normal(0.0, 1.0, N_FEATURES) / N_FEATURES**0.5
    given = features if selector.n_extra else None
    answered = Outcome(ok=True, cost_usd=0.001, tokens_in=100, tokens_out=50, seconds=0.5)
    lost, won = (
        [*answered.deltas(), (Column.N_QUALITY, 1.0), *((c, q) for c in columns)]
        for columns in ((Column.QUALITY, Column.QUALITY_SQ),)
        for q in (0.0, 1.0)
    )

    def learn(arm: int, deltas: Any) -> None:
        view.open(1, "all", arm)
        view.add(1, "all", keys[arm], deltas, given)

    for arm, reward in _history(size):
        learn(arm, won if reward else lost)
    nothing, yes = np.zeros(size), np.ones(size, dtype=np.bool_)
    price = np.linspace(0.0, 0.2, size)
    candidates = Candidates(yes, price, price, nothing, yes, yes, nothing + 50.0, given)
    draws, chance = np.random.Generator(np.random.SFC64(1)), random.Random(1)
    middle, floor = size // 2, selector.floor

    def decide() -> Any:
        scores = selector.scores(view.evidence("all"), candidates, draws)
        return choose(scores, yes, floor, chance)

    def outcome() -> None:
        learn(middle, won)
        view.evidence("all")

    return decide, outcome


for _name in SELECTORS:
    benchmark.contender(_name)(partial(_timed, partial(_ours, _name)))


# -- peers ---------------------------------------------------------------------------------------


def _mabwiser(policy: str, settings: dict[str, Any], size: int) -> Any:
    """``predict`` and ``partial_fit`` of one row, as its online loop has them."""
    import numpy as np

    library = importlib.import_module("mabwiser.mab")
    arms = list(range(size))
    mab = library.MAB(arms, getattr(library.LearningPolicy, policy)(**settings))
    pulls, rewards = zip(*_history(size), strict=True)
    if policy.startswith("Lin"):
        rng = np.random.default_rng(0)
        mab.fit(list(pulls), list(rewards), rng.normal(0.0, 1.0, (len(pulls), N_FEATURES)))
        row = rng.normal(0.0, 1.0, (1, N_FEATURES))
        return lambda: mab.predict(row), lambda: mab.partial_fit([size // 2], [1], row)
    mab.fit(list(pulls), list(rewards))
    return mab.predict, lambda: mab.partial_fit([size // 2], [1])


def _river(policy: str, settings: dict[str, Any], size: int) -> Any:
    """``pull`` and ``update``."""
    library = importlib.import_module("river.bandit")
    if policy == "ThompsonSampling":
        settings = {"reward_obj": importlib.import_module("river.proba").Beta()}
    bandit = getattr(library, policy)(**settings, seed=1)
    arms = list(range(size))
    for arm, reward in _history(size):
        bandit.update(arm, bool(reward))
    return lambda: bandit.pull(arms), lambda: bandit.update(size // 2, True)


for _policy, _settings in {
    "UCB1": {"alpha": 1.0},
    "ThompsonSampling": {},
    "EpsilonGreedy": {"epsilon": 0.1},
    "LinUCB": {"alpha": 1.0},
}.items():
    _prepare = partial(_mabwiser, _policy, _settings)
    benchmark.contender(f"MABWiser {_policy}", is_peer=True)(partial(_timed, _prepare))
for _policy, _settings in {
    "UCB": {"delta": 1.0},
    "ThompsonSampling": {},
    "EpsilonGreedy": {"epsilon": 0.1},
}.items():
    _prepare = partial(_river, _policy, _settings)
    benchmark.contender(f"river {_policy}", is_peer=True)(partial(_timed, _prepare))


if __name__ == "__main__":
    benchmark.main()
