"""What was written down against what happened: statistics, views, pending pulls, feedback."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from orchestrator.core.errors import EngineClosedError, InvalidRequestError, UnknownDecisionError
from orchestrator.core.estimates import Estimates
from orchestrator.core.events import (
    CallFailed,
    DecisionExpired,
    FeedbackRecorded,
    ModelSelected,
    ModelUsed,
)
from orchestrator.core.statistics import COLUMNS, Column, Outcome, RowId
from orchestrator.core.views import View
from orchestrator.testing.trace import Trace
from tests.simulation.endings import after_closing
from tests.simulation.evidence import Evidence

_ESTIMATED = ("n", "mean", "variance", "trials", "p_fail", "seconds", "speed", "pulls")
_UNCOUNTED = ("cancelled", "invalid_request", "content_filter", "unsupported")
"""Failures that are no outcome of the model: the caller went away, it was the caller's fault, or
the model never claimed to do what was asked.

So is that an engine which is closed leases no model.
"""


def adds_up(evidence: Evidence) -> Iterator[str]:
    """Every sum in the statistics is that of the outcomes: calls, money, tokens, time, quality."""
    expected = _expected_sums(evidence)
    found = evidence.trace.engine.get_model_statistics()
    for key in expected.keys() | found.keys():
        for column, name in enumerate(COLUMNS):
            is_, should_be = found.get(key, {}).get(name, 0.0), expected[key][column]
            if not np.isclose(is_, should_be, rtol=1e-9, atol=1e-9):
                yield f"{name} of {key} is {is_}, not {should_be}"


def leaves_nothing_pending(evidence: Evidence) -> Iterator[str]:
    """Once all is over every pull that was opened is closed or expired, in rows and views."""
    recorder = evidence.trace.engine._recorder
    for (segment, key), sums in recorder.statistics.totals().items():
        if pending := _pending(sums):
            yield f"{pending:g} pulls of {key} are pending in segment {segment}"
    for view_key, view in recorder._views.items():
        for segment, estimates in (("all", view.total), *view._segments.items()):
            for arm, key in enumerate(view.keys):
                if abs(_pending(estimates.sums(arm))) > 1e-6:
                    yield f"pulls of {key} are pending in view {view_key}, segment {segment}"


def shows_what_it_knows(evidence: Evidence) -> Iterator[str]:
    """Each dense view is what the rows say under its memory, and its estimates follow from it."""
    recorder = evidence.trace.engine._recorder
    for view_key, view in recorder._views.items():
        rows = [(row_id, row.sums) for row_id, row in recorder.statistics.rows()]
        if any(row_id.width > 1 for row_id, _ in rows) and view.memory.half_life_s is not None:
            continue  # folded rows have forgotten their minute
        weights = [_weight(view, row_id, recorder.minute) for row_id, _ in rows]
        for segment, estimates in ((None, view.total), *view._segments.items()):
            sums = np.zeros((len(COLUMNS), len(view.keys)))
            for (row_id, values), weight in zip(rows, weights, strict=True):
                if row_id.model in view.keys and segment in (None, row_id.segment):
                    sums[:, view.keys.index(row_id.model)] += weight * np.array(values)
            for fault in _faults(view, estimates, sums):
                yield f"view {view_key}, segment {segment}: {fault}"


def takes_ratings(evidence: Evidence) -> Iterator[str]:
    """A quality counts once and may be corrected; nonsense and forgotten decisions are refused.

    So is every one once the engine has closed.
    """
    trace = evidence.trace
    n_recorded = sum(isinstance(event, FeedbackRecorded) for _, event in trace.events)
    n_changes = 0
    last: dict[str, float] = {}
    for rated in trace.ratings:
        if isinstance(rated.error, EngineClosedError):
            if not rated.closing:
                yield f"{rated} failed"
            continue
        quality = rated.rating.quality
        if not 0 <= quality <= 1:
            if not isinstance(rated.error, InvalidRequestError):
                yield f"{rated} was taken"
            continue
        if rated.forgotten != isinstance(rated.error, UnknownDecisionError):
            yield f"{rated}, forgotten: {rated.forgotten}"
        if rated.error is None:
            n_changes += last.get(rated.decision_id) != quality
            last[rated.decision_id] = quality
        elif not isinstance(rated.error, UnknownDecisionError):
            yield f"{rated} failed"
    if n_recorded != n_changes:
        yield f"{n_changes} ratings changed something, {n_recorded} events say so"


def _expected_sums(evidence: Evidence) -> dict[str, list[float]]:
    """Add up what the events say, by model in the order of `COLUMNS`."""
    trace = evidence.trace
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0] * len(COLUMNS))
    leased = {key for key, arm in trace.pool.arms.items() if arm.site.kind == "process"}
    faulty = {
        one.selected.decision_id
        for attempts in evidence.attempts.values()
        for one in attempts
        if any(call.harm == "final" for call in one.calls)
    }
    for _, event in trace.events:
        match event:
            case ModelSelected():
                sums[event.model][Column.OPENED] += 1
            case ModelUsed():
                outcome = Outcome(
                    True,
                    event.cost_usd,
                    event.prompt_tokens,
                    event.completion_tokens,
                    event.latency_s,
                    event.first_token_s,
                )
                _add(sums[event.model], outcome)
            case CallFailed():
                closed = after_closing(event.at, trace) and _is_of_closing(event)
                uncounted = event.classification in _UNCOUNTED or (
                    event.classification == "unexpected"
                    and (event.decision_id in faulty or (closed and event.model in leased))
                )
                if uncounted:
                    sums[event.model][Column.EXPIRED] += 1
                    sums[event.model][Column.COST] += event.cost_usd
                else:
                    _add(sums[event.model], Outcome(False, event.cost_usd))
            case DecisionExpired():
                sums[event.model][Column.EXPIRED] += 1
    for key, quality in _final_qualities(trace):
        sums[key][Column.N_QUALITY] += 1
        sums[key][Column.QUALITY] += quality
        sums[key][Column.QUALITY_SQ] += quality**2
    return sums


def _is_of_closing(event: CallFailed) -> bool:
    return "closed during" in event.message or "not in service" in event.message


def _final_qualities(trace: Trace) -> Iterator[tuple[str, float]]:
    models = {e.decision_id: e.model for _, e in trace.events if isinstance(e, ModelSelected)}
    final = {r.decision_id: r.rating.quality for r in trace.ratings if r.error is None}
    for decision_id, quality in final.items():
        yield models[decision_id], quality


def _add(sums: list[float], outcome: Outcome) -> None:
    for column, delta in outcome.deltas():
        sums[column] += delta


def _pending(sums: list[float]) -> float:
    return sums[Column.OPENED] - sums[Column.CLOSED] - sums[Column.EXPIRED]


def _weight(view: View, row_id: RowId, minute: int) -> float:
    """Return how much of a row a view still remembers."""
    if view.memory.half_life_s is not None:
        return float(0.5 ** ((minute - row_id.start) * 60 / view.memory.half_life_s))
    return float(row_id.start >= view.memory.first_minute(minute))


def _faults(view: View, estimates: Estimates, sums: np.ndarray) -> Iterator[str]:
    for arm, key in enumerate(view.keys):
        found = np.array(estimates.sums(arm))
        if not np.allclose(found, sums[:, arm], rtol=1e-6, atol=1e-6):
            yield f"{key} has {found.round(6).tolist()}, the rows {sums[:, arm].round(6).tolist()}"
    own_sums = np.array([estimates.sums(arm) for arm in range(len(view.keys))])
    derived = Estimates.of(
        own_sums.reshape(-1, len(COLUMNS)).T,
        rates_quality=estimates.rates_quality,
        prior=estimates.prior,
    )
    for name in _ESTIMATED:
        is_, should_be = getattr(estimates, name), getattr(derived, name)
        if not np.allclose(is_, should_be, rtol=1e-6, atol=1e-6, equal_nan=True):
            yield f"{name} is {is_.tolist()}, its sums give {should_be.tolist()}"
