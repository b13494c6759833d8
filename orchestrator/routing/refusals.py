"""Why a model may not serve a request: a code to count by, and a sentence to read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping

import numpy as np

from orchestrator.core.capabilities import capability_names
from orchestrator.core.decisions import Refusal, RefusalCode
from orchestrator.core.selector import BoolArray
from orchestrator.routing.availability import Outage
from orchestrator.routing.eligibility import Screening, left_usd

__all__ = ["Refusals", "refusal_table"]


class Refusals(Mapping[str, Refusal]):
    """Why each model that was not eligible was refused, worked out when somebody asks.

    Args:
        screening: Who meets the demands.
        outages: Who was out of service.
        now: When, in monotonic seconds: how long an outage lasts is counted from here.
        tried: Who was not to be tried again.
        eligible: Who could be chosen, shape ``(n_arms,)``; None is nobody.
    """

    __slots__ = ("_eligible", "_found", "_now", "_outages", "_screening", "_tried")

    def __init__(
        self,
        screening: Screening,
        outages: Mapping[str, Outage],
        now: float = 0.0,
        tried: Collection[str] = (),
        eligible: BoolArray | None = None,
    ) -> None:
        self._screening = screening
        self._outages = outages
        self._now = now
        self._tried = frozenset(tried) if tried else ()
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

    def counts(self) -> dict[RefusalCode, int]:
        """Return how many models were refused for each reason, without a look at each of them."""
        if self._found is not None:
            return dict(Counter(refusal.code for refusal in self._found.values()))
        left = np.ones(len(self._screening.pool), np.bool_)
        if self._eligible is not None:
            left &= ~self._eligible
        counts: Counter[RefusalCode] = Counter()
        for code, mask in self._reasons():
            if not left.any():
                break
            counts[code] += int(np.count_nonzero(left & mask))
            left &= ~mask
        counts[RefusalCode.PASSED_OVER] += int(np.count_nonzero(left))
        return {code: number for code, number in counts.items() if number}

    def _reasons(self) -> Iterator[tuple[RefusalCode, BoolArray]]:
        """Yield each reason with the models that it holds for, in the order of `_refusal`."""
        screening, code = self._screening, RefusalCode
        pool, needs, measured = screening.pool, screening.needs, screening.measured
        yield code.EXCLUDED, self._of(screening.excluded)
        if screening.candidates is not None:
            yield code.NOT_CANDIDATE, ~self._of(screening.candidates)
        if needs.provider is not None:
            named = needs.provider in pool.providers
            provider = pool.providers.index(needs.provider) if named else -1
            yield code.OTHER_PROVIDER, pool.provider_ids != provider
        if needs.model_type is not None:
            bit = np.uint64(pool.type_bit(needs.model_type))
            yield code.MODEL_TYPE, (pool.types & bit) == 0
        wanted = np.uint64(needs.capabilities)
        yield code.CAPABILITY, (pool.capabilities & wanted) != wanted
        yield code.CONTEXT_LENGTH, pool.window < measured.tokens(needs)
        yield code.MAX_TOKENS, pool.max_output < max(needs.max_tokens, measured.output)
        cost, unknown = measured.cost_usd, np.isnan(measured.cost_usd)
        if needs.max_cost is not None:
            if not needs.allow_unknown_cost:
                yield code.UNKNOWN_COST, unknown
            yield code.MAX_COST, cost > left_usd(needs.max_cost, measured.spent_usd)
        if needs.min_speed is not None:
            if not needs.allow_unknown_speed:
                yield code.UNKNOWN_SPEED, np.isnan(measured.speed)
            yield code.MIN_SPEED, measured.speed < needs.min_speed
        if measured.budget_usd is not None:
            yield code.UNKNOWN_COST, unknown
            yield code.BUDGET, cost > measured.budget_usd
        yield code.TRIED, self._of(self._tried)
        for outage_code in sorted({outage.code for outage in self._outages.values()}):
            out = [key for key, outage in self._outages.items() if outage.code is outage_code]
            yield outage_code, self._of(out)

    def _of(self, keys: Collection[str]) -> BoolArray:
        index = self._screening.pool.index
        mask = np.zeros(len(index), np.bool_)
        mask[[index[key] for key in keys if key in index]] = True
        return mask

    def _all(self) -> dict[str, Refusal]:
        if self._found is None:
            candidates = self._screening.candidates
            named = None if candidates is None else frozenset(candidates)
            self._found = {
                key: self._refusal(arm, key, named)
                for arm, key in enumerate(self._screening.pool.keys)
                if self._eligible is None or not self._eligible[arm]
            }
        return self._found

    def _refusal(self, arm: int, key: str, named: frozenset[str] | None) -> Refusal:
        """Return the first thing wrong with a model, what never changes before what passes."""
        screening, code = self._screening, RefusalCode
        pool, needs, measured = screening.pool, screening.needs, screening.measured
        if key in screening.excluded:
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
        needed = np.broadcast_to(measured.tokens(needs), len(pool))[arm]
        if needed > pool.window[arm]:
            return Refusal(
                code.CONTEXT_LENGTH,
                f"its window holds {pool.window[arm]:.0f} tokens, {needed:.0f} are needed",
            )
        output = max(needs.max_tokens, measured.output)
        if output > pool.max_output[arm]:
            return Refusal(
                code.MAX_TOKENS,
                f"it answers with at most {pool.max_output[arm]:.0f} tokens, not {output}",
            )
        return self._measured_refusal(arm) or self._passing_refusal(key) or self._passed_over()

    def _measured_refusal(self, arm: int) -> Refusal | None:
        needs, measured = self._screening.needs, self._screening.measured
        if needs.max_cost is not None:
            cost, left = measured.cost_usd[arm], left_usd(needs.max_cost, measured.spent_usd)
            if np.isnan(cost):
                if not needs.allow_unknown_cost:
                    return Refusal(RefusalCode.UNKNOWN_COST, "its price is not known")
            elif cost > left:
                return Refusal(
                    RefusalCode.MAX_COST,
                    f"it may cost {cost:.6f} USD, {left:.6f} are allowed",
                )
        if needs.min_speed is not None:
            speed = measured.speed[arm]
            if np.isnan(speed) and not needs.allow_unknown_speed:
                return Refusal(RefusalCode.UNKNOWN_SPEED, "its speed is not known")
            if speed < needs.min_speed:
                return Refusal(
                    RefusalCode.MIN_SPEED,
                    f"it gives {speed:.1f} tokens/s, {needs.min_speed:g} are needed",
                )
        return None if measured.budget_usd is None else self._budget_refusal(arm)

    def _budget_refusal(self, arm: int) -> Refusal | None:
        measured = self._screening.measured
        cost = measured.cost_usd[arm]
        if np.isnan(cost):
            return Refusal(RefusalCode.UNKNOWN_COST, "its price is not known to the day's budget")
        if cost <= measured.budget_usd:
            return None
        whole = measured.budget_limit_usd
        if cost > whole:
            # No other day has more; what is left of this one would only sound as if it had.
            reason = f"it may cost {cost:.6f} USD, the day's whole budget is {whole:.6f}"
            return Refusal(RefusalCode.BUDGET, reason)
        return Refusal(
            RefusalCode.BUDGET,
            f"it may cost {cost:.6f} USD, {measured.budget_usd:.6f} of the day's budget are left",
            measured.budget_renews_s,
        )

    def _passing_refusal(self, key: str) -> Refusal | None:
        if key in self._tried:
            return Refusal(RefusalCode.TRIED, "this request has tried it")
        outage = self._outages.get(key)
        return None if outage is None else outage.refusal(self._now)

    def _passed_over(self) -> Refusal:
        prefer = self._screening.needs.prefer
        reason = "another was to be tried again" if prefer is None else f"{prefer} is preferred"
        return Refusal(RefusalCode.PASSED_OVER, reason)


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
