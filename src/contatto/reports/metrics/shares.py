"""Division that knows what to do with nothing: costs round down to a micro, shares are exact decimals."""

from collections.abc import Callable
from decimal import Decimal

from contatto.reports.model import Figures, Value

type Count = Callable[[Figures], int | None]


def cost_each(spend_micros: int, count: int | None) -> int | None:
    """Spend for each one, rounded down; None where there are none."""
    return spend_micros // count if count else None


def share(part: int | None, whole: int | None) -> Decimal | None:
    """A part of a whole, 0 to 1; None where there is no whole."""
    return None if part is None or not whole else Decimal(part) / Decimal(whole)


def cost_per(count: Count) -> Callable[[Figures], Value]:
    """Spend for each of what is counted."""
    return lambda of: cost_each(of.counts.spend_micros, count(of))


def share_of(part: Count, whole: Count) -> Callable[[Figures], Value]:
    return lambda of: share(part(of), whole(of))


def impressions(of: Figures) -> int:
    return of.counts.impressions


def clicks(of: Figures) -> int:
    return of.counts.clicks
