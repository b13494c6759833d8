"""Which models may serve a request.

What depends only on what models declare is a mask, kept per shape of requirements until the
registry changes; what depends on the request's size and on measurements is compared each time.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from orchestrator.core.estimates import FloatArray
from orchestrator.core.requirements import Requirements
from orchestrator.core.selector import BoolArray
from orchestrator.routing.pool import Pool
from orchestrator.routing.registry import ModelRegistry

__all__ = ["AS_ESTIMATED", "Counting", "Eligibility", "Measured", "Screening", "left_usd"]

_MAX_SHAPES = 4096


class Counting:
    """How models count the tokens of a prompt: what each adds, and its tokens per one of ours.

    Args:
        added: Tokens beside the prompt's own, shape ``(n_arms,)``, or ``(1,)`` for all alike.
        slope: Tokens per estimated token, shape as ``added``.
    """

    __slots__ = ("_added", "_most_added", "_slope", "_steepest")

    def __init__(self, added: FloatArray, slope: FloatArray) -> None:
        self._added, self._slope = added, slope
        self._most_added = float(added.max(initial=0.0))
        self._steepest = float(slope.max(initial=1.0))

    def most(self, prompt: int) -> float:
        """Return what no model counts more tokens than."""
        return self._most_added + self._steepest * prompt

    def tokens(self, prompt: int) -> FloatArray:
        """Return what each model counts, shape as ``added``: never less than we estimate."""
        tokens = self._slope * prompt
        tokens += self._added
        return np.maximum(np.ceil(tokens), prompt)


AS_ESTIMATED: Final = Counting(np.zeros(1), np.ones(1))
"""How models count that have told nothing yet."""


class Measured(NamedTuple):
    """What one request is compared with beside declarations; shapes ``(n_arms,)``.

    Attributes:
        cost_usd: What one attempt costs at most; nan where unknown.
        speed: Output tokens per second, measured else declared; nan where unknown.
        counting: How the models count the tokens of a prompt.
        spent_usd: What the request's earlier attempts have cost.
        budget_usd: What the day's budget has left, or None if there is none.
        prompt: Tokens of the longest text, as we estimate them; 0 where that is not known.
        output: Output tokens that it may ask for.
        budget_limit_usd: The whole of the day's budget.
        budget_renews_s: Seconds until it is whole again.
    """

    cost_usd: FloatArray
    speed: FloatArray
    counting: Counting = AS_ESTIMATED
    spent_usd: float = 0.0
    budget_usd: float | None = None
    prompt: int = 0
    output: int = 0
    budget_limit_usd: float = np.inf
    budget_renews_s: float = 0.0

    def most_tokens(self, needs: Requirements) -> float:
        """Return what no model needs a larger window than, for a request with these demands."""
        prompt = self.counting.most(self.prompt) if self.prompt else 0
        return max(needs.context_length, prompt + self.output)

    def tokens(self, needs: Requirements) -> FloatArray:
        """Return how large each model's window has to be, in tokens as the model counts them.

        Shape ``(n_arms,)``, or ``(1,)`` where all are alike.
        """
        tokens = self.counting.tokens(self.prompt) if self.prompt else np.zeros(1)
        tokens += self.output
        return np.maximum(tokens, needs.context_length) if needs.context_length else tokens


class _Shape:
    """The models that meet the demands on declarations, and the least any of them holds."""

    __slots__ = ("mask", "min_output", "min_window")

    def __init__(self, mask: BoolArray, pool: Pool) -> None:
        self.mask = mask
        self.min_window = float(pool.window[mask].min(initial=np.inf))
        self.min_output = float(pool.max_output[mask].min(initial=np.inf))


class Screening(NamedTuple):
    """Who meets the demands of one request, and all that it takes to say why the others do not.

    Attributes:
        pool: The models.
        needs: The demands.
        candidates: Keys that the route names, or None for all.
        measured: What the request was compared with.
        excluded: Keys that the excluded names mean.
        eligible: Who meets every demand, shape ``(n_arms,)``; health is not looked at here. Do
            not write to it.
    """

    pool: Pool
    needs: Requirements
    candidates: tuple[str, ...] | None
    measured: Measured
    excluded: frozenset[str]
    eligible: BoolArray


class Eligibility:
    """Masks over one pool.

    Attributes:
        pool: The models.
    """

    def __init__(self, pool: Pool, registry: ModelRegistry) -> None:
        self.pool = pool
        self._registry = registry
        self._shapes: dict[tuple[object, ...], _Shape] = {}

    def screen(
        self, needs: Requirements, candidates: tuple[str, ...] | None, measured: Measured
    ) -> Screening:
        """Return which models meet every requirement.

        Args:
            needs: The demands.
            candidates: Keys to choose among, or None for all.
            measured: What this request is compared with.
        """
        excluded = self._excluded(needs) if needs.exclude_models else _NOBODY
        mask = self._mask(needs, candidates, measured)
        return Screening(self.pool, needs, candidates, measured, excluded, mask)

    def _mask(
        self, needs: Requirements, candidates: tuple[str, ...] | None, measured: Measured
    ) -> BoolArray:
        shape = self._shape(needs, candidates)
        mask = shape.mask
        if measured.most_tokens(needs) > shape.min_window:
            mask = mask & (self.pool.window >= measured.tokens(needs))
        output = max(needs.max_tokens, measured.output)
        if output > shape.min_output:
            mask = mask & (self.pool.max_output >= output)
        if needs.max_cost is not None:
            affordable = measured.cost_usd <= left_usd(needs.max_cost, measured.spent_usd)
            if needs.allow_unknown_cost:
                affordable |= np.isnan(measured.cost_usd)
            mask = mask & affordable
        if measured.budget_usd is not None:
            # An unknown price is not below anything: under a cap it may not be taken.
            mask = mask & (measured.cost_usd <= measured.budget_usd)
        if needs.min_speed is not None:
            if needs.allow_unknown_speed:
                mask = mask & ~(measured.speed < needs.min_speed)
            else:
                mask = mask & (measured.speed >= needs.min_speed)
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
        for key in self._excluded(needs):
            mask[pool.index[key]] = False
        if candidates is not None:
            among = np.zeros(len(pool), dtype=np.bool_)
            among[[pool.index[c] for c in candidates if c in pool.index]] = True
            mask &= among
        return mask

    def _excluded(self, needs: Requirements) -> frozenset[str]:
        keys = {key for name in needs.exclude_models for key in self._registry.matches(name)}
        return frozenset(keys & self.pool.index.keys())


_NOBODY: frozenset[str] = frozenset()


def left_usd(max_cost: float, spent_usd: float) -> float:
    """Return what a request may still spend: nothing, not less, where an answer was misjudged.

    What costs nothing may serve all the same.
    """
    return max(max_cost - spent_usd, 0.0)
