from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import ConfigurationError
from orchestrator.routing.pacer import BudgetPacer

DAY = 86_400.0
MIDNIGHT = 20_000 * DAY
spans = st.floats(0, 3 * DAY)
amounts = st.floats(0, 50)


def evenly(n: int, rng: random.Random) -> list[float]:
    return sorted(MIDNIGHT + rng.random() * DAY for _ in range(n))


def serve(
    pacer: BudgetPacer,
    times: Iterable[float],
    rng: random.Random,
    price: Callable[[float], float] = lambda wall: 1.0,
) -> float:
    """Choose for each request a cheap or a dear model, by what the dear one gains; return USD."""
    spent = 0.0
    for wall in times:
        dear, cheap = price(wall), price(wall) / 50
        gain = rng.random()  # in points of quality
        usd = dear if gain > pacer.multiplier(wall) * (dear - cheap) else cheap
        pacer.spend(usd, wall)
        spent += usd
    return spent


def test_money_spent_raises_the_price_and_time_lowers_it():
    pacer = BudgetPacer(100.0, MIDNIGHT, start=0.5)
    pacer.spend(2.0, MIDNIGHT)
    raised = pacer.multiplier(MIDNIGHT)

    assert raised == pytest.approx(0.5 * math.e, rel=1e-3)  # a fiftieth of the budget at once
    assert pacer.multiplier(MIDNIGHT + DAY / 50) == pytest.approx(
        0.5 * math.exp(1 - 0.98), rel=1e-3
    )  # by then a fiftieth of what is left might have been spent


def test_asking_changes_nothing():
    pacer = BudgetPacer(100.0, MIDNIGHT, start=0.5)
    pacer.multiplier(MIDNIGHT + 3 * DAY)

    assert pacer.multiplier(MIDNIGHT) == pytest.approx(0.5, rel=1e-2)


def test_a_budget_that_does_not_bind_costs_nothing():
    pacer = BudgetPacer(100.0, MIDNIGHT, start=0.5)
    pacer.spend(0.01, MIDNIGHT + DAY / 2)

    assert pacer.multiplier(MIDNIGHT + DAY / 2) < 0.001
    assert pacer.multiplier(MIDNIGHT + DAY - 1) == 0.0


@given(
    st.integers(800, 3000),
    st.floats(0.1, 0.8),
    st.floats(-1, 1),
    st.integers(0, 2**32),
)
def test_spending_ends_at_the_budget_whatever_the_traffic_and_the_first_guess(
    n: int, share: float, misjudged: float, seed: int
):
    rng = random.Random(seed)
    budget = share * n
    pacer = BudgetPacer(budget, MIDNIGHT, start=0.5 * 30**misjudged)

    spent = serve(pacer, evenly(n, rng), rng)

    assert spent == pytest.approx(budget, rel=0.02)
    assert pacer.spent_usd == pytest.approx(spent)


def test_a_rush_is_saved_on_later():
    rng = random.Random(3)
    rush = sorted(MIDNIGHT + rng.random() * DAY / 24 for _ in range(2000))
    pacer = BudgetPacer(1000.0, MIDNIGHT, start=0.5)

    spent = serve(pacer, sorted(rush + evenly(2000, rng)), rng)

    assert spent == pytest.approx(1000.0, rel=0.01)


def test_prices_that_rise_tenfold_at_noon_do_not_break_the_budget():
    rng = random.Random(4)
    pacer = BudgetPacer(1500.0, MIDNIGHT, start=0.5)

    spent = serve(
        pacer, evenly(3000, rng), rng, lambda wall: 10.0 if wall > MIDNIGHT + DAY / 2 else 1.0
    )

    assert spent == pytest.approx(1500.0, rel=0.02)


def test_each_day_has_its_own_budget_and_begins_with_the_price_of_the_last():
    rng = random.Random(5)
    pacer = BudgetPacer(500.0, MIDNIGHT, start=20.0)
    days = [serve(pacer, [t + day * DAY for t in evenly(2000, rng)], rng) for day in range(3)]

    assert days == pytest.approx([500.0] * 3, rel=0.01)
    was = pacer.multiplier(MIDNIGHT + 3 * DAY - 1)
    assert pacer.multiplier(MIDNIGHT + 3 * DAY + 1) == pytest.approx(was, rel=0.05)


def test_who_starts_at_noon_spends_half_a_days_budget():
    rng = random.Random(6)
    noon = MIDNIGHT + DAY / 2
    pacer = BudgetPacer(1000.0, noon, start=0.5)

    spent = serve(pacer, [noon + (t - MIDNIGHT) / 2 for t in evenly(2000, rng)], rng)

    assert spent == pytest.approx(500.0, rel=0.01)


def test_what_the_morning_overspent_keeps_the_price_up_until_midnight():
    pacer = BudgetPacer(100.0, MIDNIGHT, start=0.5)
    pacer.spend(120.0, MIDNIGHT + 60)

    assert pacer.multiplier(MIDNIGHT + DAY - 1) == pacer.multiplier(MIDNIGHT + 60)
    assert pacer.multiplier(MIDNIGHT + 1.5 * DAY) < pacer.multiplier(MIDNIGHT + 60)


def test_a_clock_that_is_put_back_again_and_again_gives_no_money_twice():
    rng = random.Random(7)
    pacer = BudgetPacer(1000.0, MIDNIGHT, start=0.5)
    times = [t - (DAY / 4 if i % 500 > 400 else 0) for i, t in enumerate(evenly(4000, rng))]

    spent = serve(pacer, [max(t, MIDNIGHT) for t in times], rng)

    assert spent <= 1020.0


def test_a_clock_that_ran_ahead_for_a_moment_does_not_stop_the_pace():
    rng = random.Random(8)
    pacer = BudgetPacer(500.0, MIDNIGHT, start=0.5)
    pacer.spend(1.0, MIDNIGHT + 30 * DAY)

    assert serve(pacer, evenly(2000, rng), rng) == pytest.approx(500.0, rel=0.02)


@given(
    st.floats(1e-3, 1e3),
    st.floats(1e-3, 1e3),
    st.lists(st.tuples(st.floats(-3 * DAY, 3 * DAY), amounts), max_size=30),
    spans,
)
def test_whatever_the_clock_does_the_price_keeps_to_its_range(
    budget: float, start: float, events: list[Any], later: float
):
    pacer, wall = BudgetPacer(budget, MIDNIGHT, start=start), MIDNIGHT
    for jump, usd in events:
        wall += jump
        pacer.spend(usd, wall)
        assert 0 <= pacer.multiplier(wall) <= 1000 * start
        assert pacer.spent_usd >= usd
    assert 0 <= pacer.multiplier(wall + later) <= pacer.multiplier(wall)
    assert pacer.multiplier(wall - later) == pacer.multiplier(wall)


@given(st.lists(st.tuples(spans, amounts), max_size=10), amounts, amounts, spans)
def test_who_spent_more_pays_no_less(history: list[Any], usd: float, more: float, later: float):
    multipliers = []
    for extra in (0.0, more):
        pacer, wall = BudgetPacer(100.0, MIDNIGHT, start=1.0), MIDNIGHT
        for passed, spent in history:
            wall += passed
            pacer.spend(spent, wall)
        pacer.spend(usd + extra, wall)
        multipliers.append(pacer.multiplier(wall + later))
    assert multipliers[1] >= multipliers[0] - 1e-9


@pytest.mark.parametrize("name", ["budget_usd", "start", "period_s", "haste"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_a_setting_that_is_no_positive_number_is_refused(name: str, value: float):
    settings = {"budget_usd": 1.0, "start": 1.0, "period_s": DAY, "haste": 0.02, name: value}

    with pytest.raises(ConfigurationError, match=name):
        BudgetPacer(settings.pop("budget_usd"), MIDNIGHT, **settings)
