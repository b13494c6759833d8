"""Why: how each model scored or why it was refused, and who demanded what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from orchestrator.engine.chooser import Verdict
from orchestrator.routing.pool import Pool

__all__ = ["Explanation", "ModelRow"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """How one model stands.

    Attributes:
        key: The model.
        route: Through which route it was looked at.
        score: Its score, or None if it was refused.
        penalty: What cost, latency and failures take from its score.
        mean: Its mean reward so far.
        pulls: How often it was tried.
        p_fail: Share of its calls that failed.
        cost_usd: What one attempt at this request costs at most, or None if unknown.
        load_s: Seconds until it could begin, and until those are back that make room for it; 0
            where it is ready.
        evicts: The residents that would have to make room.
        refused: Code of the refusal, or None.
        reason: The refusal in words, or None.
    """

    key: str
    route: str
    score: float | None
    penalty: float
    mean: float
    pulls: float
    p_fail: float
    cost_usd: float | None
    load_s: float
    evicts: tuple[str, ...]
    refused: str | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """How a request would be decided now.

    Attributes:
        requirements: What is demanded, by name.
        origins: Who demanded what, in order.
        selector: Who chooses.
        segment: The kind of request whose statistics count; its name begins with what found it.
        models: Every model, the best first, refused ones last.
    """

    requirements: dict[str, Any]
    origins: tuple[tuple[str, str], ...]
    selector: str
    segment: str
    models: tuple[ModelRow, ...]

    @classmethod
    def of(
        cls,
        pool: Pool,
        verdicts: Sequence[Verdict],
        segment: str,
        evicts: Callable[[str], tuple[str, ...]] = lambda resident: (),
    ) -> Self:
        """Put together what each route of a request found; the first that can serve counts.

        Args:
            pool: The models.
            verdicts: One for each route.
            segment: The kind of request.
            evicts: Returns who would have to make room for a resident.
        """
        deciding = next((v for v in verdicts if v.scores is not None), verdicts[0])
        rows = [_row(pool, arm, deciding, evicts) for arm in range(len(pool))]
        rows.sort(key=lambda r: (r.score is None, -(r.score or 0.0)))
        requirements, origins = deciding.needs.describe(), deciding.needs.origins
        if deciding.size.window > deciding.needs.context_length:
            requirements["context_length"] = deciding.size.window
            origins = (*origins, ("context_length", deciding.size.origin))
        return cls(
            requirements=requirements,
            origins=origins,
            selector=deciding.selector,
            segment=segment,
            models=tuple(rows),
        )

    @property
    def chosen(self) -> str | None:
        """Key of the model that scores best, or None if none may serve."""
        best = self.models[0] if self.models else None
        return None if best is None or best.score is None else best.key

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready data."""
        return {
            "requirements": self.requirements,
            "origins": [{"requirement": name, "origin": origin} for name, origin in self.origins],
            "selector": self.selector,
            "segment": self.segment,
            "chosen": self.chosen,
            "models": [
                {name: getattr(row, name) for name in ModelRow.__dataclass_fields__}
                for row in self.models
            ],
        }


def _row(
    pool: Pool, arm: int, verdict: Verdict, evicts: Callable[[str], tuple[str, ...]]
) -> ModelRow:
    key, resident = pool.keys[arm], pool.models[arm].spec.resident
    load_s = 0.0 if verdict.cold_s is None else float(verdict.cold_s[arm])
    refusal = verdict.refused.get(key)
    score = None
    if verdict.scores is not None and refusal is None and verdict.eligible[arm]:
        score = float(verdict.scores[arm])
    usd = float(verdict.cost_usd[arm])
    return ModelRow(
        key=key,
        route=verdict.route.name,
        score=score,
        penalty=float(verdict.penalty[arm]),
        mean=float(verdict.estimates.mean[arm]),
        pulls=float(verdict.estimates.trials[arm]),
        p_fail=float(verdict.estimates.p_fail[arm]),
        cost_usd=None if np.isnan(usd) else usd,
        load_s=load_s,
        evicts=evicts(resident) if load_s and resident else (),
        refused=None if refusal is None else refusal.code.value,
        reason=None if refusal is None else refusal.reason,
    )
