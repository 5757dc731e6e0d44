"""Budget plans, price landscapes, and the daily curve of requests."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from contatto.learning.columns import BINS, BINS_AN_OCTAVE, LOWEST_OCTAVE
from contatto.learning.lines import AdGroupLine, LineBudgetMode

UNITS: Final = 1_000
"""Spend is counted in thousandths of a micro: prices are for a thousand views."""
MOST_OF_DAY: Final = 1.25
SECOND: Final = 1_000_000
HORIZON_S: Final = 1_800.0
NO_END_S: Final = 7 * 86_400.0
"""Assumed time until a total budget without an end is spent."""
FAST_S: Final = 3 * 3_600.0
"""Time in which fast pacing spends the budget."""


@dataclass(slots=True)
class BudgetPlan:
    """Planned spend between two times in units, on top of ``spent``."""

    from_s: float = 0.0
    until_s: float = 0.0
    spent: float = 0.0
    amount: float = 0.0


def day_bounds(ts: int, timezone: str) -> tuple[int, int]:
    """Return the start of the local day and of the next one, in microseconds; a day may have 23 hours."""
    zone = ZoneInfo(timezone)
    local = datetime.fromtimestamp(ts // SECOND, zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    following = (midnight.replace(tzinfo=None) + timedelta(days=1)).replace(tzinfo=zone)
    return round(midnight.timestamp()) * SECOND, round(following.timestamp()) * SECOND


def limit_units(line: AdGroupLine) -> float:
    """Return the limit of charges of the day, or in total; infinite without a budget."""
    if line.budget_mode is LineBudgetMode.INFINITE or line.budget_micros is None:
        return float("inf")
    most = MOST_OF_DAY if line.budget_mode is LineBudgetMode.DAY else 1.0
    return float(int(line.budget_micros * most) * UNITS)


def goal_units(line: AdGroupLine) -> float:
    """Return the planned spend of the day, or in total."""
    if line.budget_mode is LineBudgetMode.INFINITE or line.budget_micros is None:
        return float("inf")
    return float(line.budget_micros * UNITS)


def find_multiplier(
    prices: NDArray[np.float64], counts: NDArray[np.float64], requests: float, units: float
) -> float:
    """Return the smallest multiplier that spends some units per request on a landscape.

    ``prices`` and ``counts`` are the total price and number of its requests, by bin of the lowest winning
    multiplier. ``requests`` is the number of eligible requests.
    """
    if requests <= 0.0 or units <= 0.0:
        return 0.0
    total = np.cumsum(prices)
    need = units * requests
    place = int(np.searchsorted(total, need))
    if place >= len(total):
        filled = np.flatnonzero(counts)
        return multiplier_at(float(filled[-1]) + 2.0) if len(filled) else 0.0
    before = float(total[place - 1]) if place else 0.0
    inside = (need - before) / max(float(total[place]) - before, 1e-9)
    return multiplier_at(place + min(inside, 1.0))


def find_limit(prices: NDArray[np.float64], target: float) -> float:
    """Return the largest multiplier with a mean cost per conversion at the target.

    In a second-price auction a bid at the cost target pays less than the target. A request costs its lowest
    winning multiplier per conversion, so the landscape gives the mean cost of all won requests. The result is
    between the target and 1.5 times the target.
    """
    conversions = prices / _CENTRES
    average = np.cumsum(prices) / np.maximum(np.cumsum(conversions), 1e-300)
    reached = multiplier_at(float(np.searchsorted(average, target, side="right")))
    return min(max(reached, target), 1.5 * target) if conversions.any() else target


def spend_at(prices: NDArray[np.float64], multiplier: float) -> float:
    """Return the total price of the requests that a multiplier wins; see `find_multiplier`."""
    if multiplier <= 0.0:
        return 0.0
    place = (math.log2(multiplier) - LOWEST_OCTAVE) * BINS_AN_OCTAVE
    whole = min(max(int(place), 0), len(prices))
    inside = float(prices[whole]) * (place - whole) if whole < len(prices) and place > 0.0 else 0.0
    return float(prices[:whole].sum()) + inside


def find_quantile(counts: NDArray[np.float64], share: float) -> float:
    """Return the multiplier that wins a share of all requests."""
    total = np.cumsum(counts)
    if total[-1] <= 0.0:
        return 0.0
    return multiplier_at(float(np.searchsorted(total, share * total[-1])) + 1.0)


_CENTRES: Final = np.exp2((np.arange(BINS) + 0.5) / BINS_AN_OCTAVE + LOWEST_OCTAVE)


def multiplier_at(place: float) -> float:
    """Return the multiplier at a position on the landscape's axis of bins."""
    return float(2.0 ** (place / BINS_AN_OCTAVE + LOWEST_OCTAVE))


SLOTS: Final = 96
SLOT_S: Final = 900
DAY_S: Final = 86_400
_NEWEST: Final = 0.4
"""Weight of the newest day in the curve."""
_PEAK_HOUR: Final = 20.0
_DEPTH: Final = 0.5
"""Prior of the daily curve: most requests at 20:00, a third of that at 8:00. With an even curve the first
day's budget is spent at most a sixth too late."""

type Curve = NDArray[np.float64]


class Traffic:
    """Requests by country and quarter hour of the UTC day, averaged over days."""

    def __init__(self) -> None:
        self.today = np.zeros((8, SLOTS))
        self.mean = np.zeros((8, SLOTS))
        self.weight = np.zeros(SLOTS)
        self.day = -1
        self.began_s = 0

    def count(self, country: int, now_s: int) -> None:
        day, second = divmod(now_s, DAY_S)
        if day != self.day:
            if self.day < 0:
                self.began_s = now_s
            else:
                first = -(-(self.began_s % DAY_S) // SLOT_S) if self.began_s // DAY_S == self.day else 0
                observed = np.arange(SLOTS) >= first
                share = np.where(observed, np.where(self.weight > 0.0, _NEWEST, 1.0), 0.0)
                self.mean += share * (self.today - self.mean)
                self.weight[observed] += 1.0
            self.today[:] = 0.0
            self.day = day
        if country >= len(self.today):
            more = ((0, country + 8 - len(self.today)), (0, 0))
            self.today, self.mean = np.pad(self.today, more), np.pad(self.mean, more)
        self.today[country, second // SLOT_S] += 1.0

    def curve_of(self, countries: NDArray[np.bool_], offset_s: float = 0.0) -> Curve:
        """Return the smoothed requests of these countries in each quarter hour of a UTC day.

        Unobserved slots follow the prior curve of a time zone with this UTC offset.
        """
        served = np.flatnonzero(countries[: len(self.mean)])
        curve: Curve = self.mean[served].sum(axis=0)
        observed = self.weight > 0.0
        expected = usual_day(offset_s)
        usual = float(curve[observed].sum() / expected[observed].sum()) if observed.any() else 1.0
        if usual <= 0.0:
            return expected
        curve = np.where(observed, curve, usual * expected)
        curve = 0.5 * curve + 0.25 * (np.roll(curve, 1) + np.roll(curve, -1))
        return np.asarray(curve + 0.01 * usual)

    def state(self) -> Any:
        return [self.today.tolist(), self.mean.tolist(), self.weight.tolist(), self.day, self.began_s]

    def restore(self, state: Any) -> None:
        today, mean, weight, self.day, self.began_s = state
        self.today, self.mean, self.weight = np.array(today), np.array(mean), np.array(weight)


def usual_day(offset_s: float) -> Curve:
    """Return the prior daily curve, with a mean of 1."""
    hours = (np.arange(SLOTS) + 0.5) * SLOT_S / 3_600 + offset_s / 3_600
    return np.asarray(1.0 + _DEPTH * np.cos((hours - _PEAK_HOUR) * (2.0 * np.pi / 24.0)))


def amount_between(cumulated: Curve, from_s: float, to_s: float) -> float:
    """Return the area under a repeating daily curve between two times (seconds since 1970)."""
    return _amount_until(cumulated, to_s) - _amount_until(cumulated, from_s)


def cumulate(curve: Curve) -> Curve:
    """Return the cumulative curve, with 0 before its first slot."""
    return np.concatenate((np.zeros(1), np.cumsum(curve)))


def _amount_until(cumulated: Curve, at_s: float) -> float:
    days, second = divmod(at_s, DAY_S)
    slot, into = divmod(second, SLOT_S)
    place = int(slot)
    step = float(cumulated[place + 1] - cumulated[place])
    return float(days * cumulated[SLOTS] + cumulated[place] + step * into / SLOT_S)
