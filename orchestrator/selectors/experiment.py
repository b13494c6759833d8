"""Experiments: units split between variants, compared continuously, concluded by themselves."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate
from math import erf, exp, log, log1p, sqrt
from typing import Final, Literal, NamedTuple

from orchestrator.core.errors import InvalidRequestError

__all__ = ["Assignment", "Comparison", "Conclusion", "Experiment", "ExperimentPlan"]

_SLOTS: Final = 1 << 20
"""Bits that remember which units have counted: 128 KiB, enough for about a million units."""
_ADAPT_EVERY: Final = 50
"""Outcomes after which an adaptive split is set anew; a unit keeps its variant in between."""
_BOLDEST: Final = 0.5
"""The largest bet, as a share of one that a single outcome could lose entirely."""
_N, _REWARD, _WEIGHT, _WEIGHT_SQ, _WEIGHTED, _WEIGHTED_SQ = range(6)
"""Sums of a variant: units, rewards, weights, and rewards and their squares by weight."""
_BETS, _WON, _PRICE, _SCORE_SQ = range(6, 10)
"""Sums of a challenger's comparison: bets, what they won, what evidence making them costs."""
_N_SUMS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentPlan:
    """What is compared, and when to conclude.

    Attributes:
        name: Salts the split, so that experiments divide the same units independently.
        variants: At least two names; the first is the control.
        split: Share of each variant, above 0 and summing to 1; None is equal shares.
        reward: What whoever serves the variants is to record of an answered unit: the
            ``quality`` it is given, once it has one, or 1 for ``success``. Failures are 0.
        adaptive: Whether shares follow the evidence.
        floor: Share that an adaptive split leaves every variant. The lower it is, the less is
            spent on the worse variant, and the longer it takes to be sure.
        alpha: Chance in (0, 1) of a wrong conclusion, however often one looks.
        min_effect: Stop once no challenger can be better than the control by this much.
        max_units: Stop after so many units have counted, sure or not; None is never.
    """

    name: str
    variants: tuple[str, ...]
    split: tuple[float, ...] | None = None
    reward: Literal["quality", "success"] = "quality"
    adaptive: bool = False
    floor: float = 0.1
    alpha: float = 0.05
    min_effect: float = 0.0
    max_units: int | None = None

    def __post_init__(self) -> None:
        n, split = len(self.variants), self.split
        if n < 2 or len(set(self.variants)) < n:
            raise _refusal("variants", "must be two or more different names", self.variants)
        if split is not None and (
            len(split) != n or not min(split) > 0 or not abs(sum(split) - 1) < 1e-9
        ):
            raise _refusal("split", f"must be {n} shares above 0 that sum to 1", split)
        if self.reward not in ("quality", "success"):
            raise _refusal("reward", "is quality or success", self.reward)
        if not 0 < self.alpha < 1:
            raise _refusal("alpha", "lies between 0 and 1", self.alpha)
        if not 0 < self.floor <= 1 / n:
            raise _refusal("floor", f"lies above 0 and at most at 1/{n}", self.floor)
        if not 0 <= self.min_effect < 1:
            raise _refusal("min_effect", "lies in [0, 1)", self.min_effect)
        if self.max_units is not None and not self.max_units >= 1:
            raise _refusal("max_units", "must be at least 1", self.max_units)


class Assignment(NamedTuple):
    """Which variant a unit gets.

    Attributes:
        variant: Its position in the plan.
        split: Share of every variant when this was decided.
        slot: By which the unit is known to have counted.
    """

    variant: int
    split: tuple[float, ...]
    slot: int

    @property
    def propensity(self) -> float:
        """How likely this variant was."""
        return self.split[self.variant]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A challenger beside the control.

    Attributes:
        variant: The challenger.
        difference: Mean reward, challenger less control.
        low, high: Hold the difference at every moment at once with probability 1 - alpha, alpha
            shared out over the challengers.
        p_value: Chance at most of so much evidence at any moment if there were no difference;
            to be held against this challenger's part of alpha.
        n: Units of the challenger that have counted.
        n_control: Those of the control.
    """

    variant: str
    difference: float
    low: float
    high: float
    p_value: float
    n: int
    n_control: int


@dataclass(frozen=True, slots=True)
class Conclusion:
    """How an experiment ended.

    Attributes:
        experiment: Its name.
        verdict: ``promote`` a challenger, or ``stop`` and keep the control.
        variant: Who serves from now on.
        reason: Why, for people.
        comparisons: Every challenger beside the control at that moment.
    """

    experiment: str
    verdict: Literal["promote", "stop"]
    variant: str
    reason: str
    comparisons: tuple[Comparison, ...]


class Experiment:
    """One experiment: assigns units, takes outcomes, and knows when it is over.

    Two variants are compared by scores whose mean is their difference whatever the split was, has
    become, or depends on: the reward less a centre known before, over the variant's share, with
    the sign of the side. So rewards may drift while an adaptive split moves. Bets on the scores,
    sized by what came before, grow only if there is a difference; they are sums, so states of
    several processes add up.

    A unit's first outcome counts and its later ones do not: a returning unit brings its old
    variant and its own ways along, and counting it again would be false certainty. Every outcome
    has to be recorded, failures as 0, or what is left out decides. Outcomes may come
    late, from one variant later than from another, or failures later than successes; where all of
    that is so by hundreds of units, record them in the order of assignment.

    Args:
        plan: What is compared.
        sums: Those of an experiment that goes on, as `sums` gave them.
        counted: Which units have counted, as `counted` gave them.

    Source:
        Waudby-Smith & Ramdas (2024), predictable plug-in empirical Bernstein confidence
        sequences, from the inequality of Fan, Grama & Liu (2015). Scores: Horvitz & Thompson
        (1952), centred; as design-based sequences in Ham, Bojinov, Lindon & Tingley (2022).
    """

    def __init__(
        self,
        plan: ExperimentPlan,
        sums: Sequence[Sequence[float]] | None = None,
        counted: bytes | None = None,
    ) -> None:
        n = len(plan.variants)
        self.plan = plan
        self.sums = [[0.0] * _N_SUMS for _ in range(n)] if sums is None else [*map(list, sums)]
        self.counted = bytearray(_SLOTS // 8) if counted is None else bytearray(counted)
        if len(self.sums) != n or any(len(row) != _N_SUMS for row in self.sums):
            raise _refusal("sums", f"must be {n} rows of {_N_SUMS}", sums)
        if len(self.counted) != _SLOTS // 8:
            raise _refusal("counted", f"must be {_SLOTS // 8} bytes", len(self.counted))
        self.conclusion: Conclusion | None = None
        # Evidence at which one side of one comparison is sure.
        self._log_level = log(2 * (n - 1) / plan.alpha)
        self._adapt()
        self._conclude()

    @property
    def n_units(self) -> int:
        """Units that have counted."""
        return int(sum(row[_N] for row in self.sums))

    def assign(self, unit: str) -> Assignment:
        """Return a unit's variant: the same in every process while the split stands.

        When an adaptive split moves, only units at its edges change sides. Once concluded,
        everybody gets the variant that won.
        """
        digest = blake2b(f"{self.plan.name}\0{unit}".encode(), digest_size=16).digest()
        position = (int.from_bytes(digest[:8], "big") >> 11) / 2.0**53
        variant = bisect_right(self._edges, position)
        return Assignment(variant, self.split, int.from_bytes(digest[8:], "big") % _SLOTS)

    def record(self, assignment: Assignment, reward: float) -> Conclusion | None:
        """Take an outcome.

        Args:
            assignment: What `assign` gave when the unit was served.
            reward: In [0, 1].

        Returns:
            The conclusion, if this outcome brought it about; publish it once.
        """
        if not 0 <= reward <= 1:
            raise _refusal("reward", "lies in [0, 1]", reward)
        variant, split, slot = assignment
        byte, bit = slot >> 3, 1 << (slot & 7)
        # A share of 0 is from a process that has concluded already.
        if self.conclusion is not None or 0.0 in split or self.counted[byte] & bit:
            return None
        self.counted[byte] |= bit
        for challenger in (variant,) if variant else range(1, len(split)):
            self._bet(challenger, variant, split, reward)
        row, weight = self.sums[variant], 1.0 / split[variant]
        row[_N] += 1.0
        row[_REWARD] += reward
        row[_WEIGHT] += weight
        row[_WEIGHT_SQ] += weight * weight
        row[_WEIGHTED] += weight * reward
        row[_WEIGHTED_SQ] += weight * reward * reward
        if self.plan.adaptive and self.n_units % _ADAPT_EVERY == 0:
            self._adapt()
        return self._conclude()

    def compare(self) -> tuple[Comparison, ...]:
        """Return every challenger beside the control, as things stand."""
        n_control = int(self.sums[0][_N])
        return tuple(
            Comparison(
                name,
                *self._interval(challenger),
                min(1.0, 2 * exp(row[_PRICE] - abs(row[_WON]))),
                int(row[_N]),
                n_control,
            )
            for challenger, (name, row) in enumerate(
                zip(self.plan.variants, self.sums, strict=True)
            )
            if challenger
        )

    # ------------------------------------------------------------------------------------------

    def _bet(self, challenger: int, variant: int, split: tuple[float, ...], reward: float) -> None:
        control, row = self.sums[0], self.sums[challenger]
        n = control[_N] + row[_N]
        centre = (control[_REWARD] + row[_REWARD] + 0.5) / (n + 1)
        # Of the units that got one of the two, how many got this one.
        share = split[variant] / (split[0] + split[challenger])
        largest = 1 / min(share, 1 - share)
        score = (reward - centre) / (share if variant else -share)
        # The more units there have been the smaller the bet, so that none decides alone; a
        # variance not yet known counts as large.
        variance = (row[_SCORE_SQ] + largest) / (n + 1)
        bet = sqrt(2 * self._log_level / (variance * (n + 1) * log1p(n + 1)))
        bet = min(bet, _BOLDEST / largest)
        risk = bet * largest
        row[_BETS] += bet
        row[_WON] += bet * score
        row[_PRICE] += (score / largest) ** 2 * (-log1p(-risk) - risk)
        row[_SCORE_SQ] += score * score

    def _interval(self, challenger: int) -> tuple[float, float, float]:
        """Return the difference and its bounds."""
        row = self.sums[challenger]
        bets = row[_BETS]
        if not bets:
            return 0.0, -1.0, 1.0
        difference, half = row[_WON] / bets, (self._log_level + row[_PRICE]) / bets
        return difference, max(difference - half, -1.0), min(difference + half, 1.0)

    def _adapt(self) -> None:
        """Set the split: as planned, or by the chance that each variant beats the leader."""
        plan, n = self.plan, len(self.plan.variants)
        if not (plan.adaptive and self.n_units):
            self._set_split(plan.split or (1.0 / n,) * n)
            return
        found = [_mean_and_error_sq(row) for row in self.sums]
        best, error_sq = max(found)
        chances = [
            0.5 * (1 + erf((mean - best) / sqrt(2 * (own_sq + error_sq)))) for mean, own_sq in found
        ]
        free = (1 - n * plan.floor) / sum(chances)
        self._set_split([plan.floor + free * chance for chance in chances])

    def _conclude(self) -> Conclusion | None:
        plan, n_units = self.plan, self.n_units
        bounds = [self._interval(challenger)[1:] for challenger in range(1, len(self.sums))]
        verdict: Literal["promote", "stop"] = "stop"
        winner = 0
        if (low := max(bounds))[0] > 0:
            verdict, winner, reason = "promote", 1 + bounds.index(low), "better than the control"
        elif max(high for _, high in bounds) < plan.min_effect:
            reason = "no challenger is better" + (" enough" if plan.min_effect else "")
        elif plan.max_units is not None and n_units >= plan.max_units:
            reason = f"undecided after {n_units} units"
        else:
            return None
        self.conclusion = Conclusion(
            plan.name, verdict, plan.variants[winner], reason, self.compare()
        )
        self._set_split([float(variant == winner) for variant in range(len(plan.variants))])
        return self.conclusion

    def _set_split(self, shares: Sequence[float]) -> None:
        self.split = tuple(shares)
        self._edges = [*accumulate(shares)][:-1]


def _mean_and_error_sq(row: Sequence[float]) -> tuple[float, float]:
    """Return a variant's mean reward, weighed by the split, and its squared standard error.

    Half a unit won and half a unit lost are added, so that nothing is certain at the start.
    """
    weight = row[_WEIGHT] + 1.0
    mean = (row[_WEIGHTED] + 0.5) / weight
    variance = (row[_WEIGHTED_SQ] + 0.5) / weight - mean * mean
    return mean, variance * (row[_WEIGHT_SQ] + 1.0) / (weight * weight)


def _refusal(name: str, range_: str, value: object) -> InvalidRequestError:
    return InvalidRequestError(f"{name} {range_}, not {value!r}", param=name)
