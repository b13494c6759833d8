"""Logs that tests write: decisions at random over a table of outcomes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import count
from typing import Any

import numpy as np

from orchestrator.analysis.decisions import DecisionLog, Gathered
from orchestrator.analysis.tables import OutcomeTable

__all__ = ["entry", "gathered", "logged"]

START = 1_750_000_000.0
_NUMBERS = count()


def entry(**facts: Any) -> dict[str, Any]:
    """Return a decision as stores and exports have it: one of two models, answered and rated."""
    return {
        "decision_id": f"d-n-0-{next(_NUMBERS)}",
        "model": "a:x",
        "segment": "all",
        "eligible": '["a:x","b:y"]',
        "features": None,
        "wall": START,
        "propensity": 0.5,
        "ok": True,
        "counts": True,
        "cost_usd": 0.25,
        "tokens_in": 10,
        "tokens_out": 20,
        "seconds": 2.0,
        "first_token_s": None,
        "ended_wall": START + 2,
        "quality": 0.75,
        "rated_wall": START + 3,
        **facts,
    }


def gathered(*entries: dict[str, Any]) -> DecisionLog:
    """Return these decisions as a log."""
    found = Gathered()
    found.add(entries)
    return found.log()


def logged(table: OutcomeTable, odds: Sequence[float], seed: int = 0) -> DecisionLog:
    """Return a log of one decision per prompt, a minute apart, drawn with the same odds always."""
    arms = np.random.default_rng(seed).choice(len(odds), len(table), p=odds)
    eligible, begun = json.dumps(table.models), START + 60.0 * np.arange(len(table))
    return gathered(
        *(
            entry(
                model=table.models[arm],
                segment=table.tasks[table.task[row]],
                eligible=eligible,
                wall=wall,
                propensity=odds[arm],
                cost_usd=table.cost_usd[row, arm],
                ended_wall=wall + 2.0,
                quality=table.quality[row, arm],
                rated_wall=wall + 3.0,
                features=None if table.features is None else json.dumps([*table.features[row]]),
            )
            for row, (arm, wall) in enumerate(zip(arms.tolist(), begun.tolist(), strict=True))
        )
    )
