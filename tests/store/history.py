"""Decisions and batches as tests of stores want them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any, cast

import numpy as np

from orchestrator.core.decisions import Decision, Refusal, RefusalCode
from orchestrator.core.requirements import ANYTHING, Requirements
from orchestrator.core.statistics import Outcome
from orchestrator.store import Batch, Store
from orchestrator.store.encoder import Encoder
from orchestrator.store.records import Record

KEYS = ("a:x", "a:y", "b:z")
NOON = 1_750_000_000 // 86_400 * 86_400 + 43_200.0
MINUTE = int(NOON // 60)


def decision(sequence: int = 0, *, keys: Sequence[str] = KEYS, **facts: Any) -> Decision:
    """Return a decision; by default the second of three models, the third of which was refused."""
    scores = facts.pop("scores", None)
    eligible = facts.pop("eligible", None)
    values: dict[str, Any] = {
        "node": "n",
        "bucket": MINUTE,
        "request_id": f"r{sequence}",
        "arm": 1,
        "greedy": True,
        "selector": "ucb",
        "floor": 0.1,
        "segment": "all",
        "requirements": ANYTHING,
        "cost_usd": 0.25,
        "attempt": 1,
        "refused": {keys[-1]: Refusal(RefusalCode.COOLING, "it rests")},
        **facts,
    }
    return Decision(
        sequence=sequence,
        keys=keys,
        scores=np.array([0.5, 0.75, 9.0]) if scores is None else scores,
        eligible=np.array([True, True, False]) if eligible is None else eligible,
        **values,
    )


def batch(*decisions: Decision, encoder: Encoder | None = None, wall: float = NOON) -> Batch:
    """Return a batch of decisions alone, a second apart."""
    made, encoder = Batch(), encoder or Encoder()
    for number, each in enumerate(decisions):
        encoder.decided(made, wall + number, each)
    return made


def story() -> Batch:
    """Return three decisions: one rated twice, one that failed, one still open."""
    encoder = Encoder()
    needs = Requirements.of({"capabilities": ["vision"], "exclude_models": ["q"], "max_cost": 1.0})
    first = decision(0, requirements=needs)
    made = batch(
        first, decision(1), decision(2, node="m", keys=KEYS[:2], **pair()), encoder=encoder
    )
    encoder.ended(made, NOON + 3, first, Outcome(True, 0.5, 10, 20, 1.5, 0.25))
    encoder.ended(made, NOON + 4, decision(1), Outcome(False, 0.125), "rate_limit")
    encoder.rated(made, NOON + 5, first.id, 0.25, False, number=0)
    encoder.rated(made, NOON + 60, first.id, 0.75, True, number=1)
    return made


def pair() -> Mapping[str, Any]:
    """Return the facts of a choice between two eligible models."""
    return {"scores": np.array([0.5, 0.25]), "eligible": np.ones(2, dtype=np.bool_), "refused": {}}


async def read(store: Store, since: float | None = None) -> list[Record]:
    """Return every entry of a store."""
    async with aclosing(cast("Any", store.entries(since))) as pages:
        return [entry async for page in pages for entry in page]
