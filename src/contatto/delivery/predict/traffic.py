"""How many requests come at which time of the day, by country: the curve that budgets are spent along."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

SLOTS: Final = 96
SLOT_S: Final = 900
DAY_S: Final = 86_400
_NEWEST: Final = 0.4
"""How much the newest day counts in the curve."""
_PEAK_HOUR: Final = 20.0
_DEPTH: Final = 0.5
"""What is thought of a day before one was seen: people ask most at eight in the evening, and a third of that
at eight in the morning. Where they ask evenly, the first day's budget is spent a sixth too late at most."""

type Curve = NDArray[np.float64]


class Traffic:
    """Requests by country and quarter of an hour of the UTC day; the curve is a mean of days."""

    def __init__(self) -> None:
        self.today = np.zeros((8, SLOTS))
        self.mean = np.zeros((8, SLOTS))
        self.weight = np.zeros(SLOTS)
        self.day = -1
        self.began_s = 0

    def count(self, country: int, now_s: int) -> None:
        day, second = divmod(now_s, DAY_S)
        if day != self.day:
            self._turn(day, now_s)
        if country >= len(self.today):
            more = ((0, country + 8 - len(self.today)), (0, 0))
            self.today, self.mean = np.pad(self.today, more), np.pad(self.mean, more)
        self.today[country, second // SLOT_S] += 1.0

    def _turn(self, day: int, now_s: int) -> None:
        if self.day < 0:
            self.began_s = now_s
        else:
            self._keep_day()
        self.today[:] = 0.0
        self.day = day

    def _keep_day(self) -> None:
        first = 0
        if self.began_s // DAY_S == self.day:
            first = -(-(self.began_s % DAY_S) // SLOT_S)
        seen = np.arange(SLOTS) >= first
        share = np.where(seen, np.where(self.weight > 0.0, _NEWEST, 1.0), 0.0)
        self.mean += share * (self.today - self.mean)
        self.weight[seen] += 1.0

    def curve_of(self, countries: NDArray[np.bool_], offset_s: float = 0.0) -> Curve:
        """Requests in each quarter of an hour of a UTC day from these countries, smoothed.

        What was not seen yet follows the usual day of a zone that is ``offset_s`` seconds ahead of UTC.
        """
        served = np.flatnonzero(countries[: len(self.mean)])
        curve: Curve = self.mean[served].sum(axis=0)
        seen = self.weight > 0.0
        expected = usual_day(offset_s)
        usual = float(curve[seen].sum() / expected[seen].sum()) if seen.any() else 1.0
        if usual <= 0.0:
            return expected
        curve = np.where(seen, curve, usual * expected)
        curve = 0.5 * curve + 0.25 * (np.roll(curve, 1) + np.roll(curve, -1))
        return np.asarray(curve + 0.01 * usual)

    def state(self) -> Any:
        return [self.today.tolist(), self.mean.tolist(), self.weight.tolist(), self.day, self.began_s]

    def restore(self, state: Any) -> None:
        today, mean, weight, self.day, self.began_s = state
        self.today, self.mean, self.weight = np.array(today), np.array(mean), np.array(weight)


def usual_day(offset_s: float) -> Curve:
    """The day that is expected where nothing was seen, with a mean of 1."""
    hours = (np.arange(SLOTS) + 0.5) * SLOT_S / 3_600 + offset_s / 3_600
    return np.asarray(1.0 + _DEPTH * np.cos((hours - _PEAK_HOUR) * (2.0 * np.pi / 24.0)))


def amount_between(cumulated: Curve, from_s: float, to_s: float) -> float:
    """The area under a daily curve between two instants (seconds since 1970); days repeat."""
    return _amount_until(cumulated, to_s) - _amount_until(cumulated, from_s)


def cumulate(curve: Curve) -> Curve:
    """A curve summed up, with 0 before its first slot."""
    return np.concatenate((np.zeros(1), np.cumsum(curve)))


def _amount_until(cumulated: Curve, at_s: float) -> float:
    days, second = divmod(at_s, DAY_S)
    slot, into = divmod(second, SLOT_S)
    place = int(slot)
    step = float(cumulated[place + 1] - cumulated[place])
    return float(days * cumulated[SLOTS] + cumulated[place] + step * into / SLOT_S)
