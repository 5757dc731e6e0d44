"""Money as integer micros: a millionth of the currency's unit, so that sums never drift."""

from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Final

MICROS: Final = 1_000_000
MOST_UNITS: Final = 10**12
"""Greatest amount that we read: its micros fit a 64-bit column."""
ZERO_DECIMAL: Final = frozenset({"CLP", "IDR", "JPY", "KRW", "PYG", "VND"})
"""Currencies that people write without decimals (ISO 4217 exponent 0; IDR by custom)."""


def to_micros(amount: Decimal | float | int | str) -> int:
    """Turn an amount in units (``12.5``) into micros (``12500000``).

    Raises:
        ValueError: the text is no number, or greater than a trillion.
    """
    try:
        value = Decimal(str(amount))
    except InvalidOperation as error:
        raise ValueError(f"not an amount: {amount!r}") from error
    if not value.is_finite() or not -MOST_UNITS <= value <= MOST_UNITS:
        raise ValueError(f"not an amount: {amount!r}")
    return int((value * MICROS).to_integral_value(ROUND_HALF_EVEN))


def to_units(amount_micros: int) -> Decimal:
    """Turn micros into units, exact."""
    return Decimal(amount_micros) / MICROS


def decimal_places(currency: str) -> int:
    """How many decimals people write in amounts of a currency."""
    return 0 if currency in ZERO_DECIMAL else 2
