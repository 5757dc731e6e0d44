"""What a budget allows, and how it is spent evenly: pure functions.

Theory. A plan says how much should be spent by when: the budget along the curve of the requests that the ad
group could serve, from the moment of the plan to the end of the day (or of the schedule, for a total). The
multiplier is then read off the landscape: prices of recent requests by the multiplier that would have won
them. It is the least one whose requests cost what the plan wants in the coming hour.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from contatto.delivery.model.lines import AdGroupLine, BudgetMode
from contatto.delivery.rules.columns import BINS, BINS_AN_OCTAVE, LOWEST_OCTAVE

UNITS: Final = 1_000
"""Prices are for a thousand views: a view costs this part of one. Spend is counted in these units."""
MOST_OF_DAY: Final = 1.25
SECOND: Final = 1_000_000
HORIZON_S: Final = 1_800.0
NO_END_S: Final = 7 * 86_400.0
"""A total budget without an end is spent as if it ended a week from now."""
FAST_S: Final = 3 * 3_600.0
"""Fast pacing means to be done with the budget in this time."""


@dataclass(slots=True)
class Plan:
    """What should be spent between two instants (seconds since 1970), in units, on top of ``spent``."""

    from_s: float = 0.0
    until_s: float = 0.0
    spent: float = 0.0
    amount: float = 0.0


def day_bounds(now: int, timezone: str) -> tuple[int, int]:
    """The beginning of the local day and of the next one, in microseconds; a day may have 23 or 25 hours."""
    zone = ZoneInfo(timezone)
    local = datetime.fromtimestamp(now // SECOND, zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    following = (midnight.replace(tzinfo=None) + timedelta(days=1)).replace(tzinfo=zone)
    return round(midnight.timestamp()) * SECOND, round(following.timestamp()) * SECOND


def limit_units(line: AdGroupLine) -> float:
    """The most that may ever be charged to the present day, or in total; infinite without a budget."""
    if line.budget_mode is BudgetMode.INFINITE or line.budget_micros is None:
        return float("inf")
    most = MOST_OF_DAY if line.budget_mode is BudgetMode.DAY else 1.0
    return float(int(line.budget_micros * most) * UNITS)


def goal_units(line: AdGroupLine) -> float:
    """What should be spent of the present day, or in total."""
    if line.budget_mode is BudgetMode.INFINITE or line.budget_micros is None:
        return float("inf")
    return float(line.budget_micros * UNITS)


def find_multiplier(
    prices: NDArray[np.float64], counts: NDArray[np.float64], asked: float, wanted: float
) -> float:
    """The least multiplier whose requests cost ``wanted`` units per request that was asked.

    Args:
        prices: what the requests cost, by the bin of the multiplier that wins them.
        counts: how many they are.
        asked: how many requests the landscape holds.
        wanted: what should be spent for each request, in units.
    """
    if asked <= 0.0 or wanted <= 0.0:
        return 0.0
    total = np.cumsum(prices)
    need = wanted * asked
    place = int(np.searchsorted(total, need))
    if place >= len(total):
        seen = np.flatnonzero(counts)
        return multiplier_at(float(seen[-1]) + 2.0) if len(seen) else 0.0
    before = float(total[place - 1]) if place else 0.0
    inside = (need - before) / max(float(total[place]) - before, 1e-9)
    return multiplier_at(place + min(inside, 1.0))


def find_limit(prices: NDArray[np.float64], target: float) -> float:
    """The largest multiplier whose requests cost a target for each conversion, on the average.

    Under a second price who offers what a conversion may cost pays less than that. A request that a
    multiplier wins costs that multiplier for each conversion, so the average of all that it wins is known
    from the landscape. It is at least the target, and at most half as much more.

    Args:
        prices: what the requests cost, by the bin of the multiplier that wins them.
        target: what a conversion may cost.
    """
    conversions = prices / _CENTRES
    average = np.cumsum(prices) / np.maximum(np.cumsum(conversions), 1e-300)
    reached = multiplier_at(float(np.searchsorted(average, target, side="right")))
    return min(max(reached, target), 1.5 * target) if conversions.any() else target


def spend_at(prices: NDArray[np.float64], multiplier: float) -> float:
    """What the requests cost that a multiplier wins; see `find_multiplier` for the landscape."""
    if multiplier <= 0.0:
        return 0.0
    place = (math.log2(multiplier) - LOWEST_OCTAVE) * BINS_AN_OCTAVE
    whole = min(max(int(place), 0), len(prices))
    inside = float(prices[whole]) * (place - whole) if whole < len(prices) and place > 0.0 else 0.0
    return float(prices[:whole].sum()) + inside


def find_quantile(counts: NDArray[np.float64], share: float) -> float:
    """The multiplier that wins a share of all requests."""
    total = np.cumsum(counts)
    if total[-1] <= 0.0:
        return 0.0
    return multiplier_at(float(np.searchsorted(total, share * total[-1])) + 1.0)


_CENTRES: Final = np.exp2((np.arange(BINS) + 0.5) / BINS_AN_OCTAVE + LOWEST_OCTAVE)


def multiplier_at(place: float) -> float:
    """The multiplier at an edge of the landscape's bins."""
    return float(2.0 ** (place / BINS_AN_OCTAVE + LOWEST_OCTAVE))
