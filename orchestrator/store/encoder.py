"""From decisions to rows: what many of them share is hashed, and written once."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
import orjson

from orchestrator.core.capabilities import capability_names
from orchestrator.core.decisions import Decision, parse_decision_id
from orchestrator.core.requirements import Requirements
from orchestrator.core.statistics import Outcome
from orchestrator.store.records import Batch

__all__ = ["TOP_SCORES", "Encoder"]

TOP_SCORES: Final = 16
"""Scores that are kept of each decision, the best ones; the chosen model's in any case."""
_MOST_KNOWN: Final = 4096
_K = TypeVar("_K")
_V = TypeVar("_V")


class _EligibleSet(NamedTuple):
    id: str
    arms: np.ndarray[Any, np.dtype[np.int64]]
    packed: bytes
    """The arms as they are written."""


class Encoder:
    """Turns what happened into rows of a batch.

    It remembers what it has written of registries, eligible sets and shapes, so a batch that it
    has filled must be written before the next one is.
    """

    def __init__(self) -> None:
        self._keys: Sequence[str] | None = None
        self._registry = ""
        self._sets: dict[bytes, _EligibleSet] = {}
        self._shapes: dict[tuple[object, ...], str] = {}

    def decided(
        self, batch: Batch, wall: float, decision: Decision, features: Any | None = None
    ) -> None:
        """Add a decision, and what is new of that which it shares with others."""
        eligible = self._eligible_set(batch, decision)
        scores, arms, packed = decision.raw_scores, eligible.arms, eligible.packed
        if len(arms) > TOP_SCORES:
            arms = arms[np.argpartition(-scores[arms], TOP_SCORES - 1)[:TOP_SCORES]]
            if decision.arm not in arms:
                arms = np.append(arms, decision.arm)
            packed = arms.astype("<u4").tobytes()
        refused: dict[str, int] = {}
        if len(eligible.arms) < len(decision.keys):
            refused = {c.value: number for c, number in decision.refusal_counts.items()}
        batch.decisions.append(
            {
                "node": decision.node,
                "bucket": decision.bucket,
                "sequence": decision.sequence,
                "wall": wall,
                "request_id": decision.request_id,
                "attempt": decision.attempt,
                "model": decision.key,
                "selector": decision.selector,
                "propensity": decision.propensity,
                "explored": not decision.greedy,
                "segment": decision.segment,
                "shape": self._shape(batch, decision.requirements),
                "eligible_set": eligible.id,
                "refused": orjson.dumps(refused).decode() if refused else "{}",
                "expected_cost_usd": decision.cost_usd,
                "score_arms": packed,
                "scores": scores[arms].astype("<f8", copy=False).tobytes(),
                "features": None if features is None else np.asarray(features, "<f4").tobytes(),
            }
        )

    def ended(
        self,
        batch: Batch,
        wall: float,
        decision: Decision,
        outcome: Outcome,
        error: str | None = None,
        counts: bool = True,
    ) -> None:
        """Add what came of a decision."""
        batch.outcomes.append(
            {
                "node": decision.node,
                "bucket": decision.bucket,
                "sequence": decision.sequence,
                "wall": wall,
                "ok": outcome.ok,
                "counts": counts,
                "cost_usd": outcome.cost_usd,
                "tokens_in": outcome.tokens_in,
                "tokens_out": outcome.tokens_out,
                "seconds": outcome.seconds,
                "first_token_s": outcome.first_token_s,
                "error": error,
            }
        )

    def rated(
        self,
        batch: Batch,
        wall: float,
        decision_id: str,
        quality: float,
        corrected: bool,
        *,
        number: int,
    ) -> None:
        """Add a quality that was given; of several the one with the highest number counts."""
        parsed = parse_decision_id(decision_id)
        assert parsed is not None, "only known decisions are rated"
        node, bucket, sequence = parsed
        batch.qualities.append(
            {
                "node": node,
                "bucket": bucket,
                "sequence": sequence,
                "number": number,
                "wall": wall,
                "quality": quality,
                "corrected": corrected,
            }
        )

    # ------------------------------------------------------------------------------------------

    def _eligible_set(self, batch: Batch, decision: Decision) -> _EligibleSet:
        if decision.keys is not self._keys:
            self._keys, self._sets = decision.keys, {}
            models = orjson.dumps(tuple(decision.keys))
            self._registry = _hash(models)
            batch.registries.append({"id": self._registry, "models": models.decode()})
        mask = decision.eligible.tobytes()
        found = self._sets.get(mask)
        if found is None:
            bits = np.packbits(decision.eligible, bitorder="little").tobytes()
            arms = np.flatnonzero(decision.eligible)
            name = _hash(self._registry.encode() + bits)
            found = _EligibleSet(name, arms, arms.astype("<u4").tobytes())
            batch.eligible_sets.append({"id": name, "registry": self._registry, "bits": bits})
            _remember(self._sets, mask, found)
        return found

    def _shape(self, batch: Batch, needs: Requirements) -> str:
        found = self._shapes.get(needs.shape)
        if found is None:
            capabilities, *others = needs.shape
            assert isinstance(capabilities, int)
            names = ("model_type", "provider", "exclude_models")
            demands: dict[str, object] = {"capabilities": sorted(capability_names(capabilities))}
            demands |= {name: v for name, v in zip(names, others, strict=True) if v}
            text = orjson.dumps(demands)
            found = _hash(text)
            batch.shapes.append({"id": found, "demands": text.decode()})
            _remember(self._shapes, needs.shape, found)
        return found


def _hash(what: bytes) -> str:
    return blake2b(what, digest_size=16).hexdigest()


def _remember(known: dict[_K, _V], key: _K, value: _V) -> None:
    """Add to what is known, which starts anew when it has grown too large."""
    if len(known) >= _MOST_KNOWN:
        known.clear()
    known[key] = value
