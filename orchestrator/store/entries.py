"""Decisions as they are read: one flat row with what came of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import orjson

from orchestrator.core.decisions import decision_id
from orchestrator.core.ports import EarlierDecision
from orchestrator.store.errors import LogDataError
from orchestrator.store.records import Record

__all__ = ["COLUMNS", "Shared", "earlier"]

COLUMNS: Final = {
    "decision_id": str,
    "request_id": str,
    "attempt": int,
    "wall": float,
    "model": str,
    "selector": str,
    "propensity": float,
    "explored": bool,
    "segment": str,
    "registry": str,
    "models": int,
    "eligible": str,
    "refused": str,
    "shape": str,
    "demands": str,
    "scores": str,
    "expected_cost_usd": float,
    "features": str,
    "ok": bool,
    "counts": bool,
    "cost_usd": float,
    "tokens_in": int,
    "tokens_out": int,
    "seconds": float,
    "first_token_s": float,
    "error": str,
    "ended_wall": float,
    "quality": float,
    "corrected": bool,
    "rated_wall": float,
}
"""Every column of an entry and its type; lists and objects are JSON texts, what is not known None.

``models`` counts those registered, ``eligible`` names those that could be chosen.
"""


def earlier(row: Mapping[str, Any], quality: float | None) -> EarlierDecision:
    """Return what late feedback needs to know of a decision.

    Args:
        row: Of the table of decisions.
        quality: The latest that was given, or None.
    """
    packed = row["features"]
    features = None if packed is None else np.frombuffer(packed, "<f4").astype(np.float64)
    return EarlierDecision(row["bucket"], row["segment"], row["model"], features, quality)


class Shared:
    """What many decisions share, by its hash.

    Args:
        registries, eligible_sets, shapes: Rows of these tables, by their ids.
    """

    def __init__(
        self,
        registries: Mapping[str, Record],
        eligible_sets: Mapping[str, Record],
        shapes: Mapping[str, Record],
    ) -> None:
        self._sets = eligible_sets
        self._demands = {name: row["demands"] for name, row in shapes.items()}
        self._models: dict[str, list[str]] = {
            name: orjson.loads(row["models"]) for name, row in registries.items()
        }
        self._eligible: dict[str, str] = {}

    def entry(self, row: Mapping[str, Any]) -> Record:
        """Return a decision joined with its outcome and its quality, as one flat row.

        Raises:
            LogDataError: The choice had no probability, or what it refers to is not there.
        """
        name = decision_id(row["node"], row["bucket"], row["sequence"])
        if not 0 < row["propensity"] <= 1:
            raise LogDataError(
                f"decision {name} has the propensity {row['propensity']!r}",
                hint="what was chosen had a probability in (0, 1]; leave such decisions out",
            )
        try:
            registry = self._sets[row["eligible_set"]]["registry"]
            models = self._models[registry]
            demands = self._demands[row["shape"]]
        except KeyError as missing:
            raise LogDataError(f"decision {name} refers to {missing}, which is not there") from None
        features = row["features"]
        return {
            "decision_id": name,
            "request_id": row["request_id"],
            "attempt": row["attempt"],
            "wall": row["wall"],
            "model": row["model"],
            "selector": row["selector"],
            "propensity": row["propensity"],
            "explored": row["explored"],
            "segment": row["segment"],
            "registry": registry,
            "models": len(models),
            "eligible": self._names(row["eligible_set"], models),
            "refused": row["refused"],
            "shape": row["shape"],
            "demands": demands,
            "scores": _scores(row, models),
            "expected_cost_usd": row["expected_cost_usd"],
            "features": None if features is None else _floats(features),
            "ok": row["ok"],
            "counts": row["counts"],
            "cost_usd": row["cost_usd"],
            "tokens_in": row["tokens_in"],
            "tokens_out": row["tokens_out"],
            "seconds": row["seconds"],
            "first_token_s": row["first_token_s"],
            "error": row["error"],
            "ended_wall": row["ended_wall"],
            "quality": row["quality"],
            "corrected": row["corrected"],
            "rated_wall": row["rated_wall"],
        }

    def _names(self, eligible_set: str, models: list[str]) -> str:
        found = self._eligible.get(eligible_set)
        if found is None:
            bits = np.frombuffer(self._sets[eligible_set]["bits"], np.uint8)
            arms = np.flatnonzero(np.unpackbits(bits, count=len(models), bitorder="little"))
            found = self._eligible[eligible_set] = _json([models[arm] for arm in arms])
        return found


def _scores(row: Mapping[str, Any], models: list[str]) -> str:
    """Return the scores by model, best first."""
    arms = np.frombuffer(row["score_arms"], "<u4")
    scores = np.frombuffer(row["scores"], "<f8")
    order = np.lexsort((arms, -scores))
    return _json({models[arms[i]]: float(scores[i]) for i in order})


def _floats(packed: bytes) -> str:
    return _json(np.frombuffer(packed, "<f4").tolist())


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
