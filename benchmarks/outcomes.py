"""What taking note of an outcome costs, in pools of 10 to 10,000."""

from __future__ import annotations

import statistics
import time
import timeit
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from benchmarks.harness import Benchmark, Samples, Setting, microseconds

if TYPE_CHECKING:
    from orchestrator import Orchestrator

SIZES: Final = (10, 100, 1_000, 10_000)
_BATCH: Final = 64

benchmark = Benchmark(
    "outcomes",
    "One outcome taken into statistics and estimates, us",
    baseline="running mean",
)


def _sizes(setting: Setting) -> tuple[int, ...]:
    return SIZES[:2] if setting.quick else SIZES


@benchmark.contender("running mean")
def running_mean(setting: Setting) -> Samples:
    """Count and average one number per model, and nothing else."""
    found: Samples = {}
    for size in _sizes(setting):
        timer = timeit.Timer(
            "pulls[arm] += 1; mean[arm] += (reward - mean[arm]) / pulls[arm]",
            globals={"pulls": [5] * size, "mean": [0.5] * size, "arm": size // 2, "reward": 1.0},
        )
        found[f"{size:,}, us"] = microseconds(timer, setting)
    return _with_growth(found)


@benchmark.contender("update_model_performance")
async def observed(setting: Setting) -> Samples:
    """Take the outcomes of calls: counts, cost, tokens, seconds, in every row and estimate."""

    async def outcomes(engine: Orchestrator) -> float:
        keys = engine.registry.list_models()
        some = [keys[number * 7 % len(keys)] for number in range(_BATCH)]
        begun = time.perf_counter()
        for key in some:
            engine.update_model_performance(
                key, success=True, latency_s=0.8, cost_usd=0.001, tokens_out=120
            )
        return time.perf_counter() - begun

    return await _timed(outcomes, setting)


@benchmark.contender("feedback")
async def rated(setting: Setting) -> Samples:
    """Take a quality for a decision that was made some time ago."""

    async def ratings(engine: Orchestrator) -> float:
        selections = [await engine.select_model() for _ in range(_BATCH)]
        ids = [selection.decision.id for selection in selections]
        begun = time.perf_counter()
        for decision_id in ids:
            await engine.feedback(decision_id, quality=0.9)
        took = time.perf_counter() - begun
        for selection in selections:
            selection.release()
        return took

    return await _timed(ratings, setting)


async def _timed(batch: Callable[[Orchestrator], Awaitable[float]], setting: Setting) -> Samples:
    """Return the median microseconds of one in a batch, whose seconds the function returns."""
    from benchmarks.pools import pool

    found: Samples = {}
    for size in _sizes(setting):
        async with pool(size) as engine:
            (await engine.select_model()).release()  # estimates exist from the first choice on
            took = [await batch(engine) for _ in range(setting.n_batches)]
        found[f"{size:,}, us"] = statistics.median(took) / _BATCH * 1e6
    return _with_growth(found)


def _with_growth(found: Samples) -> Samples:
    first, *_, last = found.values()
    assert isinstance(first, float)
    assert isinstance(last, float)
    return {**found, "largest over smallest": last / first}


if __name__ == "__main__":
    benchmark.main()
