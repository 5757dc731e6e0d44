"""Whole numbers, money in micros, and confidence intervals."""

import math
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Annotated, Final

from pydantic import Field

LARGEST: Final = (1 << 63) - 1
"""What a 64-bit column holds."""
type PageNumber = Annotated[int, Field(ge=-1_000_000, le=1_000_000)]
"""Page of a list in an address; below 1 it means the first."""
type Revision = Annotated[int, Field(ge=0, lt=(1 << 31) - 1)]
"""Version of a row that the writer has read; the next one still fits 32 bits."""
type WindowDays = Annotated[int, Field(ge=0, le=365)]
_MOST_DIGITS: Final = len(str(LARGEST))


def read_number(text: str) -> int | None:
    """Parse ASCII digits; return None for any other text, and for numbers beyond ``LARGEST``."""
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        return None
    number = int(text)
    return number if number <= LARGEST else None


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
    """Format an amount for a terminal: with all decimals of its currency, and commas between thousands."""
    return f"{to_units(amount_micros):,.{decimal_places(currency)}f}"


_Z: Final = 1.959964
"""Quantile of a 95 % interval."""
_LEAST: Final = 1e-9
"""Least distance of probabilities from 0 and 1."""


def interval_of(hits: int, trials: int) -> tuple[float, float]:
    """Return the 95 % interval of a share; 0 to 1 without trials.

    Source: Wilson 1927.
    """
    if trials <= 0:
        return 0.0, 1.0
    share, squared = hits / trials, _Z * _Z
    middle = share + squared / (2.0 * trials)
    reach = _Z * math.sqrt(share * (1.0 - share) / trials + squared / (4.0 * trials * trials))
    below = 1.0 + squared / trials
    return max((middle - reach) / below, 0.0), min((middle + reach) / below, 1.0)


def interval_of_count(n: int) -> tuple[float, float]:
    """Return the 95 % interval of a Poisson rate, given one count.

    Source: Byar's approximation to the exact interval of Poisson.
    """
    low = n * (1.0 - 1.0 / (9.0 * n) - _Z / (3.0 * math.sqrt(n))) ** 3 if n else 0.0
    more = n + 1.0
    return max(low, 0.0), more * (1.0 - 1.0 / (9.0 * more) + _Z / (3.0 * math.sqrt(more))) ** 3


def loss_of_rate(hits: int, trials: int, rate: float) -> float:
    """Return the mean log loss, in nats, of a constant prediction."""
    if not trials:
        return 0.0
    share, loss = hits / trials, 0.0
    if share > 0.0:
        loss -= share * math.log(max(rate, _LEAST))
    if share < 1.0:
        loss -= (1.0 - share) * math.log1p(-min(rate, 1.0 - _LEAST))
    return loss
