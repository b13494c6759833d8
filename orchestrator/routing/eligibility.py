"""Which models may serve a request, and why each other may not.

What depends only on what models declare is a mask, kept per shape of requirements until the
registry changes; what depends on the request's size and on measurements is compared each time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from orchestrator.core.capabilities import capability_names
from orchestrator.core.decisions import Refusal, RefusalCode
from orchestrator.core.estimates import FloatArray
from orchestrator.core.requirements import Requirements
from orchestrator.core.selector import BoolArray
from orchestrator.routing.availability import Outage
from orchestrator.routing.pool import Pool
from orchestrator.routing.registry import ModelRegistry

__all__ = ["Eligibility", "Measured", "Refusals", "refusal_table"]

_MAX_SHAPES = 4096
_FULL = 0.2
"""Share of a window below which no miscounted prompt can overflow it."""


class Measured(NamedTuple):
    """What one request is compared with beside declarations; shapes ``(n_arms,)``.

    Attributes:
        cost_usd: What one attempt costs at most; nan where unknown.
        speed: Output tokens per second, measured else declared; nan where unknown.
        spent_usd: What the request's earlier attempts have cost.
        budget_usd: What the day's budget has left, or None if there is none.
        now: Monotonic seconds, for the time that outages still last.
        window: Tokens that the request itself needs a window for.
        output: Output tokens that it may ask for.
        budget_limit_usd: The whole of the day's budget.
        budget_renews_s: Seconds until it is whole again.
    """

    cost_usd: FloatArray
    speed: FloatArray
    spent_usd: float = 0.0
    budget_usd: float | None = None
    now: float = 0.0
    window: int = 0
    output: int = 0
    budget_limit_usd: float = np.inf
    budget_renews_s: float = 0.0


class _Shape:
    """The models that meet the demands on declarations, and the least any of them holds."""

    __slots__ = ("mask", "min_output", "min_window")

    def __init__(self, mask: BoolArray, pool: Pool) -> None:
        self.mask = mask
        self.min_window = float(pool.window[mask].min(initial=np.inf))
        self.min_output = float(pool.max_output[mask].min(initial=np.inf))


class Eligibility:
    """Masks over one pool.

    Attributes:
        pool: The models.
        window: Tokens of ours that fit each window, shape ``(n_arms,)``: less than declared where
            a model has turned out to make more tokens of a text than we estimate.
    """

    def __init__(self, pool: Pool, registry: ModelRegistry) -> None:
        self.pool = pool
        self.window = pool.window
        self._registry = registry
        self._shapes: dict[tuple[object, ...], _Shape] = {}

    def mask(
        self, needs: Requirements, candidates: tuple[str, ...] | None, measured: Measured
    ) -> BoolArray:
        """Return which models meet every requirement; health is not looked at here.

        Args:
            needs: The demands.
            candidates: Keys to choose among, or None for all.
            measured: What this request is compared with.

        Returns:
            Shape ``(n_arms,)``; do not write to it.
        """
        shape = self._shape(needs, candidates)
        mask = shape.mask
        window = max(needs.context_length, measured.window)
        if window > _FULL * shape.min_window:
            mask = mask & (self.window >= window)
        output = max(needs.max_tokens, measured.output)
        if output > shape.min_output:
            mask = mask & (self.pool.max_output >= output)
        if needs.max_cost is not None:
            affordable = measured.cost_usd <= _left_usd(needs.max_cost, measured.spent_usd)
            if needs.allow_unknown_cost:
                affordable |= np.isnan(measured.cost_usd)
            mask = mask & affordable
        if measured.budget_usd is not None:
            # An unknown price is not below anything: under a cap it may not be taken.
            mask = mask & (measured.cost_usd <= measured.budget_usd)
        if needs.min_speed is not None:
            mask = mask & ~(measured.speed < needs.min_speed)
        return mask

    def _shape(self, needs: Requirements, candidates: tuple[str, ...] | None) -> _Shape:
        key = (needs.shape, candidates)
        shape = self._shapes.get(key)
        if shape is None:
            if len(self._shapes) >= _MAX_SHAPES:
                self._shapes.clear()
            shape = self._shapes[key] = _Shape(self._declared(needs, candidates), self.pool)
        return shape

    def _declared(self, needs: Requirements, candidates: tuple[str, ...] | None) -> BoolArray:
        pool = self.pool
        wanted = np.uint64(needs.capabilities)
        mask: BoolArray = (pool.capabilities & wanted) == wanted
        if needs.model_type is not None:
            mask &= (pool.types & np.uint64(pool.type_bit(needs.model_type))) != 0
        if needs.provider is not None:
            known = needs.provider in pool.providers
            mask &= pool.provider_ids == (pool.providers.index(needs.provider) if known else -1)
        for key in self.excluded(needs):
            mask[pool.index[key]] = False
        if candidates is not None:
            among = np.zeros(len(pool), dtype=np.bool_)
            among[[pool.index[c] for c in candidates if c in pool.index]] = True
            mask &= among
        return mask

    def excluded(self, needs: Requirements) -> frozenset[str]:
        """Return the keys that the excluded names mean."""
        keys = {key for name in needs.exclude_models for key in self._registry.matches(name)}
        return frozenset(keys & self.pool.index.keys())


class Refusals(Mapping[str, Refusal]):
    """Why each model that was not eligible was refused, worked out when somebody asks.

    What may have changed by then is kept as it was at the decision.

    Args:
        eligibility: The masks.
        needs: The demands.
        candidates: Keys that the route names, or None for all.
        measured: What the request was compared with.
        outages: Who was out of service.
        tried: Who was not to be tried again.
        eligible: Who could be chosen, shape ``(n_arms,)``; None is nobody.
    """

    __slots__ = (
        "_candidates",
        "_eligible",
        "_excluded",
        "_found",
        "_measured",
        "_needs",
        "_outages",
        "_pool",
        "_tried",
        "_window",
    )

    def __init__(
        self,
        eligibility: Eligibility,
        needs: Requirements,
        candidates: tuple[str, ...] | None,
        measured: Measured,
        outages: Mapping[str, Outage],
        tried: Collection[str] = (),
        eligible: BoolArray | None = None,
    ) -> None:
        self._pool = eligibility.pool
        self._window = eligibility.window
        self._excluded = eligibility.excluded(needs) if needs.exclude_models else frozenset()
        self._needs = needs
        self._candidates = candidates
        self._measured = measured
        self._outages = outages
        self._tried = frozenset(tried)
        self._eligible = eligible
        self._found: dict[str, Refusal] | None = None

    def __getitem__(self, key: str) -> Refusal:
        return self._all()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __repr__(self) -> str:
        return repr(self._all())

    def _all(self) -> dict[str, Refusal]:
        if self._found is None:
            named = None if self._candidates is None else frozenset(self._candidates)
            self._found = {
                key: self._refusal(arm, key, named)
                for arm, key in enumerate(self._pool.keys)
                if self._eligible is None or not self._eligible[arm]
            }
        return self._found

    def _refusal(self, arm: int, key: str, named: frozenset[str] | None) -> Refusal:
        """Return the first thing wrong with a model, what never changes before what passes."""
        pool, needs, code = self._pool, self._needs, RefusalCode
        if key in self._excluded:
            return Refusal(code.EXCLUDED, "the request excludes it")
        if named is not None and key not in named:
            return Refusal(code.NOT_CANDIDATE, "the route does not name it")
        provider = pool.providers[int(pool.provider_ids[arm])]
        if needs.provider not in (None, provider):
            return Refusal(code.OTHER_PROVIDER, f"{needs.provider} is asked for, not {provider}")
        if needs.model_type is not None and not int(pool.types[arm]) & pool.type_bit(
            needs.model_type
        ):
            return Refusal(code.MODEL_TYPE, f"it does not serve {needs.model_type}")
        missing = needs.capabilities & ~int(pool.capabilities[arm])
        if missing:
            names = ", ".join(sorted(capability_names(missing)))
            return Refusal(code.CAPABILITY, f"it lacks {names}")
        window = max(needs.context_length, self._measured.window)
        if window > self._window[arm]:
            return Refusal(
                code.CONTEXT_LENGTH,
                f"its window holds {self._window[arm]:.0f} tokens, {window} are needed",
            )
        output = max(needs.max_tokens, self._measured.output)
        if output > pool.max_output[arm]:
            return Refusal(
                code.MAX_TOKENS,
                f"it answers with at most {pool.max_output[arm]:.0f} tokens, not {output}",
            )
        return self._measured_refusal(arm) or self._passing_refusal(key) or self._passed_over()

    def _measured_refusal(self, arm: int) -> Refusal | None:
        needs, measured = self._needs, self._measured
        if needs.max_cost is not None:
            cost, left = measured.cost_usd[arm], _left_usd(needs.max_cost, measured.spent_usd)
            if np.isnan(cost):
                if not needs.allow_unknown_cost:
                    return Refusal(RefusalCode.UNKNOWN_COST, "its price is not known")
            elif cost > left:
                return Refusal(
                    RefusalCode.MAX_COST,
                    f"it may cost {cost:.6f} USD, {left:.6f} are allowed",
                )
        if needs.min_speed is not None and measured.speed[arm] < needs.min_speed:
            return Refusal(
                RefusalCode.MIN_SPEED,
                f"it gives {measured.speed[arm]:.1f} tokens/s, {needs.min_speed:g} are needed",
            )
        return None if measured.budget_usd is None else self._budget_refusal(arm)

    def _budget_refusal(self, arm: int) -> Refusal | None:
        measured, cost = self._measured, self._measured.cost_usd[arm]
        if np.isnan(cost):
            return Refusal(RefusalCode.UNKNOWN_COST, "its price is not known to the day's budget")
        if cost <= measured.budget_usd:
            return None
        return Refusal(
            RefusalCode.BUDGET,
            f"it may cost {cost:.6f} USD, {measured.budget_usd:.6f} of the day's budget are left",
            measured.budget_renews_s if cost <= measured.budget_limit_usd else None,
        )

    def _passing_refusal(self, key: str) -> Refusal | None:
        if key in self._tried:
            return Refusal(RefusalCode.TRIED, "this request has tried it")
        outage = self._outages.get(key)
        return None if outage is None else outage.refusal(self._measured.now)

    def _passed_over(self) -> Refusal:
        prefer = self._needs.prefer
        reason = "another was to be tried again" if prefer is None else f"{prefer} is preferred"
        return Refusal(RefusalCode.PASSED_OVER, reason)


def _left_usd(max_cost: float, spent_usd: float) -> float:
    """Return what a request may still spend: nothing, not less, where an answer was misjudged.

    What costs nothing may serve all the same.
    """
    return max(max_cost - spent_usd, 0.0)


def refusal_table(refused: Mapping[str, Refusal], limit: int = 20) -> str:
    """Return why each model was refused, a line each; past ``limit`` models they are counted."""
    if not refused:
        return "no model is registered"
    if len(refused) <= limit:
        width = max(map(len, refused))
        return "\n".join(f"  {key:<{width}}  {refusal}" for key, refusal in refused.items())
    counts = Counter(refusal.code.value for refusal in refused.values())
    return "\n".join(
        f"  {count:,} model{'s' if count > 1 else ''}: {code}"
        for code, count in counts.most_common()
    )
