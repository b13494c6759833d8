"""What another selector would have done with the requests of a log, decision by decision.

It decides with the code that serves, on what the log had shown until then: every outcome and
every rating that had come in, whoever was chosen. So its choices are those it would have made had
it taken over for this one request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

from orchestrator.analysis.decisions import DecisionLog
from orchestrator.core.errors import ConfigurationError
from orchestrator.core.estimates import FloatArray
from orchestrator.core.objective import Objective, default_cost_weight
from orchestrator.core.selector import BoolArray, Candidates, Selector
from orchestrator.core.statistics import Column, Outcome, minute_of
from orchestrator.core.views import Evidence, View
from orchestrator.selectors import propensities

__all__ = ["decide_again"]

_KAPPA: Final = 8.0
"""Calls that an arm's mean cost over all segments counts for in each."""
_DECIDED, _ENDED, _RATED = range(3)
_EXPIRED: Final = ((Column.EXPIRED, 1.0),)


def decide_again(
    log: DecisionLog,
    selector: Selector,
    objective: Objective | None = None,
    *,
    seed: int = 0,
    on_decision: Callable[[int], object] = lambda decisions: None,
) -> FloatArray:
    """Return how likely a selector would have been to choose each model.

    What a call costs is learned from the calls before it, and which models are local, preferred or
    can stream the log does not say: they count as equal.

    Args:
        log: The decisions.
        selector: Decides.
        objective: What is worth how much; None: as served without settings.
        seed: For selectors that draw their scores.
        on_decision: Told after every decision how many are done.

    Returns:
        Shape ``(n, n_models)``; each row is a distribution over what could be chosen.

    Raises:
        ConfigurationError: The selector keeps by itself what it learns, or scores no numbers.
        InvalidRequestError: It learns from more or fewer features than requests have.
    """
    if hasattr(selector, "update"):
        raise ConfigurationError(
            f"selector {selector.name!r} keeps by itself what it learns: a log cannot tell it"
        )
    deciding = _Deciding(log, selector, objective or Objective(), np.random.default_rng(seed))
    target = np.zeros((len(log), len(log.models)))
    done = 0
    for kind, row, wall in _events(log):
        deciding.view.advance(minute_of(wall))
        if kind == _DECIDED:
            target[row] = deciding.decide(row)
            done += 1
            on_decision(done)
        elif kind == _ENDED:
            deciding.end(row)
        else:
            deciding.rate(row)
    return target


# -- deciding ----------------------------------------------------------------------------------


def _events(log: DecisionLog) -> Iterator[tuple[int, int, float]]:
    """Iterate over what happened, to which row and when; of one moment, decision by decision."""
    wall = log.numbers["wall"]
    # Where the clock was put back, an end follows its beginning all the same.
    ended = np.maximum(log.numbers["ended_wall"], wall)
    rated = np.fmax(np.maximum(log.numbers["rated_wall"], wall), ended)
    rated[np.isnan(log.numbers["quality"])] = np.nan
    times = np.stack([wall, ended, rated])
    kinds, rows = np.nonzero(~np.isnan(times))
    order = np.lexsort((kinds, rows, times[kinds, rows]))
    for kind, row in zip(kinds[order].tolist(), rows[order].tolist(), strict=True):
        yield kind, row, times.item(kind, row)


class _Deciding:
    """One selector on its way through a log."""

    def __init__(
        self,
        log: DecisionLog,
        selector: Selector,
        objective: Objective,
        rng: np.random.Generator,
    ) -> None:
        self._log, self._selector, self._objective, self._rng = log, selector, objective, rng
        self.view = View(
            selector.memory,
            log.models,
            segmented=selector.segmented,
            n_extra=selector.n_extra,
        )
        self._odds: Callable[[Evidence, Candidates], Callable[[], FloatArray]] | None = getattr(
            selector, "odds", None
        )
        self._n, self._usd = np.zeros((2, len(log.segments), len(log.models)))
        self._nothing = np.zeros(len(log.models))
        self._no = np.zeros(len(log.models), dtype=np.bool_)
        weight = objective.cost_weight
        # Prices are known before the first call, which only the log's own calls tell here.
        self._cost_weight = default_cost_weight(_mean_cost(log)) if weight is None else weight

    def decide(self, row: int) -> FloatArray:
        log, selector = self._log, self._selector
        segment = log.segment.item(row)
        eligible = log.eligible_sets[log.eligible_set[row]]
        evidence = self.view.evidence(log.segments[segment])
        candidates = self._candidates(row, segment, eligible)
        if self._odds is not None:
            chances = (1.0 - selector.floor) * self._odds(evidence, candidates)()
            chances += selector.floor * eligible / eligible.sum()
        else:
            scores = selector.scores(evidence, candidates, self._rng)
            if np.isnan(scores).any(where=eligible):
                raise ConfigurationError(f"selector {selector.name!r} has scores that are nan")
            chances = propensities(scores, eligible, selector.floor)
        self.view.open(self._minute(row), log.segments[segment], log.arm.item(row))
        return chances

    def end(self, row: int) -> None:
        log, number = self._log, self._log.numbers
        if not log.counts[row]:
            self._add(row, _EXPIRED)
            return
        first = number["first_token_s"].item(row)
        usd = number["cost_usd"].item(row)
        outcome = Outcome(
            bool(log.ok[row]),
            usd,
            int(number["tokens_in"][row]),
            int(number["tokens_out"][row]),
            number["seconds"].item(row),
            None if np.isnan(first) else first,
        )
        self._n[log.segment[row], log.arm[row]] += 1.0
        self._usd[log.segment[row], log.arm[row]] += usd
        self._add(row, outcome.deltas())

    def rate(self, row: int) -> None:
        quality = self._log.numbers["quality"].item(row)
        self._add(
            row,
            (
                (Column.N_QUALITY, 1.0),
                (Column.QUALITY, quality),
                (Column.QUALITY_SQ, quality * quality),
            ),
        )

    # ------------------------------------------------------------------------------------------

    def _candidates(self, row: int, segment: int, eligible: BoolArray) -> Candidates:
        n, usd = self._n.sum(axis=0), self._usd.sum(axis=0)
        mean = np.divide(usd, n, out=np.full_like(usd, np.nan), where=n > 0)
        expected = (self._usd[segment] + _KAPPA * mean) / (self._n[segment] + _KAPPA)
        features, total = self._log.features, self.view.total
        return Candidates(
            eligible,
            expected,
            self._objective.penalty(total, np.nan_to_num(expected), self._cost_weight),
            self._nothing,
            self._no,
            self._no,
            total.speed,
            None if features is None else features[row],
            self._log.models,
        )

    def _minute(self, row: int) -> int:
        return minute_of(self._log.numbers["wall"].item(row))

    def _add(self, row: int, deltas: Any) -> None:
        log = self._log
        segment, model = log.segments[log.segment[row]], log.models[log.arm[row]]
        features = None if log.features is None else log.features[row]
        self.view.add(self._minute(row), segment, model, deltas, features)


def _mean_cost(log: DecisionLog) -> FloatArray:
    """Return the mean cost in USD of each model's calls, nan where there is none."""
    known = log.counts & np.isfinite(log.numbers["cost_usd"])
    n, usd = np.zeros((2, len(log.models)))
    np.add.at(n, log.arm[known], 1.0)
    np.add.at(usd, log.arm[known], log.numbers["cost_usd"][known])
    return np.divide(usd, n, out=np.full_like(usd, np.nan), where=n > 0)
