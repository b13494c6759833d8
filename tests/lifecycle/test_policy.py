from __future__ import annotations

from typing import Any

import pytest

from orchestrator.core.errors import ConfigurationError
from orchestrator.core.ports import ResidentSize, ResidentSpec
from orchestrator.lifecycle.footprint import estimate, fits, room_for, shortage, total_bytes
from orchestrator.lifecycle.policy import LifecyclePolicy, MemoryBudget


@pytest.mark.parametrize(
    "wrong",
    [
        {"parallel_loads": 0},
        {"queue_limit": -1},
        {"wait_limit_s": 0},
        {"max_wait_for_load_s": -1},
        {"min_residence_s": -0.1},
        {"linger_s": -1},
        {"keep_alive_s": -5},
        {"drain_deadline_s": float("nan")},
        {"slowest_load_bytes_s": 0},
        {"unload_retry_s": float("inf")},
        {"progress_every_s": True},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_setting_out_of_range_is_named(wrong: dict[str, Any]):
    with pytest.raises(ConfigurationError, match=f"{next(iter(wrong))} must be at least"):
        LifecyclePolicy(**wrong)


@pytest.mark.parametrize(
    "wrong", [{"ram_bytes": 0}, {"max_loaded_models": 0}, {"gpu_bytes": {0: -1}}]
)
def test_a_budget_without_room_is_refused(wrong: dict[str, Any]):
    with pytest.raises(ConfigurationError, match="must be at least 1"):
        MemoryBudget(**wrong)


def test_a_budget_limits_what_it_names():
    budget = MemoryBudget(ram_bytes=10, gpu_bytes={1: 5}, max_loaded_models=2)

    assert budget.limits == {"ram": 10, "gpu:1": 5, "models": 2}
    assert MemoryBudget().limits == {}


def test_weights_and_cache_are_on_their_device_and_the_rest_is_in_main_memory():
    size = ResidentSize(weights_bytes=5, cache_bytes=3, device="gpu:0", overhead_bytes=2)
    spec = ResidentSpec("a", (), {}, size=size, groups=frozenset(("vision",)))

    assert estimate(spec) == {"models": 1, "ram": 2, "gpu:0": 8, "group:vision": 1}
    assert total_bytes(estimate(spec)) == 10


def test_what_is_not_needed_cannot_be_short():
    room = room_for({"ram": 4, "gpu:0": 2}, {"ram": 1}, {"gpu:0": 3})

    assert room == {"ram": 3, "gpu:0": -1}
    assert fits({"ram": 3, "gpu:0": 0, "models": 9}, room)
    assert shortage({"ram": 5, "gpu:0": 1}, room) == {"ram": 2, "gpu:0": 2}
