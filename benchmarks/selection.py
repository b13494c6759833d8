"""What choosing a model costs, in pools of 10 to 10,000."""

from __future__ import annotations

import importlib
import math
import statistics
import time
import timeit
from collections.abc import Awaitable, Callable
from typing import Any, Final

from benchmarks.harness import BATCH_S, Benchmark, Samples, Setting, microseconds

SIZES: Final = (10, 100, 1_000, 10_000)
_MOST_AT_ONCE: Final = 64
_ENOUGH_S: Final = 3.0

benchmark = Benchmark(
    "selection",
    "One choice among so many models, us",
    baseline="numpy UCB1 argmax",
)


def _sizes(setting: Setting, largest: int = SIZES[-1]) -> tuple[int, ...]:
    return tuple(size for size in SIZES if size <= (SIZES[0] if setting.quick else largest))


@benchmark.contender("numpy UCB1 argmax")
def argmax(setting: Setting) -> Samples:
    """Choose from two arrays and nothing else: no demands, no record."""
    import numpy as np

    found: Samples = {}
    for size in _sizes(setting):
        rng = np.random.default_rng(0)
        pulls, mean = rng.integers(1, 50, size).astype(float), rng.random(size)
        log_total, scores = 2 * math.log(pulls.sum()), np.empty(size)
        choose = "divide(log_total, pulls, scores); sqrt(scores, scores); add(scores, mean, scores)"
        timer = timeit.Timer(
            f"{choose}; int(scores.argmax())",
            globals={
                "divide": np.divide,
                "sqrt": np.sqrt,
                "add": np.add,
                "log_total": log_total,
                "pulls": pulls,
                "mean": mean,
                "scores": scores,
            },
        )
        found[f"{size:,}, us"] = microseconds(timer, setting)
    return found


@benchmark.contender("orchestrator")
async def orchestrator(setting: Setting) -> Samples:
    """Choose under demands; the decision is recorded, and nobody has subscribed to events."""
    from benchmarks.pools import MAX_COST, pool

    found: Samples = {}
    for size in _sizes(setting):
        async with pool(size) as engine:

            async def choose(engine: Any = engine) -> Any:
                return await engine.select_model(
                    capabilities={"chat_completion", "function_calling"}, max_cost=MAX_COST
                )

            found[f"{size:,}, us"] = await _time(choose, setting, lambda s: s.release())
    return found


def _router(strategy: str) -> Callable[[Setting], Awaitable[Samples]]:
    async def choose_by(setting: Setting) -> Samples:
        litellm = importlib.import_module("litellm")
        messages = [{"role": "user", "content": "hello there"}]
        found: Samples = {}
        for size in _sizes(setting, largest=1_000):
            router = litellm.Router(
                model_list=[_deployment(number) for number in range(size)],
                routing_strategy=strategy,
            )

            async def choose(router: Any = router) -> Any:
                return await router.async_get_available_deployment(
                    model="group", request_kwargs={}, messages=messages
                )

            found[f"{size:,}, us"] = await _time(choose, setting)
        return found

    return choose_by


def _deployment(number: int) -> dict[str, Any]:
    return {
        "model_name": "group",
        "model_info": {"id": f"deployment-{number}"},
        "litellm_params": {
            "model": f"openai/model-{number}",
            "api_key": "sk-mock",
            "api_base": "http://127.0.0.1:9/v1",
            "input_cost_per_token": 1e-6 * (1 + number % 10),
            "output_cost_per_token": 1e-5 * (1 + number % 10),
        },
    }


for _strategy in ("simple-shuffle", "latency-based-routing", "cost-based-routing"):
    benchmark.contender(f"litellm.Router {_strategy}", is_peer=True)(_router(_strategy))


async def _time(
    choose: Callable[[], Awaitable[Any]],
    setting: Setting,
    give_back: Callable[[Any], object] = lambda chosen: None,
) -> float:
    """Return the median microseconds of a choice; what was chosen is given back off the clock.

    Choices that pile up unused would change the next ones: each is a pull that has begun.
    """
    give_back(await choose())
    begun = time.perf_counter()
    give_back(await choose())
    n_calls = max(1, min(_MOST_AT_ONCE, round(BATCH_S / (time.perf_counter() - begun))))
    took: list[float] = []
    while len(took) < setting.n_batches and sum(took) < _ENOUGH_S:
        begun = time.perf_counter()
        chosen = [await choose() for _ in range(n_calls)]
        took.append(time.perf_counter() - begun)
        for one in chosen:
            give_back(one)
    return statistics.median(took) / n_calls * 1e6


if __name__ == "__main__":
    benchmark.main()
