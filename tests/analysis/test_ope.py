from __future__ import annotations

import math
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.analysis.ope import Log, Method, PropensityError, evaluate, repriced
from orchestrator.core.errors import InvalidRequestError
from orchestrator.core.estimates import FloatArray

METHODS: tuple[Method, ...] = ("ips", "snips", "dm", "dr")
UNBIASED: tuple[Method, ...] = ("ips", "dr")
JUDGED: tuple[Method, ...] = ("ips", "snips", "dr")


class World(NamedTuple):
    """A table of outcomes for every arm, and two policies on its rows."""

    quality: FloatArray
    segment: Any
    logging: FloatArray
    target: FloatArray

    @property
    def truth(self) -> float:
        return float((self.target * self.quality).sum(axis=1).mean())


def world(n: int = 600, n_segments: int = 3, n_arms: int = 4, seed: int = 0) -> World:
    """Make a table whose best arm differs by segment; the log prefers it, the target takes it."""
    rng = np.random.default_rng(seed)
    means = rng.uniform(0.3, 0.95, (n_segments, n_arms))
    segment = rng.integers(n_segments, size=n)
    quality = (rng.random((n, n_arms)) < means[segment]).astype(np.float64)
    preference = np.exp(means / 0.1)
    logging = 0.8 * preference / preference.sum(axis=1, keepdims=True) + 0.2 / n_arms
    target = np.eye(n_arms)[means.argmax(axis=1)]
    return World(quality, segment, logging[segment], target[segment])


def replay(from_: World, rng: np.random.Generator) -> tuple[Log, FloatArray]:
    """Log one run over rows drawn from the table; return it with the target on those rows."""
    n = len(from_.quality)
    rows = rng.integers(n, size=n)
    chances = from_.logging[rows]
    arm = (chances.cumsum(axis=1)[:, :-1] < rng.random((n, 1))).sum(axis=1)
    log = Log(arm, chances[np.arange(n), arm], from_.quality[rows, arm], from_.segment[rows])
    return log, from_.target[rows]


def log_of(arm: Any, propensity: Any, reward: Any, segment: Any = ()) -> Log:
    return Log(
        np.array(arm), np.array(propensity), np.array(reward), np.array(segment, dtype=np.int64)
    )


always_0, always_1 = np.eye(2)


# -- values ------------------------------------------------------------------------------------

EXAMPLE = log_of([0, 0, 1, 1], [0.5, 0.25, 0.5, 0.75], [1.0, 0.0, 1.0, 0.5])
"""Weights of a target that always pulls arm 0: 2, 4, 0 and 0."""


def test_ips_is_as_worked_out_by_hand():
    found = evaluate(EXAMPLE, np.tile(always_0, (4, 1)), "ips")

    assert found.value == 2 / 4
    assert found.standard_error == 0.5  # of 2, 0, 0, 0: deviation 1, over the root of 4
    assert (found.ess, found.overlap, found.n) == (36 / 20, 6 / 4, 4)


def test_snips_is_as_worked_out_by_hand():
    found = evaluate(EXAMPLE, np.tile(always_0, (4, 1)), "snips")

    assert found.value == pytest.approx(2 / 6)
    # Errors times weights of 4/3, -4/3, 0 and 0, over a mean weight of 3/2; n - 1 below the root.
    assert found.standard_error == pytest.approx(math.sqrt(2 * (8 / 9) ** 2 / 3 / 4))


def test_clipped_weights_are_cut_and_the_overlap_is_not():
    found = evaluate(EXAMPLE, np.tile(always_0, (4, 1)), "snips", clip=3.0)

    assert found.value == pytest.approx(2 / 5)
    assert found.overlap == 6 / 4


def test_dm_shrinks_a_segments_mean_to_the_arms_and_that_to_the_mean_of_all():
    log = log_of([0, 0, 1], [0.5] * 3, [1.0, 1.0, 0.0], [0, 1, 1])
    of_all = 2 / 3
    of_arm = (2 + 8 * of_all) / (2 + 8)
    in_segment = (1 + 8 * of_arm) / (1 + 8)

    assert evaluate(log, np.tile(always_0, (3, 1)), "dm").value == pytest.approx(in_segment)


@pytest.mark.parametrize("method", UNBIASED)
@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(*[st.floats(0, 1)] * 2, st.floats(0.05, 0.95), st.floats(0, 1)),
        min_size=2,
        max_size=3,
    )
)
def test_over_all_logs_that_could_have_been_the_mean_is_the_truth(method: Method, rows: Any):
    quality, chance, wanted = np.array(rows)[:, :2], np.array(rows)[:, 2], np.array(rows)[:, 3]
    n = len(rows)
    logging, target = np.c_[1 - chance, chance], np.c_[1 - wanted, wanted]
    mean = 0.0
    for pulls in product((0, 1), repeat=n):
        at = np.arange(n), np.array(pulls)
        log = Log(at[1], logging[at], quality[at])
        mean += float(logging[at].prod()) * evaluate(log, target, method).value

    assert mean == pytest.approx(float((target * quality).sum(axis=1).mean()), abs=1e-9)


@pytest.mark.parametrize("method", ["ips", "snips"])
def test_a_policy_is_worth_on_its_own_log_what_it_reached(method: Method):
    made = world()
    log, _ = replay(made, np.random.default_rng(1))
    same = np.zeros((600, 4))
    same[np.arange(600), log.arm] = log.propensity
    same += ((1 - log.propensity) / 3)[:, None] * (same == 0)

    found = evaluate(log, same, method)

    assert found.value == pytest.approx(float(log.reward.mean()))
    assert (found.ess, found.overlap) == pytest.approx((600, 1))


@pytest.mark.parametrize("method", ["snips", "dm", "dr"])
def test_the_zero_of_rewards_does_not_matter(method: Method):
    made = world()
    log, target = replay(made, np.random.default_rng(2))
    shifted = Log(log.arm, log.propensity, log.reward - 100, log.segment)

    one, other = evaluate(log, target, method), evaluate(shifted, target, method)

    assert other.value == pytest.approx(one.value - 100)
    assert other.standard_error == pytest.approx(one.standard_error)


@pytest.mark.parametrize("method", METHODS)
def test_the_unit_of_rewards_does_not_matter(method: Method):
    made = world()
    log, target = replay(made, np.random.default_rng(3))
    dearer = Log(log.arm, log.propensity, log.reward * 50, log.segment)

    one, other = evaluate(log, target, method), evaluate(dearer, target, method)

    assert one.interval is not None
    assert other.interval == pytest.approx([50 * bound for bound in one.interval])


# -- intervals ---------------------------------------------------------------------------------


def covered(n_logs: int, method: Method, seed: int = 0) -> tuple[float, float]:
    """Return how often the interval holds the truth, and the root mean squared error."""
    made, rng = world(seed=seed), np.random.default_rng(seed)
    held, squares = 0, 0.0
    for _ in range(n_logs):
        found = evaluate(*replay(made, rng), method)
        assert found.interval is not None
        held += found.interval[0] <= made.truth <= found.interval[1]
        squares += (found.value - made.truth) ** 2
    return held / n_logs, math.sqrt(squares / n_logs)


@pytest.mark.parametrize("method", JUDGED)
def test_intervals_hold_the_truth_about_as_often_as_they_say(method: Method):
    n = 300
    # Five standard deviations of a binomial: one seed in a million goes wrong by chance.
    margin = 5 * math.sqrt(0.95 * 0.05 / n)

    assert covered(n, method)[0] > 0.95 - margin
    assert covered(n, method, seed=1)[0] > 0.95 - margin


@pytest.mark.long
@pytest.mark.parametrize("method", JUDGED)
def test_of_a_thousand_intervals_about_fifty_miss(method: Method):
    assert 0.93 <= covered(1000, method, seed=2)[0] <= 0.97


def test_dm_has_an_interval_for_what_its_means_rest_on():
    # Large cells, so that shrinking them hardly biases.
    made, held, rng = world(n=3000), 0, np.random.default_rng(4)
    for _ in range(100):
        found = evaluate(*replay(made, rng), "dm")
        assert found.interval is not None
        held += found.interval[0] <= made.truth <= found.interval[1]

    assert held > 95 - 5 * math.sqrt(100 * 0.95 * 0.05)


def test_dms_interval_does_not_depend_on_arms_the_target_never_pulls():
    arm = np.repeat([0, 1], 500)
    noise = np.where(arm == 1, np.tile([1.0, -1.0], 500), 0.0)

    found = evaluate(Log(arm, np.full(1000, 0.5), noise), np.tile(always_0, (1000, 1)), "dm")

    assert found.interval == (0.0, 0.0)


def width_in_errors(log: Log) -> float:
    """Return half the interval's width of a target that always pulls arm 0, in standard errors."""
    found = evaluate(log, np.tile(always_0, (len(log.arm), 1)), "ips")
    assert found.interval is not None
    return (found.interval[1] - found.value) / found.standard_error


def test_an_interval_is_wider_where_few_decisions_carry_most_of_the_weight():
    zeros = np.zeros(400, dtype=np.int64)
    even, heavy = np.full(400, 0.5), np.full(400, 0.5)
    heavy[:4] = 0.02
    # Rewards that make all contributions alike in size, so that only the weights differ.
    signs = np.tile([1.0, -1.0], 200)

    assert width_in_errors(Log(zeros, even, signs * even)) == pytest.approx(1.966, abs=1e-3)
    # Fifty, four times, and two, 396 times: squared, as good as 5.4 decisions.
    assert width_in_errors(Log(zeros, heavy, signs * heavy)) == pytest.approx(2.52, abs=1e-2)


def test_an_interval_is_wider_where_few_decisions_make_all_the_difference():
    zeros, ones = np.zeros(400, dtype=np.int64), np.ones(400)

    # Three rewards in 400: the standard error has some six degrees of freedom.
    assert width_in_errors(Log(zeros, ones, 1.0 * (np.arange(400) < 3))) > 2.4
    assert width_in_errors(Log(zeros, ones, 1.0 * (np.arange(400) < 200))) < 1.97


def test_half_as_sure_is_narrower():
    log, target = replay(world(), np.random.default_rng(0))
    widths = [
        interval[1] - interval[0]
        for level in (0.5, 0.9, 0.99)
        for interval in [evaluate(log, target, confidence=level).interval]
        if interval is not None
    ]

    assert widths == sorted(widths)
    assert len(widths) == 3


def test_dr_errs_half_as_much_as_ips():
    assert covered(100, "dr")[1] < covered(100, "ips")[1] / 2


def test_where_the_log_is_worth_too_few_decisions_there_is_no_interval():
    arm = np.array([0] * 40 + [1] * 960)
    log = Log(arm, np.where(arm == 0, 0.04, 0.96), np.ones(1000))

    found = evaluate(log, np.tile(always_0, (1000, 1)))

    assert found.interval is None
    assert found.refused == "an effective sample size of 40.0 is below 50"
    assert found.ess == pytest.approx(40)
    assert evaluate(log, np.tile(always_1, (1000, 1))).refused is None


@pytest.mark.parametrize("method", METHODS)
@given(st.integers(2, 3), st.floats(0, 1).filter(lambda share: abs(share - 0.9) > 1e-9))
def test_a_log_made_without_chance_has_an_interval_only_for_nine_tenths_of_its_own_choices(
    method: Method, n_arms: int, share: float
):
    log = Log(np.zeros(200, dtype=np.int64), np.ones(200), np.tile([0.0, 1.0], 100))
    target = np.zeros((200, n_arms))
    target[:, 0], target[:, -1] = share, 1 - share

    found = evaluate(log, target, method)

    assert (found.interval is None) == (found.refused is not None) == (found.overlap < 0.9)


def test_many_rare_agreements_do_not_show_what_was_never_tried():
    # As a selector that explores beside one that never did: alike a little, always.
    log = Log(np.zeros(200, dtype=np.int64), np.ones(200), np.full(200, 0.5))

    found = evaluate(log, np.tile([0.004, 0.996], (200, 1)), "dm")

    assert found.ess == pytest.approx(200)
    assert found.refused == "the log can show only 0% of what the selector does"
    assert (found.interval, found.value) == (None, 0.5)


def test_a_log_that_could_have_shown_all_is_not_refused_for_its_luck():
    rng, target, short = np.random.default_rng(5), np.tile(always_1, (600, 1)), 0
    for _ in range(300):
        arm = (rng.random(600) < 0.1).astype(np.int64)
        found = evaluate(Log(arm, np.where(arm, 0.1, 0.9), np.ones(600)), target)
        short += found.overlap < 0.9
        assert found.ess < 50 or found.refused is None

    assert short > 30  # weights of 10 for one in ten: the mean often lies that low


@pytest.mark.parametrize("method", METHODS)
def test_what_the_log_never_did_shows_as_no_overlap(method: Method):
    log = Log(np.zeros(100, dtype=np.int64), np.ones(100), np.ones(100))

    found = evaluate(log, np.tile(always_1, (100, 1)), method)

    assert (found.ess, found.overlap, found.interval) == (0, 0, None)
    assert math.isnan(found.value) == (method == "snips")


def test_where_every_reward_is_the_same_the_interval_is_that_reward():
    log = Log(np.zeros(100, dtype=np.int64), np.ones(100), np.full(100, 0.5))

    assert evaluate(log, np.tile(always_0, (100, 1)), "snips").interval == (0.5, 0.5)


# -- other prices ------------------------------------------------------------------------------


def test_a_log_is_repriced_by_its_tokens():
    cost = repriced(
        np.array([0, 1, 0]),
        np.array([1000, 1000, 0]),
        np.array([10, 10, 100]),
        np.array([1e-6, 5e-6]),
        np.array([2e-6, 10e-6]),
    )

    assert cost == pytest.approx([1.02e-3, 5.1e-3, 0.2e-3])


def test_only_arms_of_the_log_need_a_price():
    prices = np.array([1e-6, np.nan])

    assert repriced(np.array([0]), np.array([1]), np.array([1]), prices, prices) == [2e-6]
    with pytest.raises(InvalidRequestError, match=r"arms \[1\]"):
        repriced(np.array([0, 1]), np.array([1, 1]), np.array([1, 1]), prices, prices)


# -- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize("propensity", [0.0, -0.1, 1.1, math.nan])
def test_a_propensity_that_cannot_be_is_refused(propensity: float):
    with pytest.raises(PropensityError, match=r"1 of 2 .* in row 1") as refusal:
        log_of([0, 0], [0.5, propensity], [1.0, 1.0])

    assert refusal.value.param == "propensity"
    assert refusal.value.hint is not None


@pytest.mark.parametrize(
    ("param", "arrays"),
    [
        ("arm", ([], [], [])),
        ("arm", ([-1], [0.5], [1.0])),
        ("arm", ([0.5], [0.5], [1.0])),
        ("propensity", ([0], [0.5, 0.5], [1.0])),
        ("reward", ([0], [0.5], [])),
        ("reward", ([0], [0.5], [math.nan])),
        ("segment", ([0], [0.5], [1.0], [0, 1])),
        ("segment", ([0], [0.5], [1.0], [-1])),
    ],
)
def test_a_log_that_is_none_is_refused(param: str, arrays: Any):
    with pytest.raises(InvalidRequestError) as refusal:
        log_of(*arrays)

    assert refusal.value.param == param


@pytest.mark.parametrize(
    ("param", "asked"),
    [
        ("target", {"target": np.eye(2)}),
        ("target", {"target": np.ones((4, 1))}),
        ("target", {"target": np.full((4, 2), 0.4)}),
        ("target", {"target": np.tile([1.5, -0.5], (4, 1))}),
        ("method", {"method": "magic"}),
        ("clip", {"clip": 0.0}),
        ("confidence", {"confidence": 1.0}),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(param: str, asked: dict[str, Any]):
    with pytest.raises(InvalidRequestError) as refusal:
        evaluate(EXAMPLE, **{"target": np.tile(always_0, (4, 1)), **asked})

    assert refusal.value.param == param
