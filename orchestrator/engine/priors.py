"""What is believed of the pool's models before their first call, and from where."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from math import inf
from typing import TypeAlias

import numpy as np

from orchestrator.core.errors import ConfigurationError
from orchestrator.core.estimates import Prior
from orchestrator.core.warm_start import WarmStart
from orchestrator.routing.pool import Pool

__all__ = ["Priors"]

_Totals: TypeAlias = Mapping[str, Mapping[str, float]]


class Priors:
    """Puts together the prior of a pool, from the first of these that says something of a model.

    A warm start's outcomes, in the segments that it knows; the quality that the model declares;
    the mean of its family, for a model that nobody has called yet.

    Args:
        weight: Pulls that a declared quality or a family's mean counts for.
        warm_start: Outcomes of elsewhere, or None.
        families: Patterns of keys such as ``openai:gpt-4o*``; models that match the same one
            first are a family.
    """

    def __init__(
        self,
        weight: float = 2.0,
        warm_start: WarmStart | None = None,
        families: Sequence[str] = (),
    ) -> None:
        if not 0 <= weight < inf:
            raise ConfigurationError(f"prior_weight must be at least 0, not {weight!r}")
        self._weight = weight
        self._warm_start = warm_start or WarmStart({})
        self._families = tuple(families)
        self._inherited: dict[str, float] = {}
        """What models that had not been called yet have from their families."""

    def of(self, pool: Pool, totals: Callable[[], _Totals]) -> Prior | None:
        """Return the prior of a pool, or None if nothing is believed of anyone.

        Args:
            pool: The models.
            totals: Returns the sums of every model by key, as `Recorder.totals` does.
        """
        if self._families:
            self._inherit(pool, totals())
        total = Prior.none(len(pool))
        elsewhere = Prior.none(len(pool))
        segments: dict[str, Prior] = {}
        for arm, model in enumerate(pool.models):
            key = pool.keys[arm]
            warm = self._warm_start.believed(key) or self._warm_start.believed(model.name)
            if warm:
                for segment, (n, mean) in warm.items():
                    own = segments.setdefault(segment, Prior.none(len(pool)))
                    own.weight[arm], own.mean[arm] = n, mean
                n = total.weight[arm] = sum(n for n, _ in warm.values())
                if n:
                    total.mean[arm] = sum(n * mean for n, mean in warm.values()) / n
                continue
            declared = model.spec.quality
            quality = self._inherited.get(key) if declared is None else declared
            if quality is not None:
                for prior in (total, elsewhere):
                    prior.weight[arm], prior.mean[arm] = self._weight, quality
        for own in segments.values():
            own.weight[:] += elsewhere.weight
            own.mean[:] = np.where(elsewhere.weight > 0, elsewhere.mean, own.mean)
        if not total.weight.any():
            return None
        return Prior(total.weight, total.mean, segments, elsewhere if segments else None)

    def _inherit(self, pool: Pool, totals: _Totals) -> None:
        """Give models that nobody has called yet the mean of their families."""
        # By quality, once some model has one, as estimates judge.
        rated = any(sums["n_quality"] > 0 for sums in totals.values())
        count, won = ("n_quality", "quality") if rated else ("calls", "ok")
        seen: dict[str | None, tuple[float, float]] = {}
        for key, sums in totals.items():
            n, total = seen.get(self._family(key), (0.0, 0.0))
            seen[self._family(key)] = n + sums[count], total + sums[won]
        seen.pop(None, None)
        for key in pool.keys:
            if key in totals and totals[key]["opened"] > totals[key]["expired"]:
                continue
            n, total = seen.get(self._family(key), (0.0, 0.0))
            self._inherited.pop(key, None)
            if n > 0:
                self._inherited[key] = min(max(total / n, 0.0), 1.0)

    def _family(self, key: str) -> str | None:
        return next((pattern for pattern in self._families if fnmatchcase(key, pattern)), None)
