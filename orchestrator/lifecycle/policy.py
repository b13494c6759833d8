"""Settings: what may be in memory, and how patient everybody is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from orchestrator.core.errors import ConfigurationError
from orchestrator.lifecycle.footprint import MODELS, Amounts

__all__ = ["LifecyclePolicy", "MemoryBudget"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryBudget:
    """How much all residents together may hold; None is without limit.

    Attributes:
        ram_bytes: Of main memory.
        gpu_bytes: Of each GPU, by its index.
        max_loaded_models: Residents.
    """

    ram_bytes: int | None = None
    gpu_bytes: Mapping[int, int] = field(default_factory=dict)
    max_loaded_models: int | None = None

    def __post_init__(self) -> None:
        for name in ("ram_bytes", "max_loaded_models"):
            value = getattr(self, name)
            if value is not None:
                _demand(name, value, 1)
        for index, value in self.gpu_bytes.items():
            _demand(f"gpu_bytes[{index}]", value, 1)

    @property
    def limits(self) -> Amounts:
        """The same by dimension; each group has room for one, see `Book.limits`."""
        limits = {f"gpu:{index}": value for index, value in self.gpu_bytes.items()}
        if self.ram_bytes is not None:
            limits["ram"] = self.ram_bytes
        if self.max_loaded_models is not None:
            limits[MODELS] = self.max_loaded_models
        return limits


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecyclePolicy:
    """How residents come and go. All times are in seconds.

    Attributes:
        budget: What they may hold at the start; `ModelManager.set_budget` changes it.
        parallel_loads: Loads at once.
        queue_limit: Callers that may wait; one more is refused, or takes the place of one with
            less priority.
        wait_limit_s: How long a caller waits at most, unless the lease says otherwise.
        max_wait_for_load_s: Until then a swap waits for a resident to have nothing to do; from
            then on it is made to finish and leave.
        min_residence_s: Nobody is evicted sooner after its load, unless he who waits has waited
            for ``max_wait_for_load_s``.
        linger_s: A resident counts as unused only after this long without a lease, so that the
            gap between two requests of a steady client is no reason to swap.
        keep_alive_s: A resident unused for this long is unloaded, unless its spec says otherwise.
            None keeps it until its memory is wanted.
        drain_deadline_s: After this long a drain ends with leases open.
        slowest_load_bytes_s: A load may take its spec's ``ready_timeout_s``, and so many bytes'
            time on top.
        unload_retry_s: When a process that could not be stopped is tried again.
        progress_every_s: How often a load that goes on says so.
    """

    budget: MemoryBudget = field(default_factory=MemoryBudget)
    parallel_loads: int = 2
    queue_limit: int = 1024
    wait_limit_s: float = 120.0
    max_wait_for_load_s: float = 10.0
    min_residence_s: float = 3.0
    linger_s: float = 0.25
    keep_alive_s: float | None = None
    drain_deadline_s: float = 60.0
    slowest_load_bytes_s: float = 50e6
    unload_retry_s: float = 1.0
    progress_every_s: float = 1.0

    def __post_init__(self) -> None:
        _demand("parallel_loads", self.parallel_loads, 1)
        _demand("queue_limit", self.queue_limit, 0)
        for name in ("max_wait_for_load_s", "min_residence_s", "linger_s", "drain_deadline_s"):
            _demand(name, getattr(self, name), 0)
        if self.keep_alive_s is not None:
            _demand("keep_alive_s", self.keep_alive_s, 0)
        for name in ("wait_limit_s", "slowest_load_bytes_s", "unload_retry_s", "progress_every_s"):
            _demand(name, getattr(self, name), 1e-3)


def _demand(name: str, value: float, least: float) -> None:
    if isinstance(value, bool) or not least <= value < inf:
        raise ConfigurationError(f"{name} must be at least {least:g} and finite, not {value!r}")
