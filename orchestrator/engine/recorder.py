"""Keeps rows, views and the decision log in step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from orchestrator.core.decisions import Decision, parse_decision_id
from orchestrator.core.errors import InvalidRequestError, UnknownDecisionError
from orchestrator.core.estimates import FloatArray, Prior
from orchestrator.core.ports import DecisionSink, EarlierDecision
from orchestrator.core.regressions import columns_added, kind_of, n_features_of
from orchestrator.core.selector import Selector, UpdatedSelector
from orchestrator.core.statistics import COLUMNS, Column, MergeRow, Outcome, Statistics
from orchestrator.core.views import ALL, Memory, View
from orchestrator.engine.decision_log import DecisionLog, Remembered

__all__ = ["Recorder"]

_OPENED = ((Column.OPENED, 1.0),)
_EXPIRED = ((Column.EXPIRED, 1.0),)
_UNUSED = Outcome(False)
_ViewKey: TypeAlias = tuple[Memory, bool, int]
_RATED_LATE: Final = 10_000
"""Ratings that may be on their way to the store."""


class Recorder:
    """Writes down what happened, once, in every place that has to know.

    Args:
        node: Name of this process, unique among those that share statistics.
        limit: Decisions that feedback can name.
    """

    def __init__(self, node: str, limit: int = 100_000) -> None:
        self.statistics = Statistics(node)
        self.log = DecisionLog(limit)
        self.sink: DecisionSink | None = None
        """What keeps the log beyond this process, while there is one."""
        self.keys: tuple[str, ...] = ()
        self.minute = 0
        self._prior: Prior | None = None
        self._learners: list[UpdatedSelector] = []
        """Users' selectors that keep by themselves what they learn."""
        self._features: dict[int, FloatArray] = {}
        """Of decisions whose outcome or quality is yet to come, by their sequence."""
        self._rated_late: dict[str, float] = {}
        """What was said of decisions that only the store knew, by their ids."""
        self._n_features = 0
        """How many the selectors in use learn from: one number for all of them, 0 for none."""
        self.base = View(ALL, ())
        """Everything ever seen, which no selector's memory shortens: speeds and token counts."""
        self._views: dict[_ViewKey, View] = {(ALL, False, 0): self.base}
        self._read: dict[_ViewKey, View] = {}
        """Those of selectors, which count pulls that have begun."""

    def view_for(self, selector: Selector) -> View:
        """Return the view that a selector reads, kept current from now on."""
        if isinstance(selector, UpdatedSelector) and selector not in self._learners:
            self._learners.append(selector)
        key = (selector.memory, selector.segmented, selector.n_extra)
        view = self._views.get(key)
        if view is self.base and view not in self._read.values():
            # Nobody's optimism read it, so it was not told of pulls that have begun: the rows were.
            view.clear()
            view.replay((row_id, row.sums) for row_id, row in self.statistics.rows())
            self._read[key] = view
            self._judge_alike()
        if view is None:
            if selector.n_extra:
                self._n_features = n_features_of(selector.n_extra)
            view = View(
                selector.memory,
                self.keys,
                segmented=selector.segmented,
                n_extra=selector.n_extra,
                prior=self._prior,
            )
            view.advance(self.minute)
            view.replay((row_id, row.sums) for row_id, row in self.statistics.rows())
            self._views[key] = self._read[key] = view
            self._judge_alike()
        return view

    def arrange(self, keys: Sequence[str], prior: Prior | None) -> None:
        """Follow the pool: these are the arms now."""
        new = set(keys) - set(self.keys)
        self.keys, self._prior = tuple(keys), prior
        self._views = {key: view.rearrange(self.keys, prior) for key, view in self._views.items()}
        self.base = self._views[ALL, False, 0]
        self._read = {key: self._views[key] for key in self._read}
        # A model that comes back finds what is known of it in the rows.
        known = [(i, row.sums) for i, row in self.statistics.rows() if i.model in new]
        for view in self._views.values():
            view.replay(known)
        self._judge_alike()

    def advance(self, minute: int) -> None:
        """Let the present minute be this one."""
        if minute == self.minute:
            return
        self.minute = minute
        self.statistics.advance(minute)
        self.statistics.compact(minute)
        for view in self._views.values():
            view.advance(minute)

    # -- one decision --------------------------------------------------------------------------

    def open(self, decision: Decision, features: FloatArray | None = None) -> None:
        """A pull has begun, for a request with this feature vector."""
        self.statistics.add(decision.bucket, decision.segment, decision.key, _OPENED)
        for view in self._read.values():
            view.open(decision.bucket, decision.segment, decision.arm)
        self.log.append(decision)
        if features is not None:
            self._features[decision.sequence] = features
        if self._features:
            self._features.pop(decision.sequence - self.log.limit, None)
        if self.sink is not None:
            self.sink.decided(decision, features)

    def close(self, decision: Decision, outcome: Outcome, error: str | None = None) -> None:
        """The pull has ended, with this kind of failure; a second end changes nothing."""
        if self.log.close(decision.sequence):
            if self.sink is not None:
                self.sink.ended(decision, outcome, error)
            self._add(
                decision.bucket,
                decision.segment,
                decision.key,
                outcome.deltas(),
                self._features.get(decision.sequence),
            )
            for learner in self._learners:
                learner.update(decision.key, float(outcome.ok), outcome)

    def withdraw(self, decision: Decision) -> bool:
        """Nobody will be called, so there is nothing to rate; False if the pull had ended."""
        withdrawn = self.expire(decision)
        if withdrawn:
            self.log.withdraw(decision.sequence)
        return withdrawn

    def expire(self, decision: Decision, outcome: Outcome = _UNUSED, error: str = "unused") -> bool:
        """The pull will never end, and counts neither way; False if it had ended already."""
        cost_usd = outcome.cost_usd
        expired = self.log.close(decision.sequence)
        if expired:
            if self.sink is not None:
                self.sink.ended(decision, outcome, error, False)
            deltas = [*_EXPIRED, (Column.COST, cost_usd)] if cost_usd else _EXPIRED
            self._add(decision.bucket, decision.segment, decision.key, deltas)
        return expired

    def rate(
        self, decision_id: str, quality: float, earlier: EarlierDecision | None = None
    ) -> tuple[Remembered, bool]:
        """Take the quality of a decision's answer.

        Args:
            decision_id: Whose.
            quality: In [0, 1].
            earlier: What the store knows of it, where we no longer do.

        Returns:
            The decision as it was remembered before, and whether anything changed: the same
            quality again does not, another one corrects the row.

        Raises:
            InvalidRequestError: The quality is not a number in [0, 1], or nobody was called.
            UnknownDecisionError: This is no decision of ours, or it is too long ago.
        """
        if isinstance(quality, bool) or not isinstance(quality, int | float):
            raise InvalidRequestError(f"quality is not a number: {quality!r}", param="quality")
        if not (math.isfinite(quality) and 0 <= quality <= 1):
            raise InvalidRequestError(f"quality is in [0, 1], not {quality!r}", param="quality")
        parsed = parse_decision_id(decision_id)
        known, features = None, None
        if earlier is not None:
            minute, segment, key, features, was = earlier
            # What was said of it a moment ago may not have reached the store.
            was = self._rated_late.get(decision_id, was)
            known = Remembered(minute, segment, key, True, was)
        elif parsed is not None and parsed[0] == self.statistics.node:
            known = self.log.find(parsed[2], self.minute)
            features = self._features.get(parsed[2])
        if parsed is None or known is None or known.minute != parsed[1]:
            raise UnknownDecisionError(
                f"no decision {decision_id!r} is remembered",
                hint=f"a process knows its last {self.log.limit:,} decisions for a day, and its "
                "store, if it has one, those in the log",
            )
        if not known.used:
            raise InvalidRequestError(
                f"decision {decision_id!r} was withdrawn before {known.key} was called",
                param="decision_id",
                hint="rate the decision_id of the result",
            )
        if known.quality == quality:
            return known, False
        was = known.quality
        deltas = [
            (Column.N_QUALITY, 1.0 if was is None else 0.0),
            (Column.QUALITY, quality - (was or 0.0)),
            (Column.QUALITY_SQ, quality**2 - (was or 0.0) ** 2),
        ]
        if earlier is None:
            self.log.rate(parsed[2], quality)
        else:
            self._rated_late[decision_id] = quality
            if len(self._rated_late) > _RATED_LATE:
                del self._rated_late[next(iter(self._rated_late))]
        if self.sink is not None:
            self.sink.rated(decision_id, quality, was is not None)
        if features is not None and len(features) != self._n_features:
            features = None  # of selectors that learned from others
        self._add(known.minute, known.segment, known.key, deltas, features)
        for learner in self._learners:
            learner.update(known.key, quality)
        self._judge_alike()
        return known, True

    def observe(self, key: str, minute: int, segment: str, outcome: Outcome) -> None:
        """Take the outcome of a call that no decision of ours led to."""
        if minute > self.minute:
            self.advance(minute)
        self._add(minute, segment, key, [*_OPENED, *outcome.deltas()])

    def reset(self) -> None:
        """Forget every outcome; decisions can still be named, and then count anew."""
        self.statistics.forget()
        self.log.forget_qualities()
        if self.sink is not None:
            self.sink.forgot()
        for view in self._views.values():
            view.clear()
            view.replay((row_id, row.sums) for row_id, row in self.statistics.rows())

    def merge(self, rows: Iterable[MergeRow]) -> None:
        """Take rows of other nodes, or our own from a store."""
        changes = self.statistics.merge(rows)
        for view in self._views.values():
            view.replay(changes)
        self._judge_alike()

    def totals(self) -> dict[str, dict[str, float]]:
        """Return the sums of every model over all segments, by the names of `COLUMNS`."""
        found: dict[str, list[float]] = {}
        for (_, model), sums in self.statistics.totals().items():
            into = found.setdefault(model, [0.0] * len(sums))
            for column, value in enumerate(sums):
                into[column] += value
        return {model: dict(zip(COLUMNS, sums, strict=False)) for model, sums in found.items()}

    def _judge_alike(self) -> None:
        """Judge by quality in every view once some model of any has one."""
        if self.base.rates_quality:
            for view in self._views.values():
                view.rate_quality()

    def _add(
        self,
        minute: int,
        segment: str,
        key: str,
        deltas: Sequence[tuple[int, float]],
        features: FloatArray | None = None,
    ) -> None:
        columns = None
        if self._n_features:
            columns = columns_added(deltas, features, self._n_features)
            if columns is not None:
                self.statistics.add_array(minute, kind_of(self._n_features), key, columns)
        self.statistics.add(minute, segment, key, deltas)
        for view in self._views.values():
            view.add(minute, segment, key, deltas, features, columns)
