"""Local models that come and go, and the health of all, as they are configured."""

from __future__ import annotations

from typing import Any, Final

from orchestrator.config.configuration import Configuration
from orchestrator.config.places import at
from orchestrator.core.model import Model
from orchestrator.lifecycle.policy import LifecyclePolicy, MemoryBudget
from orchestrator.monitoring.monitor import ModelHealthMonitor

__all__ = ["configured_health", "configured_lifecycle"]

_GB: Final = 1e9


def configured_lifecycle(configuration: Configuration, pool: list[Model]) -> dict[str, Any]:
    """Return the arguments of an `Orchestrator` that concern what is in memory.

    Raises:
        ConfigurationError: A value is wrong; the message says which.
    """
    section = configuration.settings.lifecycle
    load = list(section.load)
    if section.load_default and not load:
        load = [model.key.text for model in pool if model.spec.resident is not None][:1]
    with at(configuration.sources.place(("lifecycle",))):
        budget = MemoryBudget(
            ram_bytes=None if section.ram_gb is None else int(section.ram_gb * _GB),
            gpu_bytes={index: int(gb * _GB) for index, gb in section.gpu_gb.items()},
            max_loaded_models=section.max_loaded_models,
        )
        policy = LifecyclePolicy(
            budget=budget,
            parallel_loads=section.parallel_loads,
            queue_limit=section.queue_limit,
            wait_limit_s=section.wait_limit_s,
            max_wait_for_load_s=section.max_wait_for_load_s,
            min_residence_s=section.min_residence_s,
            keep_alive_s=section.keep_alive_s,
            drain_deadline_s=section.drain_deadline_s,
        )
    return {
        "lifecycle": policy,
        "load": load,
        "auto_switch": section.auto_switch,
        "profiling": configuration.settings.profiling,
    }


def configured_health(configuration: Configuration) -> ModelHealthMonitor | None:
    """Return who checks models in the background, or None.

    Raises:
        ConfigurationError: A value is wrong; the message says which.
    """
    settings = configuration.settings
    section, breaker = settings.health, settings.engine.breaker
    if not section.active:
        return None
    with at(configuration.sources.place(("health",))):
        return ModelHealthMonitor(
            section.check_interval_s,
            breaker.failure_threshold,
            breaker.recovery_threshold,
            timeout_s=section.timeout_s,
            jitter=section.jitter,
            probe_usd_per_day=section.probe_usd_per_day,
        )
