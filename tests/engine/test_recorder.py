from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from orchestrator.core.decisions import Decision
from orchestrator.core.errors import InvalidRequestError, UnknownDecisionError
from orchestrator.core.estimates import Estimates, FloatArray, Prior
from orchestrator.core.regressions import Regressions, columns_added, kind_of, n_columns
from orchestrator.core.requirements import ANYTHING
from orchestrator.core.statistics import COLUMNS, Column, MergeRow, Outcome, RowId
from orchestrator.core.views import Memory
from orchestrator.engine.recorder import Recorder
from orchestrator.selectors import LinUCBSelector, UCBModelSelector

KEYS = ("a:x", "a:y", "b:z")
MINUTE = 29_000_000 // 43_200 * 43_200
EVERYTHING = UCBModelSelector()
AN_HOUR = UCBModelSelector(memory=Memory(window_s=3600))
FADING = UCBModelSelector(memory=Memory(half_life_s=1800))
SELECTORS = (EVERYTHING, AN_HOUR, FADING)
EXACT = (EVERYTHING, AN_HOUR)
"""Memories that rows of any width hold as they are. One that fades does so by the row's age, so
what it knows of a model that left and returned is as coarse as the rows."""
LINEAR = LinUCBSelector(2)
LINEAR_DAY = LinUCBSelector(2, memory=Memory(window_s=86_400))
X = np.array([0.5, -2.0])


class Segmented(UCBModelSelector):
    """Reads its segment, as some selectors do."""

    segmented = True


class Desk:
    """A recorder, and whoever makes its decisions."""

    def __init__(self, *keys: str, limit: int = 1000) -> None:
        self.recorder = Recorder("n", limit)
        self.sequence = 0
        self.minute = MINUTE
        self.recorder.arrange(keys or KEYS, None)
        self.recorder.advance(MINUTE)

    def pass_minutes(self, minutes: int) -> None:
        self.minute += minutes
        self.recorder.advance(self.minute)

    def decide(
        self, key: str = "a:x", segment: str = "all", features: FloatArray | None = None
    ) -> Decision:
        keys = self.recorder.keys
        decision = Decision(
            node="n",
            bucket=self.minute,
            sequence=self.sequence,
            request_id="r",
            keys=keys,
            arm=keys.index(key),
            selector="ucb",
            greedy=True,
            floor=0.0,
            scores=np.zeros(1),
            eligible=np.ones(1, dtype=np.bool_),
            segment=segment,
            requirements=ANYTHING,
            cost_usd=None,
            attempt=1,
            refused={},
        )
        self.sequence += 1
        self.recorder.open(decision, features)
        return decision

    def answered(
        self,
        key: str = "a:x",
        segment: str = "all",
        ok: bool = True,
        features: FloatArray | None = None,
    ) -> Decision:
        decision = self.decide(key, segment, features)
        self.recorder.close(decision, Outcome(ok, 0.5, 10, 20, 2.0))
        return decision

    def total(self, key: str = "a:x") -> dict[str, float]:
        return self.recorder.totals()[key]

    def seen(self, key: str, name: str, selector: UCBModelSelector = EVERYTHING) -> float:
        view = self.recorder.view_for(selector)
        return float(getattr(view.total, name)[view.keys.index(key)])

    def regressions(self, selector: LinUCBSelector = LINEAR) -> Regressions:
        """What the selector reads, derived from the sums alone."""
        found = self.recorder.view_for(selector).evidence("all").extra
        assert found is not None
        for arm in range(len(self.recorder.keys)):
            found.add(arm, np.zeros(n_columns(found.n_features)))
        found.refresh()
        return found

    def told(self) -> list[MergeRow]:
        """What others hear of this node."""
        rows = self.recorder.statistics.rows()
        return [(row_id, row.version, row.sums.copy()) for row_id, row in rows]

    def columns(self, model: str = "a:x") -> dict[tuple[int, int], FloatArray]:
        """The rows of regressions by start and width."""
        return {
            (row_id.start, row_id.width): np.asarray(sums)
            for row_id, _, sums in self.told()
            if row_id.segment == kind_of(2) and row_id.model == model
        }


def added(deltas: Any, features: FloatArray | None = X) -> FloatArray:
    found = columns_added(deltas, features, 2)
    assert found is not None
    return found


# -- one decision ------------------------------------------------------------------------------


def test_a_pull_is_pending_until_it_ends():
    desk = Desk()
    decision = desk.decide()
    assert (desk.total()["opened"], desk.seen("a:x", "trials")) == (1, 1)

    desk.recorder.close(decision, Outcome(True, 0.5))

    assert desk.total() == {
        **dict.fromkeys(COLUMNS, 0.0),
        **dict.fromkeys(("calls", "ok", "opened", "closed"), 1.0),
        "cost": 0.5,
        "log_seconds": math.log(1e-6),
        "log_seconds_sq": math.log(1e-6) ** 2,
    }
    assert (desk.seen("a:x", "trials"), desk.seen("a:x", "pulls")) == (1, 1)


def test_the_same_end_twice_counts_once():
    desk = Desk()
    decision = desk.answered()

    desk.recorder.close(decision, Outcome(True, 0.5))
    assert not desk.recorder.expire(decision)

    assert (desk.total()["calls"], desk.total()["expired"]) == (1, 0)


def test_a_pull_that_expires_counts_neither_way_but_costs_what_it_cost():
    desk = Desk()

    assert desk.recorder.expire(desk.decide(), Outcome(False, 0.25))

    assert (desk.total()["calls"], desk.total()["cost"]) == (0, 0.25)
    assert desk.seen("a:x", "trials") == 0


def test_more_requests_in_flight_than_are_remembered_are_counted_all_the_same():
    desk = Desk(limit=3)
    decisions = [desk.decide() for _ in range(10)]

    for decision in decisions:
        desk.recorder.close(decision, Outcome(True))

    assert (desk.total()["closed"], desk.seen("a:x", "n")) == (10, 10)


def test_an_outcome_from_elsewhere_is_a_pull_that_has_ended():
    desk = Desk()

    desk.recorder.observe("a:y", desk.minute + 90, "all", Outcome(True))

    assert (desk.total("a:y")["calls"], desk.seen("a:y", "trials", AN_HOUR)) == (1, 1)
    assert desk.recorder.minute == desk.minute + 90


# -- feedback ----------------------------------------------------------------------------------


def test_a_quality_is_counted_once_however_often_it_is_given():
    desk = Desk()
    decision = desk.answered()

    before, changed = desk.recorder.rate(decision.id, 0.8)
    again, changed_again = desk.recorder.rate(decision.id, 0.8)

    assert (before.quality, changed) == (None, True)
    assert (again.quality, changed_again) == (0.8, False)
    assert (desk.total()["n_quality"], desk.total()["quality"]) == (1, 0.8)


def test_another_quality_corrects_the_first():
    desk = Desk()
    decision = desk.answered()
    desk.recorder.rate(decision.id, 0.8)

    before, changed = desk.recorder.rate(decision.id, 0.3)

    assert (before.quality, changed) == (0.8, True)
    total = desk.total()
    assert total["n_quality"] == 1
    assert total["quality"] == pytest.approx(0.3)
    assert total["quality_sq"] == pytest.approx(0.09)


@pytest.mark.parametrize("quality", [0, 1, 0.0, 1.0])
def test_the_ends_of_the_scale_are_on_it(quality: float):
    desk = Desk()

    desk.recorder.rate(desk.answered().id, quality)

    assert desk.total()["quality"] == quality


@pytest.mark.parametrize("quality", [math.nan, math.inf, -0.1, 1.1, True, "0.5", None])
def test_what_is_no_quality_is_refused_and_changes_nothing(quality: Any):
    desk = Desk()
    decision = desk.answered()

    with pytest.raises(InvalidRequestError, match="quality") as refusal:
        desk.recorder.rate(decision.id, quality)

    assert refusal.value.param == "quality"
    assert desk.total()["n_quality"] == 0


def test_feedback_may_come_before_the_outcome():
    desk = Desk()
    decision = desk.decide()

    desk.recorder.rate(decision.id, 0.8)
    assert (desk.total()["n_quality"], desk.total()["calls"]) == (1, 0)
    desk.recorder.close(decision, Outcome(True))

    assert (desk.total()["n_quality"], desk.total()["calls"]) == (1, 1)


def test_late_feedback_goes_to_the_minute_of_its_decision():
    desk = Desk()
    decision = desk.answered()
    desk.pass_minutes(30)
    desk.answered()

    desk.recorder.rate(decision.id, 0.8)

    rows = {row_id.start: row.sums for row_id, row in desk.recorder.statistics.rows()}
    assert rows[MINUTE][Column.QUALITY] == 0.8
    assert rows[MINUTE + 30][Column.QUALITY] == 0.0


def test_feedback_after_its_row_was_folded_finds_it_there():
    desk = Desk()
    decision = desk.answered()
    desk.pass_minutes(300)

    desk.recorder.rate(decision.id, 0.8)

    ((row_id, row),) = desk.recorder.statistics.rows()
    assert (row_id.start, row_id.width) == (MINUTE, 60)
    assert row.sums[Column.QUALITY] == 0.8


def test_feedback_for_what_a_window_has_forgotten_does_not_come_back_into_it():
    desk = Desk()
    decision = desk.answered()
    desk.seen("a:x", "n", AN_HOUR)
    desk.pass_minutes(120)

    desk.recorder.rate(decision.id, 0.8)

    assert desk.seen("a:x", "n", AN_HOUR) == 0
    assert desk.recorder.view_for(AN_HOUR).total.rates_quality, "as every view does by now"
    assert desk.seen("a:x", "mean", EVERYTHING) == 0.8


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "nonsense",
        "d-other-{bucket:x}-0",
        "d-n-{bucket:x}-1",
        "d-n-{later:x}-0",
        "d-n-{bucket:x}-00",
    ],
)
def test_an_unknown_decision_is_refused_with_what_is_remembered(wrong: str):
    desk = Desk()
    desk.answered()
    name = wrong.format(bucket=desk.minute, later=desk.minute + 1)

    with pytest.raises(UnknownDecisionError, match="last 1,000 decisions for a day"):
        desk.recorder.rate(name, 0.5)


def test_a_decision_that_too_many_followed_or_that_is_too_old_is_unknown():
    desk = Desk(limit=2)
    old = desk.answered()
    for _ in range(2):
        young = desk.answered()
    with pytest.raises(UnknownDecisionError):
        desk.recorder.rate(old.id, 0.5)

    desk.pass_minutes(1441)

    with pytest.raises(UnknownDecisionError):
        desk.recorder.rate(young.id, 0.5)


def test_feedback_for_a_model_that_has_left_waits_for_its_return():
    desk = Desk()
    decision = desk.answered()
    desk.recorder.arrange(["a:y"], None)

    desk.recorder.rate(decision.id, 0.8)
    assert desk.total()["quality"] == 0.8
    desk.recorder.arrange(["a:y", "a:x"], None)

    assert (desk.seen("a:x", "n"), desk.seen("a:x", "mean")) == (1, 0.8)


def test_one_rating_makes_every_view_judge_by_quality():
    desk = Desk()
    views = [desk.recorder.view_for(selector) for selector in (*SELECTORS, Segmented())]
    desk.recorder.rate(desk.answered().id, 0.8)

    assert all(view.total.rates_quality for view in views)
    assert desk.recorder.view_for(UCBModelSelector(memory=Memory(window_s=60))).total.rates_quality


# -- the pool changes --------------------------------------------------------------------------


def test_a_model_that_returns_finds_what_is_known_of_it():
    desk = Desk()
    desk.answered()
    desk.answered("a:y", ok=False)
    for selector in SELECTORS:
        desk.seen("a:x", "n", selector)

    desk.recorder.arrange(["b:z", "a:y"], None)
    desk.recorder.arrange(["a:x", "b:z", "a:y"], None)

    for selector in SELECTORS:
        assert desk.seen("a:x", "n", selector) == desk.seen("a:y", "n", selector) == 1
        assert desk.seen("a:y", "p_fail", selector) == 1


def test_a_call_in_flight_when_its_model_left_is_settled_when_it_is_back():
    desk = Desk()
    decision = desk.decide()
    desk.recorder.arrange(["a:y"], None)
    desk.recorder.close(decision, Outcome(True))

    desk.recorder.arrange(["a:y", "a:x"], None)

    assert (desk.seen("a:x", "n"), desk.seen("a:x", "trials")) == (1, 1)


def test_a_view_that_somebody_asks_for_late_knows_what_came_before():
    desk = Desk()
    desk.answered()
    desk.pass_minutes(30)

    assert desk.seen("a:x", "n", EVERYTHING) == 1
    assert desk.seen("a:x", "n", AN_HOUR) == 1
    assert desk.seen("a:x", "n", FADING) == pytest.approx(0.5)


def test_a_prior_is_believed_and_never_stored():
    desk = Desk()
    desk.recorder.arrange(KEYS, Prior(np.array([2.0, 0, 0]), np.array([0.9, 0.5, 0.5])))

    assert (desk.seen("a:x", "n"), desk.seen("a:x", "mean")) == (2, 0.9)
    assert desk.recorder.totals() == {}
    desk.recorder.arrange(KEYS, None)
    assert desk.seen("a:x", "n") == 0


# -- forgetting and sharing --------------------------------------------------------------------


def test_resetting_forgets_outcomes_but_not_what_is_in_flight():
    desk = Desk()
    desk.seen("a:x", "n", AN_HOUR)
    rated, open_ = desk.answered(), desk.decide()
    desk.recorder.rate(rated.id, 0.8)

    desk.recorder.reset()

    assert (desk.total()["calls"], desk.total()["quality"]) == (0, 0)
    for selector in (EVERYTHING, AN_HOUR):
        assert (desk.seen("a:x", "n", selector), desk.seen("a:x", "trials", selector)) == (0, 1)

    desk.recorder.close(open_, Outcome(True))
    desk.recorder.rate(rated.id, 0.6)

    assert (desk.total()["calls"], desk.total()["n_quality"]) == (1, 1)
    assert desk.total()["quality"] == 0.6
    for selector in (EVERYTHING, AN_HOUR):
        assert desk.seen("a:x", "trials", selector) == 1


def test_what_other_nodes_saw_counts_once():
    desk = Desk()
    desk.answered()
    desk.seen("a:x", "n", AN_HOUR)
    sums = [0.0] * len(COLUMNS)
    sums[Column.CALLS] = sums[Column.OPENED] = sums[Column.CLOSED] = 4.0
    row = (RowId("other", MINUTE, 1, "all", "a:x"), 1, sums)

    for _ in range(3):
        desk.recorder.merge([row])

    assert desk.total()["calls"] == 5
    assert desk.seen("a:x", "n", EVERYTHING) == desk.seen("a:x", "n", AN_HOUR) == 5


# -- regressions -------------------------------------------------------------------------------


def test_where_nobody_reads_features_rows_hold_no_regressions():
    desk = Desk()
    desk.seen("a:x", "n")

    desk.answered(features=X)

    assert {row_id.segment for row_id, _, _ in desk.told()} == {"all"}


def test_an_outcome_a_quality_and_its_correction_go_to_the_hour_of_their_decision():
    desk = Desk()
    desk.regressions()
    desk.pass_minutes(59)
    decision = desk.decide(features=X)
    desk.pass_minutes(2)
    desk.answered(ok=False)

    desk.recorder.close(decision, Outcome(True))
    for quality in (0.25, 0.75, 0.75):
        desk.recorder.rate(decision.id, quality)

    first, second = sorted(desk.columns().items())
    rated = [(Column.N_QUALITY, 1.0), (Column.QUALITY, 0.75)]
    assert (first[0], second[0]) == ((MINUTE, 60), (MINUTE + 60, 60))
    np.testing.assert_allclose(first[1], added([*Outcome(True).deltas(), *rated]), atol=1e-12)
    np.testing.assert_allclose(second[1], added(Outcome(False).deltas(), None), atol=1e-12)


def test_a_quality_that_comes_after_its_hour_was_folded_is_added_to_the_days():
    desk = Desk()
    desk.regressions()
    decision = desk.answered(features=X)
    desk.recorder.statistics.compact(MINUTE + 4 * 1440)

    desk.recorder.rate(decision.id, 0.75)

    rated = [(Column.N_QUALITY, 1.0), (Column.QUALITY, 0.75)]
    ((place, columns),) = desk.columns().items()
    assert place == (MINUTE, 1440)
    np.testing.assert_allclose(columns, added([*Outcome(True).deltas(), *rated]), atol=1e-12)


def test_features_of_more_decisions_than_are_remembered_are_forgotten():
    desk = Desk(limit=1)
    desk.regressions()
    decision = desk.decide(features=X)
    desk.decide()

    desk.recorder.close(decision, Outcome(True))

    np.testing.assert_array_equal(desk.columns()[MINUTE, 60], added(Outcome(True).deltas(), None))


def test_a_pull_that_expires_teaches_no_regression():
    desk = Desk()
    desk.regressions()

    desk.recorder.expire(desk.decide(features=X), Outcome(False, 0.25))

    assert desk.columns() == {}


def test_who_reads_fewer_features_leaves_the_rows_of_others_alone():
    desk, other = Desk(), Desk()
    desk.regressions()
    other.regressions(LinUCBSelector(1))
    desk.answered(features=X)

    other.recorder.merge(desk.told())

    assert (other.regressions(LinUCBSelector(1)).theta == Regressions((3,), 1).theta).all()
    np.testing.assert_array_equal(other.columns()[MINUTE, 60], desk.columns()[MINUTE, 60])
    assert other.recorder.totals() == desk.recorder.totals()


def test_forgetting_forgets_what_regressions_have_learned():
    desk = Desk()
    desk.regressions()
    desk.answered(features=X)

    desk.recorder.reset()

    assert (desk.regressions().theta == Regressions((3,), 2).theta).all()
    assert not desk.columns()[MINUTE, 60].any()


# -- anything that may happen ------------------------------------------------------------------


@dataclass
class Happened:
    """One thing that was counted, and when."""

    minute: int
    segment: str
    key: str
    deltas: list[tuple[int, float]]
    features: FloatArray | None


class Recording(RuleBasedStateMachine):
    """Decisions, outcomes and ratings in any order, while time passes and the pool changes."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk(limit=8)
        self.recorder = self.desk.recorder
        for selector in (*EXACT, LINEAR, LINEAR_DAY):
            self.recorder.view_for(selector)
        self.features: dict[int, FloatArray | None] = {}
        self.happened: list[Happened] = []
        self.open: list[Decision] = []
        self.made: list[Decision] = []
        self.qualities: dict[str, float] = {}

    def note(self, decision: Decision, deltas: list[tuple[int, float]]) -> None:
        features = self.features[decision.sequence]
        self.happened.append(
            Happened(decision.bucket, decision.segment, decision.key, deltas, features)
        )

    @rule(
        data=st.data(),
        segment=st.sampled_from(["all", "code"]),
        features=st.none() | st.tuples(st.floats(-2, 2), st.floats(-2, 2)).map(np.array),
    )
    def decide(self, data: Any, segment: str, features: FloatArray | None) -> None:
        key = data.draw(st.sampled_from(self.recorder.keys))
        decision = self.desk.decide(key, segment, features)
        self.features[decision.sequence] = features
        # Those of the oldest are forgotten, and outcomes that come later count as without.
        self.features[decision.sequence - self.recorder.log.limit] = None
        self.open.append(decision)
        self.made.append(decision)
        self.note(decision, [(Column.OPENED, 1.0)])

    @precondition(lambda self: self.open)
    @rule(data=st.data(), ok=st.booleans(), usd=st.floats(0, 1), tokens=st.integers(0, 99))
    def answer(self, data: Any, ok: bool, usd: float, tokens: int) -> None:
        decision = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        outcome = Outcome(ok, usd, tokens, tokens, 1.0)
        self.recorder.close(decision, outcome)
        self.recorder.close(decision, outcome)
        self.note(decision, outcome.deltas())

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def expire(self, data: Any) -> None:
        decision = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        assert self.recorder.expire(decision)
        assert not self.recorder.expire(decision)
        self.note(decision, [(Column.EXPIRED, 1.0)])

    @precondition(lambda self: self.made)
    @rule(data=st.data(), quality=st.sampled_from([0.0, 0.25, 1.0]))
    def rate(self, data: Any, quality: float) -> None:
        decision = data.draw(st.sampled_from(self.made))
        age = self.desk.minute - decision.bucket
        is_known = decision.sequence >= self.desk.sequence - 8 and age <= 1440
        if not is_known:
            with pytest.raises(UnknownDecisionError):
                self.recorder.rate(decision.id, quality)
            return
        was = self.qualities.get(decision.id)
        self.recorder.rate(decision.id, quality)
        self.qualities[decision.id] = quality
        deltas = [
            (Column.N_QUALITY, float(was is None)),
            (Column.QUALITY, quality - (was or 0.0)),
            (Column.QUALITY_SQ, quality**2 - (was or 0.0) ** 2),
        ]
        self.note(decision, deltas)

    @rule(minutes=st.sampled_from([1, 10, 59, 61, 200, 1500]))
    def time_passes(self, minutes: int) -> None:
        self.desk.pass_minutes(minutes)

    @rule(keys=st.lists(st.sampled_from(KEYS), min_size=1, unique=True))
    def the_pool_changes(self, keys: list[str]) -> None:
        self.recorder.arrange(keys, None)

    @invariant()
    def the_rows_are_the_sum_of_what_happened(self) -> None:
        truth: dict[str, list[float]] = defaultdict(lambda: [0.0] * len(COLUMNS))
        for thing in self.happened:
            for column, delta in thing.deltas:
                truth[thing.key][column] += delta
        found = self.recorder.totals()
        assert found.keys() == truth.keys()
        for key, sums in truth.items():
            assert list(found[key].values()) == pytest.approx(sums, abs=1e-9)

    @invariant()
    def every_view_sees_what_its_memory_says(self) -> None:
        now, keys = self.desk.minute, self.recorder.keys
        for selector in EXACT:
            window_s = selector.memory.window_s
            sums = np.zeros((len(COLUMNS), len(keys)))
            for thing in self.happened:
                remembered = window_s is None or now - thing.minute < window_s / 60
                if thing.key in keys and remembered:
                    for column, delta in thing.deltas:
                        sums[column, keys.index(thing.key)] += delta
            view = self.recorder.view_for(selector)
            expected = Estimates.of(sums, rates_quality=view.total.rates_quality)
            for name in ("n", "mean", "trials", "pulls", "p_fail"):
                np.testing.assert_allclose(
                    getattr(view.total, name), getattr(expected, name), atol=1e-9
                )

    @invariant()
    def every_regression_sees_what_its_memory_says_and_so_does_who_merges_the_rows(self) -> None:
        now, keys = self.desk.minute, self.recorder.keys
        other = Desk(*keys)
        other.pass_minutes(now - MINUTE)
        if self.recorder.base.rates_quality:  # perhaps for the sake of a model that has left
            other.recorder.base.rate_quality()
        other.recorder.merge(self.desk.told())
        for selector in (LINEAR, LINEAR_DAY):
            expected = Regressions((len(keys),), 2)
            if self.recorder.base.rates_quality:
                expected.rate_quality()
            first = selector.memory.first_minute(now)
            for thing in self.happened:
                columns = columns_added(thing.deltas, thing.features, 2)
                if thing.key in keys and thing.minute >= first and columns is not None:
                    expected.add(keys.index(thing.key), columns)
            expected.refresh()
            for desk in (self.desk, other):
                found = desk.regressions(selector)
                assert found.rates_quality == expected.rates_quality
                np.testing.assert_allclose(found.theta, expected.theta, atol=1e-9)
                np.testing.assert_allclose(found.inverse, expected.inverse, atol=1e-9)

    def teardown(self) -> None:
        """When all has ended, nothing is pending."""
        for decision in self.open:
            self.recorder.expire(decision)
        for selector in EXACT:
            view = self.recorder.view_for(selector)
            if not view.total.rates_quality:
                np.testing.assert_array_equal(view.total.trials, view.total.n)
        for total in self.recorder.totals().values():
            assert total["opened"] == total["closed"] + total["expired"]


TestRecording = Recording.TestCase
TestRecording.settings = settings(max_examples=60, stateful_step_count=30)
