"""US dollars: exact decimals where they enter and leave, floats inside arrays."""

from __future__ import annotations

import math
from decimal import Decimal, InvalidOperation
from typing import TypeAlias

from orchestrator.core.errors import InvalidRequestError

__all__ = ["Amount", "format_usd", "to_float", "usd"]

Amount: TypeAlias = Decimal | int | float | str
"""What people write an amount as."""


def usd(value: Amount, *, param: str | None = None) -> Decimal:
    """Return the amount exactly; a float means its shortest text, so 0.1 is one tenth.

    Args:
        value: Dollars, zero or more.
        param: The name of the setting or field it stands in, for the error.

    Raises:
        InvalidRequestError: It is no number, not finite, negative, or beyond a float.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        amount = Decimal(str(value)) if isinstance(value, float) else Decimal(value)
    except (InvalidOperation, TypeError, ValueError):
        raise _refusal(value, "is not a number", param) from None
    if not amount.is_finite() or math.isinf(float(amount)):
        raise _refusal(value, "is not finite", param)
    if amount < 0:
        raise _refusal(value, "is negative", param)
    return amount.copy_abs()


def to_float(amount: Decimal) -> float:
    """Return the amount as arrays hold it."""
    return float(amount)


def format_usd(amount: Decimal | float) -> str:
    """Return the amount for people: cents from one dollar up, three digits below.

    >>> format_usd(1234.5), format_usd(0.25), format_usd(0.000012345)
    ('$1,234.50', '$0.25', '$0.0000123')
    """
    exact = usd(amount)
    if exact == 0 or exact >= 1:
        return f"${exact:,.2f}"
    whole, _, cents = f"{exact:.{2 - exact.adjusted()}f}".partition(".")
    return f"${whole}.{cents.rstrip('0').ljust(2, '0')}"


def _refusal(value: object, fault: str, param: str | None) -> InvalidRequestError:
    return InvalidRequestError(
        f"{param or 'an amount of money'} {fault}: {value!r}",
        param=param,
        hint="give US dollars, zero or more, as a number or a text like '0.25'",
    )
