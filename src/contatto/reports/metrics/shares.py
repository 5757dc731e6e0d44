"""Division that knows what to do with nothing: costs round down to a micro, shares are exact decimals."""

from decimal import Decimal


def cost_each(spend_micros: int, count: int | None) -> int | None:
    """Spend for each one, rounded down; None where there are none."""
    return spend_micros // count if count else None


def share(part: int | None, whole: int) -> Decimal | None:
    """A part of a whole, 0 to 1; None where there is no whole."""
    return None if part is None or not whole else Decimal(part) / Decimal(whole)
