from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import InvalidRequestError
from orchestrator.core.money import format_usd, to_float, usd

AMOUNTS = st.decimals(min_value=0, max_value=10**9, places=9)


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        (0.1, Decimal("0.1")),
        ("0.25", Decimal("0.25")),
        (" 1e-7 ", Decimal("0.0000001")),
        (3, Decimal(3)),
        (Decimal("2.50"), Decimal("2.5")),
        (-0.0, Decimal(0)),
    ],
)
def test_an_amount_is_read_exactly(written, amount):
    assert usd(written) == amount


def test_zero_has_no_sign():
    assert not usd("-0").is_signed()


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        (float("nan"), "not finite"),
        ("inf", "not finite"),
        ("1e400", "not finite"),
        (-0.01, "negative"),
        ("a dollar", "not a number"),
        ("", "not a number"),
        (None, "not a number"),
        (True, "not a number"),
        ([1], "not a number"),
    ],
)
def test_what_is_no_amount_is_refused_by_the_name_of_its_field(written, fault):
    with pytest.raises(InvalidRequestError, match=f"max_cost is {fault}") as caught:
        usd(written, param="max_cost")
    assert caught.value.param == "max_cost"
    assert caught.value.hint


@given(AMOUNTS)
def test_a_float_finds_back_to_the_amount_it_was_written_from(amount):
    assert usd(to_float(usd(amount))) == Decimal(repr(float(amount)))


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "$0.00"),
        (1234.5, "$1,234.50"),
        (1, "$1.00"),
        (0.25, "$0.25"),
        (0.9999, "$1.00"),
        (0.0123, "$0.0123"),
        (0.000012345, "$0.0000123"),
        (Decimal("2.5e-7"), "$0.00000025"),
    ],
)
def test_an_amount_reads_as_people_write_it(amount, text):
    assert format_usd(amount) == text


@given(AMOUNTS.filter(bool))
def test_what_people_read_is_within_half_a_percent_and_never_nothing(amount):
    shown = Decimal(format_usd(amount).removeprefix("$").replace(",", ""))
    assert shown > 0
    assert abs(shown - amount) <= amount / 199
