"""Outcome tables that a seed makes, for tests and examples that need no real one."""

from __future__ import annotations

import numpy as np

from orchestrator.analysis.tables import OutcomeTable
from orchestrator.analysis.tally import IntArray
from orchestrator.core.errors import InvalidRequestError
from orchestrator.core.estimates import FloatArray

__all__ = ["generate_table"]

_CHEAPEST, _DEAREST = 0.1, 30.0
"""USD per million tokens of output; input costs a quarter."""


def generate_table(
    seed: int, *, prompts: int = 1000, models: int = 6, tasks: int = 4, features: int = 0
) -> OutcomeTable:
    """Make a table as they are found: dearer models are better, though not at every task.

    A model answers right with a chance that grows with its skill at the task and falls with how
    hard the prompt is. Skill grows with the logarithm of price, and scatters: some cheap model is
    among the best at some task. Lengths and times are log-normal.

    Args:
        seed: The same seed, the same table.
        prompts: How many, at least 1.
        models: How many, at least 1; from cheap to dear ``model-000``, ``model-001`` and so on.
        tasks: How many, at least 1; drawn unevenly.
        features: Length of the feature vectors, which tell task and hardness through noise.

    Raises:
        InvalidRequestError: A number is out of range.
    """
    least = {"prompts": (prompts, 1), "models": (models, 1), "tasks": (tasks, 1)}
    for name, (value, low) in {**least, "features": (features, 0)}.items():
        if value < low:
            raise InvalidRequestError(f"{name} must be at least {low}, not {value}", param=name)
    rng = np.random.default_rng(seed)
    price = np.geomspace(_CHEAPEST, _DEAREST, models) * 1e-6
    skill = np.linspace(-0.5, 1.5, models)[:, None] + rng.normal(0.0, 0.7, (models, tasks))
    task = rng.choice(tasks, prompts, p=rng.dirichlet(np.full(tasks, 3.0)))
    hardness = rng.normal(0.0, 1.0, prompts)
    chance = 1.0 / (1.0 + np.exp(hardness[:, None] - skill.T[task]))
    tokens_in = rng.lognormal(5.0, 0.6, (prompts, 1))
    tokens_out = rng.lognormal(5.0, 0.5, (prompts, models))
    speed = np.geomspace(120.0, 30.0, models) * rng.lognormal(0.0, 0.2, (prompts, models))
    return OutcomeTable(
        models=tuple(f"model-{n:03}" for n in range(models)),
        prompt_ids=tuple(f"prompt-{n:07}" for n in range(prompts)),
        tasks=tuple(f"task-{n:03}" for n in range(tasks)),
        task=task.astype(np.intp),
        quality=(rng.random((prompts, models)) < chance).astype(np.float64),
        cost_usd=price * (0.25 * tokens_in + tokens_out),
        latency_ms=1000.0 * tokens_out / speed,
        features=_told(task, hardness, features, rng) if features else None,
    )


def _told(
    task: IntArray, hardness: FloatArray, n_features: int, rng: np.random.Generator
) -> FloatArray:
    """Return feature vectors, shape ``(n_prompts, n_features)``, of length about 1."""
    known = np.column_stack([np.eye(task.max() + 1)[task], hardness])
    mixed = known @ rng.normal(0.0, 1.0, (known.shape[1], n_features))
    noisy = mixed + rng.normal(0.0, 0.5, mixed.shape)
    length = np.sqrt(np.mean(noisy**2) * n_features)
    return np.asarray(noisy / length)
