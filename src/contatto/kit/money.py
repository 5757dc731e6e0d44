"""Money as integer micros: a millionth of the currency's unit, so that sums never drift."""

from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Final

MICROS: Final = 1_000_000
MOST_UNITS: Final = 10**12
"""Greatest amount that we read: its micros fit a 64-bit column."""
USUAL_DECIMALS: Final = 2
_ZERO: Final = "BIF CLP DJF GNF IDR ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THREE: Final = "BHD IQD JOD KWD LYD OMR TND"
_FOUR: Final = "CLF UYW"
DECIMALS: Final = {
    currency: places for places, some in ((0, _ZERO), (3, _THREE), (4, _FOUR)) for currency in some.split()
}
"""Decimals of the currencies that have not two. IDR has none by custom. Source: ISO 4217, minor units."""


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
    """Return how many decimals people write in amounts of a currency."""
    return DECIMALS.get(currency, USUAL_DECIMALS)


def amount_written(amount_micros: int, currency: str) -> str:
    """An amount for a terminal: with all decimals of its currency, and commas between thousands."""
    return f"{to_units(amount_micros):,.{decimal_places(currency)}f}"
